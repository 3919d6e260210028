"""A user's own method in another process: unpickled from its module, or refused where it has none."""

import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from own_modules import SOURCE, module
from toy_methods import FrozenA

import vxlab
from vxlab.adapters.core.own_home import unpack_method

pytestmark = pytest.mark.usefixtures("frozen_a")


def test_it_is_unpickled_where_its_module_was_never_imported(tmp_path: Path) -> None:
    method = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=3)
    told = "import pickle, sys, vxlab; print(pickle.load(sys.stdin.buffer), vxlab.method_from_name('mine_a'))"
    run = subprocess.run(
        [sys.executable, "-c", told], input=pickle.dumps(method), capture_output=True, cwd=tmp_path.parent
    )
    assert run.stdout.decode().strip() == "FrozenA(rank=3, seed=0) FrozenA(rank=8, seed=0)", run.stderr.decode()


def test_what_no_other_process_finds_is_refused_in_words() -> None:
    @dataclass(frozen=True)
    class Inside(FrozenA):
        name: ClassVar[str] = "inside"

    with pytest.raises(vxlab.VxlabError, match="Inside is defined inside a function, where no other process finds it"):
        pickle.dumps(Inside(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"Cell is defined in a notebook or script.*put it into a .py file"):
        unpack_method(("__main__", None), "Cell", {})
