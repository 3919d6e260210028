from .metric_scores import METRIC_COLUMNS as METRIC_COLUMNS
from .metric_scores import metric_scores as metric_scores
from .published_texts import published_texts as published_texts
from .samples import samples_table as samples_table
from .sentences import generation_conclusion as generation_conclusion
from .smoke_files import smoke_files as smoke_files
from .sweep import generation_sweep as generation_sweep
