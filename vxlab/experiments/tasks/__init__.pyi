from .copies import Ids as Ids
from .rows import KINDS as KINDS
from .sets import GLUE_TASKS as GLUE_TASKS
from .sets import glue_name as glue_name
from .splits import sample as sample
from .splits import stratified_order as stratified_order
from .task import Task as Task
from .task import load_task as load_task
