"""Timed steps both ways, on texts of exactly the length that is asked for."""

from pathlib import Path

import pytest
import toy_runs

import vxlab
from vxlab.experiments.stacking.typical import typical_batch
from vxlab.studies.many import pace, stacking_pace


def test_every_batch_and_width_is_timed_in_every_round(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def time_stack(jobs, materials):
        batch = typical_batch(jobs[0], materials)["input_ids"]
        seen.append((len({job.spec.seed for job in jobs}), tuple(batch.shape)))
        assert batch.ne(materials.tokenizer(jobs[0].spec).pad_token_id).all()
        return _time_stack(jobs, materials)

    _time_stack = pace.time_stack
    monkeypatch.setattr(pace, "time_stack", time_stack)
    spec = toy_runs.spec(tiny_model, toy_task, eval_examples=3)
    table = stacking_pace([spec], [(2, 8), (4, 12)], [2, 3], rounds=2, folder=tmp_path, progress=False)
    assert seen == 2 * [(2, (2, 8)), (3, (2, 8)), (2, (4, 12)), (3, (4, 12))]
    assert table[["texts", "tokens", "width"]].values.tolist() == [[2, 8, 2], [2, 8, 3], [4, 12, 2], [4, 12, 3]]
    assert all(len(each) == 2 and min(each) > 0 for name in ("alone", "stacked") for each in table[name])
    assert set(table["reason"]) == {""}
    assert list(tmp_path.iterdir()) == []


def test_runs_that_train_alone_say_why(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRA(rank=2), gradient_accumulation=2)
    (row,) = stacking_pace([spec], [(4, 8)], [2], rounds=1, folder=tmp_path, progress=False).to_dict("records")
    assert "gradient_accumulation" in row["reason"]
    assert row["alone"] == ()
