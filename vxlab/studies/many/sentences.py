"""What very many adapters cost, in sentences computed from the tables."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from vxlab.studies.many.throughput import DECODE, PASS, PREFILL
from vxlab.words import in_bytes, list_in_words, number_of, write_number

MILLION = 1_000_000


def many_conclusion(growth: pd.DataFrame, throughput: pd.DataFrame, kept: pd.DataFrame, pace: pd.DataFrame) -> str:
    """Return what the tables say, in Markdown.

    Args:
        growth: from :func:`bank_growth`.
        throughput: from :func:`throughput_table`.
        kept: from :func:`scores_from_bank`.
        pace: from :func:`pace_table`.
    """
    told = [
        same_scores_sentence(kept),
        *growth_sentences(growth),
        *throughput_sentences(throughput),
        *pace_sentences(pace),
    ]
    return "\n".join(f"- {sentence}" for sentence in told)


def same_scores_sentence(kept: pd.DataFrame) -> str:
    """Say how many trained adapters keep their test scores out of the bank, and what else differs.

    Args:
        kept: from :func:`scores_from_bank`.
    """
    same, count = int(kept["same"].sum()), len(kept)
    told = f"{number_of(count, 'trained adapter')} out of the bank, in mixed batches: "
    if same == count:
        told += "**every test score is its own run's, to the last digit**"
    else:
        off = float((kept["banked"] - kept["own"]).abs().max())
        told += f"**{same} of {count} test scores are their own run's to the last digit**, and none is off by more than"
        told += f" {write_number(off, '.2g')}"
    changed, items = int(kept["changed"].sum()), int(kept["items"].sum())
    return (
        f"{told}; {changed:,} of {items:,} answers changed, and no logit by more than {kept['difference'].max():.1e}."
    )


def growth_sentences(growth: pd.DataFrame) -> list[str]:
    """Say of each method what its bank costs, how opening and reading grow, and what a million would take.

    Args:
        growth: from :func:`bank_growth`.
    """
    return [_grown(name, rows) for name, rows in growth.groupby("candidate", sort=False)]


def throughput_sentences(throughput: pd.DataFrame) -> list[str]:
    """Say how fast mixed batches are, by stage and method, against one adapter's and PEFT's.

    Args:
        throughput: from :func:`throughput_table`.
    """
    told = [_speeds(stage, rows) for stage, rows in throughput.groupby("stage", sort=False)]
    told += [_over_peft(throughput)]
    if DECODE not in set(throughput["stage"]):
        told.append("This model reads and does not write: prefill is the whole pass, and there is no decoding to time.")
    return [sentence for sentence in told if sentence]


def pace_sentences(pace: pd.DataFrame) -> list[str]:
    """Say for each number of runs where training several runs in one pass pays, and where it stops.

    Args:
        pace: from :func:`pace_table`.
    """
    told = [_pays(width, rows) for width, rows in _timed(pace).groupby("width", sort=False)]
    alone = pace[pace["reason"] != ""]
    told += [f"{name} runs do not train together: {reason}." for name, reason in _reasons(alone)]
    return told


def falls_to_one(rows: pd.DataFrame) -> tuple[int, int] | None:
    """Return between which tokens of a run's step stacking stops to pay: the most at which it does, and the next.

    None where it pays at all of them, at none, or at larger ones but not at all smaller.

    Args:
        rows: of one method and width, from :func:`pace_table`.

    >>> rows = pd.DataFrame({"texts": [8, 16, 32], "tokens": [24, 32, 48], "times_faster": [1.4, 1.2, 0.9]})
    >>> falls_to_one(rows), falls_to_one(rows[:2])
    ((512, 1536), None)
    """
    steps = sorted((int(row["texts"] * row["tokens"]), row["times_faster"] > 1) for row in rows.to_dict("records"))
    pays = [faster for _, faster in steps]
    last = sum(pays)
    if last in (0, len(pays)) or not all(pays[:last]):
        return None
    return steps[last - 1][0], steps[last][0]


def _grown(name: object, rows: pd.DataFrame) -> str:
    written, numbers = rows[rows["written"]], int(rows["parameters"].iloc[0])
    if written.empty:
        return f"**{name}**, {numbers:,} numbers an adapter: no bank fits the bytes that were allowed."
    first, last = written.iloc[0], written.iloc[-1]
    told = (
        f"**{name}**, {numbers:,} numbers an adapter, its head among them: {last['adapters']:,} synthetic ones take "
        f"{in_bytes(last['file_bytes'])}, {last['file_bytes'] / last['own_bytes']:.3f} of the numbers' own bytes, open "
        f"in {_milliseconds(last['open_seconds'])}, and give one at random in {_milliseconds(last['row_seconds'])}, a "
        f"batch's 64 in {_milliseconds(last['batch_seconds'])}, where a file of its own gives one in "
        f"{_milliseconds(last['file_seconds'])}; {_round(last['added'])} are added in a second"
    )
    if len(written) > 1:
        times = [f"{column} {last[key] / first[key]:.1f}" for column, key in _TIMES]
        told += f". From {first['adapters']:,} on, with {last['adapters'] / first['adapters']:,.0f} times as many, "
        told += f"{list_in_words(times)} times as long"
    return f"{told}. {_million(rows)}"


_TIMES = (("opening takes", "open_seconds"), ("a read", "row_seconds"))


def _million(rows: pd.DataFrame) -> str:
    row = rows.iloc[-1]
    scale = MILLION / row["adapters"]
    how = "take" if row["written"] and scale == 1 else "would take, in proportion,"
    bank, folders = in_bytes(row["file_bytes"] * scale), in_bytes(row["folder_bytes"] * scale)
    return f"A million {how} {bank}, and as folders of one adapter each {folders}."


def _speeds(stage: Any, rows: pd.DataFrame) -> str:
    what = {PASS: "", PREFILL: ", **prefill**", DECODE: ", **decoding**, a token a row"}[stage]
    told = []
    for name, own in rows.groupby("candidate", sort=False):
        parts = [f"{_between(row, 'speed', '.2f')}{_at(row, stage)}" for row in own.to_dict("records")]
        told.append(f"{name} {list_in_words(parts)}")
    count = int(rows["rows"].iloc[0])
    return (
        f"**A batch of {count} rows, each with an adapter of its own**{what}, runs at so much of the speed of one "
        f"adapter's: {'; '.join(told)}."
    )


def _over_peft(throughput: pd.DataFrame) -> str:
    rows = throughput.dropna(subset=["over_peft"])
    if rows.empty:
        return ""
    told = [
        f"{row['candidate']} {_between(row, 'over_peft', '.1f')}{_at(row, row['stage'])}"
        for row in rows.to_dict("records")
    ]
    return (
        f"Against the same with PEFT's `adapter_names` it is so many times as fast: {list_in_words(told)}. PEFT has no "
        "such batches for VeRA, and LoRA-XS not at all."
    )


def _at(row: Any, stage: str) -> str:
    return " a token a row" if stage == DECODE else f" at {row['tokens']} tokens a row"


def _pays(width: object, rows: pd.DataFrame) -> str:
    told = [_pays_for(name, own) for name, own in rows.groupby("candidate", sort=False)]
    return f"**{width} runs in one pass** train so many times as fast as one after the other: {'; '.join(told)}."


def _pays_for(name: object, rows: pd.DataFrame) -> str:
    own = rows.assign(step=rows["texts"] * rows["tokens"]).sort_values("step").to_dict("records")
    parts = [f"{_between(row, 'times_faster', '.2f')} at {row['texts']} × {row['tokens']}" for row in own]
    count, point = sum(row["times_faster"] > 1 for row in own), falls_to_one(rows)
    if point is not None:
        where = f"which stops paying between {point[0]:,} and {point[1]:,} tokens of a run's step"
    elif count in (0, len(own)):
        where = f"which pays at {'all' if count else 'none'} of these"
    else:
        where = f"which pays at {count} of these {len(own)}, and at no point stops for good"
    return f"{name} {list_in_words(parts)} texts × tokens, {where}"


def _timed(pace: pd.DataFrame) -> pd.DataFrame:
    return pace[pace["times_faster"].notna()]


def _reasons(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    yield from rows[["candidate", "reason"]].drop_duplicates().itertuples(index=False, name=None)


def _between(row: Any, name: str, form: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    told = f"{value:{form}}"
    return told if math.isnan(low) else f"{told} ({low:{form}} to {high:{form}})"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:,.0f} ms"


def _round(number: float) -> str:
    return f"{number:,.0f}" if number < 1000 else f"{round(number, 2 - len(str(int(number)))):,.0f}"
