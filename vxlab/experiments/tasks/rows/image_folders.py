"""Read images that lie in one folder a class, in folders of splits or without, or listed in a metadata file."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows.columns import Columns, Reading
from vxlab.experiments.tasks.rows.delimited import list_names
from vxlab.experiments.tasks.rows.files import SPLIT_NAMES, SUFFIXES, Rows, read_rows
from vxlab.experiments.tasks.rows.image_columns import IMAGE_SUFFIXES
from vxlab.experiments.tasks.rows.label_kinds import Labels
from vxlab.words import number_of

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"
_OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")
_ADVICE = "put each image into a folder named by its class, such as train/cat/1.jpg"


def holds_image_folders(path: Path) -> bool:
    """Say whether a folder holds images in folders of classes, splits, or both; or images alone, which it should."""
    if not path.is_dir():
        return False
    tables = [each for each in _entries(path) if each.suffix.lower() in SUFFIXES]
    alone = _has_images(path) and not (tables and _metadata(path) is None)
    return alone or any(_has_images(each) for folder in _folders(path) for each in (folder, *_folders(folder)))


def read_image_folders(path: Path, columns: Columns) -> Reading:
    """Read a folder with one folder a class, or with such folders in train, validation (or val, valid, dev) and test.

    Splits are named in small or capital letters. The classes are the folders' names, in their order, and the same for
    all splits. A split whose images lie in no folder has no labels. Hidden files and those of operating systems are
    passed over; other files that are no images, by their suffix, are told of. What an image is, its content says.

    Or every split's folder, or the one folder, holds a ``metadata.csv`` (.jsonl, .parquet) with the column
    ``file_name``, paths from there, and one of labels, as ``datasets`` reads it.

    Raises:
        VxlabError: no train folder where there is one of another split; two of one split; an empty class; one class
            alone; images beside or below the folders of classes; columns named where folders say the class.
    """
    splits, unused = _splits(path)
    listed = {split: found for split, folder in splits.items() if (found := _metadata(folder))}
    if listed:
        return _read_listed(path, splits, listed, columns)
    _refuse_columns(columns)
    rows = {split: _read_split(folder, path, split) for split, folder in splits.items()}
    names = sorted({name for each in rows.values() for name in each.frame["label"] if name is not None})
    if len(names) < 2:
        raise VxlabError(
            f"{path}: {f'one class alone, {names[0]!r:.60}' if names else 'no folder of a class'}: nothing to tell "
            f"apart; {_ADVICE}, and dogs into another"
        )
    notes = (*_tell_unused(path, unused), *_tell_alike(names))
    described = Columns(label_column="label", image_column="image", label_kind="classes")
    return Reading(rows, described, f"local files, {path.name}", labels=Labels(tuple(names)), notes=notes)


def _splits(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the folders of splits, or the folder itself as train, and the names of other folders with images."""
    found: dict[str, Path] = {}
    unused = []
    for folder in _folders(path):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in found:
            raise VxlabError(f"{path}: two folders for {split}: {found[split].name}, {folder.name}; keep one")
        if split:
            found[split] = folder
        elif any(_has_images(each) for each in (folder, *_folders(folder))):
            unused.append(folder.name)
    if found and "train" not in found:
        raise VxlabError(
            f"{path}: no folder train beside {', '.join(each.name for each in found.values())}; add one, or where "
            "these are classes rename them: they are names of splits"
        )
    if found and unused and _images(found["train"]):
        raise VxlabError(
            f"{path}: is {found['train'].name} the training split, or a class beside {list_names(unused)}? As a split "
            "it needs folders of classes; as a class, another name, such as trains"
        )
    return (found, unused) if found else ({"train": path}, [])


def _read_split(folder: Path, path: Path, split: str) -> Rows:
    """Return a split's images with their classes, or with None where they lie in no folder."""
    classes, loose = _folders(folder), _images(folder)
    if loose and classes:
        raise VxlabError(
            f"{folder}: {number_of(len(loose), 'image')} beside the folders of classes, such as {loose[0].name}; "
            f"{_ADVICE}"
        )
    if loose and split == "train":
        raise VxlabError(f"{folder}: {number_of(len(loose), 'image')} in no folder of a class; {_ADVICE}")
    images = [(file, None) for file in loose] + [(file, _name(each)) for each in classes for file in _of_class(each)]
    if not images:
        raise VxlabError(f"{folder}: no images; {_ADVICE}")
    sources = [ImageSource(str(file.relative_to(path.parent)), file) for file, _ in images]
    frame = pd.DataFrame({"image": sources, "label": [name for _, name in images]}, dtype=object)
    others = [file for each in (classes or [folder]) for file in _others(each)]
    place = folder.name if folder == path else f"{path.name}/{folder.name}"
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place, "image", _tell_others(place, others))


def _of_class(folder: Path) -> list[Path]:
    below = [each for each in _folders(folder) if any(True for _ in _entries(each))]
    if below:
        raise VxlabError(
            f"{folder}: a folder {below[0].name!r:.60} in that of a class, so that it is not clear which of the two is "
            "the class; put images straight into the folders of classes"
        )
    images = _images(folder)
    if not images:
        raise VxlabError(f"{folder}: no image of this class; add some, or take the folder away")
    return images


def _read_listed(path: Path, splits: dict[str, Path], listed: dict[str, Path], columns: Columns) -> Reading:
    """Read the metadata files that list images and labels."""
    lacking = [folder.name for split, folder in splits.items() if split not in listed]
    if lacking:
        raise VxlabError(f"{path}: {lacking[0]} has no metadata file, as {next(iter(listed.values())).name}; add one")
    rows = {split: _read_list(file) for split, file in listed.items()}
    named = replace(columns, image_column=columns.image_column or _FILE)
    return Reading(rows, named, f"local files, {path.name}")


def _read_list(file: Path) -> Rows:
    rows = read_rows(file)
    if _FILE not in rows.frame:
        raise VxlabError(f"{file}: no column {_FILE!r} among {list_names(list(rows.frame))}; it names the images")
    there = {image.resolve() for each in _with_all_below(file.parent) for image in _images(each)}
    left = there - {(file.parent / str(name)).resolve() for name in rows.frame[_FILE]}
    told = f"{rows.place}: {number_of(len(left), 'image')} beside it that it does not list, and that are not read"
    return replace(rows, notes=(*rows.notes, *([told] if left else [])))


def _with_all_below(folder: Path) -> Iterator[Path]:
    yield folder
    for each in _folders(folder):
        yield from _with_all_below(each)


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def _refuse_columns(columns: Columns) -> None:
    fields = ("text_columns", "label_column", "group_column", "label_kind", "prompt_template", "answer_column",
              "image_column")  # fmt: skip
    for field in fields:
        value = getattr(columns, field)
        if value and value != "classes":
            raise VxlabError(
                f"{field}={value!r}: folders of images have no columns, and name the classes; leave it out"
            )


def _tell_unused(path: Path, unused: Sequence[str]) -> tuple[str, ...]:
    told = f"{path.name}: not used, being named neither train, validation nor test: {list_names(list(unused))}"
    return (told,) if unused else ()


def _tell_others(place: str, files: Sequence[Path]) -> tuple[str, ...]:
    kinds = Counter(file.suffix.lower() or "without suffix" for file in files)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    told = f"{place}: {number_of(len(files), 'file')} beside images, and not read ({listed})"
    return (told,) if files else ()


def _tell_alike(names: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    pairs = [(before, name) for name in names if (before := first.setdefault(name.strip().lower(), name)) != name]
    return tuple(
        f"classes {one!r:.40} and {other!r:.40} differ in capitals or spaces alone" for one, other in pairs[:1]
    )


def _name(folder: Path) -> str:
    return unicodedata.normalize("NFC", folder.name)  # one letter, or a letter and its accent, as systems write it


def _has_images(folder: Path) -> bool:
    return any(_is_image(each) for each in _entries(folder))


def _images(folder: Path) -> list[Path]:
    return sorted(each for each in _entries(folder) if _is_image(each))


def _others(folder: Path) -> list[Path]:
    return [each for each in _entries(folder) if not each.is_dir() and not _is_image(each)]


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in _entries(folder) if each.is_dir())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()  # a broken link is an unreadable image


def _entries(folder: Path) -> Iterator[Path]:
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise VxlabError(f"{folder}: not readable ({error.strerror or error})") from error
    return (each for each in found if not each.name.startswith(".") and each.name.lower() not in _OF_SYSTEMS)
