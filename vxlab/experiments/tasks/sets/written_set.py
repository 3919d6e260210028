"""Read a set whose answers are written, by its name: mathematics with its reasoning, and instructions."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Columns, Reading, Rows, find_missing, require_columns
from vxlab.experiments.tasks.sets.catalogue import CHOICE_SETS, WRITTEN_SETS, WrittenSet
from vxlab.experiments.tasks.sets.choice_set import check_words, tell_joined
from vxlab.experiments.tasks.sets.sources import choose_training, fetch_splits
from vxlab.words import list_in_words

_SET = "set"


def read_written_set(name: str, folder: Path | None, prompt_template: str | None = None) -> Reading:
    r"""Read prompts with answers to be written.

    Answers are as they are published: GSM8K's keep the marks of a calculator, ``<<48/2=24>>``, and end in ``#### 24``;
    MATH's hold ``\boxed{24}``. A set without a test of its own is tested as its paper does, with its own prompt:
    MetaMathQA on GSM8K (or MATH), LLM-Adapters' commonsense mixtures on the eight sets, of which the test split says
    in the column ``set`` which one a row is of.

    Args:
        name: a key of ``WRITTEN_SETS``.
        folder: of its files, and of those that it is tested on; None is the hub.
        prompt_template: with places for the columns that its own prompt has.

    Raises:
        VxlabError: no files, or none that can be read; a column that is lacking; an answer that lacks what is scored.
            The message names file and row.
    """
    described = WRITTEN_SETS[name]
    found, source = fetch_splits(described.rows_of or name, folder)
    splits, notes = choose_training(found, described.official)
    for rows in splits.values():
        _require(rows, name, described)
    if described.skip_empty:
        splits, skipped = _without_empty(splits, described.answer)
        notes += skipped
    if described.tested_on:
        notes += tuple(note for rows in splits.values() for note in _tell_unmarked(rows, described))
        splits["test"], told = _read_tests(name, described, folder)
        notes += told
    elif described.mark:
        for rows in splits.values():
            _check_marked(rows, described)
    return Reading(
        splits,
        Columns(prompt_template=prompt_template or described.prompt or None, answer_column=described.answer),
        source,
        citation=described.citation,
        metrics=described.metrics,
        notes=notes,
        kept=(_SET,),
    )


def _require(rows: Rows, name: str, described: WrittenSet) -> None:
    needed = (*described.asks, described.answer)
    require_columns(rows, needed, f"{name} needs {', '.join(needed)}")


def _without_empty(splits: dict[str, Rows], answer: str) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Leave out rows without an answer, and say how many there were."""
    kept, notes = {}, []
    for split, rows in splits.items():
        empty = find_missing(rows.frame[answer])
        kept[split] = replace(rows, frame=rows.frame[~empty])
        if empty.any():
            notes.append(f"{rows.place}: {empty.sum()} of {len(empty)} rows have no {answer}, and are left out")
    return kept, tuple(notes)


def _read_tests(name: str, described: WrittenSet, folder: Path | None) -> tuple[Rows, tuple[str, ...]]:
    """Return the test splits that a set is tested on as one, and which set each row is of; answers are checked."""
    home = folder.parent if folder is not None and folder.is_file() else folder
    tests: dict[str, Rows] = {}
    notes: tuple[str, ...] = ()
    for each in described.tested_on:
        try:
            tests[each] = _read_test(each, described, home)
        except VxlabError as error:
            raise VxlabError(f"{name} is tested on {list_in_words(described.tested_on)}. {error}") from error
        notes += tell_joined(tests[each], described.asks[0])
    frames = [rows.frame.assign(**{_SET: each}) for each, rows in tests.items()]
    frame = pd.concat(frames, ignore_index=True)
    place = next(iter(tests.values())).place if len(tests) == 1 else f"the test rows of {name}"
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place), notes


def _read_test(name: str, described: WrittenSet, folder: Path | None) -> Rows:
    """Return a set's test split, in the columns of the set that is tested on it."""
    splits, _ = fetch_splits(name, folder)
    if "test" not in splits:
        raise VxlabError(f"{name}: no test split among {', '.join(splits)}")
    rows = splits["test"]
    if name in CHOICE_SETS:
        check_words(rows, CHOICE_SETS[name].words)
        return rows
    own = WRITTEN_SETS[name]
    _require(rows, name, own)
    _check_marked(rows, own)
    renamed = {own.asks[0]: described.asks[0], own.answer: described.answer}
    return replace(rows, frame=rows.frame[list(renamed)].rename(columns=renamed))


def _check_marked(rows: Rows, described: WrittenSet) -> None:
    for position, answer in enumerate(rows.frame[described.answer]):
        if not isinstance(answer, str) or described.mark not in answer:
            raise VxlabError(
                f"{rows.where(position)}: the {described.answer} is {quote(answer)}, without {described.mark!r} and "
                "the answer that is scored after it; write it, or leave the row out"
            )


def _tell_unmarked(rows: Rows, described: WrittenSet) -> tuple[str, ...]:
    """Say how many answers to train on do not say what would be scored."""
    if not described.mark:
        return ()
    without = sum(described.mark not in str(answer) for answer in rows.frame[described.answer])
    told = f"{rows.place}: {without} of {len(rows.frame)} answers lack {described.mark!r}, by which tests are scored"
    return (told,) * bool(without)
