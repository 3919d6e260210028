from .judge import NO_JUDGE as NO_JUDGE
from .judge import Judge as Judge
from .judge_runs import judge_runs as judge_runs
from .ratings import Ratings as Ratings
