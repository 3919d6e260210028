"""What every committed notebook is like: no outputs, readable parameters, short definitions."""

import ast
import json
from pathlib import Path

import nbformat
import papermill
import pytest

from vxlab.paths import shipped_path
from vxlab.views.reports.parameters import read

NOTEBOOKS = sorted(shipped_path("notebooks").glob("*.ipynb"))
LONGEST_LINE = 100  # columns of code that fit beside a browser's margins
LONGEST_DEFINITION = 12  # lines, and only where the definition is the experiment: the rest belongs in the library

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def _code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_it_is_valid_and_holds_no_outputs_counts_or_traces_of_a_run(path):
    nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
    assert all(cell.outputs == [] and cell.execution_count is None for cell in _code(path))
    cells = nbformat.read(path, as_version=4).cells
    noted = {key for cell in cells for key in cell.metadata} - {"tags"}
    assert not noted, f"cell metadata {noted}"


@each_notebook
def test_its_metadata_is_the_python3_kernel_and_nothing_of_papermill(path):
    metadata = nbformat.read(path, as_version=4).metadata
    assert set(metadata) <= {"kernelspec", "language_info"}
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info.name == "python"


@each_notebook
def test_one_cell_holds_parameters_that_parse_and_say_what_they_are(path):
    tagged = [cell for cell in _code(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    parameters = read(path)
    assert [name for name, parameter in parameters.items() if not parameter.help] == []
    needless = "#", "from typing import Optional"
    lines = [line for line in tagged[0].source.splitlines() if line.strip() and not line.startswith(needless)]
    assert len(lines) == len(parameters), "the parameters cell holds something else, or a parameter of several lines"


@each_notebook
def test_papermill_lists_every_parameter_as_we_do_and_warns_of_none(path, caplog):
    ours = read(path)
    theirs = papermill.inspect_notebook(path)
    assert {name: each["help"] for name, each in theirs.items()} == {name: each.help for name, each in ours.items()}
    assert [name for name, each in theirs.items() if each["inferred_type_name"] == "None"] == []
    values = {name: each.default for name, each in ours.items()}
    papermill.execute_notebook(path, None, values, prepare_only=True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


@each_notebook
def test_its_scale_is_a_parameter_and_small_by_default(path):
    scale = read(path)["scale"]
    assert (scale.hint, scale.default) == ("str", "small")
    assert "smoke" in scale.help


@each_notebook
def test_it_opens_with_a_heading_and_a_question(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "?" in first.source


@each_notebook
def test_it_defines_nothing_long(path):
    for cell in _code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= LONGEST_DEFINITION, f"{node.name} has {lines} lines: move it into the library"


@each_notebook
def test_its_lines_of_code_fit_a_screen(path):
    lines = [line for cell in _code(path) for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > LONGEST_LINE] == []
