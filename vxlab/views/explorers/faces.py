"""An explorer's two faces: widgets in a live notebook, and a figure with its own menu and slider elsewhere."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from vxlab.progress import in_live_notebook
from vxlab.views.explorers.explorer import Explorer
from vxlab.views.explorers.offline import explorer_figure

if TYPE_CHECKING:
    from vxlab.views.explorers.widget import ExplorerWidget


def explore(explorer: Explorer, interactive: bool | None = None) -> "go.Figure | ExplorerWidget":
    """Return an explorer's face: widgets, or a figure with its own menu and slider.

    Args:
        explorer: what there is to choose.
        interactive: widgets (needs a kernel), or the figure; None: widgets where there is a live notebook to show them.
    """
    if is_live(interactive):
        from vxlab.views.explorers.widget import ExplorerWidget

        return ExplorerWidget(explorer)
    return explorer_figure(explorer)


def is_live(interactive: bool | None) -> bool:
    """Say whether widgets are shown: as asked, or where there is a live notebook to show them."""
    return in_live_notebook() if interactive is None else interactive
