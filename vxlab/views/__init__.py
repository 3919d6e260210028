"""What a reader sees: figures of tables, explorers, pages of executed notebooks, and files to keep."""

from typing import TYPE_CHECKING

from vxlab.lazy_names import offer_lazily
from vxlab.progress import in_live_notebook

if TYPE_CHECKING:
    from vxlab.views.reports.run_facts import what_made
    from vxlab.views.style.markdown import Markdown
    from vxlab.views.style.table import show

__all__ = ["Markdown", "show", "what_made"]

__getattr__, __dir__ = offer_lazily(__name__, __file__)

if in_live_notebook():  # where plotly shows a figure, and nowhere else
    from vxlab.views.style.renderer import show_themed

    show_themed()
