"""What a reader sees: figures of tables, explorers, pages of executed notebooks, and files to keep."""

import importlib
from typing import TYPE_CHECKING

from vxlab.progress import in_live_notebook

if TYPE_CHECKING:
    from vxlab.views.reports.run_facts import what_made
    from vxlab.views.style.markdown import Markdown
    from vxlab.views.style.table import show

_LAZY = {
    "Markdown": "vxlab.views.style.markdown",
    "show": "vxlab.views.style.table",
    "what_made": "vxlab.views.reports.run_facts",
}

__all__ = ["Markdown", "show", "what_made"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'vxlab.views' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


if in_live_notebook():  # where plotly shows a figure, and nowhere else
    from vxlab.views.style.renderer import show_themed

    show_themed()
