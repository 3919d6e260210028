from .comparison import WeightComparison as WeightComparison
from .comparison import compare_weights as compare_weights
from .pairs import pair_table as pair_table
from .table import CELLS as CELLS
from .table import LEADING as LEADING
from .table import THRESHOLD as THRESHOLD
from .table import UpdateTables as UpdateTables
from .table import update_tables as update_tables
