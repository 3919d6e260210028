from .named_base import check_named_base as check_named_base
from .peft_files import is_peft_folder as is_peft_folder
from .peft_targets import saved_modules as saved_modules
from .peft_targets import targeted as targeted
from .read import read_saved as read_saved
from .saved import SavedAdapter as SavedAdapter
from .settle import settle_frozen as settle_frozen
from .write_peft import write_peft as write_peft
