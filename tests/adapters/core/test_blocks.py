"""A block's number is the first in a layer's name, and counted through the stages of a model that has them."""

import pytest
from architectures import ARCHITECTURES
from vision_architectures import ARCHITECTURES as OF_IMAGES
from vision_architectures import build

from vxlab.adapters.core import number_blocks
from vxlab.adapters.placement import resolve_targets


@pytest.mark.parametrize("name", OF_IMAGES)
def test_blocks_of_a_model_of_images_are_numbered_from_its_input(name: str) -> None:
    found, layers = OF_IMAGES[name], list(resolve_targets(build(name), "all-linear"))
    numbers = number_blocks(layers)
    assert list(numbers) == layers
    for number, block in enumerate(found.blocks):
        assert {numbers[layer] for layer in layers if layer.startswith(f"{block}.")} == {number}
    assert [numbers[layer] for layer in found.between] == [0] * len(found.between)  # between the first two blocks
    assert sorted(numbers.values()) == list(numbers.values())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_blocks_of_every_other_model_have_the_number_in_their_names(name: str) -> None:
    layers = list(resolve_targets(ARCHITECTURES[name](), "all-linear"))
    assert set(number_blocks(layers).values()) == {0, 1}
    assert all(f".{number}." in layer for layer, number in number_blocks(layers).items())


def test_experts_and_towers_are_no_stages() -> None:
    layers = ["model.layers.3.mlp.experts.5.up_proj", "text.layers.2.q_proj", "vision.encoder.layers.1.q_proj", "head"]
    assert list(number_blocks(layers).values()) == [3, 2, 1, 0]


def test_two_towers_of_stages_are_numbered_apart() -> None:
    one = [f"one.layers.{stage}.blocks.{block}.fc1" for stage, depth in enumerate((2, 2)) for block in range(depth)]
    other = [
        f"other.stages.{stage}.layers.{block}.pwconv1" for stage, depth in enumerate((1, 3)) for block in range(depth)
    ]
    assert list(number_blocks([*one, *other]).values()) == [0, 1, 2, 3, 0, 1, 2, 3]


def test_layers_of_one_role_of_each_block_are_numbered_as_all_are() -> None:
    model = build("swin")
    every = number_blocks(resolve_targets(model, "all-linear"))
    for targets in ("query-value", "query", "mlp"):
        own = number_blocks(resolve_targets(model, targets))
        assert own == {layer: every[layer] for layer in own}
