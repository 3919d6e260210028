from .additions import Counted as Counted
from .additions import add_to_atlas as add_to_atlas
from .additions import import_atlas as import_atlas
from .atlas_file import FORMAT as FORMAT
from .packing import pack as pack
from .shipped import atlas as atlas
from .shipped import atlas_files as atlas_files
from .unpacking import unpack as unpack
