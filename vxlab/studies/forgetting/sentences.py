"""What forgetting was seen, in sentences."""

from typing import Any

import pandas as pd

from vxlab.experiments.candidates import p_in_words
from vxlab.studies.forgetting.mean_of_tasks import MEAN_OF_TASKS
from vxlab.words import list_in_words, number_of, write_number


def forgetting_conclusion(table: pd.DataFrame) -> str:
    """Return where tuning lost and gained against the untuned base on held-out tasks, in Markdown.

    Args:
        table: from :func:`vxlab.studies.forgetting.forgetting_table`.
    """
    tested = table.dropna(subset=["p"])
    tasks = tested[tested["task"] != MEAN_OF_TASKS]
    if tasks.empty:
        return "No candidate was evaluated beside the untuned base, so nothing is said of held-out tasks."
    told = [_head(tasks), *(_sentence(row) for row in _worst_first(tasks[tasks["change"] != ""]))]
    told += _of_unseen(tasks)
    told += _of_mean(tested[tested["task"] == MEAN_OF_TASKS])
    told += _of_lacking(table)
    return "\n".join(f"- {each}" for each in told)


def _head(tasks: pd.DataFrame) -> str:
    lost, gained = ((tasks["change"] == word).sum() for word in ("lost", "gained"))
    names = list_in_words(list(dict.fromkeys(tasks["task"])))
    size = number_of(len(tasks), "comparison")
    of = f"{number_of(tasks['candidate'].nunique(), 'candidate')} on {names}"
    if not lost and not gained:
        return f"**No change on held-out tasks is seen**: none of {size} ({of}) with the untuned base, after Holm."
    return f"**Tuning lost in {lost} and gained in {gained} of {size}** with the untuned base ({of}), after Holm."


def _worst_first(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    return rows.sort_values("difference", kind="stable").to_dict("records")


def _sentence(row: dict[Any, Any]) -> str:
    verb = "**Tuning lost**" if row["change"] == "lost" else "Tuning gained"
    return (
        f"{verb}: {row['candidate']} on {row['task']}, {row['metric']} {write_number(row['score'], '.3f')} against the "
        f"untuned base's {write_number(row['base'], '.3f')} ({_difference(row)}; p {p_in_words(row['p_holm'])})."
    )


def _difference(row: dict[Any, Any]) -> str:
    difference, low, high = (write_number(row[name], "+.3f") for name in ("difference", "low", "high"))
    return f"{difference}, 95 % {low} to {high}"


def _of_unseen(tasks: pd.DataFrame) -> list[str]:
    """Say how large a loss the intervals of what is not told apart still leave open."""
    rows = tasks[tasks["change"] == ""]
    if rows.empty:
        return []
    row = rows.sort_values("low", kind="stable").to_dict("records")[0]
    of = "that 1 the interval reaches" if len(rows) == 1 else f"those {len(rows)} the intervals reach"
    return [
        f"Not told apart is not unchanged: of {of} down to "
        f"{write_number(row['low'], '+.3f')} ({row['candidate']} on {row['task']})."
    ]


def _of_mean(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    told = "; ".join(f"{row['candidate']} {_difference(row)}" for row in rows.to_dict("records"))
    seen = rows[rows["change"] != ""]
    after = f"after Holm over {number_of(len(rows), 'candidate')}, seen: {list_in_words(list(seen['candidate']))}" if (
        len(seen)
    ) else f"none seen after Holm over {number_of(len(rows), 'candidate')}"  # fmt: skip
    return [f"Change of the mean over the tasks, every task alike: {told} ({after})."]


def _of_lacking(table: pd.DataFrame) -> list[str]:
    """Say which reported runs were not evaluated."""
    rows = table[(table["evaluated"] < table["runs"]) & table["gain"].notna()]
    few = rows[["candidate", "task", "evaluated", "runs"]].itertuples(index=False)
    told = [f"{name} on {task} {evaluated} of {runs}" for name, task, evaluated, runs in few]
    return [f"Evaluated in a part of the reported runs alone: {'; '.join(told)}."] if told else []
