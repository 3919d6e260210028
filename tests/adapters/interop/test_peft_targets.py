"""Which modules a config names: the same as the peft library itself finds."""

from typing import Any

import peft
import pytest
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns
from peft.utils.other import get_pattern_key
from plain_models import Tree
from torch import nn

import vxlab
from vxlab.adapters.interop.peft_targets import matching, name_exactly, pattern_of, saved_modules, targeted

ENCODER = {
    "ends": {"target_modules": ["query", "value"]},
    "ends of two components": {"target_modules": ["self.query", "output.dense"]},
    "whole names": {"target_modules": ["bert.encoder.layer.1.attention.self.key"]},
    "an end that is the head's too": {"target_modules": ["dense"]},
    "an expression": {"target_modules": r".*layer\.\d+\..*(query|value)"},
    "all linear": {"target_modules": "all-linear"},
    "all linear in capitals": {"target_modules": "All-Linear"},
    "all linear of a classifier": {"target_modules": "all-linear", "task_type": "SEQ_CLS"},
    "without some": {
        "target_modules": ["query", "value", "dense"],
        "exclude_modules": ["output.dense", "pooler.dense"],
    },
    "without an expression's": {"target_modules": "all-linear", "exclude_modules": r".*layer\.0.*"},
    "one block": {"target_modules": ["query"], "layers_to_transform": 1},
    "the first block": {"target_modules": ["query"], "layers_to_transform": [0]},
    "blocks by their list's name": {"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": "layer"},
    "blocks of two lists": {"target_modules": ["query"], "layers_to_transform": [0], "layers_pattern": ["h", "layer"]},
    "a whole name and a block": {
        "target_modules": ["bert.encoder.layer.0.attention.self.key", "query"],
        "layers_to_transform": [1],
    },
    "beside saved modules": {"target_modules": ["dense", "query"], "modules_to_save": ["pooler", "classifier"]},
}


def found_by_peft(model: nn.Module, config: dict[str, Any]) -> list[str]:
    with as_peft_warns():
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=1, **config))
    return list(adapted.targeted_module_names)


@pytest.mark.parametrize("case", ENCODER)
def test_an_encoders_modules_are_those_that_peft_finds(case: str) -> None:
    model, config = ARCHITECTURES["bert"](), ENCODER[case]
    found = [name for name in targeted(config, model) if isinstance(model.get_submodule(name), nn.Linear)]
    assert found
    assert found == found_by_peft(model, dict(config))


@pytest.mark.parametrize("name", ["gpt2", "gpt2-lm", "llama-lm", "llama", "vit", "roberta", "mistral"])
def test_all_linear_layers_are_those_that_peft_finds(name: str) -> None:
    task = {"gpt2": "SEQ_CLS", "llama": "SEQ_CLS", "roberta": "SEQ_CLS"}.get(name)
    config: dict[str, Any] = {"target_modules": "all-linear", "task_type": task}
    model = ARCHITECTURES[name]()
    expected = found_by_peft(ARCHITECTURES[name](), config)
    assert set(targeted(config | {"modules_to_save": ["score", "classifier"] if task else []}, model)) == set(expected)


EXPERTS = (
    *(f"layers.{block}.experts.{expert}.up" for block in range(2) for expert in range(3)),
    *(f"layers.{block}.gate" for block in range(2)),
)


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["up"], "layers_to_transform": [1]},
        {"target_modules": ["up"], "layers_to_transform": [0, 2], "layers_pattern": "layers"},
        {"target_modules": ["up", "gate"], "layers_to_transform": [1], "layers_pattern": ["experts"]},
        {"target_modules": ["experts.1.up"]},
        {"target_modules": ["1.up"]},
        {"target_modules": ["p", "gate"]},
    ],
    ids=str,
)
def test_a_block_is_counted_by_the_first_number_of_a_name(config: dict[str, Any]) -> None:
    assert targeted(config, Tree(*EXPERTS)) == found_by_peft(Tree(*EXPERTS), config)


NESTED = ("foo", "x.foo", "x.bar.foo", "x.bar.bar.foo", "y.foo", "xfoo", "x.bar.foobar")


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize(
    "patterns",
    [
        {"foo": 1},
        {"x.foo": 1},
        {"bar.foo": 1},
        {"^foo": 1},
        {"^x.foo": 1, "foo": 2},
        {"foo": 1, "^x.foo": 2},
        {"x.bar.foo": 1, "x.foo": 2, "foo": 3},
        {r".*\.foo": 1},
        {"nothing": 1},
    ],
    ids=str,
)
def test_a_pattern_is_found_as_peft_finds_it(name: str, patterns: dict[str, int]) -> None:
    assert matching(patterns, name, "none") == patterns.get(get_pattern_key(list(patterns), name), "none")


@pytest.mark.parametrize("name", NESTED)
def test_a_pattern_of_one_module_is_of_no_other(name: str) -> None:
    assert [other for other in NESTED if matching({pattern_of(name): 1}, other, 0)] == [name]


@pytest.mark.parametrize(
    "layers", [["foo"], ["x.foo"], ["foo", "x.foo"], ["x.bar.foo", "y.foo"], list(NESTED)], ids=str
)
def test_layers_are_named_so_that_peft_finds_these_alone(layers: list[str]) -> None:
    names = name_exactly(layers, Tree(*NESTED), [])
    assert set(found_by_peft(Tree(*NESTED), {"target_modules": names})) == set(layers)


def test_layers_are_named_by_their_ends_where_these_say_enough() -> None:
    layers = [f"bert.encoder.layer.{block}.attention.self.{each}" for block in range(2) for each in ("query", "value")]
    assert name_exactly(layers, ARCHITECTURES["bert"](), ["classifier"]) == ["query", "value"]


def test_saved_modules_are_the_ends_of_names_as_peft_takes_them() -> None:
    tree = Tree("head.dense", "my_head", "body.head.dense", "body.tail")
    config = {"modules_to_save": ["head"]}
    assert saved_modules(config, tree) == ["head", "my_head", "body.head"]
    with as_peft_warns():
        adapted = peft.get_peft_model(tree, peft.LoraConfig(target_modules=["tail"], **config))
    wrapped = [name for name, each in adapted.base_model.model.named_modules() if hasattr(each, "modules_to_save")]
    assert wrapped == ["head", "my_head", "body.head"]


def test_an_expression_is_of_the_whole_name() -> None:
    assert targeted({"target_modules": "query"}, ARCHITECTURES["bert"]()) == []


def test_an_expression_that_is_none_is_refused_with_what_it_is() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"'\(query', which is no regular expression"):
        targeted({"target_modules": "(query"}, Tree("query"))
