from .bank import AdapterBank as AdapterBank
from .layout import RowLayout as RowLayout
from .layout import RowPlace as RowPlace
