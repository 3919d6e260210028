"""What the tests of adapters share: a method of a user's own, registered for one test."""

import sys
from collections.abc import Iterator

import pytest
from toy_methods import FrozenA

import vxlab
from vxlab.adapters import METHODS

del METHODS["frozen_a"]  # which other tests need not see


@pytest.fixture
def frozen_a(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register a method, and forget in the end what a test registers and imports."""
    methods, modules = dict(METHODS), set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    vxlab.register(FrozenA)
    yield
    METHODS.clear()
    METHODS.update(methods)
    for name in sys.modules.keys() - modules:
        if "mine" in name:
            del sys.modules[name]
