"""Runs on quantised bases: trained, kept, loaded, compared, evaluated, and never taken for runs on others."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_runs
import toy_writers
from text_batches import text_batches

import vxlab
from vxlab.adapters.core import quantisation_of
from vxlab.experiments.models import check_merge
from vxlab.experiments.provenance import describe_mixture, name_candidates, require_comparable, run_facts, run_list
from vxlab.experiments.runs.gradients import weight_gradients
from vxlab.experiments.runs.trained import base_weights, load_trained, require_same_base, trained_updates
from vxlab.experiments.store import Store
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.experiments.sweeps.stored_scores import best_runs, stored_candidates
from vxlab.studies.updates.pairs import pair_table
from vxlab.studies.updates.table import update_tables

pytest.importorskip("bitsandbytes")

SCHEMES = ("nf4", "int8", "torchao-int8")


def _run(spec: vxlab.RunSpec, store: Path, **more: Any) -> vxlab.RunRecord:
    return vxlab.run(spec, store=store, progress=False, **more)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantised")


@pytest.fixture(scope="module")
def runs(tiny_model: str, toy_task: str, store: Path) -> dict[str | None, vxlab.RunRecord]:
    """One method and seed on a float base and on it quantised in every way."""
    method = vxlab.LoRA(rank=4)
    specs = {each: toy_runs.spec(tiny_model, toy_task, method=method, quantisation=each) for each in (None, *SCHEMES)}
    return {each: _run(spec, store) for each, spec in specs.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_trains_is_kept_and_comes_back_as_it_was(
    scheme: str, runs: dict[str | None, vxlab.RunRecord], store: Path, tiny_model: str
) -> None:
    record = runs[scheme]
    assert record.status == "finished"
    losses = [row["value"] for row in record.metrics if (row["split"], row["metric"]) == ("validation", "loss")]
    assert min(losses) < 0.6
    assert record.identity["model"].endswith(f" {scheme}")
    assert ("torchao" if scheme == "torchao-int8" else "bitsandbytes") in record.identity
    assert record.parameters["total"] == runs[None].parameters["total"]
    again = _run(dataclasses.replace(_spec(record, scheme, tiny_model)), store)
    assert again.key == record.key
    assert again.finished_at == record.finished_at  # nothing was trained
    model: Any = load_trained(record)
    assert {found.scheme for layer in model.modules() if (found := quantisation_of(layer))} == {scheme}
    found = check_merge(model, text_batches(tiny_model, ["a lovely film", "an awful story about people"]))
    assert found.computes, found.sentence()
    assert found.merges, found.sentence()
    assert found.effect > 0


def _spec(record: vxlab.RunRecord, scheme: str | None, model: str) -> vxlab.RunSpec:
    return toy_runs.spec(model, record.spec["task"], method=vxlab.LoRA(rank=4), quantisation=scheme)


def test_runs_on_one_models_bases_are_never_one(runs: dict[str | None, vxlab.RunRecord], store: Path) -> None:
    records = list(runs.values())
    assert len({record.key for record in records}) == len(records)
    assert len(set(name_candidates(records).values())) == len(records)
    for scheme in SCHEMES:
        with pytest.raises(vxlab.VxlabError, match=f"differ in their model: tiny .*tiny in {scheme}"):
            require_comparable([runs[None], runs[scheme]])
        with pytest.raises(vxlab.VxlabError, match=f"differ in their base models: .* in {scheme}"):
            require_same_base(runs[None], runs[scheme])
        with pytest.raises(vxlab.VxlabError, match="base models"):
            pair_table(runs[None], runs[scheme], store=store)
    (mixed, *_) = describe_mixture([runs[None], runs["nf4"], runs["int8"]])
    weights = runs[None].identity["model"][:12]
    assert f"weights of tiny {weights} (1 run), {weights} in int8 (1 run) and {weights} in nf4 (1 run)" in mixed
    facts = run_facts([runs["nf4"]]).set_index("fact")["value"]
    assert facts["model"].startswith("tiny in nf4 by bitsandbytes ")
    assert len(run_list(records)) == len(records)


def test_tables_of_the_store_keep_bases_apart(runs: dict[str | None, vxlab.RunRecord], store: Path) -> None:
    with Store(store) as results:
        table = results.table()
        assert sorted(table["quantisation"].dropna()) == sorted(SCHEMES)
        assert table["quantisation"].isna().sum() == 1
        names = {sweep.name for sweep in stored_sweeps(results)}
    assert names == {"toy, tiny", *(f"toy, tiny in {scheme}" for scheme in SCHEMES)}
    shown = best_runs(store)
    assert {Path(name).name for name in shown["model"]} == {"tiny", *(f"tiny in {scheme}" for scheme in SCHEMES)}
    assert (shown["runs"] == 1).all()
    weights = runs["nf4"].identity["model"]
    measured = stored_candidates(store, runs["nf4"].spec["model"], weights=weights)
    assert (len(measured.table), measured.elsewhere) == (1, 3)
    assert "base in nf4" in measured.protocol


@pytest.mark.parametrize("scheme", SCHEMES)
def test_updates_and_intruders_are_told_from_the_dequantised_weight(
    scheme: str, runs: dict[str | None, vxlab.RunRecord], store: Path
) -> None:
    record, layer = runs[scheme], "bert.encoder.layer.0.attention.self.query"
    W, delta = base_weights(record)[layer].double(), trained_updates(record)[layer].to_matrix()
    assert not torch.equal(W, base_weights(runs[None])[layer].double())
    row = next(row for row in update_tables(record, store=store).layers.itertuples() if row.layer == layer)
    assert row.relative_norm == pytest.approx(float(delta.norm() / W.norm()), rel=1e-6)
    assert row.weight_top == pytest.approx(np.linalg.norm(W.numpy(), 2))
    U, moved = (np.linalg.svd(each.numpy())[0] for each in (W, W + delta))
    cosines = np.abs(U[:, : min(W.shape)].T @ moved[:, :10]).max(0)
    assert row.intruders == (cosines < 0.5).sum()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_for_weights_are_those_of_the_dequantised(scheme: str, tiny_model: str) -> None:
    torch.manual_seed(0)
    packed = vxlab.load_model(tiny_model, 2, scheme)
    torch.manual_seed(0)
    plain = vxlab.dequantise(vxlab.load_model(tiny_model, 2, scheme))
    batches = [{"input_ids": torch.tensor([[5, 6, 7]]), "labels": torch.tensor([1])}]
    found, wanted = (
        weight_gradients(each, batches, vxlab.resolve_targets(each, "all-linear")) for each in (packed, plain)
    )
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))
    assert not any(module._forward_hooks for module in packed.modules())


@pytest.mark.parametrize(
    "method",
    [
        vxlab.LoRAXS(rank=4, basis="gradient"), vxlab.VeRA(rank=8), vxlab.BitFit(), vxlab.Head(), vxlab.Probe(),
        vxlab.PEFT("lora", r=4), vxlab.PEFT("dora", r=4), vxlab.PEFT("vera", r=8),
    ],
    ids=lambda method: method.name,
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_every_method_runs_on_a_quantised_base(
    scheme: str, method: Any, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=method, quantisation=scheme, epochs=1)
    record = _run(spec, tmp_path)
    assert record.status == "finished"
    logits = [load_trained(record)(input_ids=torch.tensor([[5, 6, 7]])).logits for _ in range(2)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_full_fine_tuning_of_packed_weights_is_refused(
    scheme: str, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"those of 13 layers of this .* are quantised and cannot train"):
        _run(toy_runs.spec(tiny_model, toy_task, method=vxlab.Full(), quantisation=scheme), tmp_path)
    model = vxlab.load_model(tiny_model, 2, scheme)
    with pytest.raises(vxlab.VxlabError, match="or load the model without quantisation"):
        vxlab.attach(model, vxlab.Full())


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_pefts_lora_has_the_same_gradients(scheme: str, tiny_model: str) -> None:
    found = []
    for method in (vxlab.LoRA(rank=4, alpha=4), vxlab.PEFT("lora", r=4, lora_alpha=4)):
        torch.manual_seed(0)
        model: Any = vxlab.attach(vxlab.load_model(tiny_model, 2, scheme), method)
        trained = [p for n, p in model.named_parameters() if p.requires_grad and "classifier" not in n]
        generator = torch.Generator().manual_seed(1)
        for parameter in trained:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([1])).loss.backward()
        found.append([parameter.grad for parameter in trained])
    for own, theirs in zip(*found, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_a_sweep_trains_nothing_the_second_time_in_processes_too(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    methods = [vxlab.LoRA(rank=2), vxlab.LoRAXS(rank=2)]
    specs = [toy_runs.spec(tiny_model, toy_task, method=each, quantisation="nf4", epochs=1) for each in methods]
    first = vxlab.sweep(specs, store=tmp_path, progress=False, engine="processes", workers=2)
    assert set(first["status"]) == {"finished"}
    second = vxlab.sweep(specs, store=tmp_path, progress=False)
    assert first["finished_at"].tolist() == second["finished_at"].tolist()
    alone = _run(specs[0], tmp_path / "alone")
    own = first.set_index("key").loc[alone.key]
    assert own["test"] == alone.score()


def test_a_base_that_writes_is_scored_and_trained(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    specs = [
        toy_writers.spec(tiny_writer, toy_prompts, method=method, quantisation="nf4", epochs=1)
        for method in (vxlab.Base(), vxlab.LoRA(rank=4))
    ]
    base, trained = (_run(spec, tmp_path) for spec in specs)
    assert base.status == trained.status == "finished"
    assert base.identity["model"] == trained.identity["model"]
