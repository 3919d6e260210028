"""Where a run's masks are others in a stack than alone, its key says so, and it is never trained in another way."""

from pathlib import Path

import pytest
import toy_runs

import vxlab
from vxlab.experiments.runs import Materials
from vxlab.experiments.stacking import alike, has_own_masks, masks, masks_differ, reason_alone, with_own_masks
from vxlab.experiments.sweeps import bundles


def test_masks_are_those_of_a_run_alone_on_a_processor(tiny_model: str, toy_task: str) -> None:
    materials = Materials()
    job = materials.job(toy_runs.spec(tiny_model, toy_task))
    assert not masks_differ(job, materials)
    owned = with_own_masks(job)
    assert owned.key != job.key
    assert has_own_masks(owned) > has_own_masks(job)


@pytest.mark.parametrize(("dropout", "drops"), [(0.0, False), (0.1, True)])
def test_on_a_gpu_they_are_where_anything_drops_out(
    dropout: float, drops: bool, tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    materials = Materials()
    spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRA(rank=2, dropout=dropout))
    job = replace(materials.job(spec), device="cuda")
    config = materials.base(spec).config
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        assert masks_differ(job, materials)
        monkeypatch.setattr(config, name, 0.0)
    for module in materials.base(spec).modules():
        if hasattr(module, "p"):
            monkeypatch.setattr(module, "p", 0.0)
    assert masks_differ(job, materials) == drops
    assert bool(reason_alone(job, materials)) == drops
    assert reason_alone(with_own_masks(job), materials) is None


def test_such_runs_have_a_key_of_their_own_and_train_in_a_stack_even_alone(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (masks, alike, bundles):
        monkeypatch.setattr(module, "masks_differ", lambda job, materials: True)
    specs = [toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRA(rank=2), epochs=1, seed=seed) for seed in range(3)]
    usual = vxlab.sweep(specs, store=tmp_path, progress=False)
    asked = vxlab.sweep(specs, store=tmp_path, progress=False, stack=2)
    assert not set(usual["key"]) & set(asked["key"])
    assert (asked["status"] == "finished").all()
    store = vxlab.Store(tmp_path)
    assert sorted(store.record(key).training["stacked"] for key in asked["key"]) == [1, 2, 2]
    assert all("stacked" not in store.record(key).training for key in usual["key"])
