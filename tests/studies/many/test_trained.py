"""Trained adapters answer from the bank as they did alone: each its own texts, whoever shares the batch."""

from pathlib import Path

import pytest
import toy_runs

import vxlab
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import finished_run
from vxlab.studies.many import scores_from_bank

Trained = tuple[list[RunRecord], dict[str, vxlab.RunSpec]]


@pytest.fixture(scope="module")
def trained(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return runs of two methods and two seeds, and of another task with as many classes, and fewer test rows."""
    folder = tmp_path_factory.mktemp("many")
    other = toy_runs.write_task(folder / "other", ("dull", "bright"))
    methods = [vxlab.LoRA(rank=2), vxlab.VeRA(rank=4)]
    specs = [
        toy_runs.spec(tiny_model, toy_task, method=method, seed=seed, epochs=1) for method in methods for seed in (0, 1)
    ]
    specs.append(toy_runs.spec(tiny_model, other, method=methods[0], epochs=1, eval_examples=15))
    table = vxlab.sweep(specs, store=folder / "runs.db", progress=False)
    records = [finished_run(row, folder / "runs.db") for row in table.to_dict("records")]
    return records, {record.key: spec for record, spec in zip(records, specs, strict=True)}


def test_every_score_is_the_runs_own(trained: Trained, tmp_path: Path) -> None:
    table = scores_from_bank(*trained, rows=7, folder=tmp_path, progress=False)
    assert len(table) == 5
    assert table["same"].all()
    assert (table["changed"] == 0).all()
    assert table["difference"].between(0, 1e-5).all()
    own = {record.key: (record.score(), len(record.predictions()[1])) for record in trained[0]}
    assert {row["key"]: (row["banked"], row["items"]) for row in table.to_dict("records")} == own
    assert len(set(table["items"])) == 2
    assert list(tmp_path.iterdir()) == []


def test_another_adapter_under_a_runs_name_is_seen(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, specs = trained
    first, second = records[:2]
    folders = {each.key: each.adapter_folder() for each in records} | {first.key: second.adapter_folder()}
    monkeypatch.setattr(RunRecord, "adapter_folder", lambda record: folders[record.key])
    table = scores_from_bank(records, specs, rows=8, folder=tmp_path, progress=False).set_index("key")
    assert table.loc[first.key, "difference"] > 1e-3
    assert (table.drop(first.key)["difference"] < 1e-5).all()


def test_runs_of_several_models_have_no_one_bank(trained: Trained) -> None:
    records, specs = trained
    changed = specs | {records[0].key: toy_runs.spec("another", "task")}
    with pytest.raises(vxlab.VxlabError, match="5 runs of several models"):
        scores_from_bank(records, changed, rows=8, progress=False)
    with pytest.raises(vxlab.VxlabError, match="0 runs of several models, or of none"):
        scores_from_bank([], {}, rows=8, progress=False)
