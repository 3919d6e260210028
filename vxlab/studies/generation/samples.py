"""What the candidates of a sweep write to the same inputs, side by side."""

import pandas as pd

from vxlab.experiments.sweeps import Comparison

PROMPT, REFERENCE = "prompt", "reference"


def samples_table(result: Comparison, inputs: int = 12) -> pd.DataFrame:
    """Return what each candidate wrote to test inputs: ``input`` (from 0), ``who`` and ``text``.

    Of every input first the prompt, then its first reference with the number of further ones, then each candidate's
    text, of the least of its reported seeds. Inputs are spread evenly over the test split.

    Args:
        result: of a fair sweep.
        inputs: how many, at the most.
    """
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    first = reports.sort_values("seed").groupby("candidate", sort=False)["key"].first()
    texts = {name: result.records[first[name]].texts() for name in result.fair.names if name in first}
    rows = _test_rows(result)
    count = min(inputs, len(rows["text"]))
    chosen = [place * len(rows["text"]) // count for place in range(count)]
    table = []
    for number, place in enumerate(chosen):
        references = rows["references"][place]
        more = f" (and {len(references) - 1} more)" if len(references) > 1 else ""
        table += [(number, PROMPT, rows["text"][place].strip()), (number, REFERENCE, references[0] + more)]
        table += [(number, name, each[place]) for name, each in texts.items()]
    return pd.DataFrame(table, columns=["input", "who", "text"])


def _test_rows(result: Comparison) -> dict[str, list]:  # type: ignore[type-arg]
    from vxlab.experiments import TASK_FIELDS, find_task

    spec = next(iter(result.records.values())).spec
    task = find_task({name: spec[name] for name in TASK_FIELDS if name in spec})
    if task is None:
        return {"text": [], "references": []}
    rows: dict[str, list] = task.splits["test"][:]  # type: ignore[type-arg]
    return rows
