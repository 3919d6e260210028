"""LoRA-XS on bases that are given: put on by who has them, and saved with what nothing else reproduces."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, loaded_in_a_new_process
from torch import Tensor, nn
from toy_checkpoints import logits

import vxlab
from vxlab.adapters.attach import attach_layers
from vxlab.adapters.core.layer import linear_shape
from vxlab.adapters.placement.attached import attachment_of, stored_bases

METHOD = vxlab.LoRAXS(rank=4, alpha=6, basis="given")


def drawn(layers: dict[str, nn.Module], seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """Return bases of nothing in particular for every layer."""
    torch.manual_seed(seed)
    shapes = {name: linear_shape(layer) for name, layer in layers.items()}
    return {
        name: {"left_basis": torch.randn(shape[0], 4), "right_basis": torch.randn(4, shape[1])}
        for name, shape in shapes.items()
    }


def trained(name: str, seed: int = 0) -> nn.Module:
    model = ARCHITECTURES[name]()
    layers = vxlab.resolve_targets(model, "all-linear")
    attach_layers(model, METHOD, layers, drawn(layers, seed))
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            layer.R.normal_(std=0.1)
    return model


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_given_bases_are_acted_on_as_they_are(name: str) -> None:
    model = trained(name)
    given = drawn(vxlab.resolve_targets(ARCHITECTURES[name](), "all-linear"))
    for path, layer in vxlab.adapted_layers(model).items():
        expected = 1.5 * given[path]["left_basis"] @ layer.R @ given[path]["right_basis"]
        torch.testing.assert_close(layer.delta_weight(), expected)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_they_are_saved_whole_and_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = trained(name)
    folder = vxlab.save_adapter(model, tmp_path / "a")
    loaded = vxlab.load_adapter(ARCHITECTURES[name](), folder)
    assert torch.equal(logits(loaded, name), logits(model, name))
    assert loaded_in_a_new_process([folder], name) == [logits(model, name).numpy().tobytes().hex()]
    # Onto a model between other bases, too.
    assert torch.equal(logits(vxlab.load_adapter(trained(name, seed=1), folder), name), logits(model, name))
    assert attachment_of(model).fingerprints == {}
    assert stored_bases(model).keys() == {
        f"{path}.{side}_basis" for path in attachment_of(model).layers for side in ("left", "right")
    }


def test_they_come_from_a_folder_alone() -> None:
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=r"acts on bases that an adapter's folder holds.*vxlab.load_adapter"):
        vxlab.attach(model, vxlab.LoRAXS(rank=4, basis="given"))
    assert not vxlab.adapted_layers(model)
    with pytest.raises(vxlab.VxlabError, match="LoRAXS sigma='output' moves nothing in bases that are given"):
        vxlab.LoRAXS(basis="given", sigma="output")
