from .atlas_file import FORMAT as FORMAT
from .packing import pack as pack
from .shipped import atlas as atlas
from .shipped import atlas_files as atlas_files
from .unpacking import unpack as unpack
