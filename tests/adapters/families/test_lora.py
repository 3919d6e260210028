"""LoRA-FA: A frozen, drawn from a seed and never stored, and what the backward pass then keeps."""

import json
import math
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES
from torch import nn
from toy_checkpoints import trained

import vxlab
from vxlab.adapters.core.fingerprint import weights_fingerprint
from vxlab.experiments.costs import saved_activation_bytes

RECORDED = "20530af9645dca7f"  # with torch 2.13.0
FROZEN = vxlab.LoRA(rank=4, trains="B")


def test_a_follows_seed_and_layer_alone_and_spreads_as_a_trained_ones_start() -> None:
    weights = {"a": torch.ones(6, 400), "b": torch.ones(6, 400), "c": torch.ones(8, 5)}
    drawn = {layer: tensors["A"] for layer, tensors in vxlab.LoRA(rank=50, trains="B").frozen(weights).items()}
    assert {layer: tuple(A.shape) for layer, A in drawn.items()} == {"a": (50, 400), "b": (50, 400), "c": (50, 5)}
    assert 0.99 / math.sqrt(400) < drawn["a"].abs().max() <= 1 / math.sqrt(400)
    assert drawn["a"].std().item() == pytest.approx(1 / math.sqrt(3 * 400), rel=0.03)
    assert not torch.equal(drawn["a"], drawn["b"])
    again = vxlab.LoRA(rank=50, trains="B").frozen({"b": torch.zeros(2, 400)})
    assert torch.equal(drawn["b"], again["b"]["A"])
    assert not torch.equal(drawn["b"], vxlab.LoRA(rank=50, trains="B", seed=1).frozen(weights)["b"]["A"])


def test_the_frozen_a_is_the_recorded_one() -> None:
    # A torch that draws other numbers fails here, and refuses every adapter saved before it.
    drawn = vxlab.LoRA(rank=8, trains="B", seed=7).frozen({"layer": torch.ones(24, 40)})["layer"]
    assert weights_fingerprint(drawn).startswith(RECORDED)


def test_only_b_trains_from_zero_and_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    model = vxlab.attach(ARCHITECTURES["bert"](), FROZEN, "all-linear")
    assert torch.equal(torch.rand(1), expected)
    layers = vxlab.adapted_layers(model)
    assert all(list(layer.trained_tensors()) == ["B"] and not layer.B.any() for layer in layers.values())
    outputs = sum(layer.shape[0] for layer in layers.values())
    assert vxlab.trainable_parameters(model).backbone == 4 * outputs


@pytest.mark.parametrize(("rank", "wide"), [(8, 768), (64, 256)])
def test_backward_keeps_z_and_not_x(rank: int, wide: int) -> None:
    tokens, kept = 96, {}
    for method in (vxlab.LoRA(rank=rank), vxlab.LoRA(rank=rank, trains="B"),
                   vxlab.LoRA(rank=rank, trains="B", alpha=3, rank_stabilised=True)):  # fmt: skip
        net = nn.Sequential(nn.Linear(wide, wide).requires_grad_(False), nn.Linear(wide, wide))
        vxlab.attach(net, method, ["1"])
        x = torch.randn(tokens, wide, requires_grad=True)
        floats = saved_activation_bytes(net.train(), lambda net=net, x=x: net(x)) / 4
        kept[method] = floats / tokens
    assert list(kept.values()) == [wide + rank, rank, rank]


def test_a_is_not_stored_and_one_that_does_not_reproduce_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = vxlab.save_adapter(trained("bert", FROZEN), tmp_path / "a")
    saved = json.loads((folder / "adapter.json").read_text())
    assert saved["settings"] == FROZEN.settings()
    assert saved["settings"]["trains"] == "B"
    assert len(saved["basis_probes"]) == len(saved["layers"])
    own = vxlab.LoRA._drawn

    def drawn(self: vxlab.LoRA, in_features: int, generator: torch.Generator | None = None) -> torch.Tensor:
        return own(self, in_features, generator).flip(0)

    monkeypatch.setattr(vxlab.LoRA, "_drawn", drawn)
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=r"the frozen basis of `bert.encoder.layer.0.*` does not reproduce here"):
        vxlab.load_adapter(model, folder)
    assert not vxlab.adapted_layers(model)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="LoRA trains='A' is unknown; choose one of both, B"):
        vxlab.LoRA(trains="A")
    with pytest.raises(vxlab.VxlabError, match=r"LoRA seed=3 is of an A that is frozen, .*; leave it out, or give"):
        vxlab.LoRA(seed=3)
