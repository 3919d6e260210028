from . import cache as cache
from .cache import fetch as fetch
from .manifest import list_assets as list_assets
