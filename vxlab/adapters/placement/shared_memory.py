"""Parameters that lie in one memory: the same one under two names, or two that are views of one storage."""

from typing import NamedTuple

from torch import nn

from vxlab.adapters.core import has_values


class _Span(NamedTuple):
    """Where a parameter's values lie, from its first to its last element, in bytes."""

    memory: tuple[str, int]
    start: int
    end: int

    def overlaps(self, other: "_Span") -> bool:
        return self.start < other.end and other.start < self.end


def shared_parameters(model: nn.Module) -> dict[str, list[str]]:
    """Return the parameters that have memory in common with others, and those others, by dotted names.

    >>> first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    >>> second.weight = nn.Parameter(first.weight.data)
    >>> shared_parameters(nn.Sequential(first, second))
    {'0.weight': ['1.weight'], '1.weight': ['0.weight']}
    """
    spans = {name: _span(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    together: dict[tuple[str, int], list[str]] = {}
    for name, span in spans.items():
        together.setdefault(span.memory, []).append(name)
    several = (names for names in together.values() if len(names) > 1)
    twins = {
        name: [o for o in names if o != name and spans[o].overlaps(spans[name])] for names in several for name in names
    }
    return {name: others for name, others in twins.items() if others}


def _span(parameter: nn.Parameter) -> _Span:
    try:
        address = parameter.untyped_storage().data_ptr() if has_values(parameter) else 0
    except (NotImplementedError, RuntimeError):  # a tensor of no memory of its own
        address = 0
    if not address:  # a shape alone lies nowhere
        return _Span(("object", id(parameter)), 0, 1)
    size = parameter.element_size()
    start = int(parameter.storage_offset()) * size
    last = sum((length - 1) * stride for length, stride in zip(parameter.shape, parameter.stride(), strict=True))
    return _Span((str(parameter.device), address), start, start + (int(last) + 1) * size)
