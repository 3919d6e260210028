"""A page for every notebook, from its committed figures and answer, and one of the data and the atlas: nothing is run.

The manual's own pages link to the committed files, so that these links hold where the files are read, too; on their way
into the manual they become links to its pages.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

from vxlab.views.reports import notebooks

ROOT = Path(__file__).parents[2]
FOLDER = "notebooks"
COPIED = {"data.md": ROOT / "data" / "README.md", "atlas.md": ROOT / "data" / "atlas" / "README.md"}
"""Pages that lie beside what they are about."""
_IMAGE = re.compile(r"(?<=\]\()([\w.-]+\.png)(?=\))")
_COMMITTED = re.compile(r"\]\(((?:\.\./)+)figures/(\w+)\.md\)")
_DATA = re.compile(r"\]\(((?:\.\./)+)data/README\.md(#[\w-]+)?\)")
_ATLAS = re.compile(r"\]\(((?:\.\./)+)data/atlas/README\.md(#[\w-]+)?\)")


def write_pages(app: Sphinx) -> None:
    """Write the pages of all notebooks, their index, and those of the data; leave alone what is as it was."""
    folder = Path(app.srcdir, FOLDER)
    folder.mkdir(exist_ok=True)
    texts = {f"{name}.md": _page(name) for name in notebooks.names()}
    texts["index.md"] = _index()
    for stray in set(folder.iterdir()) - {folder / name for name in texts}:
        stray.unlink()
    places = {folder / name: text for name, text in texts.items()}
    for name, source in COPIED.items():
        text = source.read_text(encoding="utf-8").replace("](../README.md)", "](data.md)")
        places[Path(app.srcdir, name)] = text.replace("](../../", "](../")
    for place, text in places.items():
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def _page(name: str) -> str:
    committed = ROOT / "figures" / f"{name}.md"
    if committed.is_file():
        return _IMAGE.sub(r"../../figures/\1", committed.read_text(encoding="utf-8"))
    notebook = notebooks.load(notebooks.find(name))
    told = "Nothing of it is shown here. To see it:"
    opened = "vxlab lab" if name == "00_start" else f"vxlab report {name}"
    return f"# {notebooks.heading(notebook)}\n\n{notebooks.question(notebook)}\n\n{told}\n\n```\n{opened}\n```\n"


def _index() -> str:
    rows = [f"- [{name}]({name}.md): {notebooks.heading(notebooks.load(notebooks.find(name)))}"
            for name in notebooks.names()]  # fmt: skip
    listed = "\n".join(notebooks.names())
    return f"""# Notebooks

Each asks a question, and ends in an answer that is computed from its numbers. `vxlab lab` opens them, `vxlab report
NAME` makes a page of one, with your parameters; {{py:obj}}`vxlab.views.reports.report` does so from Python.
The pages here are from committed runs at scale `small`, each with its parameters and the machine that it ran on.

{chr(10).join(rows)}

```{{toctree}}
:hidden:

{listed}
```
"""


def link_to_pages(app: Sphinx, name: str, content: list[str]) -> None:
    """Turn a page's links to committed files into links to what is made of them."""
    content[0] = _COMMITTED.sub(lambda found: f"]({found[1][3:]}{FOLDER}/{found[2]}.md)", content[0])
    content[0] = _DATA.sub(lambda found: f"]({found[1][3:]}data.md{found[2] or ''})", content[0])
    content[0] = _ATLAS.sub(lambda found: f"]({found[1][3:]}atlas.md{found[2] or ''})", content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx when to write the pages and to change links."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", link_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
