from .files import export_figure as export_figure
from .files import export_table as export_table
from .image import draw_image as draw_image
