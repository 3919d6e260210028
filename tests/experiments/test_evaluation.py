"""An evaluation comes back from what is kept of it as it was."""

import dataclasses
import math

import numpy as np
from toy_evaluations import METRIC, evaluation

from vxlab.experiments.evaluation import Evaluation


def test_an_evaluation_is_what_was_kept_of_it() -> None:
    kept = evaluation(
        [1, 0, math.nan, 1], "run", subtasks=("b", "a", "a", "b"), parts={"a": {METRIC: 0.5}},
        scores={METRIC: 2 / 3, "perplexity,none": math.nan}, higher_is_better={METRIC: True, "perplexity,none": None},
    )  # fmt: skip
    found = Evaluation.unpack(kept.fields(), kept.packed())
    for each in dataclasses.fields(Evaluation):
        first, second = getattr(kept, each.name), getattr(found, each.name)
        if each.name == "items":
            assert first.keys() == second.keys()
            np.testing.assert_array_equal(first[METRIC], second[METRIC])
        elif each.name == "scores":
            np.testing.assert_equal(first, second)
        else:
            assert first == second
