from .published_texts import published_texts as published_texts
from .sentences import generation_conclusion as generation_conclusion
from .smoke_files import smoke_files as smoke_files
from .sweep import generation_sweep as generation_sweep
