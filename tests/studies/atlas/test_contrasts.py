"""What rank and layers are worth: planted slopes and differences, at like numbers of parameters."""

import numpy as np
import pytest
from toy_task_grid import across

from vxlab.studies.atlas.contrasts import MEAN_OF_PAIRS, layer_effects, rank_effects

BASE = np.array([80.0, 75.0, 70.0, 85.0])
NAN = float("nan")


def test_a_planted_slope_by_doubling_is_found():
    found = rank_effects(across({f"LoRA {rank} qv": list(BASE + 0.5 * np.log2(rank)) for rank in (1, 4, 16)}))
    (row,) = found.to_dict("records")
    assert (row["family"], row["targets"], row["ranks"], row["n"]) == ("LoRA", "query-value", (1, 4, 16), 4)
    assert [row["doubling"], row["doubling_low"], row["doubling_high"]] == pytest.approx([0.5] * 3)
    assert row["ends"] == pytest.approx(2)


def test_one_rank_or_one_task_shows_nothing_of_rank():
    assert rank_effects(across({"LoRA 4 qv": list(BASE), "LoRA 4 al": list(BASE)})).empty
    (row,) = rank_effects(across({"LoRA 4 qv": [80.0, 70.0], "LoRA 1 qv": [79.0, NAN]})).to_dict("records")
    assert (row["ends"], row["n"], row["seen"]) == (1.0, 1, False)
    assert np.isnan([row["low"], row["doubling_low"], row["p"]]).all()


def test_layers_are_compared_where_parameters_are_alike_and_the_costlier_come_first():
    means = {"LoRA 4 qv": BASE, "LoRA 16 qv": BASE + 1, "LoRA 1 al": BASE + 2, "LoRA 4 al": BASE + 3, "full": BASE + 4}
    found = layer_effects(across({name: list(row) for name, row in means.items()}))
    pairs = found[found["a"] != MEAN_OF_PAIRS]
    # 5,000 by 4,000 and 20,000 by 16,000 parameters; all-linear costs five times as much a rank.
    assert pairs[["a", "b"]].to_numpy().tolist() == [["LoRA 1 al", "LoRA 4 qv"], ["LoRA 4 al", "LoRA 16 qv"]]
    assert pairs["ratio"].tolist() == [1.25, 1.25]
    assert pairs["difference"].tolist() == pytest.approx([2, 2])
    (mean,) = found[found["a"] == MEAN_OF_PAIRS].to_dict("records")
    assert (mean["difference"], mean["n"]) == (pytest.approx(2), 4)


def test_no_pair_is_made_of_unlike_sizes():
    assert layer_effects(across({"VeRA 1 qv": list(BASE), "VeRA 1 al": list(BASE + 3)})).empty
