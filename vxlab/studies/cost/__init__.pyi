from .claims import beside_papers as beside_papers
from .conclusion import SMOKE as SMOKE
from .conclusion import cost_conclusion as cost_conclusion
from .conclusion import left_out as left_out
from .conclusion import measured_rows as measured_rows
