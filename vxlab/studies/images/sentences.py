"""What a few images a class showed, in sentences."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import difference_in_words, interval_in_words, score_in_words, write_score
from vxlab.experiments.sweeps import Comparison
from vxlab.studies.images.block_changes import most_changed
from vxlab.studies.images.confusion import confused_pairs
from vxlab.words import list_in_words, number_of, percent, write_number


def images_conclusion(
    results: Mapping[int, Comparison], scores: pd.DataFrame, gains: pd.DataFrame, confusions: pd.DataFrame,
    changes: pd.DataFrame, beside: pd.DataFrame,
) -> str:  # fmt: skip
    """Return what the page showed, and what it does not say, in Markdown.

    Args:
        results: of :func:`image_sweeps`, by number of shots.
        scores: from :func:`shot_scores`.
        gains: from :func:`shot_gains`.
        confusions: from :func:`class_confusions`, of the most shots.
        changes: from :func:`changes_by_block`, of the most shots.
        beside: from :func:`differences_beside`, of the most shots.
    """
    most = max(results)
    metric, best = results[most].metric, best_candidate(scores)
    told = [
        probe_sentence(gains, metric), _rise(scores, best, metric), confusion_sentence(confusions, best),
        *changes_sentences(changes), beside_sentence(beside, metric), limits_sentence(results),
    ]  # fmt: skip
    return "\n".join(f"- {sentence}" for sentence in told if sentence)


def best_candidate(scores: pd.DataFrame) -> str:
    """Return the candidate of the highest mean at the most shots.

    Args:
        scores: from :func:`shot_scores`.
    """
    own = scores[scores["shots"] == scores["shots"].max()].dropna(subset=["score"])
    return str(own.loc[own["score"].idxmax(), "candidate"])


def probe_sentence(gains: pd.DataFrame, metric: str) -> str:
    """Say which candidates are shown to score above the frozen model's probe, at each number of shots.

    Args:
        gains: from :func:`shot_gains`.
        metric: whose scores they are.
    """
    known = gains.dropna(subset=["gain"])
    if known.empty:
        return "No probe of the frozen model is beside the candidates, so what training gains over it cannot be said."
    above = known[known["seen"] & (known["gain"] > 0)]
    head = "No candidate is shown to beat the probe of the frozen model" if above.empty else (
        f"{len(above)} of {number_of(len(known), 'comparison')} with the probe of the frozen model are shown to gain"
    )  # fmt: skip
    told = [_at_shots(int(str(shots)), rows, metric) for shots, rows in known.groupby("shots")]
    return f"**{head}**, after Holm's correction for all {len(known)}. {' '.join(told)}"


def confusion_sentence(confusions: pd.DataFrame, candidate: str) -> str:
    """Say which classes a candidate confuses most often.

    Args:
        confusions: from :func:`class_confusions`.
        candidate: one of its.
    """
    pairs = confused_pairs(confusions, candidate, most=3).to_dict("records")
    if not pairs:
        return f"**{candidate}** takes no test image for one of another class."
    cells = confusions["true"].nunique() * (confusions["true"].nunique() - 1)
    told = [
        f"{row['true']} for {row['predicted']} ({row['answers']} of {row['asked']} answers, {percent(row['share'])})"
        for row in pairs
    ]
    runs = number_of(int(pairs[0]["runs"]), "run")
    return (
        f"**{candidate}** most often takes {list_in_words(told)}, over {runs} on the same test images. They are the "
        f"largest of {cells} numbers, and so would be smaller on other images."
    )


def changes_sentences(changes: pd.DataFrame) -> list[str]:
    """Say which block each candidate moved furthest, and whether it is the same one in all draws.

    Args:
        changes: from :func:`changes_by_block`.
    """
    told = []
    for candidate in changes["candidate"].unique():
        blocks = most_changed(changes, candidate)
        first, last = blocks.iloc[0], blocks.iloc[-1]
        times = first["mean"] / last["mean"] if last["mean"] else float("inf")
        runs = f"{first['first']:.0f} of {number_of(int(first['runs']), 'run')}"
        told.append(
            f"{candidate} block {first['block']:.0f} ({percent(first['mean'])} of ‖W‖, {write_number(times, '.1f')} "
            f"times block {last['block']:.0f}'s; furthest in {runs})"
        )
    if not told:
        return []
    return [
        f"Moved furthest, by the mean of ‖ΔW‖ / ‖W‖ over the layers that each trains in a block: {'; '.join(told)}. "
        "How far a weight moves does not say how much the scores owe to it."
    ]


def beside_sentence(beside: pd.DataFrame, metric: str) -> str:
    """Say what the paper's differences are, and those measured here.

    Args:
        beside: from :func:`differences_beside`.
        metric: of the scores measured here.
    """
    if beside.empty or metric != "accuracy":
        return ""
    told = [
        f"{row['a']} less {row['b']} {_points(row['least'])} to {_points(row['most'])} there, "
        f"{_points(row['here'])} here ({interval_in_words(row['low'], row['high'], metric)}"
        f"{'; told from 0' if row['seen'] else ''})"
        for row in beside.to_dict("records")
    ]
    sets, count = int(beside["sets"].iloc[0]), int(beside["seen"].sum())
    return (
        f"Beside VeRA's table, over its {sets} pairs of a model and a data set, in points: {'; '.join(told)}. "
        f"{count or 'None'} of those here {'are' if count > 1 else 'is'} told from 0 after Holm's correction over the "
        "pairs of the sweep. There it is all of its models and data: this neither confirms nor contradicts them."
    )


def limits_sentence(results: Mapping[int, Comparison]) -> str:
    """Say what the sweeps are of, and so what they do not say.

    Args:
        results: of :func:`image_sweeps`, by number of shots.
    """
    result = results[max(results)]
    record = next(iter(result.records.values()))
    classes, spec = number_of(int(record.task["num_labels"]), "class", "classes"), record.spec
    side = f" at {spec['resolution']} px" if spec.get("resolution") else ""
    several = max(1, int(result.summary["draws"].max()))
    draws, others = number_of(several, "draw"), "other draws and other images" if several > 1 else "other images"
    return (
        f"What this does not say: it is of one model ({_last(spec['model'])}{side}), one task of {classes}, "
        f"{result.held_out.in_words()} and {draws} of each number of shots. Intervals are over {others} like these, "
        f"not over {'' if several > 1 else 'other draws, '}other models, resolutions or tasks."
    )


def _at_shots(shots: int, rows: pd.DataFrame, metric: str) -> str:
    probe = score_in_words(float(rows["probe"].iloc[0]), metric)
    best: Any = rows.nlargest(1, "gain").iloc[0]  # of equals the first
    shown = [row["candidate"] for row in rows.to_dict("records") if row["seen"] and row["gain"] > 0]
    below = [row["candidate"] for row in rows.to_dict("records") if row["seen"] and row["gain"] < 0]
    told = f"At {number_of(shots, 'shot')} (probe {probe}): {list_in_words(shown) or 'none'} above it"
    told += f", {list_in_words(below)} below it" if below else ""
    within = interval_in_words(best["low"], best["high"], metric)
    return f"{told}; the highest, {best['candidate']}, by {difference_in_words(best['gain'], metric)} ({within})."


def _rise(scores: pd.DataFrame, candidate: str, metric: str) -> str:
    """Say how a candidate's score rises with the shots."""
    own = scores[(scores["candidate"] == candidate) & scores["score"].notna()].sort_values("shots")
    if len(own) < 2:
        return ""
    told = []
    for row in own.to_dict("records"):
        within = interval_in_words(row["low"], row["high"], metric)
        told.append(f"{score_in_words(row['score'], metric)} at {row['shots']} ({within})")
    return f"**{candidate}**, the highest mean at the most shots, scores {list_in_words(told)}."


def _points(value: float) -> str:
    return write_score(value, "accuracy", "+")


def _last(model: str) -> str:
    """Return a model's name without the folders that it lies in."""
    return model.rstrip("/").rpartition("/")[2]
