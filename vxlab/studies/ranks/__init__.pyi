from .capture import captured_table as captured_table
from .table import FAMILIES as FAMILIES
from .table import RankTables as RankTables
from .table import rank_tables as rank_tables
