from .layer_update import is_peft_layer as is_peft_layer
from .layer_update import peft_base as peft_base
from .layer_update import peft_update as peft_update
from .method import PEFT as PEFT
from .settings import rank_setting as rank_setting
from .state import config_settings as config_settings
from .state import load_state as load_state
from .state import state_to_save as state_to_save
