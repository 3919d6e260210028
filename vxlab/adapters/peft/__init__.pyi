from .method import PEFT as PEFT
from .settings import rank_setting as rank_setting
