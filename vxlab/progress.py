"""One progress bar that suits the place: a widget in JupyterLab, one line elsewhere."""

import os
import sys
from typing import Any

HEADLESS = "VXLAB_HEADLESS"
"""Set in the environment of a notebook that runs with nobody watching: widgets would not show in its page."""


def progress_bar(total: int, description: str, unit: str, delay: float = 0.0, shown: bool = True) -> Any:
    """Return a tqdm bar: a widget in a live notebook, else plain text on standard output with few updates.

    Args:
        total: number of units to do.
        description: what is being done.
        unit: what one update counts.
        delay: seconds before it shows; what is done by then needs no bar.
        shown: False for a bar that only counts.
    """
    common: dict[str, Any] = {"total": total, "desc": description, "unit": unit, "delay": delay, "disable": not shown}
    if in_live_notebook():
        from tqdm.auto import tqdm

        return tqdm(**common)
    from tqdm import tqdm as plain

    return plain(**common, file=sys.stdout, mininterval=5.0 if headless() else 0.5, ncols=120)


def headless() -> bool:
    """Say whether nobody watches: neither a live notebook nor a terminal."""
    return not in_live_notebook() and not sys.stdout.isatty()


def in_live_notebook() -> bool:
    """Say whether somebody sits at this notebook: a kernel runs it, and not to write a report."""
    # An imported ipykernel says nothing: papermill imports it too. Only a shell with a kernel is a notebook.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and not os.environ.get(HEADLESS)
