"""The identity of a user's own method: by its code, and by what that calls."""

import subprocess
import sys
from pathlib import Path

import pytest
from own_modules import SOURCE, module
from places import SUPPORT
from toy_methods import FrozenA

import vxlab
from vxlab.adapters import METHODS
from vxlab.adapters.core.own_code import code_version

pytestmark = pytest.mark.usefixtures("frozen_a")


def test_methods_of_vxlab_have_no_code_in_their_identity() -> None:
    assert [code_version(cls) for cls in METHODS.values() if cls.__module__.startswith("vxlab.")] == [{}] * 9
    assert vxlab.LoRA(rank=2).versions() == {}
    assert set(vxlab.PEFT("dora").versions()) == {"peft"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('return tensors["B"], ', 'return 2 * tensors["B"], '),  # of the class itself
        ("SPREAD = 0.5", "SPREAD = 0.25"),  # a number that a function beside it names
        ("torch.randn(rank", "torch.rand(rank"),  # that function
        ("class FrozenA(Family)", "class FrozenA(vxlab.LoRA)"),
        ("return self.rank * shape[0]", "return self.rank * shape[0] if shape[0] in {1, 2} else 0"),
        ("    def trained", "    @torch.no_grad()\n    def trained"),
        ("torch.zeros(shape[0], self.rank)", "(lambda rows: torch.zeros(rows, self.rank))(shape[0])"),
        ("rank: int, columns: int, seed: int)", "rank: int, columns: int, seed: int, more: int = 1)"),
    ],
)
def test_changed_code_is_another_identity(old: str, new: str, tmp_path: Path) -> None:
    assert old in SOURCE
    before = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=2).versions()
    again = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"').replace(old, new)).FrozenA(rank=2).versions()
    assert set(before) == set(again) == {"code"}
    assert before != again


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SPREAD = 0.5", "# a remark\n\nSPREAD = 0.5"),
        ("LoRA whose A stays at its random start.", "Other words."),
        ("rank: int = 8", "rank: int = 16"),  # a default counts where it is in force, among a run's settings
        ('name: ClassVar[str] = "unregistered"', 'name: ClassVar[str] = "other"'),  # of another class of the file
    ],
)
def test_what_changes_no_number_is_the_same_identity(old: str, new: str, tmp_path: Path) -> None:
    assert old in SOURCE
    before = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"')).FrozenA(rank=2).versions()
    again = module(tmp_path, SOURCE.replace('"frozen_a"', '"mine_a"').replace(old, new)).FrozenA(rank=2).versions()
    assert before == again


def test_a_helper_in_another_module_of_theirs_is_in_the_identity(tmp_path: Path) -> None:
    source = "import mine_helper\n" + SOURCE.replace('"frozen_a"', '"mine_a"').replace(
        "columns**SPREAD", "columns**mine_helper.spread()"
    )
    found = []
    for number in ("0.5", "0.25"):
        module(tmp_path, f"def spread():\n    return {number}\n", "mine_helper")
        found.append(module(tmp_path, source).FrozenA(rank=2).versions())
    assert found[0] != found[1]


def test_the_identity_is_the_same_in_every_process() -> None:
    told = "import toy_methods; print(toy_methods.FrozenA(2).versions()['code'])"
    run = lambda seed: subprocess.run(  # noqa: E731
        [sys.executable, "-c", told], cwd=SUPPORT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(vxlab.__file__).parents[1])},
    ).stdout.strip()  # fmt: skip
    assert run("1") == FrozenA(rank=2).versions()["code"]
