"""What the papers claim of these adapters, beside what was measured across tasks."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from vxlab.experiments.candidates import difference_in_words, interval_in_words, matched_pairs
from vxlab.experiments.scoring import Evidence
from vxlab.studies import Claim, Finding, Part, judge, published_table
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.pooled import pool_pair
from vxlab.words import list_in_words, number_of

_ALIKE = 1.0
"""points that "on a par" leaves open"""
_GLUE, _LARGE, _BASE = "mean of six GLUE tasks", "RoBERTa-large", "RoBERTa-base"
_RECALLED, _QUOTED = "recalled, not verified", "quoted by later work"
_ON, _ELSEWHERE = "query-value", "all-linear"


class _Who(NamedTuple):
    """A candidate that a claim is on: of a family, the rank nearest to the published one."""

    family: str
    rank: float = math.nan
    targets: str = _ON


class _Said(NamedTuple):
    claim: str
    published: str
    source: str
    a: _Who
    b: _Who
    least: float
    most: float = math.inf
    matched: bool = False
    """the two nearest in parameters, whatever their ranks"""


def atlas_claims(across: AcrossTasks) -> list[Finding]:
    """Judge the published claims that these candidates are in reach of, together.

    A claim is of two candidates, of the published ranks or the nearest there are, and of their difference pooled over
    tasks (:func:`pool_pair`). *On a par* is read as within one point. A task on which either of the two lost a run or
    had its best rate on the edge of its range does not count for the claim, whichever way its difference points.

    Args:
        across: one model's tasks; in another unit than points nothing is measured of the claims.
    """
    return judge([_beside(said, across) for said in _claims()])


def _beside(said: _Said, across: AcrossTasks) -> Claim:
    claim = Claim(said.claim, said.published, said.source)
    if across.unit != "points":
        return claim.beside(f"measured in {across.unit}, not in points")
    pair = _pair(across, said)
    if pair is None and said.a.targets == said.b.targets:
        everywhere = said.a._replace(targets=_ELSEWHERE), said.b._replace(targets=_ELSEWHERE)
        pair = _pair(across, said._replace(a=everywhere[0], b=everywhere[1]))
    if pair is None:
        return claim.beside(f"no run of {_lacking(across, said)}")
    found, left_out = _sound(across, *pair)
    here = f"{pair[0]} less {pair[1]}: {_in_words(found)}"
    if left_out:
        here += f"; not counted, for lost runs or a rate on the edge: {list_in_words(left_out)}"
    return claim.beside(here, *([] if math.isnan(found.low) else [Part(found, said.least, said.most)]))


def _pair(across: AcrossTasks, said: _Said) -> tuple[str, str] | None:
    return _nearest_in_size(across, said) if said.matched else _nearest_in_rank(across, said)


def _in_words(found: Evidence) -> str:
    if math.isnan(found.value):
        return "no task to compare them on"
    value, over = difference_in_words(found.value / 100, "accuracy"), number_of(found.units, "task")
    if math.isnan(found.low):
        return f"{value} on {over}, which gives no interval"
    return f"{value} ({interval_in_words(found.low / 100, found.high / 100, 'accuracy')}, {over})"


def _sound(across: AcrossTasks, a: str, b: str) -> tuple[Evidence, list[str]]:
    """Return the difference pooled over the tasks without doubts, and the others' names."""
    scores = across.scores[across.scores["candidate"].isin([a, b])]
    doubted = scores[(scores["diverged"] > 0) | ~scores["edge"].isin(["", None])]["task"].unique().tolist()
    _, all_tasks = pool_pair(across, a, b)
    return pool_pair(across, a, b, without=doubted)[0].evidence, [task for task in all_tasks if task in doubted]


def _nearest_in_rank(across: AcrossTasks, said: _Said) -> tuple[str, str] | None:
    found = [_of(across, who) for who in (said.a, said.b)]
    return (found[0], found[1]) if found[0] and found[1] and found[0] != found[1] else None


def _of(across: AcrossTasks, who: _Who) -> str:
    """Return the family's candidate on these layers, of the nearest rank; "" where there is none."""
    own = _rows(across, who)
    if math.isnan(who.rank):
        return str(own["candidate"].iloc[0]) if len(own) else ""
    own = own.dropna(subset=["rank"])
    ranks = dict(zip(own["candidate"].astype(str), own["rank"].astype(float), strict=True))
    return min(ranks, key=lambda name: abs(math.log2(ranks[name] / who.rank)), default="")


def _rows(across: AcrossTasks, who: _Who) -> pd.DataFrame:
    each = across.scores.drop_duplicates("candidate")
    own = each[each["family"] == who.family]
    on_layers = own[own["targets"] == who.targets]
    return on_layers if len(on_layers) else own[own["targets"] == "none"]


def _nearest_in_size(across: AcrossTasks, said: _Said) -> tuple[str, str] | None:
    rows = [_rows(across, who).assign(method=side) for side, who in (("a", said.a), ("b", said.b))]
    pairs = matched_pairs(pd.concat(rows)) if all(len(each) for each in rows) else []
    best = min(pairs, key=lambda pair: abs(math.log(pair[2])), default=None)
    if best is None:
        return None
    first = set(rows[0]["candidate"])
    return (best[0], best[1]) if best[0] in first else (best[1], best[0])


def _lacking(across: AcrossTasks, said: _Said) -> str:
    names = [who.family for who in (said.a, said.b) if _rows(across, who).empty]
    if names:
        return list_in_words(names)
    return "two of like size" if said.matched else "two such candidates"


def _claims() -> Iterator[_Said]:
    glue = published_table("glue")
    glue = glue[glue["task"] == "average"]

    def told(model: str, *names: tuple[str, Any]) -> str:
        return f"{' against '.join(_score(glue, model, *name) for name in names)} ({model}, {_GLUE})"

    lora, vera, xs = _Who("LoRA", 8), _Who("VeRA", 256), _Who("LoRA-XS", 16)
    paper, xs_paper = "VeRA (arXiv 2310.11454)", "LoRA-XS (arXiv 2405.17604)"
    par = (-_ALIKE, _ALIKE)
    yield _Said("VeRA is on a par with LoRA", told(_LARGE, ("vera", 256), ("lora", 8)), paper, vera, lora, *par)
    yield _Said(
        "at equal parameters VeRA scores above LoRA", "about 4 points, by eye (RoBERTa-large, RTE)",
        f"{paper}, Figure 2", vera, lora, 0, matched=True,
    )  # fmt: skip
    yield _Said(
        "LoRA-XS loses at most a point to LoRA", told(_LARGE, ("lora_xs", 16), ("lora", 8)), f"{xs_paper} [{_QUOTED}]",
        xs, lora, -_ALIKE,
    )  # fmt: skip
    yield _Said(
        "LoRA-XS scores above VeRA", told(_LARGE, ("lora_xs", 25), ("vera", 256)), f"{xs_paper} [{_RECALLED}]",
        _Who("LoRA-XS", 25), vera, 0,
    )  # fmt: skip
    full = _Who("full fine-tuning")
    yield _Said("LoRA scores above full fine-tuning", told(_BASE, ("lora", 8), ("full", None)), paper, lora, full, 0)
    yield _Said(
        "BitFit is on a par with full fine-tuning", told(_BASE, ("bitfit", None), ("full", None)), paper,
        _Who("BitFit"), full, *par,
    )  # fmt: skip
    yield _Said(
        "LoRA-FA is on a par with LoRA", told(_LARGE, ("lora_fa", None), ("lora", 8)), paper, _Who("LoRA-FA"), lora,
        *par,
    )  # fmt: skip
    yield _Said(
        "rank 1 of LoRA is on a par with its high ranks", "91.3 at r=1 against 91.4 at r=64 (GPT-3, MultiNLI)",
        f"LoRA (arXiv 2106.09685), Table 6 [{_RECALLED}]", _Who("LoRA", 1), _Who("LoRA", 64), *par,
    )  # fmt: skip
    yield _Said(
        "at equal parameters LoRA on all layers scores above LoRA on attention alone",
        "in words (language models, instructions)", f"Schulman et al., LoRA Without Regret, 2025 [{_QUOTED}]",
        _Who("LoRA", targets="all-linear"), _Who("LoRA"), 0, matched=True,
    )  # fmt: skip
    yield _Said(
        "DoRA scores above LoRA", "78.4 against 74.7 (LLaMA-7B, eight commonsense sets)",
        f"DoRA (arXiv 2402.09353) [{_QUOTED}]", _Who("DoRA (PEFT)", 8), lora, 0,
    )  # fmt: skip
    yield _Said(
        "FourierFT is on a par with LoRA or above it", "in words: comparable or better",
        "FourierFT (arXiv 2405.03003), abstract", _Who("FourierFT (PEFT)"), lora, -_ALIKE,
    )  # fmt: skip
    yield _Said(
        "at equal parameters RandLoRA scores above LoRA", "in words (vision, language)",
        f"RandLoRA (arXiv 2502.00987) [{_QUOTED}]", _Who("RandLoRA (PEFT)"), lora, 0, matched=True,
    )  # fmt: skip


def _score(glue: pd.DataFrame, model: str, method: str, rank: float | None) -> str:
    own = glue[(glue["model"] == model) & (glue["method"] == method)]
    if rank is not None:
        own = own[own["rank"] == rank]
    return f"{own['score'].iloc[0]:.1f}"
