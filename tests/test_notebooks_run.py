"""Every notebook runs from its first cell to its last at smoke scale, and makes its page."""

from pathlib import Path

import nbformat
import pytest
import toy_task_grid
from stub_judge import stub_judge
from toy_bench import write_bench

import vxlab
from vxlab.views.reports import notebooks
from vxlab.views.reports.make_report import report

# A tiny model, which the test fills in, and the kernel's own process halve the time of dozens of runs.
_OWN = {"model": "a model of one's own"}
_VARIANTS = {
    "01_fine_tune": [
        {"method": "vera"},
        *({"method": name, **_OWN} for name in ("lora", "lora_xs", "head", "probe", "full")),
    ],
    "03_subspaces": [{"engine": "inline", **_OWN}],
    "04_weight_similarity": [{"engine": "inline", **_OWN}],
    "05_expressivity": [_OWN],
    "06_start_and_parts": [{"engine": "inline", **_OWN}],
    "08_many_adapters": [{"engine": "inline", **_OWN}],
    "09_rank_advice": [{"engine": "inline", **_OWN}],
    "13_images": [{"engine": "inline"}],
    "14_quantised": [{"engine": "inline", **_OWN}],
    "15_atlas": [{"store": "runs that nobody trained"}],
}
_ALIKE = ("15_atlas",)  # they train nothing, so that a smoke run's numbers mean as much as any
_SLOW = ("lora", "lora_xs")  # they show what VeRA's report shows
_RUNS = [
    pytest.param(
        name, values, id="-".join([name, *values.values()]), marks=[pytest.mark.slow] * (values.get("method") in _SLOW)
    )
    for name in notebooks.names()
    for values in _VARIANTS.get(name, [{}])
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: the run of the head alone, which every method is compared with, is trained once a model."""
    return tmp_path_factory.mktemp("reports")


@pytest.mark.parametrize(("name", "values"), _RUNS)
def test_notebook_runs_at_smoke_scale(name: str, values: dict[str, str], reports: Path, tiny_model: str) -> None:
    own = {"model": tiny_model} if "model" in values else {}
    own |= {"store": _several_tasks(reports)} if "store" in values else {}
    page = report(name, {"scale": "smoke", **values, **own}, folder=reports)
    html = page.read_text(encoding="utf-8")
    assert ("<strong>Smoke run.</strong>" in html) == (name not in _ALIKE)
    assert ("Its numbers mean nothing." in html) == (name not in _ALIKE)
    assert 'id="figure-1"' in html
    assert "Traceback" not in html
    assert _stderr(page.with_suffix(".ipynb")) == ""


@pytest.mark.slow
def test_instructions_are_judged_where_a_judge_is_given(reports: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", encoding="utf-8")
    with stub_judge() as judge:
        values = {
            "scale": "smoke", "chat_template": str(template), "methods": ["base", "lora"], "lora_ranks": [2],
            "judge_url": judge.url, "judge_model": "stub", "judge_tokens": 8,
            "judge_folder": write_bench(tmp_path / "bench"),
        }  # fmt: skip
        html = report("11_instructions", values, folder=reports).read_text(encoding="utf-8")
    assert "MT-Bench, rated 1 to 10 by stub (answered as stub-0613)" in html
    assert html.index("untuned base") < html.index("LoRA r=2")
    assert "No judge was given" not in html


def _several_tasks(folder: Path) -> str:
    """Return a store of few candidates on three tasks, of which one lacks on one and another ran on it alone."""
    few = toy_task_grid.grid(full=False)
    with vxlab.Store(folder / "tasks" / "runs.db") as store:
        toy_task_grid.fill(store, {"reviews": few, "pairs": few[:-1], "questions": few}, items=120, seeds=2)
        toy_task_grid.fill(store, {"alone": few[:1]}, items=120, seeds=2)
        return str(folder / "tasks" / "runs.db")


def _stderr(notebook: Path) -> str:
    """Return what a reader of the notebook would meet as warnings."""
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
