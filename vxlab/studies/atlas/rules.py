"""How well a rule of thumb, or the other tasks, say which adapter to take on a task: what is missed by it."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from vxlab.experiments import NO_LAYERS
from vxlab.experiments.scoring import of_mean
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.mean_ranks import complete_block

RULE_COLUMNS = ["rule", "missed", "low", "high", "share", "right", "n", "chosen"]
BY_CHANCE = "any of them, by chance"
OTHER_TASKS = "the best mean rank on the other tasks"


def rules_of_thumb(across: AcrossTasks) -> pd.DataFrame:
    """Return how much each rule misses of the best adapter on a task, over the tasks.

    Adapters on layers that ran on every task are chosen among. The best of a task, and the worst, are those that
    validation puts first and last, so that neither is chosen by the luck of its own test; what a rule misses is the
    best's test score less its own, which may then be below 0.

    Returns:
        One row a rule, the least missed first: ``missed`` (points, the mean over tasks) with Student's 95 % interval
        over tasks; ``share``, of what the best is above the worst, both summed over tasks, NaN where that interval of
        the best less the worst reaches 0: of a difference of luck alone it may be any number; ``right``, on how many
        tasks it took the best; ``n`` tasks; ``chosen``, what it took. No rows where fewer than two tasks or
        adapters are left.
    """
    adapters = across.scores[across.scores["targets"] != NO_LAYERS]
    tests, _ = complete_block(adapters)
    validation = adapters.pivot_table(index="task", columns="candidate", values="validation", sort=False)
    validation = validation.reindex(index=tests.index, columns=tests.columns).dropna()
    tests = tests.loc[validation.index]
    if len(tests) < 2 or tests.shape[1] < 2:
        return pd.DataFrame(columns=RULE_COLUMNS)
    each = adapters.drop_duplicates("candidate").set_index("candidate").loc[tests.columns]
    values, order = tests.to_numpy(dtype=np.float64), validation.to_numpy(dtype=np.float64)
    best, every = order.argmax(axis=1), np.arange(len(tests))
    oracle, last = values[every, best], values[every, order.argmin(axis=1)]
    shown = of_mean(oracle - last)[1] > 0
    rows = []
    for rule, choose in _rules(each).items():
        names = [choose(tests.drop(index=task)) for task in tests.index]
        scores = np.array([float(tests.loc[task, own].mean()) for task, own in zip(tests.index, names, strict=True)])
        missed = oracle - scores
        whole = float((oracle - last).sum())
        right = sum(own == [str(tests.columns[place])] for own, place in zip(names, best, strict=True))
        chosen = " or ".join(dict.fromkeys(name for own in names for name in own)) if rule != BY_CHANCE else ""
        share = float(missed.sum()) / whole if shown else np.nan
        rows.append([rule, *of_mean(missed)[:3], share, right, len(tests), chosen])
    return pd.DataFrame(rows, columns=RULE_COLUMNS).sort_values("missed", kind="stable", ignore_index=True)


def _rules(each: pd.DataFrame) -> Mapping[str, Callable[[pd.DataFrame], list[str]]]:
    """Return the rules: of the other tasks' scores to what is taken; several mean any of them."""
    names = [str(name) for name in each.index]
    sizes = each["backbone"].astype(float)
    rules: dict[str, Callable[[pd.DataFrame], list[str]]] = {
        OTHER_TASKS: lambda others: [str(others.rank(axis=1, ascending=False).mean().idxmin())],
        "the fewest parameters": lambda others: [str(sizes.idxmin())],
        "the most parameters": lambda others: [str(sizes.idxmax())],
        BY_CHANCE: lambda others: names,
    }
    for targets, own in each[each["family"] == "LoRA"].dropna(subset=["rank"]).groupby("targets", sort=False):
        ordered = own.sort_values("rank")
        middle = str(ordered.index[len(ordered) // 2])
        rules[f"LoRA of middle rank on {targets}"] = lambda others, name=middle: [name]  # type: ignore[misc]
    return rules
