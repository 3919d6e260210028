"""What base and adapters answered to the same test items, with what the rule read in it and whether it is right."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import COLUMNS, EXTRACTED_METRICS, SHARES, Array, extract_answer, in_words
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import find_test_rows, first_reports, reported_runs, samples_table
from vxlab.studies.reasoning.by_set import headline_metric


def answers_table(results: Mapping[str, Comparison], inputs: int = 6) -> pd.DataFrame:
    """Return what each candidate answered to some test items of each result: ``input``, ``who`` and ``text``.

    ``input`` names the result and counts. Below a candidate's text stands whether it is right by the set's accuracy,
    and of an accuracy that extracts an answer, which. The base comes before the other candidates.

    Args:
        results: of a fair sweep each, by the name of what it was trained on.
        inputs: how many items of each, at the most.
    """
    tables = [_table(sweep, result, inputs) for sweep, result in results.items()]
    return pd.concat(tables, ignore_index=True)[["input", "who", "text"]]


def _table(sweep: str, result: Comparison, inputs: int) -> pd.DataFrame:
    metric = headline_metric(next(iter(result.records.values())).task["metrics"])
    table, base = samples_table(result, inputs), reported_runs(result).base
    hits, references = _hits(result, metric), _references(result)
    asked = zip(table["who"], table["text"], table["item"], strict=True)
    shown = [
        f"{text}\n— {_verdict(metric, text, hits[who][item], references, item)}" if who in hits else text
        for who, text, item in asked
    ]
    after = table["who"].map(lambda who: who in hits and who != base)
    labels = [f"{sweep} {number + 1}" for number in table["input"]]
    ordered = table.assign(text=shown, after=after, label=labels).sort_values(["input", "after"], kind="stable")
    return ordered.assign(input=ordered["label"])


def _hits(result: Comparison, metric: str) -> dict[str, Array]:
    """Return by candidate whether its first reported run is right, (items,) of 0 and 1; {} where nothing is."""
    if metric not in SHARES:
        return {}
    return {
        name: np.asarray(result.records[key].predictions()[0])[:, COLUMNS[metric].start]
        for name, key in first_reports(result).items()
    }


def _references(result: Comparison) -> list[list[str]] | None:
    return (find_test_rows(result) or {}).get("references")


def _verdict(metric: str, text: str, hit: float, references: list[list[str]] | None, item: int) -> str:
    right = "right" if hit == 1 else "wrong"
    if metric not in EXTRACTED_METRICS or references is None:
        return right
    found = extract_answer(metric, text, references[item][0])
    return f"{in_words(metric)}: {'none found' if found is None else found}, {right}"
