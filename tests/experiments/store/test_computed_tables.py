"""A computed table is computed once, and again when what decides it changes."""

from pathlib import Path

import pandas as pd
import pytest

from vxlab import VxlabError
from vxlab.experiments.store import computed_tables as kept
from vxlab.experiments.store.computed_tables import kept_table

TABLE = pd.DataFrame({"layer": ["a", "b"], "score": [0.5, float("nan")], "rank": [1, 2], "seen": [True, False]})


class Counted:
    """A computation that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> pd.DataFrame:
        self.calls += 1
        return TABLE


def test_a_table_is_computed_once_and_read_as_it_was(tmp_path: Path) -> None:
    compute = Counted()
    for _ in range(2):
        pd.testing.assert_frame_equal(kept_table("scores", {"seed": 0}, compute, store=tmp_path), TABLE)
    assert compute.calls == 1


def test_name_identity_and_version_each_make_another_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counted()
    kept_table("scores", {"seed": 0}, compute, store=tmp_path)
    kept_table("scores", {"seed": 1}, compute, store=tmp_path)
    kept_table("others", {"seed": 0}, compute, store=tmp_path)
    monkeypatch.setattr(kept, "__version__", "0")
    kept_table("scores", {"seed": 0}, compute, store=tmp_path)
    assert compute.calls == 4


def test_a_file_cut_short_is_computed_anew(tmp_path: Path) -> None:
    compute = Counted()
    kept_table("scores", {}, compute, store=tmp_path)
    (path,) = tmp_path.rglob("scores-*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    pd.testing.assert_frame_equal(kept_table("scores", {}, compute, store=tmp_path), TABLE)
    assert compute.calls == 2


def test_a_computation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> pd.DataFrame:
        raise VxlabError("no")

    with pytest.raises(VxlabError, match="no"):
        kept_table("scores", {}, fails, store=tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("name", "identity", "message"),
    [("a/b", {}, "name='a/b' is not the name of a table"), ("a", {"x": {1}}, "identity of table 'a' holds what JSON")],
)
def test_what_cannot_be_kept_is_refused(tmp_path, name, identity, message):
    with pytest.raises(VxlabError, match=message):
        kept_table(name, identity, Counted(), store=tmp_path)
