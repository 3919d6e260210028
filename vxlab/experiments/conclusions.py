"""Sentences computed from results."""

from typing import TYPE_CHECKING

from vxlab.experiments.metrics import in_words, interval
from vxlab.experiments.record import RunRecord
from vxlab.experiments.scores import paired_difference

if TYPE_CHECKING:
    import pandas as pd


def smoke_warning(scale: str, what: str = "A few sentences and one epoch") -> str:
    """Return a warning in Markdown for a run whose numbers mean nothing; empty for the other scales."""
    if scale != "smoke":
        return ""
    return f"> ⚠ **Smoke run.** {what}, to show that everything works. **Its numbers mean nothing.**"


def fine_tuning_conclusion(record: RunRecord, head: RunRecord, costs: "pd.DataFrame", scale: str = "small") -> str:
    """Return what one run showed, in Markdown: against the trivial answer, against the head alone, and its price.

    Args:
        record: the run.
        head: the run that trained the task head alone, on the same data.
        costs: from ``cost_table``, its first row this run's method.
        scale: ``smoke`` draws no conclusion.
    """
    if scale == "smoke":
        return smoke_warning(scale)
    if record.status == "diverged":
        rate = record.spec["learning_rate"]
        steps = _counted(record.steps, "step")
        return f"The run **diverged** after {steps} and has no test score; try a learning rate below {rate:g}."
    sentences = [_against_trivial(record), _against_head(record, head), _price(record, costs)]
    sentences.append("One seed and one learning rate: this does not rank methods.")
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def vera_norms_sentence(updates: "pd.DataFrame") -> str:
    """Return what ‖d‖₂ shows beside VeRA's Figure 3: query against value, and its rank correlation with depth.

    Args:
        updates: from ``layer_updates``, of a VeRA run.
    """
    by_role = updates.pivot_table(index="block", columns="role", values="d_norm")
    sentences = []
    if {"query", "value"} <= set(by_role.columns) and len(both := by_role[["query", "value"]].dropna()):
        above = int((both["query"] > both["value"]).sum())
        sentences.append(f"‖d‖₂ is larger for query than for value in {above} of {_counted(len(both), 'block')}.")
    depths = {
        role: by_role[role].corr(by_role.index.to_series(), method="spearman")
        for role in by_role.columns
        if by_role[role].nunique() > 2
    }
    if depths:
        told = ", ".join(f"{role} {value:+.2f}" for role, value in depths.items())
        sentences.append(f"Its rank correlation with depth: {told} (+1: larger in every later block).")
    return " ".join(sentences)


def _against_trivial(record: RunRecord) -> str:
    metric = record.task["metrics"][0]
    score, trivial = record.score(metric), record.task["majority"]["test"][metric]
    logits, labels = (tensor.numpy() for tensor in record.predictions())
    low, high = interval(metric, logits, labels)
    if low > trivial:
        verdict = f"above the trivial answer's {trivial:.3f}"
    elif high < trivial:
        verdict = f"below the trivial answer's {trivial:.3f}"
    else:
        verdict = f"which cannot be told from the trivial answer's {trivial:.3f}"
    return (
        f"`{record.spec['method']['name']}` scores **{score:.3f}** ({in_words(metric)}; 95 % interval {low:.3f} to "
        f"{high:.3f}) on {_counted(len(labels), 'test item')}, {verdict}."
    )


def _against_head(record: RunRecord, head: RunRecord) -> str:
    if record.key == head.key:
        return ""
    if head.status != "finished":
        return "The head alone diverged, so there is nothing to compare this run with."
    gain = paired_difference(record, head)
    bounds = f"95 % interval of the difference {gain.low:+.3f} to {gain.high:+.3f}"
    if not gain.seen:
        return f"These test items show no difference from training the head alone ({gain.value:+.3f}; {bounds})."
    verdict = f"**gains** {gain.value:.3f} over" if gain.value > 0 else f"**loses** {-gain.value:.3f} against"
    return f"It {verdict} training the head alone ({bounds})."


def _price(record: RunRecord, costs: "pd.DataFrame") -> str:
    this, by_name = int(costs["backbone"].iloc[0]), costs.set_index("method")["backbone"]
    trained = f"{_counted(this, 'parameter')} in the backbone" if this else "nothing in the backbone"
    others = [
        _compared(this / int(by_name[name]), name)
        for name in ("LoRA r=8", "full fine-tuning")
        if this and by_name.get(name, this) != this
    ]
    beside = f" ({', '.join(others)})" if others else ""
    return f"It trains {trained}{beside} and takes {_bytes(record.bytes_stored)} on disk, with its head and settings."


def _compared(ratio: float, name: str) -> str:
    if 0.95 <= ratio < 1.05:
        return f"about as many as {name}"
    if ratio >= 1:
        return f"{ratio:,.{0 if ratio >= 10 else 1}f} times {name}'s"
    return f"{100 * ratio:.0f} % of {name}'s" if ratio >= 0.1 else f"1/{1 / ratio:,.0f} of {name}'s"


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
