"""``fresh`` and ``train`` mean the same to a run, a sweep and a comparison."""

import re
from pathlib import Path
from typing import Any

import pytest
import toy_runs

import vxlab
from vxlab import VxlabError
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.store.leases import new_owner
from vxlab.experiments.store.store import Store


def _each(spec: vxlab.RunSpec) -> list[Any]:
    """Return calls that each ask for runs of a spec alone: one, a sweep, and a comparison at one rate and seed."""
    fair = vxlab.FairSweep(
        candidates=[vxlab.Candidate(spec.method, learning_rate=spec.learning_rate)],
        learning_rates=1, tuning_seeds=1, report_seeds=1, widen=0, head_learning_rates=(spec.head_learning_rate,),
        settings={n: getattr(spec, n) for n in ("model", "task", "epochs", "batch_size", "max_length", "targets")},
    )  # fmt: skip
    return [
        lambda **more: vxlab.run(spec, progress=False, **more),
        lambda **more: vxlab.sweep([spec], progress=False, **more),
        lambda **more: vxlab.compare(fair, progress=False, **more),
    ]


def _times(store: Path) -> list[float]:
    with Store(store) as results:
        return sorted(results.table()["train_seconds"])


def test_all_three_take_the_same_two_words(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    for number, call in enumerate(_each(toy_runs.spec(tiny_model, toy_task, epochs=1))):
        store = tmp_path / str(number)
        with pytest.raises(VxlabError, match="fresh=True trains again, and train=False trains nothing; give one"):
            call(store=store, fresh=True, train=False)
        with pytest.raises(VxlabError, match=r"train=False, and .* lacks 1 of 1 runs: LoRA r=4.* at .*, seed 0; train"):
            call(store=store, train=False)
        call(store=store)
        first = _times(store)
        call(store=store, train=False)
        call(store=store)
        assert _times(store) == first
        call(store=store, fresh=True)
        assert not set(_times(store)) & set(first)  # every run, those of later stages too


def test_what_is_trained_by_another_process_is_not_trained_again(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    vxlab.sweep([spec], store=tmp_path, progress=False)
    other = toy_runs.spec(tiny_model, toy_task, epochs=1, seed=1)
    with Store(tmp_path) as store:
        job = Materials().job(other)
        store.lease(job.key, other.settings(), job.identity, new_owner(), failed_before=None)
        with pytest.raises(VxlabError, match=re.escape(f"run {job.key[:12]} is being trained by process")):
            vxlab.sweep([spec, other], store=store, progress=False, fresh=True)
        assert store.table()["status"].tolist() == ["finished", "running"]  # and the first is as it was
