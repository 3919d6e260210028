from .advice import ALLOCATION as ALLOCATION
from .advice import UNIFORM as UNIFORM
from .advice import UNKNOWN as UNKNOWN
from .advice import Advice as Advice
from .advise import advise as advise
