from .folder_updates import is_adapter_folder as is_adapter_folder
from .folder_updates import load_onto as load_onto
from .folder_updates import updates_from as updates_from
from .imported import import_adapter as import_adapter
from .imported import import_adapters as import_adapters
