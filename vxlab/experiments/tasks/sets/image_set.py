"""Read a set of images by its name: from the hub, or from a folder in the layouts in which people have it."""

import os
from dataclasses import replace
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Columns, Reading, Rows, holds_image_folders, read_image_folders, require_rows
from vxlab.experiments.tasks.sets.catalogue import IMAGE_SETS, ImageSet, names_of, plain_name, set_name
from vxlab.experiments.tasks.sets.image_layouts import read_layout
from vxlab.experiments.tasks.sets.set_files import read_set_files
from vxlab.experiments.tasks.sets.sources import choose_training, fetch_splits


def read_image_set(name: str, folder: Path | None) -> Reading:
    """Read images with a class each, in the set's official splits where these are there.

    A folder may hold the set as its authors pack it, as Parquet from the hub, or in one folder a class. ``notes`` say
    where the splits are not the official ones.

    Args:
        name: a key of ``IMAGE_SETS``.
        folder: of the set, or one that holds many; default ``VXLAB_SETS``, and without that the hub.

    Raises:
        VxlabError: the folder lacks the set, or has it as pickles; or the hub cannot be reached.
    """
    described, named = IMAGE_SETS[name], os.environ.get("VXLAB_SETS")
    folder = folder or (Path(named).expanduser() if named else None)
    if folder is None:
        splits, source = fetch_splits(name, None)
        reading = Reading(splits, Columns(label_column=described.label), source)
    else:
        reading = _from_folder(folder, name, described)
    splits = _with_test(reading.splits) if described.test_is_validation else reading.splits
    require_rows(splits)
    splits, notes = choose_training(splits, described.official)
    told = (described.note,) if described.note else ()
    return replace(
        reading,
        splits=splits,
        citation=described.citation,
        metrics=described.metrics,
        notes=(*told, *reading.notes, *notes, *_tell_sizes(name, splits, described)),
    )


def _from_folder(folder: Path, name: str, described: ImageSet) -> Reading:
    if not folder.is_dir():
        raise VxlabError(f"folder={folder}: no such folder (VXLAB_SETS, where set, is the default for the named sets)")
    source = f"local files, {name}"
    for home in _homes(folder, name):
        if (found := read_layout(home, name)) is not None:
            splits, labels = found
            return Reading(splits, Columns(label_column="label", image_column="image"), source, labels=labels)
        if holds_image_folders(home) and not (home == folder and set_name(folder.name) is None and _is_shelf(folder)):
            return replace(read_image_folders(home, Columns()), source=source)
    try:
        splits = read_set_files(folder, name)
    except VxlabError as error:
        raise VxlabError(
            f"{error}\nOr put its images into one folder a class, in {name}/train and {name}/test."
        ) from error
    here = described.label in splits[next(iter(splits))].frame
    return Reading(splits, Columns(label_column=described.label if here else None), source)


def _homes(folder: Path, name: str) -> list[Path]:
    """Return the folders that may be the set's own: by its names below, such as torchvision's flowers-102, or this."""
    names = names_of(name)
    below = _named(folder, names)
    return [home for each in below for home in (*_named(each, names), each)] or [folder]


def _named(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and plain_name(each.name) in names)


def _is_shelf(folder: Path) -> bool:
    """Say whether a folder holds folders of other sets, so that it is no set's own."""
    return any(set_name(each.name) for each in folder.iterdir() if each.is_dir())


def _with_test(splits: dict[str, Rows]) -> dict[str, Rows]:
    """Call the validation split test, where no other is."""
    if "test" in splits:
        return splits
    return {"test" if split == "validation" else split: rows for split, rows in splits.items()}


def _tell_sizes(name: str, splits: dict[str, Rows], described: ImageSet) -> tuple[str, ...]:
    """Say which splits are not the official ones, by their number of images."""
    sizes = {split: len(rows.frame) for split, rows in splits.items()}
    other = [
        f"{split} has {sizes.get(split, 0):,} images and officially {official:,}"
        for split, official in described.sizes.items()
        if sizes.get(split, 0) != official
    ]
    if not other:
        return ()
    return (f"{name}: not the official splits ({', '.join(other)}), so that scores do not compare with published ones",)
