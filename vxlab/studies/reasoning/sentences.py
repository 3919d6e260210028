"""What the sweeps of all sets showed, in sentences: what is above the untuned base, and what is below it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import difference_in_words, interval_in_words, score_in_words
from vxlab.experiments.scoring import LEVEL, SHARES, in_words
from vxlab.words import list_in_words, number_of

LOSS = "log_likelihood"
FEW = 0.05
"""Where no candidate and no base is right more often than this, their accuracies tell little."""


def reasoning_conclusion(scores: pd.DataFrame, averages: pd.DataFrame) -> str:
    """Return what the candidates gain over the untuned base on each set, and what they lose, in Markdown.

    Args:
        scores: from :func:`vxlab.studies.reasoning.set_scores`.
        averages: from :func:`vxlab.studies.reasoning.set_averages`, of these.
    """
    headline = scores[scores["headline"] & scores["metric"].isin(SHARES)]
    if headline["gain"].isna().all():
        return "There is no untuned base beside the candidates, so what training gained or lost cannot be said."
    told = [_signal(headline)]
    for name, rows in headline.groupby(["sweep", "set"], sort=False):
        own = scores[(scores["sweep"] == name[0]) & (scores["set"] == name[1])]
        others = own[own["metric"].isin(SHARES) & ~own["headline"]]
        told.append(_of_set(rows, others, own[own["metric"] == LOSS]))
    told += [_of_mean(rows) for _, rows in averages.groupby(["sets", "metric"], sort=False)]
    return "\n".join(f"- {sentence}" for sentence in told)


def _signal(headline: pd.DataFrame) -> str:
    """Say whether anything is shown above the base, and anything below it."""
    trained = headline.dropna(subset=["gain"])
    above, below = _shown(trained, 1), _shown(trained, -1)
    count = number_of(len(trained), "accuracy", "accuracies")
    corrected = "after Holm's correction over the candidates of each set, not over the sets"
    first = (
        f"**A signal beyond the base: {len(above)} of {count} shown above the untuned base's** ({corrected})"
        if len(above)
        else f"**No signal beyond the base: none of {count} is shown above the untuned base's** ({corrected})"
    )
    lower = int((trained["gain"] < 0).sum())
    losers = [f"{row['candidate']} on {row['set']}" for row in below.to_dict("records")]
    second = f"**{list_in_words(losers)} shown below it**" if losers else "none is shown below it"
    return f"{first}; {second}, and {lower} of the means {'is' if lower == 1 else 'are'} lower than the base's."


def _of_set(rows: pd.DataFrame, others: pd.DataFrame, losses: pd.DataFrame) -> str:
    metric, trained, base = str(rows["metric"].iloc[0]), rows.dropna(subset=["gain"]), rows[rows["base"]]
    items = number_of(int(rows["items"].iloc[0]), "test item")
    told = f"{rows['set'].iloc[0]} ({in_words(metric)}, {items}): "
    told += "; ".join([*_scores(base, metric), *(_gain(each, metric) for each in trained.to_dict("records"))])
    trivial, highest = float(rows["trivial"].iloc[0]), float(base["score"].max())
    told += f". The simplest answer ({rows['trivial_name'].iloc[0]}) scores {score_in_words(trivial, metric)}"
    told += f"{', more than the untuned base' if trivial > highest else ''}."
    beside = "".join(_of_other(each) for _, each in others.groupby("metric", sort=False))
    return f"{told}{_of_few(rows)}{beside}{_of_losses(losses)}"


def _gain(row: Mapping[Any, Any], metric: str) -> str:
    """Write a candidate's gain with its interval, and whether it is told from nothing."""
    interval = interval_in_words(row["gain_low"], row["gain_high"], metric)
    if row["p_holm"] <= LEVEL:
        side = "above" if row["gain"] > 0 else "below"
        return f"**{row['candidate']} {_points(abs(row['gain']), metric)} {side}** ({interval})"
    return f"{row['candidate']} not told apart ({_points(row['gain'], metric)}, {interval})"


def _points(gain: float, metric: str) -> str:
    return difference_in_words(gain, metric).partition(" of ")[0]


def _of_few(rows: pd.DataFrame) -> str:
    highest = float(rows["score"].max())
    if highest > FEW:
        return ""
    metric = str(rows["metric"].iloc[0])
    return (
        f" Hardly an answer is right here ({score_in_words(highest, metric)} at most), so that this accuracy says "
        "next to nothing of the adapters: a stronger model is needed, or easier items."
    )


def _of_other(rows: pd.DataFrame) -> str:
    """Say of another accuracy what the base has, and how many are shown above it and below."""
    metric, trained, base = str(rows["metric"].iloc[0]), rows.dropna(subset=["gain"]), rows[rows["base"]]
    below = f"{len(_shown(trained, -1)) or 'none'} below"
    above = f"{len(_shown(trained, 1)) or 'none'} of {len(trained)} shown above it"
    name = in_words(metric)
    return f" {name[:1].upper()}{name[1:]}: {', '.join([*_scores(base, metric), above, below])}."


def _of_losses(losses: pd.DataFrame) -> str:
    """Say how many candidates find the right answers likelier than the base does."""
    trained = losses.dropna(subset=["gain"])
    if trained.empty:
        return ""
    more, less = _shown(trained, 1), _shown(trained, -1)
    told = f" The right answers are shown likelier than under the base by {len(more)} of {len(trained)}"
    if len(less):
        told += f", and less likely by {list_in_words(list(less['candidate']))}"
    best = trained.sort_values("gain").iloc[-1]
    gain = difference_in_words(float(best["gain"]), LOSS)
    return f"{told}; the most by {best['candidate']}, {gain}."


def _of_mean(rows: pd.DataFrame) -> str:
    metric, trained, base = str(rows["metric"].iloc[0]), rows.dropna(subset=["gain"]), rows[rows["gain"].isna()]
    told = [*_scores(base, metric), *(_gain(each, metric) for each in trained.to_dict("records"))]
    return f"Mean of {rows['sets'].iloc[0]} ({in_words(metric)}): {'; '.join(told)}."


def _scores(rows: pd.DataFrame, metric: str) -> list[str]:
    return [f"{row['candidate']} {score_in_words(row['score'], metric)}" for row in rows.to_dict("records")]


def _shown(trained: pd.DataFrame, side: int) -> pd.DataFrame:
    return trained[(trained["p_holm"] <= LEVEL) & (side * trained["gain"] > 0)]
