from .adapter_head import count_labels as count_labels
from .export import FORMATS as FORMATS
from .export import export_adapter as export_adapter
from .folder_contents import FolderContents as FolderContents
from .folder_contents import inspect_folder as inspect_folder
from .source import Source as Source
from .source import open_source as open_source
