from .by_name import method_from_name as method_from_name
from .by_name import register as register
from .by_name import require_registered as require_registered
from .imports import import_methods as import_methods
from .imports import pass_on_imports as pass_on_imports
