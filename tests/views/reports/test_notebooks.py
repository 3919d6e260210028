import subprocess
import sys
from pathlib import Path

import pytest
import toy_notebooks as toy
from nbformat.v4 import new_notebook

from vxlab import VxlabError
from vxlab.views.reports import notebooks


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("01_fine_tune", "02_spectra"):
        toy.write(folder / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "shipped_path", lambda *parts: tmp_path.joinpath("shipped", *parts[1:]))
    return folder


@pytest.mark.parametrize("name", ["01_fine_tune", "01_fine_tune.ipynb"])
def test_a_shipped_notebook_is_found_with_and_without_its_ending(shipped: Path, name: str) -> None:
    assert notebooks.find(name) == shipped / "01_fine_tune.ipynb"


def test_a_notebook_of_ones_own_is_found_by_its_path(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = toy.write(tmp_path / "mine.ipynb")
    monkeypatch.chdir(tmp_path)
    assert notebooks.find("mine.ipynb") == notebooks.find(own) == own


def test_an_unknown_notebook_names_the_nearest(shipped: Path) -> None:
    with pytest.raises(VxlabError, match=r"no notebook '01_finetune'; did you mean '01_fine_tune'\?"):
        notebooks.find("01_finetune")
    with pytest.raises(VxlabError, match="no notebook 'qqqq'; shipped: 01_fine_tune, 02_spectra"):
        notebooks.find("qqqq")


@pytest.mark.parametrize("content", [b"", b"no json", b'{"cells": 3}', b"[]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.ipynb"
    path.write_bytes(content)
    with pytest.raises(VxlabError, match=r"broken\.ipynb is not a Jupyter notebook"):
        notebooks.load(path)


def test_heading_and_question_come_out_as_plain_text(tmp_path: Path) -> None:
    notebook = notebooks.load(toy.write(tmp_path / "a.ipynb"))
    assert notebooks.heading(notebook) == "What does rank buy?"
    assert notebooks.question(notebook) == "Does more rank help, and by how much?"


def test_reading_a_notebook_compiles_no_grammar_and_hides_none() -> None:
    program = (
        "import sys; from vxlab.views.reports.notebooks import find, load; load(find('01_fine_tune'));"
        "print([name for name in sys.modules if name.startswith('rfc3987_syntax')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    sources = ["# Title", "## Conclusion", "### In detail", "words", "## How to read on"]
    notebook = new_notebook(cells=[toy.text(source) for source in sources])
    assert [cell.source for cell in notebooks.section(notebook, "conclusion")] == sources[1:4]
    assert notebooks.section_start(notebook, "Conclusion") == 1
    assert notebooks.section(notebook, "Nothing") == []
    assert notebooks.section_start(notebook, "Nothing") == 5
