from .head import StackedHead as StackedHead
from .layer import StackedLinear as StackedLinear
from .operation import Link as Link
from .operation import chain_links as chain_links
from .operation import stacked_linear as stacked_linear
from .shared_product import SharedProduct as SharedProduct
from .stack import Stack as Stack
from .stack import stack_adapters as stack_adapters
