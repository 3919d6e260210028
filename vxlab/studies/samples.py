"""What the candidates of a sweep answer to the same inputs, side by side."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from vxlab.experiments.sweeps import Comparison

if TYPE_CHECKING:
    from vxlab.experiments.tasks import Task

PROMPT, REFERENCE, CHOICES = "prompt", "reference", "choices"


def samples_table(result: Comparison, inputs: int = 12) -> pd.DataFrame:
    """Return what each candidate wrote to test inputs, or chose: ``input`` (from 0), ``item``, ``who`` and ``text``.

    Of every input first the prompt, then its first reference with the number of further ones, or the choices with the
    right one, then each candidate's text, of the least of its reported seeds. Inputs are spread evenly over the test
    split, in which ``item`` is their place. Where the rows that were tested are not to be had any more, as of a file
    that has changed, prompts and references are left out.

    Args:
        result: of a fair sweep.
        inputs: how many, at the most.
    """
    reports = first_reports(result)
    texts = {name: result.records[key].texts() for name, key in reports.items()}
    items = max(map(len, texts.values()), default=0)
    rows, count = find_test_rows(result), min(inputs, items)
    table = []
    for number, place in enumerate(place * items // count for place in range(count)):
        table += [] if rows is None else [(number, place, *told) for told in _asked(rows, place)]
        table += [(number, place, name, each[place]) for name, each in texts.items()]
    return pd.DataFrame(table, columns=["input", "item", "who", "text"])


def first_reports(result: Comparison) -> dict[str, str]:
    """Return the key of each candidate's reported run of the least seed that finished.

    Args:
        result: of a fair sweep.
    """
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    first = reports.sort_values("seed").groupby("candidate", sort=False)["key"].first()
    return {name: first[name] for name in result.fair.names if name in first}


def find_test_rows(result: Comparison) -> dict[str, list[Any]] | None:
    """Return the test rows that the runs read, None where they are not there any more, or have changed.

    Args:
        result: of a fair sweep.
    """
    task = find_tested_task(result)
    return None if task is None else task.splits["test"][:]


def find_tested_task(result: Comparison) -> "Task | None":
    """Return the task that the runs were tested on, None where it is not there any more, or has changed.

    Args:
        result: of a fair sweep.
    """
    from vxlab.experiments import TASK_FIELDS, find_task

    record = next(iter(result.records.values()))
    task = find_task({name: record.spec[name] for name in TASK_FIELDS if name in record.spec})
    if task is None or not record.identity.get("task", "").startswith(f"{task.fingerprint} "):
        return None
    return task


def _asked(rows: dict[str, list[Any]], place: int) -> list[tuple[str, str]]:
    if CHOICES in rows:
        return [(PROMPT, _prompt(rows, place)), (CHOICES, _choices(rows, place))]
    references = rows["references"][place]
    more = f" (and {len(references) - 1} more)" if len(references) > 1 else ""
    return [(PROMPT, rows["text"][place].strip()), (REFERENCE, references[0] + more)]


def _prompt(rows: dict[str, list[Any]], place: int) -> str:
    if "contexts" not in rows:
        return str(rows["text"][place]).strip()
    return "\n".join(f"({number}) {each}" for number, each in enumerate(rows["contexts"][place], start=1))


def _choices(rows: dict[str, list[Any]], place: int) -> str:
    right = rows["label"][place]
    told = (
        f"({number + 1}) {each}{' ← right' * (number == right)}" for number, each in enumerate(rows[CHOICES][place])
    )
    return "\n".join(told)
