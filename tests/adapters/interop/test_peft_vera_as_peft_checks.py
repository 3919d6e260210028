"""What the peft library's own tests hold its VeRA to, where it applies here."""

from pathlib import Path

import peft
import pytest
import torch
from foreign_folders import CONFIG, WEIGHTS, as_peft_warns, move, say
from plain_models import inputs_of_ten, perceptron
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_checkpoints import assert_refused

import vxlab
from vxlab.adapters import write_peft

LAYERS = ["lin0", "lin1"]


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    found: Tensor = model.eval()(inputs_of_ten())
    return found


def test_layers_share_the_matrices_memory_and_none_of_the_vectors() -> None:
    model = vxlab.attach(perceptron(), vxlab.VeRA(rank=8), LAYERS)
    one, other = vxlab.adapted_layers(model).values()
    pairs = [dict(layer.shared.named_buffers()) for layer in (one, other)]
    assert pairs[0]["A"].data_ptr() == pairs[1]["A"].data_ptr() != pairs[0]["B"].data_ptr()
    assert pairs[0]["B"].data_ptr() == pairs[1]["B"].data_ptr()
    vectors = [each.data_ptr() for layer in (one, other) for each in layer.trained_tensors().values()]
    assert len(set(vectors)) == 4


def test_the_matrices_are_as_large_as_the_largest_layer_and_written_so(tmp_path: Path) -> None:
    model = vxlab.attach(perceptron(), vxlab.VeRA(rank=8), ["lin0", "lin2"])  # (20, 10) and (2, 16)
    write_peft(model, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    assert (tuple(tensors["base_model.vera_A"].shape), tuple(tensors["base_model.vera_B"].shape)) == ((8, 16), (20, 8))
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron(), peft.VeraConfig(r=8, target_modules=["lin0", "lin2"]))
    assert torch.equal(theirs.base_model.vera_A["default"], tensors["base_model.vera_A"])
    assert torch.equal(theirs.base_model.vera_B["default"], tensors["base_model.vera_B"])


def test_it_starts_where_pefts_does(tmp_path: Path) -> None:
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron(), peft.VeraConfig(r=8, target_modules=LAYERS, d_initial=0.3))
        theirs.save_pretrained(tmp_path)
    loaded = vxlab.load_adapter(perceptron(), tmp_path)
    started = vxlab.attach(perceptron(), vxlab.VeRA(rank=8, d_initial=0.3), LAYERS)
    assert loaded.vxlab_attachment.method == started.vxlab_attachment.method
    pairs = zip(loaded.named_parameters(), started.named_parameters(), strict=True)
    assert all(one[0] == other[0] and torch.equal(one[1], other[1]) for one, other in pairs)


@pytest.mark.parametrize("stored", [True, False])
def test_each_of_several_adapters_on_one_model_is_read_from_its_own_folder(stored: bool, tmp_path: Path) -> None:
    expected = {}
    with as_peft_warns():
        config = peft.VeraConfig(r=8, target_modules=LAYERS, save_projection=stored)
        theirs = peft.get_peft_model(perceptron(), config, adapter_name="first")
        theirs.add_adapter("second", peft.VeraConfig(r=8, target_modules=LAYERS, save_projection=stored))
        for number, name in enumerate(("first", "second")):
            theirs.set_adapter(name)
            move(theirs, seed=number)
            expected[name] = outputs(theirs)
        theirs.save_pretrained(tmp_path)
    assert not torch.allclose(expected["first"], expected["second"], atol=1e-3)
    for name, logits in expected.items():
        held = any("vera_A" in key or "vera_B" in key for key in load_file(tmp_path / name / WEIGHTS))
        assert held is stored
        ours = vxlab.load_adapter(perceptron(), tmp_path / name)
        torch.testing.assert_close(outputs(ours), logits, rtol=0, atol=1e-5)
    assert_refused(perceptron(), tmp_path, "holds 2 adapters in folders of their own: first, second")


def test_a_second_adapter_that_borrowed_larger_matrices_keeps_them(tmp_path: Path) -> None:
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron(), peft.VeraConfig(r=8, target_modules=["lin0", "lin1"]))
        theirs.add_adapter("small", peft.VeraConfig(r=8, target_modules=["lin0"]))
        theirs.set_adapter("small")
        move(theirs)
        theirs.save_pretrained(tmp_path)
    ours = vxlab.load_adapter(perceptron(), tmp_path / "small")
    assert ours.vxlab_attachment.method.matrices == "given"  # alone, the seed draws a smaller pair
    torch.testing.assert_close(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)


def test_another_key_is_another_model(tmp_path: Path) -> None:
    with as_peft_warns():
        config = peft.VeraConfig(r=8, target_modules=LAYERS, save_projection=False, projection_prng_key=1)
        theirs = peft.get_peft_model(perceptron(), config)
        move(theirs)
        theirs.save_pretrained(tmp_path)
    ours = outputs(vxlab.load_adapter(perceptron(), tmp_path))
    torch.testing.assert_close(ours, outputs(theirs), rtol=0, atol=1e-5)
    say(tmp_path, projection_prng_key=2)
    assert not torch.allclose(outputs(vxlab.load_adapter(perceptron(), tmp_path)), ours, atol=1e-3)


def test_a_start_without_zeros_is_read_as_any_other(tmp_path: Path) -> None:
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron(), peft.VeraConfig(r=8, target_modules=LAYERS, init_weights=False))
        theirs.save_pretrained(tmp_path)
    torch.testing.assert_close(outputs(vxlab.load_adapter(perceptron(), tmp_path)), outputs(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_runs_and_is_read_on_a_model_in_half_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    with as_peft_warns():
        theirs = peft.get_peft_model(perceptron().to(dtype), peft.VeraConfig(r=8, target_modules=LAYERS))
        move(theirs)
        theirs.save_pretrained(tmp_path)
    ours = vxlab.load_adapter(perceptron().to(dtype), tmp_path)
    with torch.no_grad():
        found, expected = (model.eval()(inputs_of_ten().to(dtype)) for model in (ours, theirs))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.02, atol=0.02)
    assert (tmp_path / CONFIG).exists()
