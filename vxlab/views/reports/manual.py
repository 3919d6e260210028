"""Links from a notebook in JupyterLab to the manual that lies beside it."""

from typing import TYPE_CHECKING

from vxlab.paths import shipped_path
from vxlab.progress import in_live_notebook

if TYPE_CHECKING:
    from IPython.display import Markdown

_PAGES = {
    "start": "Start",
    "own_model_and_data": "Your own model and data",
    "comparing": "Comparing fairly",
    "how_many_seeds": "How many seeds",
    "explorers": "Explorers",
    "why": "Why it works",
    "rank_advice": "Rank advice",
    "in_and_out": "In and out",
    "extending/index": "Extending",
    "glossary": "Glossary",
}


def link_manual() -> "Markdown":
    """Return links to the manual's pages for a checkout's notebook, as ``make docs`` has built them, or their sources.

    Empty where there are none to open: in an installed package, and in a report, which may be read anywhere.
    """
    from IPython.display import Markdown

    docs, built = shipped_path("docs"), shipped_path("docs", "_build", "index.html").is_file()
    if not in_live_notebook() or not (docs / "index.md").is_file():
        return Markdown("")  # type: ignore[no-untyped-call]
    links = [f"[{title}](../docs/{f'_build/{page}.html' if built else f'{page}.md'})" for page, title in _PAGES.items()]
    told = "" if built else " `make docs` builds them as pages."
    return Markdown(f"**The manual:** {' · '.join(links)}.{told}")  # type: ignore[no-untyped-call]
