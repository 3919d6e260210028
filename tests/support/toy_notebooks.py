"""Small notebooks for the tests of reports, written as real files."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
rank: int = 8  # rank of the update
method: str = "vera"  # lora, vera or lora_xs
learning_rate: float = 1e-2  # of the adapter; a second = sign
seed: int | None = None  # none: drawn
kinds: list[str] = ["query", "value"]  # roles
sizes: list[int] = [8, 16]  # ranks to try
merged: bool = False  # merge before scoring
"""
FIGURE = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 3, 2]), layout={'title': 'Loss by step'})"
FAILING = "raise ValueError('no such column\\nsecond line')"


def write(path: Path, *cells: nbformat.NotebookNode, parameters: str | None = PARAMETERS) -> Path:
    """Write a notebook titled "What does rank buy?" with a parameters cell and the given cells."""
    opening = [new_markdown_cell("# What does *rank* buy?\n\nDoes **more rank** help,\nand by how much?")]
    if parameters is not None:
        opening.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    # Another kernel's name on purpose: a notebook keeps the one under which it was last saved.
    kernel = {"name": "somebody-elses", "display_name": "Somebody else's", "language": "python"}
    nbformat.write(new_notebook(cells=[*opening, *cells], metadata={"kernelspec": kernel}), path)
    return path


def code(source: str) -> nbformat.NotebookNode:
    return new_code_cell(source)


def text(source: str) -> nbformat.NotebookNode:
    return new_markdown_cell(source)
