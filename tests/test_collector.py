"""The garbage collector at rest, and as it was afterwards."""

import contextlib
import gc
import weakref

import pytest

from vxlab.collector import pass_over_what_is_there, pause_collector
from vxlab.errors import VxlabError


@pytest.fixture
def nothing_frozen():
    """As in a user's process: the tests' own has frozen what it began with."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


class Ring:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_a_pause_ends_also_by_an_error_and_inner_pauses_end_no_outer_one():
    with contextlib.suppress(VxlabError), pause_collector():
        with pause_collector():
            pass
        assert not gc.isenabled()
        raise VxlabError
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    gc.disable()
    try:
        with pause_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_of_before_is_freed_at_once_and_garbage_made_meanwhile_as_ever(nothing_frozen):
    before = weakref.ref(Ring())
    with pass_over_what_is_there():
        assert before() is None
        meanwhile = weakref.ref(Ring())
        gc.collect()
        assert meanwhile() is None


def test_what_was_there_is_passed_over_until_the_end_and_no_longer(nothing_frozen):
    there = Ring()
    seen = weakref.ref(there)
    with pass_over_what_is_there():
        del there
        gc.collect()
        assert seen() is not None
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert seen() is None


def test_an_inner_call_and_the_callers_own_freeze_are_left_alone(nothing_frozen):
    with pass_over_what_is_there():
        with pass_over_what_is_there():
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    gc.freeze()
    with pass_over_what_is_there():
        pass
    assert gc.get_freeze_count() > 0
