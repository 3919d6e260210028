"""The best rate by rank, and that a coarse grid is not taken for exact agreement."""

import numpy as np
import pytest
from toy_task_grid import across

from vxlab.studies.atlas.rates import OVER_FULL, PER_DOUBLING, best_rates

NAMES = ["full", "LoRA 1 qv", "LoRA 4 qv", "LoRA 16 qv"]


def _rates(rate, step=3.0, edge=""):
    found = across({name: [80.0, 75.0, 70.0] for name in NAMES}, learning_rate=rate, step=step, edge=edge)
    return best_rates(found).set_index("what")


def test_a_rate_that_halves_where_the_rank_doubles_is_found():
    rates = {"full": 1e-4, "LoRA 1 qv": 4e-3, "LoRA 4 qv": 1e-3, "LoRA 16 qv": 2.5e-4}
    table = _rates(lambda name, task: rates[name])
    assert table.loc[PER_DOUBLING, "factor"] == pytest.approx(0.5)
    assert table.loc[OVER_FULL, "factor"] == pytest.approx(10)
    assert table["n"].tolist() == [3, 3]


def test_rates_on_one_point_of_a_coarse_grid_are_not_called_equal():
    coarse, fine = (_rates(1e-3, step).loc[PER_DOUBLING] for step in (10.0, 1.5))
    assert coarse["factor"] == fine["factor"] == 1
    assert coarse["low"] < fine["low"] < 1 < fine["high"] < coarse["high"]


def test_choices_on_the_edge_are_counted_and_untuned_rates_are_left_out():
    assert _rates(1e-3, edge=lambda name, task: "high" if name == "LoRA 1 qv" else "")["edges"].tolist() == [3, 3]
    assert _rates(1e-3, step=float("nan")).empty


def test_one_task_has_no_interval():
    found = best_rates(across({name: [80.0] for name in NAMES}))
    assert np.isnan(found["low"]).all()
