"""Parameters that lie in one memory: the same one under two names, or two that are views of one storage."""

from typing import NamedTuple

from torch import nn


class Holder(NamedTuple):
    """A parameter's name in a model, and where its values lie."""

    name: str
    memory: tuple[str, int]
    start: int
    end: int
    """in bytes, the first that is not of it any more"""

    def overlaps(self, other: "Holder") -> bool:
        """Tell whether the two have memory in common, as far as their first and last elements show."""
        return self.memory == other.memory and self.start < other.end and other.start < self.end


def weight_holders(model: nn.Module) -> list[Holder]:
    """Return every name under which a model holds a parameter, and its memory.

    >>> first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    >>> second.weight = nn.Parameter(first.weight.data)
    >>> one, other = weight_holders(nn.Sequential(first, second))
    >>> one.overlaps(other)
    True
    """
    return [_holder(name, parameter) for name, parameter in model.named_parameters(remove_duplicate=False)]


def _holder(name: str, parameter: nn.Parameter) -> Holder:
    try:
        address = parameter.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # a tensor of no memory of its own
        address = 0
    if not address:  # on the meta device nothing lies anywhere
        return Holder(name, ("object", id(parameter)), 0, 1)
    size = parameter.element_size()
    start = int(parameter.storage_offset()) * size
    last = sum((length - 1) * stride for length, stride in zip(parameter.shape, parameter.stride(), strict=True))
    return Holder(name, (str(parameter.device), address), start, start + (int(last) + 1) * size)
