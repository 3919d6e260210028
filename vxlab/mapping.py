"""A mapping that never changes, so that settings which hold one can be compared, hashed and sent to workers."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class FrozenMapping(Mapping[str, Value]):
    """Values by name, in the names' order whichever they came in, equal to any mapping of the same items.

    >>> FrozenMapping({"query": 4}) == {"query": 4}, {FrozenMapping({"query": 4}): 1}[FrozenMapping({"query": 4})]
    (True, 1)
    """

    def __init__(self, items: Mapping[str, Value]) -> None:
        self._items = dict(sorted(items.items()))

    def __getitem__(self, name: str) -> Value:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __deepcopy__(self, memo: Any) -> "FrozenMapping[Value]":
        return self  # nobody changes it
