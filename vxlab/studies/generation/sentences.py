"""What a sweep of models that write showed, in sentences."""

import pandas as pd

from vxlab.experiments.candidates import p_in_words
from vxlab.experiments.scoring import LEVEL, in_words
from vxlab.words import number_of

LOSS = "log_likelihood"


def generation_conclusion(scores: pd.DataFrame) -> str:
    """Return which candidates are shown to gain over the untuned base, by metric, in Markdown.

    Args:
        scores: from :func:`vxlab.studies.generation.metric_scores`.
    """
    trained = scores.dropna(subset=["gain"])
    if trained.empty:
        return "There is no untuned base beside the candidates, so what training gained cannot be said."
    told = [_of_loss(trained[trained["metric"] == LOSS])]
    for metric in [name for name in trained["metric"].unique() if name != LOSS]:
        told.append(_of_metric(trained[trained["metric"] == metric], metric))
    told += _of_lacking(scores)
    return "\n".join(f"- {sentence}" for sentence in told if sentence)


def _of_loss(rows: pd.DataFrame) -> str:
    """Say what happened to the held-out loss, which is minus the log-likelihood per token."""
    table = rows[["candidate", "gain", "gain_low", "gain_high"]].to_numpy()
    told = [f"{name} {_turned(gain)} ({_turned(high)} to {_turned(low)})" for name, gain, low, high in table.tolist()]
    better = rows[(rows["p_holm"] <= LEVEL) & (rows["gain"] > 0)]
    count = f"{len(better)} of {number_of(len(rows), 'trained candidate')}"
    verb = "has" if len(better) == 1 else "have"
    return (
        f"**{count} {verb} a lower held-out loss than the untuned base** (after Holm's correction), in nats per answer "
        f"token, with 95 % intervals: {'; '.join(told)}."
    )


def _of_metric(rows: pd.DataFrame, metric: str) -> str:
    if rows["gain"].isna().all():
        return ""
    better = rows[(rows["p_holm"] <= LEVEL) & (rows["gain"] > 0)]
    worse = rows[(rows["p_holm"] <= LEVEL) & (rows["gain"] < 0)]
    best = rows.sort_values("gain").iloc[-1]
    told = f"{in_words(metric)}: {len(better)} of {len(rows)} shown above the base"
    if len(worse):
        told += f", {', '.join(worse['candidate'])} below it"
    return f"{told}; the highest mean is {best['candidate']}'s (p {p_in_words(float(best['p_holm']))})."


def _of_lacking(scores: pd.DataFrame) -> list[str]:
    """Say which metrics lack in all runs, or in some: for want of a library or of Java when these were made."""
    runs = scores[scores["metric"] == LOSS].set_index("candidate")["n"]  # the loss needs neither
    none, some = [], []
    for metric, rows in scores.groupby("metric", sort=False):
        parts = zip(rows["candidate"], rows["n"], strict=True)
        few = [f"{name} {count} of {runs[name]}" for name, count in parts if count < runs[name]]
        if rows["score"].isna().all():
            none.append(in_words(str(metric)))
        elif few:
            some.append(f"{in_words(str(metric))} ({', '.join(few)})")
    told = [f"Not computed when these runs were made: {', '.join(none)}."] if none else []
    told += [f"Computed in a part of the runs alone: {', '.join(some)}."] if some else []
    return (
        [*told[:-1], f"{told[-1]} Runs keep what they were scored on; with fresh=True they are made anew."]
        if told
        else []
    )


def _turned(gain: float) -> str:
    """Write a gain of log-likelihood as a change of the loss."""
    return f"{-gain:+.3f}".replace("-", "−")
