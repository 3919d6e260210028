"""Evaluations side by side: each run against its untuned base, and what tuning gained and lost."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vxlab.experiments import Evaluation, RunRecord
from vxlab.experiments.evaluations.differences import paired_differences
from vxlab.experiments.provenance import name_candidates
from vxlab.experiments.scoring import LEVEL, Difference, holm
from vxlab.words import number_of, write_number

if TYPE_CHECKING:
    import pandas as pd

_UNTUNED = "untuned base"
_NONE = Difference(*(math.nan,) * 4, covers_seeds=False)
COLUMNS = {
    "task": "string", "metric": "string", "filter": "string", "model": "string", "candidate": "string", "seed": "Int64",
    "run": "string", "score": "float64", "base": "float64", "difference": "float64", "low": "float64",
    "high": "float64", "p": "float64", "p_holm": "float64", "change": "string", "items": "Int64",
    "better": "string", "precision": "string",
}  # fmt: skip


@dataclass(frozen=True)
class Evaluations:
    """Evaluations of runs and of the models they started from, and the runs' records.

    >>> len(Evaluations((), ()).table())
    0
    """

    evaluations: tuple[Evaluation, ...]
    records: tuple[RunRecord, ...] = ()
    """of the runs among them"""

    def table(self) -> "pd.DataFrame":
        """Return one row a run (or untuned model), task and metric.

        Columns: ``task, metric, filter, model, candidate`` (the method, and what tells it from others of its name),
        ``seed, run`` (key), ``score`` (the task's own), ``base`` (the untuned model's), ``difference`` (score less
        base) with its 95 % interval ``low, high`` and ``p`` over the items; ``p_holm``, adjusted for all differences of
        the table; ``change``: ``gained`` or ``lost`` where that is seen after the adjustment, "" where not; ``items``,
        ``better``: whether ``higher`` or ``lower`` scores are, and the ``precision`` in which all this was computed.
        NaN where there is no base beside it, or the metric is no mean of items.
        """
        names = self._candidates()
        rows = [
            self._row(one, metric, names, {one.run: {0: one}} if one.run else {})
            for one in self.evaluations
            for metric in one.scores
        ]
        return _frame(rows, COLUMNS)

    def candidates(self) -> "pd.DataFrame":
        """Return one row a candidate, task and metric, its seeds taken together, with the columns of :meth:`table`.

        ``score`` is the mean over ``seeds``, which replaces ``seed`` and ``run``; the interval is over items and, where
        some candidate has several seeds, over those, too.
        """
        rows = [row for group in self._groups() for row in self._rows_of(*group)]
        columns = {name: kind for name, kind in COLUMNS.items() if name not in ("seed", "run")}
        return _frame(rows, columns | {"seeds": "Int64"})

    def losses(self) -> "pd.DataFrame":
        """Return the rows of :meth:`candidates` in which tuning lost against the untuned base."""
        found = self.candidates()
        return found[found["change"] == "lost"].reset_index(drop=True)

    def in_words(self) -> list[str]:
        """Return a sentence for each loss and gain, or the one that there was none; and what the scores do not show."""
        found = self.candidates()
        seen = found[found["change"] != ""].sort_values("change", ascending=False, kind="stable")
        compared = number_of(int(found["p"].count()), "comparison")
        without = f"No difference to the untuned base is seen in {compared}."
        if not found["p"].count():
            without = "Nothing here can be compared with an untuned base, item by item."
        notes = dict.fromkeys(f"{note}." for one in self.evaluations for note in one.notes)
        return [*([_sentence(row) for row in seen.to_dict("records")] or [without]), *notes]

    def base_of(self, one: Evaluation) -> Evaluation | None:
        """Return the untuned model's evaluation that belongs beside one, None where it is not here."""
        fits = (each for each in self.evaluations if not each.run and _place(each) == _place(one))
        return next(fits, None)

    def _candidates(self) -> dict[str, tuple[str, int | None]]:
        """Return of each run its candidate's name and its seed."""
        names = name_candidates(self.records)
        return {record.key: (names[record.key], record.spec.get("seed")) for record in self.records}

    def _row(
        self, one: Evaluation, metric: str, names: Mapping[str, tuple[str, int | None]], tuned: Mapping[str, Any]
    ) -> dict[str, Any]:
        base = self.base_of(one)
        name, seed = names.get(one.run, (one.run[:12], None)) if one.run else (_UNTUNED, None)
        found = _NONE if base is None or not tuned else paired_differences(tuned, base, metric)[one.run]
        return {
            **_shared(one, metric, base), **_told(found), "candidate": name, "seed": seed, "run": one.run,
            "score": one.scores.get(metric, math.nan),
        }  # fmt: skip

    def _groups(self) -> "Iterator[tuple[list[Evaluation], dict[str, dict[int, Evaluation]]]]":
        """Yield what was evaluated alike: the untuned models' evaluations, and by candidate those of its seeds."""
        names = self._candidates()
        places = dict.fromkeys(map(_place, self.evaluations))
        for place in places:
            here = [one for one in self.evaluations if _place(one) == place]
            tuned: dict[str, dict[int, Evaluation]] = {}
            for one in here:
                if one.run:
                    seeds = tuned.setdefault(names.get(one.run, (one.run[:12], None))[0], {})
                    seeds[len(seeds)] = one
            yield [one for one in here if not one.run][:1], tuned

    def _rows_of(self, bases: list[Evaluation], tuned: dict[str, dict[int, Evaluation]]) -> Iterator[dict[str, Any]]:
        for metric in (bases or [next(iter(next(iter(tuned.values())).values()))])[0].scores:
            found = paired_differences(tuned, bases[0], metric) if bases and tuned else {}
            for base in bases:
                row = _shared(base, metric, base) | _told(_NONE)
                yield row | {"candidate": _UNTUNED, "seeds": None, "score": base.scores.get(metric, math.nan)}
            for name, seeds in tuned.items():
                scores = [one.scores.get(metric, math.nan) for one in seeds.values()]
                row = _shared(seeds[0], metric, bases[0] if bases else None) | _told(found.get(name, _NONE))
                yield row | {"candidate": name, "seeds": len(seeds), "score": sum(scores) / len(scores)}


def _place(one: Evaluation) -> str:
    return json.dumps([one.fingerprint, one.task, one.settings], sort_keys=True)


def _shared(one: Evaluation, metric: str, base: Evaluation | None) -> dict[str, Any]:
    name, _, kind = metric.partition(",")
    better = one.higher_is_better.get(metric)
    return {
        "task": one.task, "metric": name, "filter": kind, "model": one.model,
        "base": base.scores.get(metric, math.nan) if base else math.nan,
        "items": len(one.documents),
        "better": None if better is None else "higher" if better else "lower",
        "precision": one.settings.get("precision"),
    }  # fmt: skip


def _told(found: Difference) -> dict[str, float]:
    return {name: getattr(found, name) for name in ("difference", "low", "high", "p")}


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(columns))
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    table["change"] = [_change(row) for row in table.to_dict("records")]
    return table.astype(columns)


def _change(row: Mapping[Any, Any]) -> str:
    if not row["p_holm"] <= LEVEL or row["better"] is None or not row["difference"]:
        return ""
    return "gained" if (row["difference"] > 0) == (row["better"] == "higher") else "lost"


def _sentence(row: Mapping[Any, Any]) -> str:
    score, base, difference, low, high = (
        write_number(row[name], form)
        for name, form in (("score", ".3f"), ("base", ".3f"), ("difference", "+.3f"), ("low", "+.3f"), ("high", "+.3f"))
    )
    return (
        f"{row['candidate']} {row['change']} on {row['task']}: {row['metric']} {score} against the untuned base's "
        f"{base} ({difference}, {low} to {high})."
    )
