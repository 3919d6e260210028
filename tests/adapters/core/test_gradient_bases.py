"""LoRA-XS from gradients: told what to start from, and saved with what nothing else reproduces."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from toy_checkpoints import altered

import vxlab
from vxlab.adapters.core.frozen_weight import linear_shape
from vxlab.adapters.placement.attached import attachment_of, stored_bases
from vxlab.adapters.saving.adapter_files import SETTINGS_FILE, TENSORS_FILE
from vxlab.spectra.weights import SubspaceWarning

METHOD = vxlab.LoRAXS(rank=4, basis="gradient")


def drawn(model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return gradients of no loss in particular for every linear layer."""
    torch.manual_seed(seed)
    layers = vxlab.resolve_targets(model, "all-linear")
    return {name: torch.randn(linear_shape(layer)) for name, layer in layers.items()}


def trained(name: str = "bert", method: vxlab.LoRAXS = METHOD, seed: int = 0) -> nn.Module:
    model = ARCHITECTURES[name]()
    vxlab.attach(model, method, "all-linear", drawn(model, seed))
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            layer.R.normal_()
    return model


def logits(model: nn.Module, name: str = "bert") -> Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(name)).logits


def refused(message: str, **options: object) -> None:
    """Assert that attaching with these options is refused and leaves the model bare."""
    model = ARCHITECTURES["bert"]()
    modules = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.attach(model, **{"method": METHOD, "targets": "all-linear", **options})  # type: ignore[arg-type]
    assert {name: type(module) for name, module in model.named_modules()} == modules


def test_gradients_that_are_lacking_or_of_no_use_are_refused() -> None:
    gradients = drawn(ARCHITECTURES["bert"]())
    first = next(iter(gradients))
    refused(r"LoRAXS\(.*starts from the gradients of its target layers, and none were given; pass attach\(")
    refused(r"gradients were given, but LoRAXS\(.*'top'.*starts from none", gradients=gradients,
            method=vxlab.LoRAXS(rank=4))  # fmt: skip
    refused(r"gradients were given, but Head\(\) starts from none", gradients=gradients, method=vxlab.Head())
    refused("gradients has none of `bert.encoder.layer.0.*`, a target layer", gradients={})
    refused(r"is \(32, 3\); its weight is \(out, in\) = \(32, 32\)", gradients={**gradients, first: torch.ones(32, 3)})
    refused("zero throughout.*the loss does not depend on this layer",
            gradients={**gradients, first: torch.zeros(32, 32)})  # fmt: skip
    refused("holds NaN or infinite values", gradients={**gradients, first: torch.full((32, 32), torch.nan)})
    refused(r"rank=33 is more than min\(in_features, out_features\)=32", gradients=gradients,
            method=vxlab.LoRAXS(rank=33, basis="gradient"))  # fmt: skip


def test_a_gradient_of_fewer_directions_than_the_rank_is_filled_up_with_a_warning() -> None:
    thin = torch.randn(6, 2, dtype=torch.float64) @ torch.randn(2, 9, dtype=torch.float64)
    with pytest.warns(SubspaceWarning, match=r"top 4 singular directions of `layer.weight.grad` are not unique"):
        bases = vxlab.LoRAXS(rank=4, basis="gradient", sigma="none").frozen(
            {"layer": torch.randn(6, 9)}, {"layer": thin}
        )
    U, Vh = bases["layer"].values()
    torch.testing.assert_close(U.T @ U, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(Vh @ Vh.T, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(U @ (U.T @ thin @ Vh.T) @ Vh, thin)


def test_a_model_with_an_adapter_is_refused_before_anything_else() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"already has LoRA\(rank=2"):
        vxlab.attach(model, METHOD)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_saved_adapter_brings_its_bases_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = trained(name)
    loaded = vxlab.load_adapter(ARCHITECTURES[name](), vxlab.save_adapter(model, tmp_path / "a"))
    mine, theirs = stored_bases(model), stored_bases(loaded)
    assert len(mine) == 2 * len(vxlab.adapted_layers(model))
    assert all(torch.equal(basis, theirs[key]) for key, basis in mine.items())
    assert torch.equal(logits(loaded, name), logits(model, name))
    again = vxlab.save_adapter(loaded, tmp_path / "b")
    for file in (TENSORS_FILE, SETTINGS_FILE):
        assert (again / file).read_bytes() == (tmp_path / "a" / file).read_bytes()


@pytest.mark.parametrize("sigma", ["output", "split", "none"])
def test_it_is_so_wherever_sigma_stands(sigma: str, tmp_path: Path) -> None:
    model = trained(method=vxlab.LoRAXS(rank=4, basis="gradient", sigma=sigma))
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path / "a"))
    assert torch.equal(logits(loaded), logits(model))


def test_loading_replaces_the_bases_of_a_model_that_started_elsewhere(tmp_path: Path) -> None:
    model, other = trained(), trained(seed=1)
    assert not torch.allclose(logits(other), logits(model))
    vxlab.load_adapter(other, vxlab.save_adapter(model, tmp_path / "a"))
    assert torch.equal(logits(other), logits(model))


def test_the_bases_count_among_the_bytes_that_are_stored(tmp_path: Path) -> None:
    model = trained()
    folder = vxlab.save_adapter(model, tmp_path / "a")
    stored = [*stored_bases(model).values(), *(p for p in model.parameters() if p.requires_grad)]
    size = (folder / TENSORS_FILE).stat().st_size
    assert 0 < size - sum(tensor.numel() * tensor.element_size() for tensor in stored) < 8192
    assert "basis_probes" not in json.loads((folder / SETTINGS_FILE).read_text())


def test_a_file_without_the_bases_is_refused_and_the_model_left_bare(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained(), tmp_path / "a")
    path = folder / TENSORS_FILE
    save_file({key: each for key, each in load_file(path).items() if not key.endswith("right_basis")}, path)
    altered(folder, tensors_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=r"lacks the bases of `bert.encoder.layer.0.*`; save the adapter again"):
        vxlab.load_adapter(model, folder)
    assert not vxlab.adapted_layers(model)


@pytest.mark.parametrize(("key", "shape"), [("left_basis", (32, 3)), ("right_basis", (32, 4)), ("left_basis", (4,))])
def test_a_file_with_bases_of_another_rank_or_side_is_refused(key: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained(), tmp_path / "a")
    path, layers = folder / TENSORS_FILE, attachment_of(trained()).layers
    save_file(load_file(path) | {f"{layers[0]}.{key}": torch.ones(shape)}, path)
    altered(folder, tensors_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    model = ARCHITECTURES["bert"]()
    with pytest.raises(vxlab.VxlabError, match=rf"{key}` is .*, and rank 4 on this layer takes \(.*; save the adapter"):
        vxlab.load_adapter(model, folder)
    assert not vxlab.adapted_layers(model)


def test_a_models_own_state_holds_these_bases_and_no_others() -> None:
    state = trained().state_dict()
    assert {key.rpartition(".")[2] for key in state} >= {"R", "left_basis", "right_basis"}
    other = trained(seed=1)
    other.load_state_dict(state, strict=True)
    assert torch.equal(logits(other), logits(trained()))
    plain = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRAXS(rank=4), "all-linear")
    assert stored_bases(plain) == {}
    assert not any("basis" in key for key in plain.state_dict())
