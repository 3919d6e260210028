"""Sentences computed from results."""

import math
from collections.abc import Mapping

import pandas as pd

from vxlab.experiments import RunRecord
from vxlab.experiments.candidates import HeldOut, held_out_of, paired_difference
from vxlab.experiments.scoring import Difference, against_trivial, in_words, interval
from vxlab.studies.scales import smoke_warning
from vxlab.words import in_bytes, number_of, with_minus, write_number


def fine_tuning_conclusion(
    record: RunRecord, head: RunRecord | None, probe: RunRecord, costs: pd.DataFrame, scale: str = "small"
) -> str:
    """Return what one run showed, in Markdown: against the trivial answer, against the floor, and its price.

    The floor is the stronger of the head alone and the probe; where the model writes, it is the untuned base.

    Args:
        record: the run.
        head: the run that trained the task head alone, on the same data; None where the model writes, and has none.
        probe: the run of a :class:`vxlab.Probe`, on the same data; where the model writes, of :class:`vxlab.Base`.
        costs: from ``cost_table``, its first row this run's method; of a probe, which the table leaves out, any.
        scale: ``smoke`` draws no conclusion.
    """
    if scale == "smoke":
        return smoke_warning(scale)
    if record.status == "diverged":
        rate = record.spec["learning_rate"]
        steps = number_of(record.steps, "step")
        return f"The run **diverged** after {steps} and has no test score; try a learning rate below {rate:g}."
    metric = record.task["metrics"][0]
    held_out = held_out_of(record, metric, len(record.predictions()[1]), record.units())
    sentences = [
        _against_trivial(record, held_out),
        _against_floor(record, _floors(head, probe)),
        "" if head is None else _of_head(head, probe),
        _price(record, costs),
        "One seed and one learning rate: no interval here covers the luck of training, and this does not rank methods.",
        held_out.doubt,
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def vera_norms_sentence(updates: pd.DataFrame) -> str:
    """Return what ‖d‖₂ shows beside VeRA's Figure 3: query against value, and its rank correlation with depth.

    Both come with the two-sided p of as much by chance: of the sign test over blocks, and of orders of the blocks.

    Args:
        updates: from ``layer_updates``, of a VeRA run.
    """
    from scipy.stats import binomtest

    by_role = updates.pivot_table(index="block", columns="role", values="d_norm")
    sentences = []
    if {"query", "value"} <= set(by_role.columns) and len(both := by_role[["query", "value"]].dropna()):
        above = int((both["query"] > both["value"]).sum())
        p = binomtest(above, len(both)).pvalue
        sentences.append(
            f"‖d‖₂ is larger for query than for value in {above} of {number_of(len(both), 'block')} (sign test, p = "
            f"{p:.2g})."
        )
    depths = [f"{role} {_with_depth(by_role[role].dropna())}" for role in by_role if by_role[role].nunique() > 2]
    if depths:
        sentences.append(f"Its rank correlation with depth (+1: larger in every later block): {', '.join(depths)}.")
    sentences.append("This is of one run, whose blocks were trained together: another seed may order them otherwise.")
    return " ".join(sentences)


def _with_depth(norms: "pd.Series[float]") -> str:
    """Return Spearman's correlation of norms with their blocks' order, and its p over all orders, or 9,999 of them."""
    import numpy as np
    from scipy.stats import permutation_test, rankdata

    ranks, depth = rankdata(norms), np.arange(len(norms), dtype=float)

    def correlation(drawn: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
        return float(np.corrcoef(drawn, depth)[0, 1].round(9))  # equals are equal

    p = permutation_test((ranks,), correlation, permutation_type="pairings", n_resamples=9_999, random_state=0).pvalue
    return f"{write_number(correlation(ranks), '+.2f')} ({len(norms)} blocks, p = {p:.2g})"


def _against_trivial(record: RunRecord, held_out: HeldOut) -> str:
    metric, units = record.task["metrics"][0], record.units()
    logits, labels = (tensor.numpy() for tensor in record.predictions())
    (found,) = against_trivial({"": {0: logits}}, labels, metric, constant=record.constant(), units=units).values()
    trivial = f"the trivial answer's {write_number(held_out.trivial, '.3f')} ({held_out.trivial_name})"
    verdict = f"not shown to beat {trivial}"
    if found.beaten:
        verdict = f"above {trivial}"
    elif found.high < 0:
        verdict = f"below {trivial}"
    low, high = interval(metric, logits, labels, units=units)
    bounds = "no interval" if math.isnan(low) else with_minus(f"95 % interval {low:.3f} to {high:.3f}")
    score = f"**{write_number(record.score(metric), '.3f')}** ({in_words(metric)}; {bounds})"
    return f"`{record.spec['method']['name']}` scores {score} on {held_out.in_words()}, {verdict}."


def _floors(head: RunRecord | None, probe: RunRecord) -> dict[str, RunRecord]:
    return {"the untuned base": probe} if head is None else {"the probe": probe, "the head alone": head}


def _against_floor(record: RunRecord, floors: Mapping[str, RunRecord]) -> str:
    """Say what a run gains over the strongest of some floors, by name."""
    scores = {
        name: each.score() for name, each in floors.items() if each.status == "finished" and each.key != record.key
    }
    if not scores:
        return ""
    name = max(scores, key=lambda each: scores[each])
    others = "".join(f"; {other} {write_number(score, '.3f')}" for other, score in scores.items() if other != name)
    floor = f"the floor, {name} ({write_number(scores[name], '.3f')}{others})"
    gain = paired_difference(record, floors[name])
    if not gain.seen:
        difference = write_number(gain.difference, "+.3f")
        return f"These test items show no difference from {floor}: {difference}, {_bounds(gain)}."
    verdict = "**gains** {:.3f} over" if gain.difference > 0 else "**loses** {:.3f} against"
    return f"It {verdict.format(abs(gain.difference))} {floor}: {_bounds(gain)}."


def _of_head(head: RunRecord, probe: RunRecord) -> str:
    """Say where the head alone is no fair floor, for the same frozen model gives more."""
    if head.status != "finished":
        return "The head alone diverged: it is no floor."
    lead = paired_difference(probe, head)
    if not lead.low > 0:
        return ""
    return (
        f"The head alone, trained by these {number_of(head.steps, 'step')} at one rate, is no fair floor: on the same "
        f"frozen model the probe, which also chooses how to pool, scores {lead.difference:.3f} more ({_bounds(lead)})."
    )


def _bounds(found: Difference) -> str:
    return f"95 % interval of the difference {write_number(found.low, '+.3f')} to {write_number(found.high, '+.3f')}"


def _price(record: RunRecord, costs: pd.DataFrame) -> str:
    by_name = costs.set_index("method")["backbone"]
    this = 0 if record.probe else int(costs["backbone"].iloc[0])
    trained = f"{number_of(this, 'parameter')} in the backbone" if this else "nothing in the backbone"
    others = [
        _compared(this / int(by_name[name]), name)
        for name in ("LoRA r=8", "full fine-tuning")
        if this and by_name.get(name, this) != this
    ]
    beside = f" ({', '.join(others)})" if others else ""
    what = "its head and settings" if record.parameters["head"] else "its settings"
    return f"It trains {trained}{beside} and takes {in_bytes(record.bytes_stored)} on disk, with {what}."


def _compared(ratio: float, name: str) -> str:
    if 0.95 <= ratio < 1.05:
        return f"about as many as {name}"
    if ratio >= 1:
        return f"{ratio:,.{0 if ratio >= 10 else 1}f} times {name}'s"
    return f"{100 * ratio:.0f} % of {name}'s" if ratio >= 0.1 else f"1/{1 / ratio:,.0f} of {name}'s"
