from .head import StackedHead as StackedHead
from .layer import StackedLinear as StackedLinear
from .operation import Link as Link
from .operation import stacked_linear as stacked_linear
from .stack import Stack as Stack
from .stack import stack_adapters as stack_adapters
