"""Sentences computed from results."""

from typing import TYPE_CHECKING

from vxlab.experiments.record import RunRecord
from vxlab.experiments.scores import paired_difference

if TYPE_CHECKING:
    import pandas as pd


def smoke_warning(scale: str) -> str:
    """Return a warning in Markdown for a run whose numbers mean nothing; empty for the other scales."""
    if scale != "smoke":
        return ""
    return (
        "> ⚠ **Smoke run.** A few sentences and one epoch, to show that everything works. **Its numbers mean nothing.**"
    )


def fine_tuning_conclusion(record: RunRecord, head: RunRecord, costs: "pd.DataFrame", scale: str = "small") -> str:
    """Return what one run showed, in Markdown: against the head alone, against the trivial answer, and its price.

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
        return f"The run **diverged** after {record.steps} steps; try a learning rate below {rate:g}."
    metric = record.task["metrics"][0]
    sentences = [_against_trivial(record, metric), _against_head(record, head, metric), _price(record, costs)]
    sentences.append("One seed and one learning rate: a difference this run shows is not yet a ranking of methods.")
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def _against_trivial(record: RunRecord, metric: str) -> str:
    score, trivial = record.score(metric), record.task["majority"]["test"][metric]
    better = "above" if score > trivial else "not above"
    return (
        f"`{record.spec['method']['name']}` reaches **{score:.3f}** {metric} on {record.task['rows']['test']:,} test "
        f"items, {better} the trivial answer's {trivial:.3f}."
    )


def _against_head(record: RunRecord, head: RunRecord, metric: str) -> str:
    if record.key == head.key or head.status != "finished":
        return ""
    gain = paired_difference(record, head, metric)
    interval = f"{gain.value:+.3f}, 95 % interval {gain.low:+.3f} to {gain.high:+.3f} over test items"
    if not gain.seen:
        return f"No difference from the head alone can be told on this test set ({interval})."
    verb = "gains" if gain.value > 0 else "loses"
    return f"Over the head alone it **{verb}** {abs(gain.value):.3f} ({interval})."


def _price(record: RunRecord, costs: "pd.DataFrame") -> str:
    this, by_name = costs.iloc[0], costs.set_index("method")
    if not this["backbone"]:
        return "It trains nothing in the backbone."
    sentence = f"It trains {this['backbone']:,} parameters in the backbone"
    for name in ("LoRA r=8", "full fine-tuning"):
        if name in by_name.index and by_name.loc[name, "backbone"] != this["backbone"]:
            sentence += f", {_ratio(this['backbone'] / by_name.loc[name, 'backbone'])} {name}'s"
    return f"{sentence}; the saved adapter takes {record.bytes_stored / 1000:,.1f} kB."


def _ratio(value: float) -> str:
    return f"{value:,.1f} times" if value >= 1 else f"1/{1 / value:,.0f} of"
