"""Which block of a model a layer is in, read from the names of its layers."""

import re
from collections.abc import Iterable

# Swin's `layers.1.blocks.0` and ConvNeXt's `stages.1.layers.0`; not the experts of a block, nor its heads.
_STAGED = re.compile(r"^(.*?)\.?(?:layers|stages)\.(\d+)\.(?:blocks|layers)\.(\d+)\.")
_FIRST_NUMBER = re.compile(r"\.(\d+)\.")


def number_blocks(layers: Iterable[str]) -> dict[str, int]:
    """Return the number of each layer's block, from 0 at the input.

    It is the first number in a layer's name. Where blocks stand in stages, they are numbered through, so all layers of
    a model, or one of each block, must be among those that are given; a layer between two stages is of the block
    before it.

    Args:
        layers: dotted names.

    >>> list(number_blocks(["encoder.layer.3.attention.self.query", "pooler.dense"]).values())
    [3, 0]
    >>> list(number_blocks(["layers.0.blocks.0.fc1", "layers.0.blocks.1.fc1", "layers.1.blocks.0.fc1"]).values())
    [0, 1, 2]
    """
    names = list(layers)
    depths: dict[str, dict[int, int]] = {}
    for name in names:
        if found := _STAGED.match(name):
            stages = depths.setdefault(found[1], {})
            stages[int(found[2])] = max(stages.get(int(found[2]), 0), int(found[3]) + 1)
    return {name: _number(name, depths) for name in names}


def _number(name: str, depths: dict[str, dict[int, int]]) -> int:
    if found := _STAGED.match(name):
        return _before(depths[found[1]], int(found[2])) + int(found[3])
    first = _FIRST_NUMBER.search(f".{name}.")
    if first is None:
        return 0
    between = next((stages for top, stages in depths.items() if name.startswith(top)), None)
    return int(first[1]) if between is None else max(0, _before(between, int(first[1]) + 1) - 1)


def _before(stages: dict[int, int], stage: int) -> int:
    """Return how many blocks stand in the stages before one."""
    return sum(depth for number, depth in stages.items() if number < stage)
