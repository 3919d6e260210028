"""Laws of the units that intervals count: rows of one group, or with a shared text, are one."""

import dataclasses
import json

import numpy as np
import pytest

import vxlab
from vxlab.errors import DataWarning
from vxlab.experiments import older_records
from vxlab.experiments.record import RunRecord
from vxlab.experiments.tasks.task import load_task
from vxlab.experiments.tasks.units import SHARED_TEXTS, number_units


def joined_by_hand(columns, groups=None):
    """Grow parts row by row: slow, and sure."""
    marks = [{text.strip() for text in row} | ({("group", groups[i])} if groups is not None else set())
             for i, row in enumerate(zip(*columns, strict=True))]  # fmt: skip
    parts: list[tuple[set, set]] = []
    for row, own in enumerate(marks):
        touched = [part for part in parts if part[1] & own]
        parts = [part for part in parts if not part[1] & own]
        parts.append(({row}.union(*(part[0] for part in touched)), own.union(*(part[1] for part in touched))))
    return {frozenset(rows) for rows, _ in parts}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("grouped", [False, True])
def test_units_are_the_connected_parts_of_rows_that_share_a_text_or_a_group(seed, grouped):
    random = np.random.default_rng(seed)
    rows = 60
    columns = tuple([str(each) for each in random.integers(0, 150, rows)] for _ in range(1 + seed % 2))
    groups = random.integers(0, 40, rows).astype(str) if grouped else None
    units = number_units(columns, groups)
    found = {frozenset(np.flatnonzero(units == unit)) for unit in np.unique(units)}
    if max(map(len, joined_by_hand(columns, groups))) <= 10:
        assert found == joined_by_hand(columns, groups)
    assert units.max() + 1 == len(found)


def test_a_prompt_that_many_rows_share_does_not_make_one_unit_of_them():
    texts = [f"review {i // 2}" for i in range(100)]
    assert number_units((texts, ["Is it good?"] * 100)).max() == 49
    assert number_units((texts, [f"prompt {i % 3}" for i in range(100)])).max() == 99  # no two rows have both texts


@pytest.fixture
def films(tmp_path):
    rows = ["text,opinion,film", *(f"review {i},{i % 2},film {i // 3}" for i in range(90))]
    (path := tmp_path / "reviews.csv").write_text("\n".join(rows), encoding="utf-8")
    return {"task": str(path), "label_column": "opinion", "group_column": "film"}


def smoke(**chosen):
    return vxlab.recipe("lora", scale="smoke", train_examples=None, eval_examples=None, **chosen)


def test_a_tasks_units_are_its_groups_and_nothing_where_every_row_stands_for_itself(films):
    task = load_task(films["task"], label_column="opinion", group_column="film")
    assert task.unit == "groups (film)"
    for split, rows in task.splits.items():
        assert len(set(zip(task.units(split).tolist(), rows["group"], strict=True))) == len(set(rows["group"]))
    alone = load_task(films["task"], label_column="opinion")
    assert alone.unit == SHARED_TEXTS
    assert alone.units("test") is None


def test_pairs_with_a_shared_premise_stay_in_one_carved_split(tmp_path):
    lines = [json.dumps({"premise": f"p{i // 3}", "hypothesis": f"h{i}", "label": i % 3}) for i in range(300)]
    (path := tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = load_task(path)
    premises = [set(task.splits[split]["text"]) for split in ("train", "validation", "test")]
    assert not premises[0] & premises[1] | premises[0] & premises[2] | premises[1] & premises[2]
    assert np.bincount(task.units("test")).tolist() == [3] * (len(task.splits["test"]) // 3)


def test_units_travel_with_the_predictions(films, tmp_path):
    spec = smoke(**films)
    record = vxlab.run(spec, store=tmp_path / "runs.db", progress=False)
    expected = spec.load_task().units("test")
    assert record.units().tolist() == expected.tolist()
    assert record.task["units"]["test"] == expected.max() + 1 < record.task["rows"]["test"]
    assert record.constant() == spec.load_task().constant
    with vxlab.Store(tmp_path / "runs.db") as store:
        assert store.record(record.key).units().tolist() == expected.tolist()


def as_of_before(record: RunRecord) -> RunRecord:
    task = {name: value for name, value in record.task.items() if name not in ("units", "unit", "constant")}
    return dataclasses.replace(record, task=task)


def test_units_of_an_older_record_are_looked_up_in_the_same_rows_and_only_there(films, tmp_path):
    older_records._found.cache_clear()
    record = vxlab.run(smoke(**films), store=tmp_path / "runs.db", progress=False)
    old = as_of_before(record)
    assert old.units().tolist() == record.units().tolist()
    assert older_records.knows_units(old)
    assert old.constant() == record.constant()
    older_records._found.cache_clear()
    with open(films["task"], "a", encoding="utf-8") as file:
        file.write("\none more,1,film 0")
    with pytest.warns(DataWarning, match="recorded before it was kept which rows belong together"):
        assert old.units() is None
    assert not older_records.knows_units(old)
