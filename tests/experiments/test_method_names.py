"""What methods are called in tables, the same from a method and from its record."""

import pytest

import vxlab
from vxlab.adapters import METHODS
from vxlab.experiments.method_names import family_name, method_label, rank_of

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
