"""Errors as notebooks and terminals show them."""

import sys
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import vxlab

RAISING = "import vxlab\ndef chosen(rank):\n    return vxlab.LoRA(rank=rank)\nchosen('<b>')"


def test_a_notebook_shows_the_sentence_and_folds_the_traceback() -> None:
    client = NotebookClient(new_notebook(cells=[new_code_cell(RAISING)]), kernel_name="python3", allow_errors=True)
    folded, error = client.execute().cells[0].outputs
    assert error.output_type == "error"
    assert (error.ename, len(error.traceback)) == ("VxlabError", 1)
    assert error.traceback[0].endswith(error.evalue)
    assert error.evalue.startswith("LoRA rank='<b>'")
    shown = folded.data["text/html"]
    assert shown.startswith("<details><summary>")
    assert "in chosen" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown


def test_later_cells_do_not_run_after_such_an_error() -> None:
    notebook = new_notebook(cells=[new_code_cell(RAISING), new_code_cell("print('on')")])
    with pytest.raises(Exception, match="VxlabError"):
        NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[1].outputs == []
    nbformat.validate(notebook)


def test_a_terminal_shows_the_whole_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(*error: Any) -> list[str]:
        return [error[0].__name__, str(error[1])]

    shell = SimpleNamespace(InteractiveTB=SimpleNamespace(structured_traceback=written))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert vxlab.VxlabError("rank=0")._render_traceback_() == ["VxlabError", "rank=0"]
