"""The table of evaluations: each run against its own base, seeds together, and what tuning lost in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_evaluations import METRIC, evaluation
from toy_records import key_of, stored_record, toy_spec

import vxlab
from vxlab.experiments.evaluations.results import COLUMNS, Evaluations

RANDOM = np.random.default_rng(1)
ITEMS = 300


def _items(share: float) -> Any:
    return RANDOM.random(ITEMS) < share


@pytest.fixture
def records(tmp_path: Path) -> list[vxlab.RunRecord]:
    """Return two seeds of LoRA and two runs of VeRA with different rates."""
    vera = {"method": vxlab.VeRA(rank=64)}
    specs = [toy_spec(seed=0), toy_spec(seed=1), toy_spec(**vera), toy_spec(**vera, learning_rate=0.5)]
    return [stored_record(tmp_path, key_of(number), spec=spec) for number, spec in enumerate(specs)]


@pytest.fixture
def found(records: list[vxlab.RunRecord]) -> Evaluations:
    shares = (0.2, 0.25, 0.8, 0.5)
    runs = [evaluation(_items(share), record.key) for share, record in zip(shares, records, strict=True)]
    return Evaluations((evaluation(_items(0.5)), *runs), tuple(records))


def test_every_run_stands_against_the_base(found: Evaluations) -> None:
    table = found.table()
    assert list(table) == list(COLUMNS)
    assert table["candidate"].tolist() == [
        "untuned base", "LoRA r=8", "LoRA r=8", "VeRA r=64, learning_rate=0.001", "VeRA r=64, learning_rate=0.5",
    ]  # fmt: skip
    assert table["change"].tolist() == ["", "lost", "lost", "gained", ""]
    np.testing.assert_allclose(table["difference"][1:], (table["score"] - table["base"])[1:])
    assert (table["p_holm"][1:] >= table["p"][1:]).all()
    assert table.loc[0, ["difference", "low", "p"]].isna().all()


def test_seeds_of_a_candidate_stand_together(found: Evaluations) -> None:
    table = found.candidates().set_index("candidate")
    assert table["seeds"].to_dict()["LoRA r=8"] == 2
    runs = found.table().set_index("candidate")
    assert table.loc["LoRA r=8", "score"] == pytest.approx(runs.loc["LoRA r=8", "score"].mean())
    assert found.losses()["candidate"].tolist() == ["LoRA r=8"]


def test_losses_are_said_first(found: Evaluations) -> None:
    first, second = found.in_words()
    assert first.startswith("LoRA r=8 lost on arc_easy: acc 0.2")
    assert second.startswith("VeRA r=64, learning_rate=0.001 gained on arc_easy: acc 0.8")
    alike = Evaluations((evaluation(_items(0.5)), evaluation(_items(0.5), "a")))
    assert alike.in_words() == ["No difference to the untuned base is seen in 1 comparison."]
    alone = Evaluations((evaluation(_items(0.5), notes=("a prompt was cut",)),))
    assert alone.in_words() == [
        "Nothing here can be compared with an untuned base, item by item.", "a prompt was cut.",
    ]  # fmt: skip


def test_less_is_better_where_the_task_says_so() -> None:
    base, tuned = (
        evaluation(_items(share), run, higher_is_better={METRIC: False}) for share, run in ((0.5, ""), (0.2, "a"))
    )
    assert Evaluations((base, tuned)).table()["change"].tolist() == ["", "gained"]
    unsaid = [evaluation(_items(s), run, higher_is_better={}) for s, run in ((0.5, ""), (0.2, "a"))]
    assert Evaluations(tuple(unsaid)).table()["change"].tolist() == ["", ""]


@pytest.mark.parametrize("changed", [{"fingerprint": "2c3d"}, {"settings": {"limit": 9}}, {"task": "arc_challenge"}])
def test_a_base_of_other_settings_is_no_base(changed: dict[str, Any]) -> None:
    table = Evaluations((evaluation(_items(0.5), **changed), evaluation(_items(0.2), "a"))).table()
    assert table["base"].isna().tolist() == [False, True]
    assert table["difference"].isna().all()


def test_other_items_with_the_same_settings_are_refused() -> None:
    few = evaluation(_items(0.2)[:20], "a")
    with pytest.raises(vxlab.VxlabError, match="cannot be paired"):
        Evaluations((evaluation(_items(0.5)), few)).table()


def test_runs_that_differ_in_what_computed_them_are_no_seeds_of_one_candidate(tmp_path: Path) -> None:
    newer = stored_record(tmp_path, key_of(0)).identity | {"vxlab": "2.0"}
    records = [stored_record(tmp_path, key_of(0)), stored_record(tmp_path, key_of(1), identity=newer)]
    runs = [evaluation(_items(0.5), record.key) for record in records]
    found = Evaluations((evaluation(_items(0.5)), *runs), tuple(records)).candidates()
    assert found["candidate"].tolist()[1:] == ["LoRA r=8, vxlab=1.0", "LoRA r=8, vxlab=2.0"]
    assert found["seeds"].tolist()[1:] == [1, 1]
