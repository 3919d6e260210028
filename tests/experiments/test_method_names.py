"""What methods are called in tables, the same from a method and from its record."""

import pytest

import vxlab
from vxlab.adapters import METHODS
from vxlab.experiments.method_names import (
    describe_method,
    family_name,
    has_ranks_by_layer,
    method_label,
    rank_of,
)

NAMED = [
    (vxlab.LoRA(rank=8), "LoRA r=8", "LoRA", 8),
    (vxlab.LoRA(rank=8, trains="B"), "LoRA-FA r=8", "LoRA-FA", 8),
    (vxlab.VeRA(rank=256), "VeRA r=256", "VeRA", 256),
    (vxlab.LoRAXS(rank=16), "LoRA-XS r=16", "LoRA-XS", 16),
    (vxlab.LiDB(), "LiDB r=1 aux_out=100 aux_in=50", "LiDB", 1),
    (vxlab.BitFit(), "BitFit", "BitFit", None),
    (vxlab.Head(), "head only", "head only", None),
    (vxlab.Probe(), "probe", "probe", None),
    (vxlab.Base(), "untuned base", "untuned base", None),
    (vxlab.Full(), "full fine-tuning", "full fine-tuning", None),
]


@pytest.mark.parametrize(("method", "name", "family", "rank"), NAMED, ids=lambda each: str(each))
def test_our_methods_have_their_names(method: vxlab.adapters.Method, name: str, family: str, rank: int | None) -> None:
    settings = {"name": method.name, **method.settings()}
    assert method_label(method) == method_label(settings) == name
    assert family_name(method) == family_name(settings) == family
    assert rank_of(method) == rank_of(settings) == rank


BY_LAYER = [
    ({"query": 4, "value": 16}, "r=4 (query), 16 (value)"),
    ({"value": 16, "query": 4}, "r=4 (query), 16 (value)"),
    ({"query": 4, "key": 2, "value": 16, "up": 1}, "r=1–16 by layer (e05492)"),
    (dict.fromkeys(["query", "key", "value", "up"], 8), "r=8 by layer (f4c908)"),
]


@pytest.mark.parametrize(("rank", "words"), BY_LAYER)
def test_ranks_by_layer_are_told_in_short(rank: dict[str, int], words: str) -> None:
    method = vxlab.LoRA(rank=rank)
    settings = {"name": method.name, **method.settings()}
    assert method_label(method) == method_label(settings) == f"LoRA {words}"
    assert family_name(method) == family_name(settings) == "LoRA by layer"
    assert rank_of(method) is rank_of(settings) is None
    assert all(map(has_ranks_by_layer, (method, settings, "LoRA by layer")))
    assert describe_method(method) == method_label(method)


def test_two_allocations_of_the_same_ranks_have_two_labels_none_of_them_long() -> None:
    names = [f"encoder.layer.{block}.{role}" for block in range(12) for role in ("query", "key", "value")]
    ranks = [1 + number % 16 for number in range(36)]
    methods = [vxlab.LoRA(rank=dict(zip(names, ranks[turn:] + ranks[:turn], strict=True))) for turn in range(36)]
    labels = {method_label(method) for method in methods}
    assert len(labels) == len({method.rank for method in methods})
    assert all(len(label) < 40 for label in labels)
    assert method_label(vxlab.LoRA(rank=8)) not in labels
    assert not any(map(has_ranks_by_layer, (vxlab.LoRA(rank=8), "LoRA")))


def test_every_method_has_a_name_of_its_own() -> None:
    named = [cls.name for cls in METHODS.values()]
    assert {method.name for method, *_ in NAMED} == set(named)
    assert len({family_name({"name": name}) for name in named}) == len(named)


@pytest.mark.parametrize(
    ("config", "settings", "name", "family"),
    [
        ("dora", {"r": 8}, "DoRA r=8 (PEFT)", "DoRA (PEFT)"),
        ("lora", {"r": 8, "lora_alpha": 16}, "LoRA r=8 (PEFT)", "LoRA (PEFT)"),
        ("adalora", {"init_r": 12, "target_r": 4}, "AdaLoRA r=4 (PEFT)", "AdaLoRA (PEFT)"),
        ("fourierft", {"n_frequency": 300}, "FourierFT n_frequency=300 (PEFT)", "FourierFT (PEFT)"),
        ("tinylora", {"u": 16}, "TinyLoRA r=2 u=16 (PEFT)", "TinyLoRA (PEFT)"),
        ("ia3", {}, "IA³ (PEFT)", "IA³ (PEFT)"),
        ("hra", {}, "HRA r=8 (PEFT)", "HRA (PEFT)"),
    ],
)
def test_pefts_methods_say_where_they_are_from(config: str, settings: dict[str, int], name: str, family: str) -> None:
    pytest.importorskip("peft")
    method = vxlab.PEFT(config, settings)
    recorded = {"name": method.name, **method.settings()}
    assert method_label(method) == method_label(recorded) == name
    assert family_name(method) == family_name(recorded) == family
