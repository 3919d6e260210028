"""A mapping that never changes: equality, hashes, order, copies."""

import copy
import json
import pickle

import pytest

from vxlab.mapping import FrozenMapping


def test_two_orders_are_one_mapping_with_one_hash_and_one_text() -> None:
    one, other = FrozenMapping({"value": 16, "query": 4}), FrozenMapping({"query": 4, "value": 16})
    assert one == other == {"value": 16, "query": 4}
    assert hash(one) == hash(other)
    assert (list(one), repr(one), json.dumps(dict(one))) == (list(other), repr(other), json.dumps(dict(other)))
    assert one != FrozenMapping({"query": 4})


def test_it_stays_as_it_was_made() -> None:
    given = {"query": 4}
    frozen = FrozenMapping(given)
    given["query"] = 8
    assert frozen["query"] == 4
    with pytest.raises(TypeError):
        frozen["query"] = 8  # type: ignore[index]


def test_copies_and_what_workers_receive_are_equal() -> None:
    frozen = FrozenMapping({"query": 4})
    assert copy.deepcopy(frozen) is frozen
    assert hash(pickle.loads(pickle.dumps(frozen))) == hash(frozen)
