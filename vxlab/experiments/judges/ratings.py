"""What a judge's ratings of several candidates show: a table, the untuned base first, and sentences."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd

from vxlab.experiments.judges.contestants import BASE
from vxlab.experiments.judges.judge import Judge
from vxlab.experiments.judges.noise import (
    Noise,
    cell_means,
    judge_noise,
    mean_rating,
    noise_of_mean,
    rating_differences,
)
from vxlab.experiments.scoring import LEVEL, Difference, holm
from vxlab.paths import without_folders
from vxlab.words import list_in_words, number_of, write_number


@dataclass(frozen=True)
class Ratings:
    """A judge's ratings, in points of its scale from 1 to 10."""

    judge: Judge
    ratings: pd.DataFrame = field(repr=False)
    """one row a rating: ``candidate, seed, run`` (its key, "" of the base), ``question, category, turn, repeat,
    rating`` (NaN where no reply held one), ``unparsable`` (replies that held none), ``answer`` (a number, the same
    where two models answered the same), ``answered_by`` (the name that the server gave), ``asked_at`` (its url) and
    ``at`` (UTC)"""
    source: str
    """where the questions and the judge's prompts are from"""
    prompts_hash: str
    """the first digits of the sha256 of the judge's prompts"""
    answered: str
    """how the models answered, in words"""
    notes: tuple[str, ...] = ()
    """what else a reader must know"""

    @cached_property
    def noise(self) -> Noise:
        """The judge's own noise: how far it rates one answer differently when asked again."""
        return judge_noise(self.ratings.drop_duplicates(["answer", "repeat"]))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row for every two candidates, with what the judge showed of them.

        Columns: ``a, b, difference`` (mean rating of a less that of b), ``low, high`` (95 %), ``p``, ``p_holm`` (over
        all rows), ``covers_seeds``, ``error``, ``freedom``.
        """
        rows = [_row(a, b, each) for (a, b), each in self._compared[0].items()]
        table = pd.DataFrame(rows, columns=["a", "b", *_OF_PAIR])
        table.insert(6, "p_holm", holm(table["p"].to_numpy(dtype=np.float64)))
        return table

    def table(self) -> pd.DataFrame:
        """Return one row a candidate, the untuned base first.

        Columns: ``candidate, runs, rating`` (mean over runs, questions and turns), ``turn_1, turn_2``, a column for
        each category, ``rated, unparsable`` (ratings that were had, and those that no reply held), ``judge_error`` (the
        part of the mean's standard error that is the judge's noise; NaN without repeats), and of the difference to the
        base ``difference, low, high`` (95 %), ``p_holm`` (over the candidates).
        """
        rows = []
        for name in self.ratings["candidate"].unique():
            own = self.ratings[self.ratings["candidate"] == name]
            rated, means = int(own["rating"].notna().sum()), cell_means(own)
            row: dict[str, object] = {"candidate": name, "runs": own["seed"].nunique(), "rating": mean_rating(means)}
            row |= {f"turn_{turn}": mean_rating(means, turn) for turn in (1, 2)}
            for each in own["category"].unique():
                column = f"category {each}" if each in _COLUMNS else each
                row[column] = mean_rating(cell_means(own[own["category"] == each]))
            row |= {"rated": rated, "unparsable": len(own) - rated, "judge_error": noise_of_mean(self.noise, own)}
            rows.append(row)
        table = pd.DataFrame(rows)
        return table.merge(self._to_base(), on="candidate", how="left")

    def about(self) -> list[str]:
        """Return what stands above the table: who judged, how, when, and how noisily."""
        setting = "its server's own temperature" if self.judge.temperature is None else (
            f"temperature {self.judge.temperature:g}"
        )  # fmt: skip
        names = without_folders(sorted(set(self.ratings["answered_by"]) - {self.judge.model, ""}))
        as_ = f" (answered as {list_in_words(names)})" if names else ""
        days = sorted({f"{at:%Y-%m-%d}" for at in self.ratings["at"]})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        who = f"{without_folders(self.judge.model)}{as_}"
        return [
            f"MT-Bench, rated 1 to 10 by {who}, {setting}, {when}; {self.source} (sha256 {self.prompts_hash}). "
            f"{self.answered}",
            self._noise_in_words(),
            *self.notes,
            *self._left_out(),
            *self._elsewhere(),
        ]

    def verdict(self) -> str:
        """Return what the ratings show of every candidate beside the untuned base, in sentences."""
        to_base = [(b, each) for (a, b), each in self._compared[0].items() if a == BASE]
        if not to_base:
            beside = self.ratings.groupby("candidate")["rating"].count().drop(BASE, errors="ignore").any()
            lacks = "No candidate was rated beside the untuned base"
            if beside and BASE in set(self.ratings["candidate"]):
                lacks = "Fewer than two questions were rated in every run"
            return f"{lacks}, so nothing is said of what tuning changed."
        adjusted = holm([each.p for _, each in to_base])
        told = [_sentence(name, each.turned(), float(p)) for (name, each), p in zip(to_base, adjusted, strict=True)]
        if len(to_base) > 1:
            told.append(f"All p-values are after Holm over {len(to_base)} comparisons.")
        return " ".join([*told, self._over()])

    def __str__(self) -> str:
        table = self.table().to_string(index=False, float_format=lambda x: write_number(x, ".2f"), na_rep="–")
        return "\n".join([*self.about(), "", table, "", self.verdict()])

    @cached_property
    def _means(self) -> pd.DataFrame:
        return cell_means(self.ratings)

    @cached_property
    def _compared(self) -> tuple[dict[tuple[str, str], Difference], int]:
        return rating_differences(self._means, BASE)

    def _to_base(self) -> pd.DataFrame:
        found = {b: each.turned() for (a, b), each in self._compared[0].items() if a == BASE}
        adjusted = holm([each.p for each in found.values()])
        rows = [(name, *each[:3], p) for (name, each), p in zip(found.items(), adjusted, strict=True)]
        return pd.DataFrame(rows, columns=["candidate", "difference", "low", "high", "p_holm"])

    def _noise_in_words(self) -> str:
        noise = self.noise
        if not noise.freedom:
            return (
                "The judge's noise was not measured: every answer has one rating. What there is of it is inside the "
                "intervals all the same, for it scatters the ratings that they are made of; repeats=2 measures it."
            )
        size = write_number(noise.deviation, ".2f")
        told = f"The judge's own noise: sd {size} points between ratings of one answer ({noise.answers:,} answers"
        if not noise.deviation:
            return f"{told}): it repeats itself exactly, which is not to say that it is right."
        return f"{told}). The intervals hold it once, by the scatter of the ratings; it is not added to them again."

    def _left_out(self) -> list[str]:
        lost = self.ratings[self.ratings["rating"].isna()]
        replies = int(self.ratings.drop_duplicates(["answer", "repeat"])["unparsable"].sum())
        if not replies:
            return []
        told = f"{number_of(replies, 'reply', 'replies')} held no rating, and the judge was asked again."
        if len(lost):
            told += (
                f" {len(lost)} of {number_of(len(self.ratings), 'rating')} could not be had; they are in no mean and "
                "no difference."
            )
        return [told]

    def _elsewhere(self) -> list[str]:
        """Say which ratings are from another address, where another model may have had the judge's name."""
        urls = self.ratings["asked_at"]
        others = urls[urls.str.rstrip("/") != self.judge.url.rstrip("/")]
        if others.empty:
            return []
        return [
            f"{len(others)} of {number_of(len(urls), 'rating')} are kept from a judge of this name at "
            f"{list_in_words(sorted(set(others)))}, and were not asked for at {self.judge.url}; if another model has "
            "the name here, give it another store."
        ]

    def _over(self) -> str:
        used, every = self._compared[1], len(self._means)
        part = f"{used} of {every} answers' places, those that are rated in every run" if used < every else (
            f"all {every} answers' places"
        )  # fmt: skip
        questions = self.ratings["question"].nunique()
        return f"Over {number_of(questions, 'question')} with their two turns together: {part}."


def utc(seconds: float) -> datetime:
    """Return epoch seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


_COLUMNS = ("candidate", "runs", "rating", "turn_1", "turn_2", "rated", "unparsable", "judge_error", "difference",
            "low", "high", "p_holm")  # fmt: skip
"""of the table, which no category's takes the place of"""
_OF_PAIR = ("difference", "low", "high", "p", "covers_seeds", "error", "freedom")


def _row(a: str, b: str, each: Difference) -> tuple[str | float | bool, ...]:
    return (a, b, *(getattr(each, name) for name in _OF_PAIR))


def _sentence(name: str, each: Difference, p: float) -> str:
    """Say what one candidate's difference to the base is."""
    if math.isnan(each.difference):
        return f"{name} and the untuned base cannot be compared: ratings of both are needed."
    bounds = f"95 % {write_number(each.low, '+.2f')} to {write_number(each.high, '+.2f')}"
    size, alone = write_number(abs(each.difference), ".2f"), "" if each.covers_seeds else (
        " One seed: the luck of training is not in this interval."
    )  # fmt: skip
    if not p <= LEVEL:
        change = write_number(each.difference, "+.2f")
        return f"{name} cannot be told apart from the untuned base: {change} points ({bounds}).{alone}"
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    if each.difference > 0:
        return f"{name} is rated {size} points above the untuned base ({bounds}; {shown}).{alone}"
    return f"**Tuning lost**: {name} is rated {size} points below the untuned base ({bounds}; {shown}).{alone}"
