"""What quantised bases did to scores, memory, LoRA-XS's bases and merging, in sentences."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import difference_in_words, interval_in_words, score_in_words
from vxlab.experiments.scoring import over_units
from vxlab.studies.quantised.memory import LINEAR, SCALES
from vxlab.studies.quantised.merging import MERGED, REQUANTISED, UNMERGED, MergingCosts
from vxlab.studies.quantised.scores import KEPT, NOT_TOLD, ONE_SIDED, REVERSED
from vxlab.studies.quantised.sweeps import FLOAT
from vxlab.words import in_bytes, list_in_words, number_of, percent, write_number


def order_sentences(scores: pd.DataFrame, orders: pd.DataFrame, metric: str) -> str:
    """Say whether another adapter wins on a quantised base, and what each base does to each score, in Markdown.

    Args:
        scores: from :func:`scheme_scores`.
        orders: from :func:`order_changes`.
        metric: whose scores they are.
    """
    told = [_winner(scores, orders, metric), _pairs(orders, metric)]
    told += [_changes(scheme, rows, metric) for scheme, rows in _by_scheme(scores)]
    return "\n".join(f"- {sentence}" for sentence in [*told, _doubts(scores)] if sentence)


def memory_sentence(memory: pd.DataFrame) -> str:
    """Say what each scheme makes of the weights, of the whole model, and of a step's peak.

    Args:
        memory: from :func:`memory_by_scheme`.
    """
    first = str(memory["candidate"].iloc[0])
    rows = {row["scheme"]: row for row in memory[memory["candidate"] == first].to_dict("records")}
    whole, others = rows[FLOAT], [scheme for scheme in rows if scheme != FLOAT]
    linear = [percent((rows[each][LINEAR] + rows[each][SCALES]) / whole[LINEAR]) for each in others]
    total = [percent(rows[each]["weights"] / whole["weights"]) for each in others]
    peak = [percent(rows[each]["peak"] / whole["peak"]) for each in others]
    return (
        f"The blocks' linear weights, {in_bytes(whole[LINEAR])} in float32, take with their scales "
        f"{_each(linear, others)} of that. Embeddings, norms and heads stay as they are, so that the whole model takes "
        f"{_each(total, others)}, and a training step of {first} at its peak {_each(peak, others)}."
    )


def turned_sentence(angles: pd.DataFrame, rank: int) -> str:
    """Say how far each scheme turns the subspaces of one rank, beside chance and Wedin's bound.

    Args:
        angles: from :func:`turned_bases`.
        rank: one of its ranks.
    """
    own = angles[angles["rank"] == rank]
    told = [_turned(scheme, rows) for scheme, rows in own.groupby("scheme", sort=False)]
    count = number_of(own["layer"].nunique(), "layer")
    return (
        f"Between the top {rank} singular directions of the float weights and of the quantised ones, means over both "
        f"sides of {count}, with 95 % intervals as if these were independent: {'; '.join(told)}. Unrelated subspaces "
        f"of these sizes have a median angle of {own['chance'].mean():.0f}°."
    )


def merging_sentences(merging: MergingCosts) -> str:
    """Say what merging into floating point costs, and what quantising the merged weights again does, in Markdown.

    Args:
        merging: from :func:`merging_costs`.
    """
    if merging.layers.empty:
        return "- No run trained an update of layers, so that there is nothing to merge."
    told = [_merged(merging)]
    told += [_requantised(scheme, merging) for scheme in merging.layers["scheme"].unique()]
    return "\n".join(f"- {sentence}" for sentence in told)


def quantised_conclusion(
    scores: pd.DataFrame, orders: pd.DataFrame, memory: pd.DataFrame, angles: pd.DataFrame, merging: MergingCosts,
    *, metric: str, rank: int,
) -> str:  # fmt: skip
    """Return what four bits change, in Markdown.

    Args:
        scores: from :func:`scheme_scores`.
        orders: from :func:`order_changes`.
        memory: from :func:`memory_by_scheme`.
        angles: from :func:`turned_bases`.
        merging: from :func:`merging_costs`.
        metric: of the scores.
        rank: of LoRA-XS's bases that are told of.
    """
    parts = [
        order_sentences(scores, orders, metric), f"- {memory_sentence(memory)}", f"- {turned_sentence(angles, rank)}",
        merging_sentences(merging),
    ]  # fmt: skip
    return "\n".join(parts)


def _by_scheme(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(scheme), rows) for scheme, rows in scores.groupby("scheme", sort=False) if scheme != FLOAT]


def _winner(scores: pd.DataFrame, orders: pd.DataFrame, metric: str) -> str:
    known = scores.dropna(subset=["score"])
    if known.empty:
        return "No candidate finished a run: there is nothing to say."
    tops = known.loc[known.groupby("scheme", sort=False)["score"].idxmax()].to_dict("records")
    names = list(dict.fromkeys(row["candidate"] for row in tops))
    turned = orders[orders["order"] == REVERSED].to_dict("records")
    means = ", ".join(f"{row['scheme']} {row['candidate']} {score_in_words(row['score'], metric)}" for row in tops)
    if turned:
        pairs = list_in_words([f"{row['a']} and {row['b']} on {row['scheme']}" for row in turned])
        return f"**The order changes: {pairs} are shown in the other order than on {FLOAT}.** Highest means: {means}."
    if len(names) == 1:
        return f"**{names[0]} has the highest mean on every base** ({means})."
    return f"**The highest mean is another method's from base to base, but no change of order is shown** ({means})."


def _pairs(orders: pd.DataFrame, metric: str) -> str:
    if orders.empty:
        return ""
    counts = orders["order"].value_counts()
    ways = ((KEPT, "in the same order on both"), (REVERSED, "in opposite orders"),
            (ONE_SIDED, "told apart on one of the two alone"), (NOT_TOLD, "not told apart on either"))  # fmt: skip
    parts = [f"{int(counts[key])} {said}" for key, said in ways if key in counts]
    moved = orders[orders["seen"]].to_dict("records")
    shifts = [
        f"{row['a']} less {row['b']} on {row['scheme']} by {difference_in_words(row['shift'], metric)}" for row in moved
    ]
    shown = list_in_words(shifts) if shifts else "in none"
    furthest = difference_in_words(float(orders[["low", "high"]].abs().max().max()), metric)
    return (
        f"Of {number_of(len(orders), 'pair')} of methods, each on {FLOAT} and on a quantised base: {', '.join(parts)}. "
        f"The difference of a pair is shown to move {shown} (after Holm's correction); shifts of up to {furthest} are "
        "within the intervals, so this sweep does not rule them out."
    )


def _changes(scheme: str, rows: pd.DataFrame, metric: str) -> str:
    known = rows.dropna(subset=["change"]).to_dict("records")
    if not known:
        return f"{scheme} cannot be compared with {FLOAT}: a finished run of each is needed."
    told = [
        f"{'**' if row['seen'] else ''}{row['candidate']} {difference_in_words(row['change'], metric)}"
        f"{'**' if row['seen'] else ''} ({interval_in_words(row['low'], row['high'], metric)})"
        for row in known
    ]
    seen = sum(row["seen"] for row in known)
    after = "after Holm's correction" if any(row["covers_seeds"] for row in known) else "over items alone, after Holm"
    return f"{scheme} less {FLOAT}: {'; '.join(told)}; {seen or 'none'} of {len(known)} told from 0, {after}."


def _doubts(scores: pd.DataFrame) -> str:
    rows = scores.to_dict("records")
    edges = [f"{row['candidate']} on {row['scheme']}" for row in rows if row["edge"]]
    below = [f"{row['candidate']} on {row['scheme']}" for row in rows if not row["above"]]
    told = [f"Not shown to beat the trivial answer: {list_in_words(below)}."] if below else []
    told += [f"With a rate on the edge of its range: {list_in_words(edges)}."] if edges else []
    return " ".join(told)


def _each(values: Sequence[str], names: Sequence[str]) -> str:
    return list_in_words([f"{value} ({name})" for value, name in zip(values, names, strict=True)])


def _turned(scheme: object, rows: pd.DataFrame) -> str:
    layers = rows.groupby("layer")[["median", "largest", "overlap", "bound"]].mean()
    median, largest = (over_units(layers[name]).in_words(".2g", "°") for name in ("median", "largest"))
    silent = int((layers["bound"] >= 90).sum())
    bound = f"Wedin's bound on the largest, ‖E‖₂ over the gap, says nothing of {silent} of {len(layers)} layers"
    if silent < len(layers):
        bound += f", and for the others allows {layers['bound'][layers['bound'] < 90].mean():.0f}°"
    overlap = write_number(float(layers["overlap"].mean()), ".4f")
    return f"**{scheme} {median}** at the median angle, {largest} at the largest, overlap {overlap} ({bound})"


def _merged(merging: MergingCosts) -> str:
    worst, logits = float(merging.layers["rounded"].max()), float(merging.outputs[MERGED].max())
    return (
        f"Merged into weights in float32, ΔW is off by at most {worst:.0e} of its norm in any layer, and logits by "
        f"{logits:.0e} of what the update does to them."
    )


def _requantised(scheme: str, merging: MergingCosts) -> str:
    layers, outputs, scores = (table[table["scheme"] == scheme] for table in merging)
    told = []
    for name, own in layers.groupby("candidate", sort=False):
        lost, kept = float(own["lost"].median()), float(own["kept"].median())
        said = f"{name} {percent(lost)} of ‖ΔW‖ ({write_number(100 * kept, '.1f')} % of ΔW is left)"
        row: Any = outputs[outputs["candidate"] == name]
        if len(row):
            said += f", {percent(float(row[REQUANTISED].iloc[0]))} of its effect on logits"
        told.append(said + _score_lost(scores[scores["candidate"] == name]))
    return f"**Requantised to {scheme} after merging** the error is, median over layers: {'; '.join(told)}."


def _score_lost(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    before, after = (score_in_words(float(row[name]), row["metric"]) for name in (UNMERGED, REQUANTISED))
    within = interval_in_words(float(row["low"]), float(row["high"]), row["metric"])
    return f", and the score from {before} to {after} ({'shown' if row['seen'] else 'not told apart'}; {within})"
