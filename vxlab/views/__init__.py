"""What a reader sees: figures of tables, explorers, pages of executed notebooks, and files to keep."""

import lazy_loader

from vxlab.progress import in_live_notebook

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if in_live_notebook():  # where plotly shows a figure, and nowhere else
    from vxlab.views.style import show_themed

    show_themed()
