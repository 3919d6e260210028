"""The manual's own method, in every place that takes a method by its name."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_notebooks
import toy_runs
from manual import DOCS, blocks

import vxlab
from vxlab.adapters import METHODS
from vxlab.adapters.methods.imports import import_methods, pass_on_imports
from vxlab.cli import main
from vxlab.experiments.costs.by_rank import rank_costs
from vxlab.experiments.costs.step import random_batch
from vxlab.experiments.method_names import family_name, method_label
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.trained import layer_updates, load_trained, trained_updates
from vxlab.experiments.sweeps.stored_scores import is_usual, stored_candidates
from vxlab.studies.capture import capture_table
from vxlab.studies.ranks.table import FAMILIES, known_families, rank_tables
from vxlab.views.reports.make_report import report

PAGE = DOCS / "extending" / "family.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The manual's module, imported, in a folder of its own."""
    folder, path, methods = tmp_path_factory.mktemp("own"), list(sys.path), dict(METHODS)
    ((_, source),) = blocks(PAGE, "python")
    (folder / "my_methods.py").write_text(source)
    import_methods(["my_methods"], folder)
    yield folder
    METHODS.clear()
    METHODS.update(methods)
    sys.path[:] = path
    del sys.modules["my_methods"]


@pytest.fixture(scope="module")
def swept(folder: Path, tiny_model: str, toy_task: str) -> tuple[pd.DataFrame, Path]:
    """A run of each candidate of the manual's sweep, on the tiny model, in worker processes; and their store."""
    ((_, candidates),) = blocks(PAGE, "yaml")
    settings = {"model": tiny_model, "task": toy_task, "epochs": 1, "batch_size": 8, "max_length": 16, "device": "cpu"}
    budget = {"learning_rates": 1, "report_seeds": 1, "widen": 0}
    lines = [f"{name}: {value}" for name, value in (settings | budget).items()]
    (folder / "sweep.yaml").write_text("\n".join(lines) + "\n" + candidates)
    del sys.modules["my_methods"], METHODS["frozen_a"]  # the file's imports: bring it
    fair = vxlab.read_sweep(folder / "sweep.yaml")
    assert isinstance(fair, vxlab.FairSweep)
    specs = [fair.spec(each, each.centre, fair.head_learning_rates[0], 0) for each in fair.names.values()]
    return vxlab.sweep(specs, store=folder / "runs", engine="processes"), folder / "runs"


@pytest.fixture(scope="module")
def record(swept: tuple[pd.DataFrame, Path]) -> vxlab.RunRecord:
    runs, _ = swept
    found = vxlab.RunRecord.load(Path(runs[runs["label"] == "frozen_a r=8"]["folder"].iloc[0]))
    assert found is not None
    return found


def test_a_sweep_file_imports_it_and_workers_train_it(swept: tuple[pd.DataFrame, Path]) -> None:
    runs, _ = swept
    assert set(runs["status"]) == {"finished"}
    own = runs[runs["method"] == "frozen_a"]
    assert set(own["label"]) == {"frozen_a r=2", "frozen_a r=8"}
    assert set(own["backbone"]) == {2 * 2 * 32 * 2, 2 * 2 * 32 * 8}


def test_what_it_trained_is_loaded_by_its_name(record: vxlab.RunRecord) -> None:
    model = load_trained(record)
    assert model.vxlab_attachment.method == vxlab.method_from_name("frozen_a", rank=8)
    assert len(trained_updates(record)) == 4
    updates = layer_updates(model)
    assert (updates["relative_norm"] > 0).all()
    assert updates["d_norm"].isna().all()


def test_every_explorer_shows_it(record: vxlab.RunRecord, swept: tuple[pd.DataFrame, Path], tiny_model: str) -> None:
    _, store = swept
    ranks: Any = vxlab.explore_rank(tiny_model, store=store, interactive=False)
    told = ranks.to_json()
    assert "frozen_a r=8" in told
    assert stored_candidates(store, tiny_model).table["family"].tolist().count("frozen_a") == 2
    assert vxlab.explore_updates(record, store=store, interactive=False).data
    assert vxlab.explore_subspaces(record, store=store, interactive=False).data
    assert "frozen_a" in vxlab.explore_sweep(store, interactive=False).to_json()


def test_the_rank_table_has_its_own_count(folder: Path, tiny_model: str) -> None:
    assert known_families() == (*FAMILIES, "frozen_a")
    sizes = rank_tables(vxlab.load_model(tiny_model, 2), ranks=[1, 8, 100]).sizes
    own = sizes[(sizes["family"] == "frozen_a") & (sizes["targets"] == "query-value")]
    assert dict(zip(own["rank"], own["backbone"], strict=True)) == {1: 4 * 32, 8: 4 * 32 * 8}


def test_the_rank_explorer_says_what_it_does_not_know_of_it(folder: Path, tiny_model: str) -> None:
    model = vxlab.load_model(tiny_model, 2)
    gradients = {name: layer.weight.detach() for name, layer in vxlab.resolve_targets(model, "query-value").items()}
    shown: Any = vxlab.explore_rank(model, ranks=[1], gradients=gradients, interactive=False)
    told = shown.to_json()
    assert "Of the first gradient: not known for frozen_a, a family of your own" in told
    assert "is in reach at the start" in told


def test_names_and_usual_settings_are_known(folder: Path) -> None:
    settings = {"name": "frozen_a", "rank": 3, "seed": 1}
    assert (method_label(settings), family_name(settings)) == ("frozen_a r=3", "frozen_a")
    assert is_usual(settings)
    assert not is_usual({**settings, "gone": 1})


def test_costs_are_measured_and_shares_of_the_gradient_are_refused(folder: Path, tiny_model: str) -> None:
    model = vxlab.load_model(tiny_model, 2)
    methods: Any = [vxlab.method_from_name("frozen_a", rank=2)]
    table = rank_costs(model, methods, random_batch(model, 2, 4), "query-value", rounds=1, progress=False)
    assert list(table["label"]) == ["frozen model", "head only", "frozen_a r=2", "full fine-tuning"]
    assert not table["error"].any()
    gradients = {name: layer.weight.detach() for name, layer in vxlab.resolve_targets(model, "query-value").items()}
    with pytest.raises(vxlab.VxlabError, match="whose tangent space is not known here"):
        capture_table(model, gradients, methods)


def test_a_recipe_takes_it_with_a_rate(folder: Path) -> None:
    spec = vxlab.recipe("frozen_a", rank=4, learning_rate=4e-3)
    assert (spec.method.settings(), spec.head_learning_rate) == ({"rank": 4, "seed": 0}, 5e-3)
    with pytest.raises(vxlab.VxlabError, match="method='frozen_a' has no usual learning rate here; give learning_rate"):
        vxlab.recipe("frozen_a")
    with pytest.raises(vxlab.VxlabError, match="no usual learning rate here; name the middle of its range"):
        vxlab.fair_recipe("small", others=["frozen_a"])


@pytest.mark.parametrize(("method", "rate"), [("lidb", 6e-3), ("bitfit", 2e-3), ("peft:dora", 2e-3)])
def test_a_recipe_takes_every_method_whose_rate_is_known(method: str, rate: float) -> None:
    spec = vxlab.recipe(method)
    assert (spec.method.name, spec.learning_rate) == (method, rate)


def test_its_code_is_in_the_key_and_its_settings_are_as_before(
    folder: Path, tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(method: Any) -> Any:
        return Materials().job(toy_runs.spec(tiny_model, toy_task, method=method))

    own: Any = METHODS["frozen_a"]
    before, lora = job(own()), job(vxlab.LoRA())
    assert before.key == job(own()).key
    assert "code" not in lora.identity
    monkeypatch.setattr(own, "trained", lambda self, shape: {"B": 0 * own.factors})
    after = job(own())
    assert after.key != before.key
    assert {name for name in after.identity if after.identity[name] != before.identity[name]} == {"code"}


def test_a_method_that_is_not_registered_is_refused_before_it_trains(
    folder: Path, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=METHODS["frozen_a"]())
    monkeypatch.delitem(METHODS, "frozen_a")
    for train in (lambda: vxlab.run(spec, store=tmp_path), lambda: vxlab.sweep([spec], store=tmp_path)):
        with pytest.raises(vxlab.VxlabError, match="FrozenA is not registered, so what it trains could not be loaded"):
            train()


def test_ray_passes_where_it_lives_and_not_what_it_is(folder: Path) -> None:
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    packed = cloudpickle.dumps(vxlab.RunSpec(method=METHODS["frozen_a"](), learning_rate=1, head_learning_rate=1))
    assert str(folder).encode() in packed
    assert b"parameter_count" not in packed
    assert pickle.loads(packed).method == METHODS["frozen_a"]()


def test_a_process_that_is_told_what_to_import_knows_it(folder: Path, tmp_path: Path) -> None:
    told = "import vxlab; print(vxlab.method_from_name('frozen_a'))"
    variables = os.environ | pass_on_imports()
    run = subprocess.run([sys.executable, "-c", told], env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.strip() == "FrozenA(rank=8, seed=0)", run.stderr


def test_the_command_line_imports_it_for_sweeps_and_reports(
    swept: tuple[pd.DataFrame, Path], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = (folder / "sweep.yaml").read_text().replace("imports: my_methods.py\n", "")
    (folder / "plain.yaml").write_text(text)
    monkeypatch.delitem(METHODS, "frozen_a")
    assert main(["sweep", "plain.yaml", "--store", "runs", "--plan"]) == 2
    assert "method='frozen_a' is unknown" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "my_methods")
    assert main(["sweep", "plain.yaml", "--store", "runs", "--plan", "--import", "my_methods.py"]) == 0
    assert "8 runs: 4 to tune and 4 to report" in capsys.readouterr().out
    assert main(["report", "01_fine_tune", "--parameters", "--import", "nowhere.py"]) == 2
    assert "nowhere.py is no .py file" in capsys.readouterr().err


def test_a_notebook_that_a_report_runs_has_it(folder: Path, tmp_path: Path) -> None:
    cell = toy_notebooks.code("import vxlab\nprint(vxlab.method_from_name(method))")
    notebook = toy_notebooks.write(tmp_path / "own.ipynb", cell)
    page = report(notebook, {"method": "frozen_a"}, folder=tmp_path / "reports")
    assert "FrozenA(rank=8, seed=0)" in page.read_text()


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ("8", "imports=8.* is no list of modules"),
        ("[nowhere]", "no such module in"),
        ("{a: b}", "is no list of modules"),
    ],
)
def test_imports_that_cannot_be_meant_are_refused(imports: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(f"imports: {imports}\ncandidates: [{{method: lora}}]\n")
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.read_sweep(tmp_path / "sweep.yaml")
