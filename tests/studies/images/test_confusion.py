"""Which classes are taken for which: counts of answers, over all draws."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

import vxlab
from vxlab.studies.images import class_confusions, confused_pairs

LABELS = torch.tensor([0, 0, 0, 1, 1, 1])


def made_up(answers: dict[str, list[list[int]]]) -> vxlab.Comparison:
    """Return a comparison of runs that answered so, of three classes, of which none of the test images is the third."""
    rows, records = [], {}
    for name, runs in answers.items():
        for seed, own in enumerate(runs):
            key = f"{name} {seed}"
            rows.append((key, name, seed, seed, "report", "finished"))
            records[key] = SimpleNamespace(
                predictions=lambda own=own: (torch.eye(3)[own], LABELS), units=lambda: None,
                task={"label_names": ["cat", "dog", "owl"]},
            )  # fmt: skip
    columns = ["key", "candidate", "seed", "draw", "stage", "status"]
    names = {name: SimpleNamespace(method=vxlab.LoRA()) for name in answers}
    made: Any = SimpleNamespace(
        runs=pd.DataFrame(rows, columns=columns), records=records, fair=SimpleNamespace(names=names)
    )
    return cast(vxlab.Comparison, made)


def test_answers_are_counted_over_all_runs() -> None:
    table = class_confusions(made_up({"LoRA": [[0, 1, 2, 1, 1, 0], [0, 1, 0, 1, 1, 0]]}))
    counts = table.pivot_table(index="true", columns="predicted", values="answers", sort=False)
    assert counts.to_numpy().tolist() == [[3, 2, 1], [2, 4, 0], [0, 0, 0]]
    shares = table.set_index(["true", "predicted"])["share"]
    assert shares["cat", "dog"] == 2 / 6
    assert np.isnan(shares["owl", "cat"])  # no test image, and so no share of 0
    assert set(table["runs"]) == {2}


def test_pairs_come_by_how_often_and_never_with_themselves() -> None:
    table = class_confusions(made_up({"LoRA": [[0, 1, 2, 1, 0, 0]], "VeRA": [[0, 0, 0, 1, 1, 1]]}))
    pairs = confused_pairs(table, "LoRA")
    assert pairs[["true", "predicted", "answers"]].to_numpy().tolist() == [
        ["dog", "cat", 2], ["cat", "dog", 1], ["cat", "owl", 1],
    ]  # fmt: skip
    assert len(confused_pairs(table, "LoRA", most=1)) == 1
    assert confused_pairs(table, "VeRA").empty


def test_real_runs_have_every_answer_once(drawn: dict[int, vxlab.Comparison]) -> None:
    table = class_confusions(drawn[4])
    assert table.groupby("candidate")["answers"].sum().eq(2 * 18).all()
    right = table[table["true"] == table["predicted"]].groupby("candidate")["answers"].sum() / 36
    means = drawn[4].summary.set_index("candidate")["mean"]
    assert np.allclose(right.sort_index(), means.sort_index())
