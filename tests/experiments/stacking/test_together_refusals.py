"""What does not train together as it does alone is found out, at whichever step it shows, and trained alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs
import transformers
from architectures import SIZES

import vxlab
from vxlab.experiments.models import load_tokenizer, quiet_transformers
from vxlab.experiments.runs import Materials, train_job
from vxlab.experiments.stacking import Place, UnstackableError, forward, train_bundle, train_together
from vxlab.experiments.stacking.noise import SlotNoise

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
CAUSAL = {**SIZES, "num_key_value_heads": 2, "attention_dropout": 0.1}
ENDS = {"pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102}


def write_model(folder: Path, kind: str, settings: dict[str, Any], side: str = "right") -> str:
    """Write an untrained model with MiniLM's tokenizer."""
    tokenizer = load_tokenizer("minilm")
    tokenizer.padding_side, tokenizer.model_input_names = side, ["input_ids", "attention_mask"]
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **settings)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def places(model: str, task: str, folder: Path, materials: Materials, **changes: Any) -> list[Place]:
    runs = [toy_runs.spec(model, task, epochs=1, seed=seed, method=vxlab.LoRA(rank=2), **changes) for seed in range(2)]
    return [Place(job, folder / job.key[:16]) for job in map(materials.job, runs)]


def train(runs: list[Place], materials: Materials) -> dict[str, Any]:
    found: dict[str, Any] = {}
    train_together(runs, materials, lambda job, came: found.update({job.key: came}), len(runs))
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.filterwarnings("ignore:.*reads the padding too:UserWarning")
def test_a_model_that_reads_padding_is_refused_where_there_is_some(
    precision: str, toy_task: str, tmp_path: Path
) -> None:
    # First batches hold the longest text of all, in every run: they are never filled up.
    model, materials = write_model(tmp_path / "model", "FNet", {**WIDTH, "pad_token_id": 0}), Materials()
    runs = places(model, toy_task, tmp_path, materials, targets="all-linear", precision=precision)
    with pytest.raises(UnstackableError, match="this model does not leave padding alone"):
        train(runs, materials)


def test_padding_before_texts_spoils_no_causal_model(toy_task: str, tmp_path: Path) -> None:
    model, materials = write_model(tmp_path / "model", "Llama", {**CAUSAL, **ENDS}, "left"), Materials()
    runs = places(model, toy_task, tmp_path, materials)
    found = train(runs, materials)
    for job, _ in runs:
        alone = train_job(job, tmp_path / f"alone-{job.key[:16]}", materials)
        together, single = (torch.tensor([row["loss"] for row in each.curve]) for each in (found[job.key], alone))
        torch.testing.assert_close(together, single, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("kind", "settings", "targets", "told"),
    [
        ("DebertaV2", {**SIZES, "relative_attention": True, "pos_att_type": ["c2p"]}, "query-value", "dropout on"),
        ("T5", {**T5, "pad_token_id": 0, "eos_token_id": 102, "decoder_start_token_id": 0}, "all-linear", "Error: "),
    ],
)
def test_a_model_that_fails_in_a_stack_is_trained_alone(
    kind: str, settings: dict[str, Any], targets: str, told: str, toy_task: str, tmp_path: Path
) -> None:
    model, materials = write_model(tmp_path / "model", kind, settings), Materials()
    trained = train_bundle(places(model, toy_task, tmp_path, materials, targets=targets), materials)
    assert (len(trained.finished), trained.errors) == (2, {})
    (note,) = trained.notes
    assert note.startswith("2 runs are trained one after the other: ")
    assert told in note


def test_draws_that_no_slot_knows_of_are_refused_whatever_the_precision(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unseen(noise: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))

    monkeypatch.setattr(SlotNoise, "__torch_function__", unseen)
    materials = Materials()
    with pytest.raises(UnstackableError, match="from torch's global generator"):
        train(places(tiny_model, toy_task, tmp_path, materials, precision="bfloat16"), materials)


def test_one_number_as_a_label_needs_no_broadcast() -> None:
    assert forward.classifier_loss(torch.ones(1, 1), torch.tensor([3.0])) == 4  # warnings are errors here
