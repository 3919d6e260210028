"""Specs: what decides the numbers is in the key, and nothing else is; what cannot be a run is refused by name."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_runs

import vxlab
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.spec import settings_key

CHOSEN: dict[str, Any] = {"method": vxlab.VeRA(rank=8), "learning_rate": 2e-2, "head_learning_rate": 5e-3}
OTHERS: dict[str, Any] = {
    "method": vxlab.VeRA(rank=8, d_initial=0.2), "learning_rate": 1e-2, "head_learning_rate": 1e-3, "model": "mpnet",
    "task": "sst2", "targets": "all-linear", "epochs": 3, "batch_size": 16, "max_length": 64, "warmup": 0.1,
    "weight_decay": 0.01, "train_examples": 100, "eval_examples": 100, "seed": 1, "text_columns": ("a", "b"),
    "label_column": "mark", "group_column": "film", "label_kind": "numbers", "precision": "bfloat16",
    "schedule": "cosine", "gradient_accumulation": 2, "gradient_checkpointing": True, "answer_column": "answer",
    "prompt_template": "{a}", "chat_template": "tokenizer", "max_new_tokens": 8, "num_beams": 2, "length_penalty": 0.9,
    "no_repeat_ngram_size": 4, "label_smoothing": 0.1, "packing": True, "quantisation": "nf4",
    "ends_after": 0.5, "shots": 5, "resolution": 112, "augmentation": "flip-crop", "image_column": "photo",
    "skip_unreadable": True,
}  # fmt: skip
ELSEWHERE = {"device": "cpu", "task_folder": "somewhere"}


def test_every_field_is_in_the_key_except_where_the_run_happens() -> None:
    assert {field.name for field in dataclasses.fields(vxlab.RunSpec)} == set(OTHERS) | set(ELSEWHERE) | {"draw"}
    assert len({vxlab.RunSpec(**CHOSEN, shots=5, draw=draw).key() for draw in range(3)}) == 3
    usual = vxlab.RunSpec(**CHOSEN)
    keys = {name: vxlab.RunSpec(**CHOSEN | {name: value}).key() for name, value in OTHERS.items()}
    assert len({usual.key(), *keys.values()}) == len(OTHERS) + 1
    assert all(vxlab.RunSpec(**CHOSEN | {name: value}).key() == usual.key() for name, value in ELSEWHERE.items())


@pytest.mark.parametrize(
    "other",
    [
        vxlab.VeRA(rank=9),
        vxlab.VeRA(rank={"query": 8, "value": 8}),
        vxlab.VeRA(rank=8, seed=1),
        vxlab.LoRA(rank=8),
        vxlab.Head(),
        vxlab.Full(),
    ],
)
def test_every_setting_of_the_method_is_in_the_key(other: Any) -> None:
    assert vxlab.RunSpec(**CHOSEN | {"method": other}).key() != vxlab.RunSpec(**CHOSEN).key()


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"weight_decay": 0}, {"weight_decay": 0.0}),
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"learning_rate": 0.3}, {"learning_rate": 0.1 + 0.2}),
        ({"learning_rate": 0.5}, {"learning_rate": np.float64(0.5)}),
        ({"method": vxlab.LoRA(rank=8, alpha=8)}, {"method": vxlab.LoRA(rank=8, alpha=8.0)}),
        ({"targets": ("query", "key")}, {"targets": ["query", "key"]}),
        ({"method": vxlab.LoRA({"query": 4, "value": 8})}, {"method": vxlab.LoRA({"value": np.int64(8), "query": 4})}),
    ],
)
def test_equal_values_are_one_key(one: dict[str, Any], same: dict[str, Any]) -> None:
    assert vxlab.RunSpec(**CHOSEN | one).key() == vxlab.RunSpec(**CHOSEN | same).key()
    assert vxlab.RunSpec(**CHOSEN | one).key() != vxlab.RunSpec(**CHOSEN).key() or one == {"weight_decay": 0}


def test_a_field_that_is_left_out_leaves_the_key_of_a_run_without_it() -> None:
    usual = vxlab.RunSpec(method=vxlab.Head(), learning_rate=1e-3, head_learning_rate=5e-3)
    later = {
        "quantisation",
        "label_kind",
        "schedule",
        "gradient_accumulation",
        "gradient_checkpointing",
        "answer_column",
        "packing",
        "shots",
        "draw",
        "resolution",
        "augmentation",
    }
    assert not later & usual.settings().keys()
    assert usual.key() == "dc12d4218fbba9a4328dd5e88d5fce6b055bc37f91aa3b08e9829dd612db5a2c"  # from before the field


def test_a_probe_is_one_run_whatever_training_images_are_changed_by() -> None:
    plain, other = (vxlab.RunSpec(method=vxlab.Probe(), augmentation=each) for each in ("none", "flip-crop"))
    assert plain.key() == other.key()
    assert plain.settings() == other.settings()


def test_nearly_equal_values_are_two_keys() -> None:
    assert vxlab.RunSpec(**CHOSEN | {"seed": 2}).key() != vxlab.RunSpec(**CHOSEN | {"seed": 3}).key()
    close = vxlab.RunSpec(**CHOSEN | {"learning_rate": 2.0000001e-2})
    assert close.key() != vxlab.RunSpec(**CHOSEN).key()


def test_a_method_that_got_settings_keeps_the_keys_of_runs_from_before_them() -> None:
    lora = vxlab.LoRA(rank=8, alpha=16.0, dropout=0.1)
    assert list(lora.settings()) == ["rank", "alpha", "rank_stabilised", "dropout"]
    usual, one, other = (
        vxlab.RunSpec(**CHOSEN | {"method": each}).key()
        for each in (lora, *(dataclasses.replace(lora, trains="B", seed=seed) for seed in (0, 1)))
    )
    assert len({usual, one, other}) == 3


@pytest.mark.parametrize("seed", [2**40, 10**12 + 1, 2**53, 2**63, 2**64 - 2])
def test_large_integers_are_exact_in_the_key(seed: int) -> None:
    """A seed of 13 digits brought another run's record back."""
    one, next_one = (
        vxlab.RunSpec(**CHOSEN | {"method": vxlab.VeRA(rank=8, seed=each, unique=True)}) for each in (seed, seed + 1)
    )
    assert one.key() != next_one.key()
    assert settings_key(one.settings()) != settings_key(next_one.settings())
    ours, theirs = (vxlab.PEFT("vera", {"projection_prng_key": each}) for each in (seed, seed + 1))
    assert vxlab.RunSpec(**CHOSEN | {"method": ours}).key() != vxlab.RunSpec(**CHOSEN | {"method": theirs}).key()


@pytest.mark.parametrize(
    ("fields", "key", "of_settings"),
    [
        (CHOSEN, "4978c604eac00a85", "535785655b62c3f1"),
        (
            {
                "method": vxlab.LoRA(rank=8, alpha=16.0, dropout=0.1), "learning_rate": 1, "warmup": 0,
                "head_learning_rate": 0.1 + 0.2, "seed": 2**32 - 1, "targets": ("query", "key"),
            },
            "73f2a1a8f65c7943", "25ec4921fdadcbf7",
        ),
        (
            CHOSEN | {"method": vxlab.LoRAXS(rank=8, seed=10**12 - 1), "learning_rate": 1e-3 / 3,
                      "text_columns": ("a", "b")},
            "fbd0f78fb6e6e19b", "950734b335af10b3",
        ),
        (
            {"method": vxlab.BitFit(), "learning_rate": 1e15, "head_learning_rate": 123456789012345.0},
            "3f2f011a4a61ca31", "a01de29df0874cf2",
        ),
    ],
)  # fmt: skip
def test_keys_of_runs_in_stores_stay(fields: dict[str, Any], key: str, of_settings: str) -> None:
    spec = vxlab.RunSpec(**fields)
    assert spec.key(model="a", task="b", precision="float32").startswith(key)
    assert settings_key(spec.settings()).startswith(of_settings)


def _key(model: object, task: object, **changes: Any) -> str:
    return Materials().job(toy_runs.spec(str(model), str(task), **changes)).key


def test_the_key_follows_the_content_of_model_and_data_and_not_their_paths(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    model, task = (Path(shutil.copytree(path, tmp_path / Path(path).name)) for path in (tiny_model, toy_task))
    (model / "README.md").write_text("a card")
    usual = _key(tiny_model, toy_task)
    assert _key(model, task) == usual
    assert _key(os.path.relpath(model), os.path.relpath(task)) == usual
    assert _key(model, "toy", task_folder=str(task)) == usual
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        kept = (model / name).read_bytes()
        (model / name).write_bytes(kept + b" " if name.endswith("json") else kept[:-1] + bytes([kept[-1] ^ 1]))
        assert _key(model, task) != usual, name
        (model / name).write_bytes(kept)
    (task / "test.csv").write_text((task / "test.csv").read_text() + "one more,good\n")
    assert _key(model, task) != usual


def test_the_key_has_the_precision_in_force(tiny_model: str, toy_task: str) -> None:
    usual = _key(tiny_model, toy_task)
    assert _key(tiny_model, toy_task, precision="float32") == usual
    assert _key(tiny_model, toy_task, precision="bfloat16") != usual


COUNTS = ["epochs", "batch_size", "max_length", "train_examples", "eval_examples"]


@pytest.mark.parametrize("field", COUNTS)
def test_counts_are_positive_whole_numbers(field: str) -> None:
    for value in (0, -1):
        refuse({field: value}, f"{field}={value} is not a positive whole number; choose 1 or more")
    refuse({field: 2**31}, f"{field}=2147483648 is above 2,147,483,647")
    refuse({field: 1.5}, f"{field}=1.5 is a float; it must be a whole number")
    refuse({field: "3"}, f"{field}='3' is a text; it must be a whole number.*: write {field}=3, without quotes")
    refuse({field: True}, f"{field}=True is a bool; it must be a whole number")


def refuse(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=f"^{message}"):
        vxlab.RunSpec(**CHOSEN | fields)


@pytest.mark.parametrize("field", ["learning_rate", "head_learning_rate"])
def test_learning_rates_are_positive_numbers(field: str) -> None:
    for value in (0, -1e-3)[field == "head_learning_rate" :]:  # models that write have no head
        refuse({field: value}, f"{field}={value} is not a positive number; try 1e-3")
    for value in (float("nan"), float("inf"), 10**400):
        refuse({field: value}, rf"{field}=\S+ is not finite; it must be a number")
    refuse({field: "1e-3"}, f"{field}='1e-3' is a text; it must be a number: write {field}=1e-3, without quotes")
    refuse({field: None}, f"{field}=None is a NoneType; it must be a number")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "vera", r"method='vera' is not a method; pass vxlab.LoRA\(rank=8\), VeRA"),
        ("method", vxlab.VeRA, "method=.* is not a method"),
        ("warmup", 1, "warmup=1 is not a share of the steps; choose 0 to below 1"),
        ("warmup", -0.1, "warmup=-0.1 is not a share"),
        ("warmup", "6%", "warmup='6%' is a text; it must be a number"),
        ("weight_decay", -0.1, "weight_decay=-0.1 is not a number of 0 or more"),
        ("weight_decay", float("nan"), "weight_decay=nan is not finite"),
        ("seed", -1, "seed=-1 is not a whole number from 0"),
        ("seed", 2**32, "seed=4294967296 is not a whole number from 0"),
        ("seed", 0.5, "seed=0.5 is a float; it must be a whole number"),
        ("device", "gpu", "device='gpu' is unknown; choose one of auto, cuda, mps, cpu"),
        ("device", ["cpu"], r"device=\['cpu'\] is a list; it must be a text"),
        ("precision", "bf16", "precision='bf16' is unknown; choose one of auto, float32, bfloat16, float16"),
        ("label_kind", "regression", "label_kind='regression' is unknown; choose one of None, classes, numbers"),
        ("model", 8, "model=8 is an int; it must be a text"),
        ("model", None, "model=None is a NoneType; it must be a text"),
        ("model", "", "model='' names nothing"),
        ("task", "a\0b", r"task='a\\x00b' names nothing"),
        ("label_column", 3, "label_column=3 is an int; it must be a text or None"),
        ("text_columns", ["a", 1], r"text_columns=\['a', 1\] is a list; it must be a text or a list of texts"),
        ("text_columns", None, "text_columns=None is a NoneType; it must be a text or a list of texts"),
        ("targets", [], r"targets=\(\) names no layer; try 'query-value'"),
        ("targets", 1e-3, "targets=0.001 is a float; it must be a text or a list of texts"),
        ("targets", {"query": 1}, "targets={'query': 1} is a dict; it must be a text or a list of texts"),
    ],
)
def test_what_cannot_be_a_run_is_refused(field: str, value: Any, message: str) -> None:
    refuse({field: value}, message)


def test_a_long_value_is_cut_in_its_refusal() -> None:
    with pytest.raises(vxlab.VxlabError) as refused:
        vxlab.RunSpec(**CHOSEN | {"method": list(range(10_000))})
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"epochs": np.int64(3), "seed": np.uint32(7)}, {"epochs": 3, "seed": 7}),
        ({"learning_rate": np.float32(1e-3), "warmup": np.float64(0.1)}, {"learning_rate": 1e-3, "warmup": 0.1}),
        ({"model": Path("a") / "b", "task_folder": Path("c")}, {"model": "a/b", "task_folder": "c"}),
        ({"text_columns": "review"}, {"text_columns": ("review",)}),
        ({"text_columns": ["a", "b"], "targets": ["query"]}, {"text_columns": ("a", "b"), "targets": ("query",)}),
    ],
)
def test_what_means_the_same_is_the_same_run(given: dict[str, Any], plain: dict[str, Any]) -> None:
    one, same = vxlab.RunSpec(**CHOSEN | given), vxlab.RunSpec(**CHOSEN | plain)
    assert (one, hash(one), one.key(), repr(one)) == (same, hash(same), same.key(), repr(same))


def test_a_method_of_ones_own_must_have_settings_that_a_store_can_hold() -> None:
    @dataclasses.dataclass(frozen=True)
    class Ours(vxlab.LoRA):
        extra: Any = None

    for extra in ([1], {"a": 1}, object()):
        refuse({"method": Ours(extra=extra)}, "method=.*Our.* has a setting that is neither a number, a text")
    assert vxlab.RunSpec(**CHOSEN | {"method": Ours(extra=("a", 1))}).key()


def test_settings_are_plain_json_values() -> None:
    import json

    spec = vxlab.RunSpec(**CHOSEN | {"targets": ("query", "value"), "text_columns": ("a", "b")})
    assert json.loads(json.dumps(spec.settings())) == spec.settings()
    assert spec.settings()["targets"] == ["query", "value"]
    by_layer = vxlab.RunSpec(**CHOSEN | {"method": vxlab.VeRA(rank={"value": 16, "query": 4})}).settings()
    assert json.loads(json.dumps(by_layer)) == by_layer
    assert type(by_layer["method"]["rank"]) is dict
