"""What the candidates of a sweep write to the same inputs, side by side."""

from typing import Any

import pandas as pd

from vxlab.experiments.sweeps import Comparison

PROMPT, REFERENCE = "prompt", "reference"


def samples_table(result: Comparison, inputs: int = 12) -> pd.DataFrame:
    """Return what each candidate wrote to test inputs: ``input`` (from 0), ``who`` and ``text``.

    Of every input first the prompt, then its first reference with the number of further ones, then each candidate's
    text, of the least of its reported seeds. Inputs are spread evenly over the test split. Where the rows that were
    tested are not to be had any more, as of a file that has changed, prompts and references are left out.

    Args:
        result: of a fair sweep.
        inputs: how many, at the most.
    """
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    first = reports.sort_values("seed").groupby("candidate", sort=False)["key"].first()
    texts = {name: result.records[first[name]].texts() for name in result.fair.names if name in first}
    items = max(map(len, texts.values()), default=0)
    rows, count = _test_rows(result), min(inputs, items)
    table = []
    for number, place in enumerate(place * items // count for place in range(count)):
        table += [] if rows is None else [(number, *told) for told in _asked(rows, place)]
        table += [(number, name, each[place]) for name, each in texts.items()]
    return pd.DataFrame(table, columns=["input", "who", "text"])


def _asked(rows: dict[str, list[Any]], place: int) -> list[tuple[str, str]]:
    references = rows["references"][place]
    more = f" (and {len(references) - 1} more)" if len(references) > 1 else ""
    return [(PROMPT, rows["text"][place].strip()), (REFERENCE, references[0] + more)]


def _test_rows(result: Comparison) -> dict[str, list[Any]] | None:
    """Return the test rows that the runs read, None where they are not there any more, or have changed."""
    from vxlab.experiments import TASK_FIELDS, find_task

    record = next(iter(result.records.values()))
    task = find_task({name: record.spec[name] for name in TASK_FIELDS if name in record.spec})
    if task is None or not record.identity.get("task", "").startswith(f"{task.fingerprint} "):
        return None
    rows: dict[str, list[Any]] = task.splits["test"][:]
    return rows
