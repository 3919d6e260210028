"""Updates of saved adapters without their model: the same as on it, or refused."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES
from released_lora_xs import released_model, write_released
from toy_checkpoints import trained

import vxlab
from vxlab.adapters.core.family import Family
from vxlab.adapters.core.frozen_weight import linear_shape
from vxlab.adapters.interop.read import read_saved


def shapes(name: str = "bert") -> dict[str, tuple[int, int]]:
    """Return those of all linear layers, whether a method is on them or not."""
    layers = vxlab.resolve_targets(ARCHITECTURES[name](), "all-linear")
    return {path: linear_shape(layer) for path, layer in layers.items()}


@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
@pytest.mark.parametrize(
    "method",
    [vxlab.LoRA(rank=4, alpha=2), vxlab.LoRA(rank=4, alpha=2, trains="B", seed=3), vxlab.VeRA(rank=12, seed=3),
     vxlab.VeRA(rank=8, unique=True), vxlab.LiDB(rank=2, aux_out=12, aux_in=10)],
    ids=str,
)  # fmt: skip
def test_what_no_weight_makes_is_made_from_sizes_alone(method: Family, targets: str, tmp_path: Path) -> None:
    model = trained("bert", method, targets)
    found = read_saved(vxlab.save_adapter(model, tmp_path / "a"), shapes()).factors(shapes())
    layers = vxlab.adapted_layers(model)
    assert found.keys() == layers.keys()
    for name, (left, right) in found.items():
        torch.testing.assert_close(left @ right, layers[name].delta_weight().detach())


@pytest.mark.parametrize("method", [vxlab.LoRAXS(rank=4), vxlab.LoRAXS(rank=4, basis="random-svd")], ids=str)
def test_what_the_weights_make_is_refused(method: Family, tmp_path: Path) -> None:
    saved = read_saved(vxlab.save_adapter(trained("bert", method), tmp_path / "a"), shapes())
    with pytest.raises(vxlab.VxlabError, match=r"whose 'left_basis' is made of the base's weights; load it onto its"):
        saved.factors(shapes())


def test_sizes_that_are_needed_are_asked_for(tmp_path: Path) -> None:
    saved = read_saved(vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=4, trains="B"), "query"), tmp_path / "a"))
    with pytest.raises(vxlab.VxlabError, match=r"'A' is made of the base's weights, or drawn to its layers' sizes"):
        saved.factors()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_of_a_released_lora_xs_folder_the_bases_are_there(tmp_path: Path) -> None:
    model = released_model(ARCHITECTURES["bert"](), ["query"], task_type="SEQ_CLS")
    saved = read_saved(write_released(model, tmp_path / "ft"))
    for name, (left, right) in saved.factors().items():
        layer = model.get_submodule(f"base_model.model.{name}")
        R = layer.default_lora_latent_mapping.weight
        expected = 4 * layer.lora_B["default"].weight @ R @ layer.lora_A["default"].weight
        torch.testing.assert_close(left @ right, expected.detach())
    assert (saved.kind, saved.ranks, saved.parameters) == ("lora-xs", dict.fromkeys(saved.layers, 4), 2 * 16)
