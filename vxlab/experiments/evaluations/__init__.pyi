from .differences import paired_differences as paired_differences
from .evaluate import evaluate as evaluate
from .evaluate import evaluate_on as evaluate_on
from .local_task import LocalTask as LocalTask
from .outside_tasks import OutsideTask as OutsideTask
from .outside_tasks import load_outside_tasks as load_outside_tasks
from .results import Evaluations as Evaluations
