"""Read image sets as their authors pack them and torchvision unpacks them: images, and lists of official splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows import Labels, Rows
from vxlab.words import first_line

Layout = tuple[dict[str, Rows], Labels]


def read_layout(home: Path, name: str) -> Layout | None:
    """Return the splits and classes of a set in its authors' layout, or None where the folder has another.

    Args:
        home: the set's own folder.
        name: of the set.

    Raises:
        VxlabError: a list that is lacking or damaged; or pickles, which are not read.
    """
    if name == "food101" and (home / "meta" / "train.txt").is_file():
        return _read_food101(home)
    if name == "flowers102" and (home / "setid.mat").is_file():
        return _read_flowers102(home)
    if name == "cifar100" and (home / "train").is_file() and (home / "meta").is_file():
        raise VxlabError(
            f"{home}: the files of cifar-100-python are pickles, which may run any program when they are read, and so "
            "are not; take the hub's Parquet files (uoft-cs/cifar100), or put its images into one folder a class"
        )
    return None


def _read_food101(home: Path) -> Layout:
    """Read images/pizza/1001116.jpg, of which meta/train.txt and meta/test.txt list pizza/1001116."""
    listed = {split: _lines(home / "meta" / f"{split}.txt") for split in ("train", "test")}
    for split, lines in listed.items():
        for number, line in enumerate(lines, 1):
            if line.count("/") != 1:
                raise VxlabError(f"{home.name}/meta/{split}.txt, line {number}: {line!r:.60} is no class/number")
    names = tuple(sorted({line.partition("/")[0] for lines in listed.values() for line in lines}))
    splits = {
        split: _rows(home, split, [f"images/{line}.jpg" for line in lines], [line.partition("/")[0] for line in lines])
        for split, lines in listed.items()
    }
    return splits, Labels(names)


def _read_flowers102(home: Path) -> Layout:
    """Read jpg/image_00001.jpg and so on, with a class from 1 in imagelabels.mat and the splits in setid.mat.

    The official training split is ``trnid``, the small one. Some papers swap it with ``tstid``, which is six times as
    large; scores of theirs do not compare with those of the official split.
    """
    classes = _numbers(home / "imagelabels.mat", "labels")
    splits = {}
    for split, key in (("train", "trnid"), ("validation", "valid"), ("test", "tstid")):
        images = _numbers(home / "setid.mat", key)
        if not images or min(images) < 1 or max(images) > len(classes):
            raise VxlabError(f"{home.name}/setid.mat: {key} names images that imagelabels.mat has no class for")
        files = [f"jpg/image_{number:05d}.jpg" for number in images]
        splits[split] = _rows(home, split, files, [str(classes[number - 1]) for number in images])
    return splits, Labels(tuple(map(str, sorted(set(classes)))))


def _rows(home: Path, split: str, files: Sequence[str], labels: Sequence[str]) -> Rows:
    sources = [ImageSource(f"{home.name}/{file}", home / file) for file in files]
    frame = pd.DataFrame({"image": sources, "label": list(labels)}, dtype=object)
    return Rows(frame.set_axis(range(1, len(frame) + 1)), f"{home.name}, {split}", "image")


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise VxlabError(f"{file}: not readable ({first_line(error)})") from error


def _numbers(file: Path, key: str) -> list[int]:
    from scipy.io import loadmat

    try:
        found: Any = loadmat(file)[key]
        return [int(number) for number in found.ravel().tolist()]
    except Exception as error:  # a damaged file makes scipy raise whatever its bytes lead to
        raise VxlabError(f"{file}: no MATLAB file with {key!r} ({first_line(error)})") from error
