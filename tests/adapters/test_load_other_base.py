"""An adapter on another base than its own: told by its scheme, refused, or taken and marked."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vxlab
from vxlab.adapters.placement.attached import attachment_of

pytest.importorskip("bitsandbytes")


def _saved(model: str, scheme: str | None, folder: Path, method: vxlab.adapters.Method) -> nn.Module:
    torch.manual_seed(0)
    base = vxlab.attach(vxlab.load_model(model, 2, scheme), method)
    for layer in vxlab.adapted_layers(base).values():
        for tensor in layer.trained_tensors().values():
            nn.init.normal_(tensor, std=0.1)
    vxlab.save_adapter(base, folder)
    return base


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ("nf4", None, "it was trained in nf4, and this base is in floating point"),
        (None, "int8", "it was trained in floating point, and this base is in int8"),
        ("nf4", "torchao-int8", "it was trained in nf4, and this base is in torchao-int8"),
    ],
)
def test_another_bases_scheme_is_told(
    there: str | None, here: str | None, said: str, tiny_model: str, tmp_path: Path
) -> None:
    _saved(tiny_model, there, tmp_path, vxlab.LoRA(rank=2))
    base = vxlab.load_model(tiny_model, 2, here)
    with pytest.raises(vxlab.VxlabError, match=f"was trained on another base: .*; {said}$"):
        vxlab.load_adapter(base, tmp_path)
    assert not vxlab.adapted_layers(base)


def test_it_can_be_put_on_any_base_and_bears_the_mark_of_it(tiny_model: str, tmp_path: Path) -> None:
    trained: Any = _saved(tiny_model, "nf4", tmp_path / "own", vxlab.LoRA(rank=2))
    with pytest.warns(UserWarning, match=r"was trained on another base \(trained in nf4, and this base is in floating"):
        moved: Any = vxlab.load_adapter(vxlab.load_model(tiny_model, 2), tmp_path / "own", base="any")
    for name, layer in vxlab.adapted_layers(trained).items():
        assert torch.equal(vxlab.adapted_layers(moved)[name].delta_weight(), layer.delta_weight())
    own = json.loads((tmp_path / "own" / "adapter.json").read_text())
    mark = {"base": own["base"], "quantisation": own["quantisation"]}
    assert attachment_of(moved).trained_on == mark
    vxlab.save_adapter(moved, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "adapter.json").read_text())["trained_on"] == mark
    again = vxlab.load_adapter(vxlab.load_model(tiny_model, 2), tmp_path / "again")  # the base that it was saved on
    assert attachment_of(again).trained_on == mark
    plain = vxlab.load_adapter(vxlab.load_model(tiny_model, 2, "nf4"), tmp_path / "own", base="any")
    assert attachment_of(plain).trained_on is None  # its own


def test_bases_from_the_weights_are_refused_on_others(tiny_model: str, tmp_path: Path) -> None:
    _saved(tiny_model, "nf4", tmp_path, vxlab.LoRAXS(rank=4))
    base = vxlab.load_model(tiny_model, 2)
    with (
        pytest.warns(UserWarning, match="was trained on another base"),
        pytest.raises(vxlab.VxlabError, match="would act on other directions; load the base that it was trained on"),
    ):
        vxlab.load_adapter(base, tmp_path, base="any")
    assert not vxlab.adapted_layers(base)


def test_what_base_may_be_is_told(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="base='other' is unknown; choose one of same, any"):
        vxlab.load_adapter(vxlab.load_model(tiny_model, 2), tmp_path, base="other")
