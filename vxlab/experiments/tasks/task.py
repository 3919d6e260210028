"""What a model is fine-tuned on: labelled texts, or prompts with answers, in three splits, with their metrics."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vxlab.checks import settle
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.chosen_rows import CHOICES, CONTEXTS, choice_rows, offers_choices
from vxlab.experiments.tasks.copies import Ids, Texts, count_conflicts, count_overlap, number_texts
from vxlab.experiments.tasks.few_shots import check_shots, few_shots
from vxlab.experiments.tasks.image_rows import holds_images, image_rows
from vxlab.experiments.tasks.kinds import Kind, kind_of
from vxlab.experiments.tasks.labelled_rows import label_rows
from vxlab.experiments.tasks.lookup import known_name, read_task, tell_hidden
from vxlab.experiments.tasks.notes import tell_classes, tell_conflicts, tell_overlap
from vxlab.experiments.tasks.prompted_rows import (
    find_prompts,
    join_inputs,
    prompt_rows,
    tell_given_answers,
    tell_one_answer,
)
from vxlab.experiments.tasks.rows import Columns, Labels
from vxlab.experiments.tasks.splits import sample
from vxlab.experiments.tasks.three_splits import complete_splits, tell_replaced
from vxlab.experiments.tasks.units import SHARED_TEXTS, number_units
from vxlab.warn import warn_once

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Task:
    """Hold labelled texts, or prompts with answers, ready to train and score on.

    Args:
        name: as it was asked for; GLUE's tasks by their short name.
        splits: train, validation and test (MNLI also test_mismatched), with the columns text, text_pair (for
            pairs), label (class id, or float for a regression) and group (where there are groups). Of images, image
            (the sha256 of each, under which :attr:`images` has it) instead of text. Where the model
            writes, text is the prompt; train has the column answer, a row for each, and the others references, a list
            of one or more answers, with one row for each prompt. Chats also have messages, the turns before the answer
            as JSON.
        num_labels: number of classes; 1 for a regression, 0 where the model writes or chooses among answers.
        label_names: class names in the order of their ids; () for all others.
        metrics: what is reported; the first chooses the checkpoint on validation.
        fingerprint: sha256 over the content of every split: other rows are another task. Of a few-shot task the whole
            training split counts, of which the shots are drawn, so that all draws are of one task.
        source: where the rows came from.
        citation: what to cite, or "".
        notes: what was said when a data set of your own was loaded: rows left out, texts in two splits, labels that
            disagree, prompts that hold their answer.
        unit: what :meth:`units` numbers, in words for many of them.
        images: where the images are, by the sha256 of their files.
        drawn: of a few-shot task, the share of a class's training rows that are the shots, as the mean over classes; 0
            of any other.
    """

    name: str
    splits: "dict[str, datasets.Dataset]"
    num_labels: int
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    fingerprint: str
    source: str
    citation: str
    notes: tuple[str, ...] = ()
    unit: str = SHARED_TEXTS
    images: Mapping[str, ImageSource] = field(default_factory=dict, compare=False, repr=False)
    drawn: float = 0.0

    def units(self, split: str = "test") -> Ids | None:
        """Return the number of each row's unit ``(rows,)``, None where every row of the split stands for itself.

        A unit is what varies independently: all reviews of one film, all pairs that share a sentence, an input with
        all of its references. Intervals and verdicts count units (:func:`vxlab.experiments.tasks.units.number_units`).
        """
        return self._units[split]

    @property
    def kind(self) -> Kind:
        """What the model is asked for."""
        columns = self.splits["test"].column_names
        return kind_of(self.num_labels, CHOICES in columns, "image" in columns)

    @cached_property
    def constant(self) -> float:
        """The trivial answer: the training rows' most frequent class, or the mean of their targets.

        Shots are of all classes alike, and do not say which is frequent: validation does, whose mix is the pool's.
        """
        return self.kind.constant(self._labels["validation" if self.drawn else "train"])

    @cached_property
    def overlap(self) -> dict[str, dict[str, int]]:
        """Rows of each split whose text an earlier split has too, such as ``{"test": {"train": 5, ...}, ...}``.

        Texts are compared in Unicode's composed form, without the white space around them; pairs by both texts, and
        questions with their choices and the contexts of these, in any order.
        """
        return count_overlap(self._copies)

    @cached_property
    def conflicts(self) -> tuple[int, int]:
        """Texts that have more than one label, and their rows, over all splits; of classes and numbers alone."""
        if not self.kind.trains_head:
            return 0, 0
        ids, labels = (np.concatenate(list(each.values())) for each in (self._copies, self._labels))
        return count_conflicts(ids, labels)

    @cached_property
    def _copies(self) -> dict[str, Ids]:
        return number_texts({split: _asked(rows[:]) for split, rows in self.splits.items()})

    @cached_property
    def _units(self) -> dict[str, Ids | None]:
        return {split: _units_of(rows[:]) for split, rows in self.splits.items()}

    @cached_property
    def _labels(self) -> dict[str, NDArray[Any]]:
        return {split: self.kind.strata(rows[:]) for split, rows in self.splits.items()}


def load_task(
    name: str | Path,
    *,
    folder: str | Path | None = None,
    text_columns: str | Sequence[str] = (),
    label_column: str | None = None,
    group_column: str | None = None,
    label_kind: str | None = None,
    train_examples: int | None = None,
    seed: int = 0,
    prompt_template: str | None = None,
    answer_column: str | None = None,
    shots: int | None = None,
    draw: int = 0,
    image_column: str | None = None,
    skip_unreadable: bool = False,
) -> Task:
    r"""Load a task in three splits: train to learn from, validation to choose by, test to report.

    Data that has a validation split but no labelled test (all of GLUE) lends its validation split as our test. What
    is then lacking is carved: test out of train (20 %), and validation out of train (10 %, at most 2,000 rows),
    stratified by label, and never through a unit: a group, or rows that share a text. The carving has its own seed,
    so that all runs see the same rows. Of your own data, rows marked as unlabelled (-1) and splits without labels are
    left out. What you should know of it is warned of and kept in ``notes``.

    A task whose model writes has prompts and answers: ``e2e``, or data of your own with ``answer_column``, or without
    it in Alpaca's layout (instruction, perhaps input, output) or as chats (messages, of which the last turn is the
    answer). It chooses among answers where the data has the column ``choices``, a list, with ``label``, the right one's
    place from 0 or its text.

    Images have classes. They lie in one folder a class, or in such folders in train, validation and test; or a table
    has them in a column, encoded as Parquet and the hub keep them, or as paths from the table's own folder. Every image
    is read to its end when its task is first loaded in a process, so that a damaged one is found before training, and
    becomes 8-bit RGB: upright, transparency on white, of several images in a file the first. Files with the same bytes
    are copies: they stay in one carved split and count once in every interval.

    With ``shots``, so many training rows of each class are drawn from those that validation and test leave. All draws
    are of one task, with one fingerprint, and validation and test are the same for all.

    The commonsense sets ask in their own fields as lm-eval does, to choose among answers; in LLM-Adapters' JSON the
    model writes which answer is right. ``source`` says which it is, and ``notes`` where the official splits are not
    all there.

    Args:
        name: ``rotten_tomatoes``; ``e2e``; a task of GLUE (``sst2``, ``STS-B``, ...); a commonsense set (``boolq``,
            ``piqa``, ``siqa``, ``hellaswag``, ``winogrande``, ``arc_easy``, ``arc_challenge``, ``openbookqa``) or a
            mixture that is tested on all eight (``commonsense_15k``, ``commonsense_170k``); ``gsm8k``, ``math``, or
            ``metamathqa`` and ``metamathqa_math``, tested on these; ``alpaca``; images (``cifar100``, ``food101``,
            ``flowers102``, ``resisc45``; ``cifar10_test``, packaged); a file, or a folder of files named train,
            validation and test, as CSV, TSV, JSON lines, JSON or Parquet; a folder of images in folders; or a hub data
            set, ``org/name`` or ``org/name:configuration``.
        folder: where the files are: of a GLUE task its own folder or the one above (default ``VXLAB_GLUE``, and
            without that the hub), of ``e2e`` that of its CSV files (default ``VXLAB_E2E``, and without that the hub),
            of ``rotten_tomatoes`` the folder of its file (default the cache), of the sets after these a set's own
            folder or one that holds many (default ``VXLAB_SETS``, and without that the hub). With any other name, a
            file or folder of your own, which then goes by that name.
        text_columns: of a task of your own, one column, or two for pairs; by default found by their usual names. Where
            the model writes, the one that is the prompt, which a new line then ends.
        label_column: of a task of your own; by default ``label``, or ``score``; of images ``label`` or ``labels``, or
            the only column whose classes have names.
        group_column: of a task of your own; rows of one group stay in one carved split, and count as one
            in every interval.
        label_kind: of a task of your own, "classes" or "numbers" (a regression); by default whole numbers and words are
            classes, other numbers a regression.
        train_examples: train on a seeded, stratified sample of so many rows; None takes all.
        seed: of the carving and of the sample, not of the run.
        prompt_template: how a prompt is written from a row's columns, such as ``"{context}\n{question}\n"``; ``{{`` and
            ``}}`` are braces.
        answer_column: of a task of your own whose model writes, the column of the answers.
        shots: train on so many rows of each class, drawn by ``draw``, rather than on ``train_examples``.
        draw: the seed of the shots alone. Fewer shots of one draw are part of more.
        image_column: of a task of your own in a table, the column of the images; by default ``image`` or ``img``, or
            the only one with encoded images.
        skip_unreadable: leave out images that cannot be read, before anything is split or drawn, and tell of them,
            instead of raising.

    Returns:
        The task.

    Raises:
        VxlabError: an unknown name; a file, split, column, text, label or answer that is lacking or out of range; an
            empty or one-class training set; fewer training rows than asked for, of a class too; an image that cannot be
            read.

    Example:
        ``load_task("sst2", folder="glue").splits["train"][0]["text"]``
    """
    asked, given = settle("name", name, str), settle("folder", folder, str | None)
    size, seed = settle("train_examples", train_examples, int | None), settle("seed", seed, int)
    if not 0 <= seed < 2**32:
        raise VxlabError(f"seed={seed} is not a whole number from 0 to 2**32 - 1")
    shots, draw = settle("shots", shots, int | None), settle("draw", draw, int)
    check_shots(shots, draw, size)
    skip_unreadable = settle("skip_unreadable", skip_unreadable, bool)
    named = text_columns, label_column, group_column, label_kind, prompt_template, answer_column, image_column
    columns = Columns(*named)  # type: ignore[arg-type]  # settles them
    known = known_name(asked)
    reading = read_task(known, given, columns)
    labels, classes = Labels(), 0
    sources: dict[str, ImageSource] = {}
    images = holds_images(reading)
    choices = not images and offers_choices(reading)
    prompts = None if choices or images else find_prompts(reading)
    if images:
        frames, labels, notes, sources = image_rows(reading, skip_unreadable)
        classes = len(labels.names)
    elif choices:
        frames, notes = choice_rows(reading)
    elif prompts:
        frames, notes = prompt_rows(reading, prompts)
    else:
        frames, labels, notes = label_rows(reading)
        classes = len(labels.names) or 1
    kind, train = kind_of(classes, choices, images), frames["train"]
    splits = complete_splits(known, frames, kind.strata(_content(train)), seed, _together(train), kind.reads)
    if size is not None:
        splits["train"] = _sampled(known, splits["train"], kind, size, seed)
    fingerprint, drawn = None if shots is None else _fingerprint(splits, labels), 0.0
    if shots is not None:
        splits["train"], told, drawn = few_shots(known, splits["train"], labels, shots, draw, kind.reads)
        notes += told
    if kind.trains_head:
        _check_labels(known, splits["train"], labels, train if len(frames) == 1 else None)
    elif kind.writes:
        notes += tell_given_answers(splits) + tell_one_answer(splits["train"])
        splits = {split: rows if split == "train" else join_inputs(rows) for split, rows in splits.items()}
    alone = "inputs" if kind.writes else f"groups with a shared {kind.reads.removesuffix('s')}"
    task = Task(
        name=known,
        splits={split: _dataset(frame) for split, frame in splits.items()},
        num_labels=classes,
        label_names=labels.names,
        metrics=reading.metrics or kind.usual_metrics(classes),
        fingerprint=fingerprint or _fingerprint(splits, labels),
        source=reading.source,
        citation=reading.citation,
        notes=tell_hidden(asked, given) + reading.notes + notes + tell_replaced(reading.splits, frames),
        unit=reading.unit or (f"groups ({columns.group_column})" if columns.group_column else alone),
        images=sources,
        drawn=drawn,
    )
    return task if reading.published else _warn_of(task, carved=len(frames) == 1)


def _together(train: pd.DataFrame) -> Ids | None:
    """Number the units of rows that are to be carved; None where there is no group and no text occurs twice."""
    units = _units_of(_content(train))
    return np.arange(len(train)) if units is None and "group" in train else units


def _units_of(columns: Mapping[str, Sequence[Any]]) -> Ids | None:
    groups = np.asarray(columns["group"], dtype=str) if "group" in columns else None
    units = number_units(_texts(columns), groups, _asked(columns))
    return units if units.max() + 1 < len(units) else None


def _texts(columns: Mapping[str, Sequence[Any]]) -> Texts:
    return tuple(columns[name] for name in ("image", "text", "text_pair") if name in columns)


def _asked(columns: Mapping[str, Sequence[Any]]) -> Texts:
    """Return the texts of rows, and the answers to choose from, in any order: a question may have others elsewhere."""
    if CHOICES not in columns:
        return _texts(columns)
    offered = zip(columns.get(CONTEXTS, columns[CHOICES]), columns[CHOICES], strict=True)
    return (*_texts(columns), [json.dumps(sorted(zip(*each, strict=True))) for each in offered])


def _sampled(name: str, train: pd.DataFrame, kind: Kind, size: int, seed: int) -> pd.DataFrame:
    if not 1 <= size <= len(train):
        raise VxlabError(
            f"train_examples={size}: the training split of {name} has {len(train)} rows; ask for 1 to that"
        )
    return train.iloc[sample(kind.strata(_content(train)), size, seed)]


def _check_labels(name: str, train: pd.DataFrame, labels: Labels, carved: pd.DataFrame | None) -> None:
    """Raise where there is nothing to learn from the labels, or, of rows to carve, none of a class but one."""
    if train["label"].nunique() < 2:
        only = train["label"].iloc[0]
        told = f"{labels.names[only]!r:.60}" if labels.names else f"{only:g}"
        raise VxlabError(f"{name}: every one of the {len(train)} training rows has the label {told}; nothing to learn")
    if carved is not None and labels.names and carved["label"].is_unique:
        raise VxlabError(
            f"{name}: every one of the {len(carved)} rows has a class of its own; is label_column= the right one? "
            "For a regression pass label_kind='numbers'"
        )


def _warn_of(task: Task, carved: bool) -> Task:
    """Complete the task's notes and warn of them."""
    notes = task.notes
    notes += tell_overlap(task.overlap, {split: len(rows) for split, rows in task.splits.items()}, task.kind.reads)
    notes += tell_conflicts(*task.conflicts, task.kind.reads)
    if task.label_names:
        notes += tell_classes(task.label_names, task._labels, carved)
    if notes:
        told = "\n- ".join((f"the data set {Path(task.name).name}, as it was loaded:", *notes))
        warn_once(told, DataWarning, about=task.fingerprint)
    return replace(task, notes=notes)


def _dataset(frame: pd.DataFrame) -> "datasets.Dataset":
    import datasets

    return datasets.Dataset.from_dict(_content(frame))


def _fingerprint(frames: dict[str, pd.DataFrame], labels: Labels) -> str:
    digest = hashlib.sha256(json.dumps(labels.names).encode())
    for split, frame in frames.items():
        digest.update(json.dumps([split, _content(frame)]).encode())
    return digest.hexdigest()


def _content(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(column): frame[column].tolist() for column in frame}
