from .advice import Advice as Advice
from .advise import advise as advise
from .shrink import shrink as shrink
from .shrunk import Shrunk as Shrunk
from .stability import ALLOCATION as ALLOCATION
from .stability import UNIFORM as UNIFORM
from .stability import UNKNOWN as UNKNOWN
