"""A computed table is computed once, and again when what decides it changes: an argument, the data, the code."""

import dataclasses
import types
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from torch import nn

from vxlab import LoRA, RunSpec, VeRA, VxlabError
from vxlab.experiments.store import computed_tables as kept
from vxlab.experiments.store.computed_tables import kept_table

TABLE = pd.DataFrame({"layer": ["a", "b"], "score": [0.5, float("nan")], "rank": [1, 2], "seen": [True, False]})
CALLS: deque[str] = deque()  # of no plain form: a list would count as part of the functions that name it


class Two(NamedTuple):
    first: pd.DataFrame
    second: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Setting:
    rank: int = 1


def scores(given: Any = 0, *, seed: int = 0, **more: Any) -> pd.DataFrame:
    CALLS.append("scores")
    return TABLE


def others(given: Any = 0) -> pd.DataFrame:
    CALLS.append("others")
    return TABLE


def two(given: Any = 0) -> Two:
    CALLS.append("two")
    return Two(TABLE, TABLE.head(1))


def fails() -> pd.DataFrame:
    raise VxlabError("no")


@pytest.fixture(autouse=True)
def calls() -> deque[str]:
    CALLS.clear()
    return CALLS


def record(digest: str) -> Any:
    return types.SimpleNamespace(digest=digest)


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(2, 3)


def test_a_table_is_computed_once_and_read_as_it_was(tmp_path: Path, calls: deque[str]) -> None:
    for _ in range(2):
        pd.testing.assert_frame_equal(kept_table(scores, 1, seed=2, store=tmp_path), TABLE)
    assert list(calls) == ["scores"]


def test_a_named_tuple_of_tables_is_kept_as_one(tmp_path: Path, calls: deque[str]) -> None:
    for _ in range(2):
        found = kept_table(two, store=tmp_path)
        assert isinstance(found, Two)
        pd.testing.assert_frame_equal(found.second, TABLE.head(1))
    assert list(calls) == ["two"]
    next(tmp_path.rglob("two-second-*.parquet")).unlink()
    kept_table(two, store=tmp_path)
    assert list(calls) == ["two", "two"]


@pytest.mark.parametrize(
    ("one", "another"),
    [
        (1, 2),
        (1, "1"),
        (1, True),
        (None, 0),
        ([1, 2], [2, 1]),
        ([[1], 2], [1, [2]]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (record("x"), record("y")),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        ({"q": torch.zeros(2)}, {"q": torch.ones(2)}),
        (linear(0), linear(1)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (LoRA(rank=2), LoRA(rank=4)),
        ([LoRA(rank=2)], [VeRA(rank=2)]),
        (Setting(1), Setting(2)),
    ],
    ids=repr,
)
def test_another_argument_makes_another_table(tmp_path: Path, calls: deque[str], one: Any, another: Any) -> None:
    for given in (one, another, one, another):
        kept_table(scores, given, store=tmp_path)
    assert len(calls) == 2


def test_the_same_arguments_given_otherwise_are_the_same(tmp_path: Path, calls: deque[str]) -> None:
    kept_table(scores, store=tmp_path)
    kept_table(scores, 0, store=tmp_path)
    kept_table(scores, given=0, seed=0, store=tmp_path)
    kept_table(scores, linear(3), store=tmp_path)
    kept_table(scores, linear(3), store=tmp_path)
    assert len(calls) == 2


def test_another_function_or_further_arguments_make_another_table(tmp_path: Path, calls: deque[str]) -> None:
    kept_table(scores, store=tmp_path)
    kept_table(others, store=tmp_path)
    kept_table(scores, more=1, store=tmp_path)
    assert list(calls) == ["scores", "others", "scores"]


def test_changed_code_makes_another_table(tmp_path: Path, calls: deque[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kept_table(scores, store=tmp_path)
    assert len(calls) == 1
    for version in ("a", "a", "b"):  # of vxlab's files
        monkeypatch.setattr(kept, "_STARTED_WITH", version)
        monkeypatch.setattr(kept, "_source_hash", lambda version=version: version)
        kept_table(scores, store=tmp_path)
    assert len(calls) == 3


def test_a_users_own_changed_function_makes_another_table(tmp_path: Path, calls: deque[str]) -> None:
    def defined(body: str) -> Any:
        space: dict[str, Any] = {"__name__": "my_study", "TABLE": TABLE, "CALLS": CALLS}
        exec(f"def helper():\n    {body}\ndef mine():\n    CALLS.append('mine')\n    helper()\n    return TABLE", space)
        return space["mine"]

    for body in ("return 1", "return 1", "return 2"):
        kept_table(defined(body), store=tmp_path)
    assert len(calls) == 2


def test_library_versions_count_and_the_commit_does_not(tmp_path, calls, monkeypatch):
    for versions in ({"torch": "1"}, {"torch": "1", "commit": "abc"}, {"torch": "2"}):
        monkeypatch.setattr(kept, "library_versions", lambda versions=versions: versions)
        kept_table(scores, store=tmp_path)
    assert len(calls) == 2


def test_nothing_is_read_or_kept_when_the_files_are_no_longer_what_runs(tmp_path, calls, monkeypatch):
    kept_table(scores, store=tmp_path)
    monkeypatch.setattr(kept, "_source_hash", lambda: "edited")
    kept_table(scores, store=tmp_path)
    kept_table(scores, 1, store=tmp_path)
    assert len(calls) == 3
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_every_file_that_numbers_depend_on_is_hashed_and_none_of_views(tmp_path, monkeypatch):
    for place in ("analysis/svd.py", "views/figure.py"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("x = 1\n")
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path)
    before = kept._source_hash()
    (tmp_path / "views/figure.py").write_text("x = 2\n")
    assert kept._source_hash() == before
    (tmp_path / "analysis/svd.py").write_text("x = 2\n")
    assert kept._source_hash() != before


def test_a_file_cut_short_is_computed_anew(tmp_path: Path, calls: deque[str]) -> None:
    kept_table(scores, store=tmp_path)
    (path,) = tmp_path.rglob("scores-*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    pd.testing.assert_frame_equal(kept_table(scores, store=tmp_path), TABLE)
    assert len(calls) == 2


def test_a_computation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VxlabError, match="no"):
        kept_table(fails, store=tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    kept_value = 1

    def encloses() -> pd.DataFrame:
        return TABLE.head(kept_value)

    for function in (encloses, lambda: TABLE, sum):
        with pytest.raises(VxlabError, match="must be a function with a name that encloses no values"):
            kept_table(function, store=tmp_path)
    for given in ({1}, Path("a"), object(), RunSpec):
        with pytest.raises(VxlabError, match=r"given=.* cannot be told from another.*give numbers"):
            kept_table(scores, [given], store=tmp_path)
    spec = RunSpec(method=LoRA(rank=2), learning_rate=1e-3, head_learning_rate=1e-3)
    with pytest.raises(VxlabError, match=r"give its job, from Materials\(\).job\(spec\)"):
        kept_table(scores, spec, store=tmp_path)
