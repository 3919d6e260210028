"""Turn rows as they were read into images and checked labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageCheck, ImageSource, inspect_images
from vxlab.experiments.tasks.labelled_rows import label_rows
from vxlab.experiments.tasks.rows import (
    Labels,
    Reading,
    Rows,
    image_paths,
    infer_labels,
    list_names,
    names_image,
    read_number,
    require_columns,
    require_rows,
)
from vxlab.words import number_of

_IMAGE_COLUMNS = ("image", "img")
_PATH_COLUMNS = (*_IMAGE_COLUMNS, "file_name")
_LABEL_COLUMNS = ("label", "labels")
_OF_TEXTS = ("text", "sentence", "sentence1", "premise", "question", "question1", "instruction", "messages", "prompt")
_ADVICE = "Name the columns to use with image_column= and label_column="


def holds_images(reading: Reading) -> bool:
    """Say whether the training rows are images, rather than texts.

    Raises:
        VxlabError: they may be both, or several columns may be the images.
    """
    return _image_column(reading) is not None


def image_rows(
    reading: Reading, skip_unreadable: bool = False
) -> tuple[dict[str, pd.DataFrame], Labels, tuple[str, ...], dict[str, ImageSource]]:
    """Check every split's images and labels.

    Every image is read to its end. Labels are classes: by the names that the file has for their numbers, or as the
    training rows have them.

    Args:
        reading: of images, as :func:`holds_images` says.
        skip_unreadable: leave out images that cannot be read, instead of raising.

    Returns:
        Each split's rows with the columns image (sha256), label (class id) and group (where named), the labels, what
        the user should know, in sentences, and the images by their sha256.

    Raises:
        VxlabError: what :func:`~vxlab.experiments.tasks.labelled_rows.label_rows` raises; labels that are no classes;
            an image that cannot be read, unless it is to be skipped; then a split or a class of which none is left.
    """
    column = _image_column(reading) or ""
    require_rows(reading.splits)
    label = _label_column(reading)
    sources = {split: _sources(rows, column) for split, rows in reading.splits.items()}
    named, doubts = _with_names(_numbered(reading, column), label)
    labels, frames, notes = _labelled(named, column, label)
    placed = {split: [sources[split][int(row)] for row in frame["text"]] for split, frame in frames.items()}
    checks = _check(placed)
    bad = [check for found in checks.values() for check in found if check.problem]
    if bad and not skip_unreadable:
        raise _unreadable(bad)
    kept = {split: _with_images(frame, checks[split]) for split, frame in frames.items()}
    for split, frame in frames.items():
        _require_left(reading.splits[split].place, split, frame, kept[split], labels)
    images = {
        check.sha256: source
        for split, found in checks.items()
        for source, check in zip(placed[split], found, strict=True)
        if not check.problem
    }
    return kept, labels, (*doubts, *notes, *_tell_skipped(bad), *_tell_frames(placed, checks)), images


def _image_column(reading: Reading) -> str | None:
    """Return the column of images, as named or found in the training rows, or None where these are texts."""
    rows, columns = reading.splits["train"], reading.columns
    texts = {"text_columns": columns.text_columns, "prompt_template": columns.prompt_template,
             "answer_column": columns.answer_column}  # fmt: skip
    named = [field for field, value in texts.items() if value]
    if columns.image_column is not None:
        if named:
            raise VxlabError(f"image_column={columns.image_column!r} is of images, {named[0]} of texts; leave one out")
        require_columns(rows, (columns.image_column,), _ADVICE)
        return columns.image_column
    if named or rows.frame.empty:
        return None
    first = {str(name): _first(rows.frame.iloc[:, place]) for place, name in enumerate(rows.frame)}
    found = [name for name, cell in first.items() if isinstance(cell, ImageSource)]
    found = found or [name for name in _PATH_COLUMNS if names_image(first.get(name))]
    if not found:
        return None
    if also := [name for name in _OF_TEXTS if name in first]:
        raise VxlabError(
            f"{rows.place}: images in the column {found[0]!r} and texts in {also[0]!r}: say which are to be read, with "
            f"image_column={found[0]!r} or text_columns={also[0]!r}"
        )
    usual = [name for name in _PATH_COLUMNS if name in found]
    if len(found) > 1 and not usual:
        raise VxlabError(f"{rows.place}: several columns hold images: {list_names(found)}. {_ADVICE}")
    return (usual or found)[0]


def _first(cells: "pd.Series[Any]") -> str | ImageSource | None:
    return next((cell for cell in cells if isinstance(cell, str | ImageSource)), None)


def _label_column(reading: Reading) -> str:
    """Return the column of the classes, as named or found in the training rows."""
    rows, columns = reading.splits["train"], reading.columns
    if columns.label_kind == "numbers":
        raise VxlabError(
            "label_kind='numbers': images are told apart by classes, and not measured; pass label_kind='classes' where "
            "the numbers are names of classes"
        )
    if columns.label_column:
        return columns.label_column
    usual = [name for name in _LABEL_COLUMNS if name in rows.frame]
    of_classes = usual[:1] or list(rows.classes)
    if len(of_classes) != 1:
        what = "several columns of classes" if of_classes else "no column known to hold the label"
        raise VxlabError(f"{rows.place}: {what} among {list_names(of_classes or list(rows.frame))}. {_ADVICE}")
    return of_classes[0]


def _sources(rows: Rows, column: str) -> list[ImageSource]:
    require_columns(rows, (column,), _ADVICE)
    cells = rows.frame[column].tolist()
    if all(isinstance(cell, ImageSource) for cell in cells):
        return cells
    return image_paths(cells, rows.where, rows.folder)


def _numbered(reading: Reading, column: str) -> Reading:
    """Put the rows' numbers where their images are, as texts that lead back to these."""
    splits = {
        split: replace(rows, frame=rows.frame.assign(**{column: [str(row) for row in range(len(rows.frame))]}))
        for split, rows in reading.splits.items()
    }
    return replace(reading, splits=splits)


def _with_names(reading: Reading, label: str) -> tuple[Reading, tuple[str, ...]]:
    """Write classes by their names where a file numbers them, and say which classes there are."""
    splits = {split: _named(rows, label) for split, rows in reading.splits.items()}
    reading = replace(reading, splits=splits)
    train = splits["train"]
    if reading.labels is not None:
        return reading, ()
    if label in train.classes:
        return replace(reading, labels=Labels(train.classes[label])), ()
    require_columns(train, (label,), _ADVICE)
    labels, doubts = infer_labels(train, label, reading.columns.label_kind)
    if not labels.names:
        raise VxlabError(
            f"{train.place}: the labels in {label!r} are numbers with decimals, and images are told apart by classes; "
            "pass label_kind='classes' where they are names of classes"
        )
    words = any(read_number(name) is None for name in labels.names)  # the other doubt advises a regression
    return replace(reading, labels=labels), doubts if words else ()


def _named(rows: Rows, label: str) -> Rows:
    names = rows.classes.get(label)
    if names is None or label not in rows.frame:
        return rows
    written = [_name(each, names) for each in rows.frame[label].tolist()]
    return replace(rows, frame=rows.frame.assign(**{label: pd.Series(written, index=rows.frame.index, dtype=object)}))


def _name(number: Any, names: Sequence[str]) -> Any:
    return names[int(number)] if isinstance(number, int | float) and 0 <= number < len(names) else number


def _labelled(reading: Reading, column: str, label: str) -> tuple[Labels, dict[str, pd.DataFrame], tuple[str, ...]]:
    columns = replace(reading.columns, text_columns=(column,), label_column=label, image_column=None)
    frames, labels, notes = label_rows(replace(reading, columns=columns, advice=_ADVICE))
    return labels, frames, notes


def _check(placed: Mapping[str, Sequence[ImageSource]]) -> dict[str, list[ImageCheck]]:
    found: Iterator[ImageCheck] = iter(inspect_images([source for each in placed.values() for source in each]))
    return {split: [next(found) for _ in sources] for split, sources in placed.items()}


def _with_images(frame: pd.DataFrame, checks: Sequence[ImageCheck]) -> pd.DataFrame:
    kept = [not check.problem for check in checks]
    images = pd.Series([check.sha256 for check in checks], index=frame.index, dtype=object)
    return frame.drop(columns="text").assign(image=images)[["image", *frame.columns.drop("text")]][kept]


def _unreadable(bad: Sequence[ImageCheck]) -> VxlabError:
    others = f"; {number_of(len(bad) - 1, 'more image')} cannot be read either" if len(bad) > 1 else ""
    return VxlabError(
        f"{bad[0].problem}{others}\nMend or remove what cannot be read, or pass skip_unreadable=True, which leaves it "
        "out and tells of it."
    )


def _require_left(place: str, split: str, before: pd.DataFrame, after: pd.DataFrame, labels: Labels) -> None:
    """Refuse that unreadable images take a split, or a class of the training rows, away."""
    if after.empty:
        raise VxlabError(f"{place}: not one of its {len(before)} images can be read")
    lost = sorted(set(before["label"]) - set(after["label"]))
    if lost and split == "train":
        names = list_names([labels.names[number] for number in lost])
        raise VxlabError(f"{place}: no image that can be read of {names}; add some, or take the class out")


def _tell_skipped(bad: Sequence[ImageCheck]) -> tuple[str, ...]:
    told = f"{number_of(len(bad), 'image')} cannot be read, and {'is' if len(bad) == 1 else 'are'} left out"
    return (f"{told}: {bad[0].problem}" + (", and others" if len(bad) > 1 else ""),) if bad else ()


def _tell_frames(
    placed: Mapping[str, Sequence[ImageSource]], checks: Mapping[str, Sequence[ImageCheck]]
) -> tuple[str, ...]:
    """Say of how many files the first image alone is read."""
    several = [
        (source, check.frames)
        for split, sources in placed.items()
        for source, check in zip(sources, checks[split], strict=True)
        if check.frames > 1 and not check.problem
    ]
    if not several:
        return ()
    source, frames = several[0]
    return (
        f"{number_of(len(several), 'file')} with several images each, of which the first is read, such as "
        f"{source.place} with {frames:,}",
    )
