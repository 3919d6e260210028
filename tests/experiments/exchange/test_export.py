"""Exporting: what others load answers as the trained model does, and what cannot be had is refused with its reason."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import exported
import pytest
import torch
import toy_runs
import toy_writers
from architectures import ARCHITECTURES
from safetensors.torch import load_file
from torch import nn

import vxlab
from vxlab.errors import VxlabWarning
from vxlab.experiments.record import RunRecord
from vxlab.experiments.runs.trained import load_trained


def auto(folder: Path, kind: str = "AutoModelForSequenceClassification", **more: Any) -> nn.Module:
    import transformers

    loaded: nn.Module = getattr(transformers, kind).from_pretrained(folder, **more)
    return loaded


def test_a_merged_run_is_a_model_that_from_pretrained_loads(classifier: RunRecord, tmp_path: Path) -> None:
    folder = vxlab.export_adapter(classifier, tmp_path / "whole", format="merged")
    model: Any = auto(folder)
    assert torch.allclose(exported.answers(model), exported.answers(load_trained(classifier)), atol=1e-5)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert not [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    again = vxlab.load_model(str(folder), 2)
    assert torch.equal(exported.answers(again), exported.answers(model))


def test_a_merged_model_writes_as_the_run_and_its_base_say(writer: RunRecord, tiny_writer: str, tmp_path: Path) -> None:
    folder = vxlab.export_adapter(writer, tmp_path / "whole", format="merged")
    model: Any = auto(folder, "AutoModelForCausalLM")
    assert torch.allclose(exported.answers(model), exported.answers(load_trained(writer)), atol=1e-5)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")  # tied, as in the base
    own = json.loads((folder / "generation_config.json").read_text())
    assert own["pad_token_id"] == model.config.pad_token_id
    texts = vxlab.experiments.models.load_tokenizer(str(folder))
    assert (
        texts("<|user|>")["input_ids"] == vxlab.experiments.models.load_tokenizer(tiny_writer)("<|user|>")["input_ids"]
    )


def test_how_a_base_writes_by_its_own_files_is_kept(toy_prompts: str, tmp_path: Path) -> None:
    base = toy_writers.write_model(tmp_path / "base")
    said = {"do_sample": True, "temperature": 0.3, "eos_token_id": [1, 2], "pad_token_id": 0}
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(said))
    model = exported.attach_stirred(base, 0, vxlab.LoRA(rank=2))
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged")
    assert json.loads((folder / "generation_config.json").read_text()).items() >= said.items()


METHODS = [
    vxlab.LoRA(rank=4, alpha=3, rank_stabilised=True), vxlab.LoRA(rank=4, trains="B"), vxlab.VeRA(rank=8),
    vxlab.LoRAXS(rank=4), vxlab.LoRAXS(rank=4, sigma="split"), vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
    vxlab.BitFit(), vxlab.Head(), vxlab.Full(), vxlab.PEFT("dora", r=4), vxlab.PEFT("vera", r=8), vxlab.PEFT("ia3"),
    vxlab.PEFT("oft", oft_block_size=8), vxlab.PEFT("loha", r=2), vxlab.PEFT("adalora", target_r=2, init_r=4),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_merges_into_a_model_that_answers_alike(method: Any, tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 3, method)
    before, weights = exported.answers(model), {name: each.clone() for name, each in model.state_dict().items()}
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged")
    assert torch.allclose(exported.answers(auto(folder)), before, atol=1e-5)
    assert torch.equal(exported.answers(model), before)  # the caller's model is as it was
    assert all(torch.equal(each, weights[name]) for name, each in model.state_dict().items())


@pytest.mark.parametrize("name", ["gpt2", "gpt2-lm", "llama", "roberta"])
def test_every_architecture_merges(name: str, tiny_model: str, tmp_path: Path) -> None:
    bare: Any = ARCHITECTURES[name]()
    bare.save_pretrained(tmp_path / "base")
    exported.write_letters(tmp_path / "base")
    model: Any = exported.stir(vxlab.attach(bare, vxlab.VeRA(rank=6), "all-linear"))
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged", base=str(tmp_path / "base"))
    again: Any = type(model).from_pretrained(folder)
    assert (folder / "tokenizer.json").exists()
    assert torch.allclose(exported.answers(again, 60), exported.answers(model, 60), atol=1e-5)
    with pytest.raises(vxlab.VxlabError, match="has 64 token embeddings, and its tokenizer writes"):
        vxlab.export_adapter(model, tmp_path / "other", format="merged", base=tiny_model)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_merged_in_float32_and_cast_once(dtype: str, tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=4))
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged", dtype=dtype)
    written = load_file(folder / "model.safetensors")
    vxlab.merge(model)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(written[name], model.state_dict()[name].to(getattr(torch, dtype)))
    assert {each.dtype for each in written.values()} == {getattr(torch, dtype)}
    assert f"cast to {dtype} once. Of its update the layer that lost most" in (folder / "README.md").read_text()


def test_a_cast_that_loses_much_of_an_update_is_warned_of(tiny_model: str, tmp_path: Path) -> None:
    model = exported.stir(vxlab.attach(vxlab.load_model(tiny_model, 2), vxlab.LoRA(rank=4)), scale=1e-3)
    with pytest.warns(VxlabWarning, match=r"dtype='bfloat16' loses \d+% of the update of `bert"):
        vxlab.export_adapter(model, tmp_path / "whole", format="merged", dtype="bfloat16")
    vxlab.export_adapter(model, tmp_path / "exact", format="merged")


def test_a_base_in_half_precision_is_merged_in_float32(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=4)).bfloat16()
    layer = vxlab.adapted_layers(model)["bert.encoder.layer.0.attention.self.query"]
    folder = vxlab.export_adapter(model, tmp_path / "whole", format="merged")
    written = load_file(folder / "model.safetensors")["bert.encoder.layer.0.attention.self.query.weight"]
    left, right = (factor.float() for factor in layer.float().factors())
    assert torch.allclose(written, layer.weight + left @ right, atol=1e-6)


def test_large_weights_are_written_in_shards(
    classifier: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vxlab.experiments.exchange.merged_folder.SHARD", "100KB")
    folder = vxlab.export_adapter(classifier, tmp_path / "whole", format="merged")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert torch.allclose(exported.answers(auto(folder)), exported.answers(load_trained(classifier)), atol=1e-5)


def test_runs_are_taken_by_their_record_their_folder_and_their_adapters(
    classifier: RunRecord, tiny_model: str, tmp_path: Path
) -> None:
    alone = shutil.copytree(classifier.folder / "adapter", tmp_path / "alone")
    sources = [classifier, classifier.folder, str(classifier.folder / "adapter"), alone]
    expected = exported.answers(load_trained(classifier))
    for number, source in enumerate(sources):
        base = tiny_model if source is alone else None
        folder = vxlab.export_adapter(source, tmp_path / str(number), format="merged", base=base)
        assert torch.allclose(exported.answers(auto(folder)), expected, atol=1e-5)
        assert (classifier.key in (folder / "README.md").read_text()) is (source is not alone)


def test_a_base_that_has_moved_is_found_where_it_is_said_to_be(
    classifier: RunRecord, tiny_model: str, tiny_writer: str, tmp_path: Path
) -> None:
    moved = dataclasses.replace(classifier, spec=classifier.spec | {"model": str(tmp_path / "gone")})
    with pytest.raises(vxlab.VxlabError, match="gone"):
        vxlab.export_adapter(moved, tmp_path / "whole", format="merged")
    with pytest.raises(vxlab.VxlabError, match="trained on another base"):
        vxlab.export_adapter(moved, tmp_path / "whole", format="merged", base=tiny_writer)
    copied = shutil.copytree(tiny_model, tmp_path / "elsewhere")
    assert not (tmp_path / "whole").exists()
    vxlab.export_adapter(moved, tmp_path / "whole", format="merged", base=str(copied))


def test_exporting_draws_nothing_from_the_callers_generator(classifier: RunRecord, tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    vxlab.export_adapter(classifier, tmp_path / "whole", format="merged")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    classifier: RunRecord, tiny_model: str, toy_task: str, runs: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    probe = vxlab.run(toy_runs.spec(tiny_model, toy_task, method=vxlab.Probe()), store=runs, progress=False)
    head = exported.attach_stirred(tiny_model, 2, vxlab.Head())
    xs = exported.attach_stirred(tiny_model, 2, vxlab.LoRAXS(rank=2))
    vera = exported.attach_stirred(tiny_model, 2, vxlab.VeRA(rank={"query": 2, "value": 3}), "query-value")
    oft = exported.attach_stirred(tiny_model, 2, vxlab.PEFT("oft", oft_block_size=8))
    merged = vxlab.merge(exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=2)))
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (classifier, {"format": "gguf"}, "format='gguf' is unknown; choose one of peft, lora, merged, vxlab"),
        (classifier, {"format": "merged", "dtype": "int8"}, "dtype='int8' is unknown"),
        (classifier, {"format": "lora", "dtype": "float16"}, "dtype='float16' is of format='merged' alone"),
        (classifier, {"base": 3}, "base=3 is an int"),
        (None, {}, "model_or_folder=None is neither a model, a run's record nor a folder"),
        (tmp_path / "none", {}, "is no folder; name that of a run or of an adapter"),
        (tiny_model, {}, "holds neither record.json of a run, adapter.json .* vxlab inspect .* says what it is"),
        (classifier.folder / "adapter" / "adapter.json", {}, "is no folder"),
        (probe, {}, r"\(probe\) fits a probe beside the frozen model, so there is no adapter to export"),
        (dataclasses.replace(classifier, status="diverged"), {}, "diverged, so what it trained is not to be served"),
        (dataclasses.replace(classifier, folder=tmp_path), {}, "its adapter .* is not there"),
        (ARCHITECTURES["bert"](), {}, "has no adapter; call vxlab.attach"),
        (merged, {}, "the model is merged.* call unmerge"),
        (xs, {"format": "peft"}, r"the peft library has no LoRAXS\(.*; take format='lora'"),
        (vera, {"format": "peft"}, r"the peft library's VeRA has one rank, and VeRA\(.* several; take format='lora'"),
        (oft, {"format": "lora"}, r"PEFT\('oft'.* is peft's own, so its two factors are not known here"),
        (head, {"format": "lora"}, r"format='lora': Head\(\) puts no adapter on a layer; take format='merged'"),
        (head, {"format": "peft"}, r"format='peft': Head\(\) puts no adapter on a layer; take format='merged'"),
    ]
    for given, more, message in refused:
        with pytest.raises(vxlab.VxlabError, match=message):
            vxlab.export_adapter(given, target, **{"format": "merged", **more})
        assert not target.exists()
        assert not list(tmp_path.glob(".out*"))


def test_an_adapter_alone_needs_its_base_named(classifier: RunRecord, tiny_writer: str, tmp_path: Path) -> None:
    alone = shutil.copytree(classifier.folder / "adapter", tmp_path / "alone")
    with pytest.raises(vxlab.VxlabError, match=r"does not say on which base it was trained; name it with base="):
        vxlab.export_adapter(alone, tmp_path / "out", format="merged")
    with pytest.raises(vxlab.VxlabError, match=r"another base|lacks"):
        vxlab.export_adapter(alone, tmp_path / "out", format="merged", base=tiny_writer)


def test_a_model_of_ones_own_has_no_folder_to_be_loaded_from(tmp_path: Path) -> None:
    model = vxlab.attach(nn.Sequential(nn.Linear(4, 3)), vxlab.LoRA(rank=1), "0")
    with pytest.raises(vxlab.VxlabError, match="Sequential is no model of transformers"):
        vxlab.export_adapter(model, tmp_path / "out", format="merged")


def test_a_model_whose_update_is_not_finite_is_not_served(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=2))
    next(iter(vxlab.adapted_layers(model).values())).trained_tensors()["A"].data.fill_(float("nan"))
    with pytest.raises(vxlab.VxlabError, match=r"query.A` was trained to values that are not finite"):
        vxlab.export_adapter(model, tmp_path / "out", format="merged")


def test_what_merging_does_not_add_to_the_weights_is_found(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=2))
    monkeypatch.setattr("vxlab.experiments.exchange.merged_folder.merge", lambda model: model)
    with pytest.raises(vxlab.VxlabError, match=r"merged, the model answers otherwise by .* than unmerged"):
        vxlab.export_adapter(model, tmp_path / "out", format="merged")
