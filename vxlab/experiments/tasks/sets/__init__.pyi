from .e2e import read_e2e as read_e2e
from .glue import GLUE_TASKS as GLUE_TASKS
from .glue import glue_name as glue_name
from .glue import read_glue as read_glue
from .rotten_tomatoes import read_rotten_tomatoes as read_rotten_tomatoes
