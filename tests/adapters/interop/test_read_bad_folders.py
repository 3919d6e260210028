"""Folders that look like adapters of the peft library and are not whole, not safe, or not of this base: all refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import CONFIG, WEIGHTS, as_peft_warns, change, save_trained, say
from safetensors.torch import load_file
from toy_checkpoints import assert_refused, trained

import vxlab
from vxlab.adapters import read_saved

QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LoRA of peft's on a tiny BERT's query and value, with its head."""
    folder = tmp_path_factory.mktemp("sound")
    save_trained(folder, "bert", peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"]))
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """Return a copy of it, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "spoilt"))


def refused(folder: Path, message: str, name: str = "bert") -> None:
    assert_refused(ARCHITECTURES[name](), folder, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "TELEPATHY", "peft_version": "9.1"}, r"'TELEPATHY', which peft 9\.1 wrote \(here is"),
        ({"peft_type": "PREFIX_TUNING"}, "changes the model's input"),
        ({"peft_type": 5}, "names no method"),
        ({"peft_type": "lora"}, "peft_type='lora' is not a method's name in capitals"),
        ({"r": 3}, "the config says rank 3 .* and its tensors have 4"),
        ({"r": "4"}, "r='4' is not a whole number"),
        ({"r": True}, "r=True is not a whole number"),
        ({"r": None}, "r=None is not a whole number"),
        ({"lora_alpha": float("inf")}, "lora_alpha=inf is not a finite number"),
        ({"lora_alpha": 0}, "alpha=0.0 is not a positive number"),
        ({"lora_dropout": 1.0}, "lora_dropout=1.0 is not a probability below 1"),
        ({"target_modules": ["query", 3]}, "target_modules=.* is not a list of names"),
        ({"target_modules": "(query"}, "is no regular expression"),
        (
            {"target_modules": ["query", "value", "key"]},
            "lacks the tensors of `bert.encoder.layer.0.*self.key`",
        ),
        ({"target_modules": ["query"]}, "has tensors of `bert.encoder.layer.0.attention.self.value`, which its config"),
        ({"layers_to_transform": [0]}, "has tensors of `bert.encoder.layer.1.attention.self.query`"),
        ({"modules_to_save": None}, "has `classifier.bias`, and its config has modules_to_save=None"),
        ({"modules_to_save": ["classifier", "pooler"]}, "lacks `bert.pooler.dense.bias`"),
        ({"bias": "lora_only"}, "lacks `bert.encoder.layer.0.attention.self.query.bias`"),
        ({"bias": "some"}, "bias='some' is not none, all"),
        ({"use_dora": True}, "lacks lora_magnitude_vector"),
        ({"lora_bias": True}, "lacks lora_B.bias"),
        ({"init_lora_weights": "pissa"}, "'pissa', which took a part out of the base's weights.*path_initial_model"),
        ({"init_lora_weights": "pissa_niter_4"}, "took a part out of the base's weights"),
        ({"init_lora_weights": "olora"}, "took a part out of the base's weights"),
        ({"init_lora_weights": "loftq"}, "took a part out of the base's weights"),
        ({"init_lora_weights": "corda"}, "took a part out of the base's weights"),
        ({"init_lora_weights": "lora_ga"}, "took a part out of the base's weights"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens=.* computes something that LORA here does not"),
        ({"kasa_config": {"beta": 1e-4}}, "kasa_config=.* computes something"),
        ({"layer_replication": [[0, 2]]}, "layer_replication=.* computes something"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices=.* computes something"),
        ({"target_parameters": ["x"]}, "target_parameters=.* computes something"),
        ({"of_a_later_peft": 0.5}, "of_a_later_peft=0.5, by which peft .* computes something"),
    ],
    ids=lambda each: ",".join(f"{key}={value}" for key, value in each.items()) if isinstance(each, dict) else "",
)
def test_a_config_that_is_not_of_the_tensors_or_not_sayable_here(
    fields: dict[str, Any], message: str, folder: Path
) -> None:
    refused(say(folder, **fields), message)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda t: t.pop(f"{QUERY}.lora_B.weight"), "query` lacks lora_B.weight"),
        (lambda t: [t.pop(key) for key in list(t) if key.startswith(QUERY)], "lacks the tensors of .*layer.0.*query`"),
        (lambda t: [t.pop(key) for key in list(t) if "lora_" in key], "holds no tensor of peft_type 'LORA'"),
        (lambda t: t.pop("base_model.model.classifier.bias"), "lacks `classifier.bias`"),
        (lambda t: t.update({f"{QUERY}.lora_magnitude_vector": torch.ones(32)}), "has lora_magnitude_vector too"),
        (lambda t: t.update({f"{QUERY}.lora_C.weight": torch.ones(2)}), r"has, and this model has not, `.*lora_C"),
        (lambda t: t.update({f"{QUERY}.lora_A.default.weight": torch.ones(4, 32)}), r"has not, `.*lora_A\.default"),
        (lambda t: t.update({"base_model.vera_A": torch.ones(2)}), "'vera_A', which is of no LoRA"),
        (lambda t: t.update({"lora_A.weight": torch.ones(2)}), "'lora_A.weight', which is of no LoRA"),
        (lambda t: t.update({f"{QUERY}.lora_A.weight": torch.ones(4, 16)}), "another base: its A of .*query` is"),
        (lambda t: t.update({f"{QUERY}.lora_B.weight": torch.ones(16, 4)}), "another base: its B of .*query` is"),
        (lambda t: t.update({f"{QUERY}.lora_B.weight": torch.ones(32, 3)}), "have two ranks"),
        (lambda t: t.update({f"{QUERY}.lora_A.weight": torch.ones(4)}), "two sides of real numbers"),
        (lambda t: t.update({f"{QUERY}.lora_A.weight": torch.ones(4, 32).int()}), "two sides of real numbers"),
        (lambda t: t.update({f"{QUERY}.lora_A.weight": torch.ones(4, 32, 1, 1)}), "two sides of real numbers"),
        (lambda t: t.update({"base_model.model.classifier.bias": torch.ones(3)}), "another number of outputs"),
        (lambda t: t[f"{QUERY}.lora_A.weight"].fill_(torch.nan), "NaN or infinite"),
        (lambda t: t["base_model.model.classifier.bias"].fill_(-torch.inf), "NaN or infinite"),
        (
            lambda t: t.update({f"{QUERY.replace('query', 'gone')}.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}),
            "adapts `bert.encoder.layer.0.attention.self.gone`, which this BertForSequenceClassification lacks",
        ),
        (
            lambda t: t.update({"base_model.model.bert.pooler.lora_embedding_A": torch.ones(4, 4)}),
            "an adapter on an embedding",
        ),
        (
            lambda t: t.update({"base_model.model.classifier.modules_to_save.bias": torch.ones(2)}),
            "holds `classifier.bias` twice",
        ),
    ],
)
def test_tensors_that_are_missing_surplus_or_of_another_shape(
    how: Callable[[dict[str, torch.Tensor]], object], message: str, folder: Path
) -> None:
    refused(change(folder, how), message)


def test_another_architecture_is_refused(folder: Path) -> None:
    refused(folder, "adapts `bert.encoder.layer.0.attention.self.query`, which this RobertaForSequence", "roberta")


def test_files_that_are_cut_short_or_gone(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    refused(folder, "is cut short or damaged")
    (folder / WEIGHTS).unlink()
    refused(folder, "lacks adapter_model.safetensors, perhaps because saving it was cut short")
    (folder / WEIGHTS).write_bytes(whole)
    (folder / CONFIG).write_text((folder / CONFIG).read_text()[:50])
    refused(folder, "adapter_config.json is damaged")
    (folder / CONFIG).write_text("[" * 100_000)
    refused(folder, "adapter_config.json is damaged")
    (folder / CONFIG).unlink()
    refused(folder, "has weights and no adapter_config.json")


def test_a_pickle_is_refused_and_how_to_convert_it_is_said(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    refused(folder, r"is a pickle, .*torch\.load\('adapter_model.bin', weights_only=True\)")


def test_an_adapter_in_parts_is_refused(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder / "adapter_model-00001-of-00002.safetensors")
    refused(folder, r"in parts \(adapter_model-00001-of-00002.safetensors\)")


def test_a_folder_of_several_adapters_is_refused_by_their_names(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(folder, tmp_path / "several" / name)
    refused(tmp_path / "several", "holds 2 adapters in folders of their own: first, second; name one of them")


def test_a_folder_with_an_adapter_of_both_kinds_is_refused(folder: Path) -> None:
    vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=4)), folder)
    refused(folder, "holds two adapters")


def test_a_vera_whose_tensors_do_not_belong_together(tmp_path: Path) -> None:
    lambda_b = f"{QUERY}.vera_lambda_b"
    for number, (how, message) in enumerate(
        [
            (lambda t: t.pop("base_model.vera_A"), "with save_projection=True it must hold vera_A and vera_B"),
            (lambda t: t.update({"base_model.vera_A": torch.ones(3, 32)}), "do not fit rank 4"),
            (lambda t: t.update({"base_model.vera_A": torch.ones(4, 8)}), "too small for"),
            (lambda t: t.update({"base_model.vera_B": torch.ones(8, 4)}), "do not fit rank 4 and layers of up to 32"),
            (lambda t: t.pop(lambda_b), "rank 4 takes vera_lambda_b"),
            (lambda t: t.update({lambda_b: torch.ones(31)}), "another base: its lambda_b"),
        ]
    ):
        folder = tmp_path / str(number)
        save_trained(folder, "bert", peft.VeraConfig(r=4, target_modules=["query"]))
        refused(change(folder, how), message)
    refused(say(folder, save_projection=False), "with save_projection=False it must hold no projection")
    refused(say(folder, projection_prng_key=-1), "projection_prng_key=-1 is not a whole number")


@pytest.mark.parametrize(
    ("config", "frozen"),
    [
        (peft.TinyLoraConfig(r=2, target_modules=["query"]), "tinylora_P"),
        (peft.TinyLoraConfig(r=2, target_modules=["query"]), "tinylora_A"),
        (peft.VeraConfig(r=4, bias="vera_only", target_modules=["query"]), "vera_A"),
        (peft.PveraConfig(r=4, target_modules=["query"]), "pvera_B"),
        (peft.RandLoraConfig(r=4, save_projection=True, target_modules=["query"]), "randlora_A"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.peft_type.value,
)
def test_a_method_whose_frozen_tensors_do_not_reproduce_is_refused(
    config: peft.PeftConfig, frozen: str, tmp_path: Path
) -> None:
    save_trained(tmp_path, "bert", config)

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            if name.endswith(frozen):
                tensors[name].view(-1)[0] += 1

    refused(change(tmp_path, spoil), "its frozen tensors are others than peft draws or decomposes here")


def test_a_model_with_an_adapter_or_of_peft_takes_none(folder: Path) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=4))
    assert_refused(model, folder, r"call vxlab\.detach\(model\) first")
    vxlab.merge(model)
    assert_refused(model, folder, "the model is merged")
    with as_peft_warns():
        theirs = peft.get_peft_model(ARCHITECTURES["bert"](), peft.LoraConfig(target_modules=["query"]))
    assert_refused(theirs, folder, "an adapter of the peft library's on it")


def test_a_tied_module_that_trained_apart_is_refused(tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    with pytest.warns(UserWarning, match="tie_word_embeddings=True"):
        save_trained(tmp_path, "llama-lm", config, head=False)
    refused(tmp_path, "trained `model.embed_tokens.weight` apart from `lm_head.weight`", "llama-lm")


def test_what_is_no_adapter_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="holds no adapter"):
        read_saved(tmp_path)
    with pytest.raises(vxlab.VxlabError, match="folder=5 "):
        read_saved(5)  # type: ignore[arg-type]
