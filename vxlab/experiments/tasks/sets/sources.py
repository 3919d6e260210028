"""Fetch a named set's splits, from a folder or from the hub, one of them to train on."""

import os
from pathlib import Path

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Rows, hub_rows, hub_splits, require_rows
from vxlab.experiments.tasks.sets.catalogue import SETS
from vxlab.experiments.tasks.sets.set_files import read_set_files
from vxlab.words import list_in_words

_SPLITS = ("train", "validation", "test")


def fetch_splits(name: str, folder: Path | None) -> tuple[dict[str, Rows], str]:
    """Return a set's splits as they are read, and where they came from.

    Args:
        name: a key of ``SETS``.
        folder: of the files; default ``VXLAB_SETS``, and without that the hub.

    Raises:
        VxlabError: the folder lacks the set, a split has no rows, or the hub cannot be reached.
    """
    named = os.environ.get("VXLAB_SETS")
    folder = folder or (Path(named).expanduser() if named else None)
    if folder is None:
        where = [*SETS[name].hub, SETS[name].hub_test]
        splits, source = _from_hub(name), f"Hugging Face hub, {list_in_words([each for each in where if each])}"
    else:
        splits, source = read_set_files(folder, name), f"local files, {name}"
    require_rows(splits)
    return splits, source


def choose_training(splits: dict[str, Rows], official: str = "") -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Make the validation split, or else the test split, what is trained on where there is no train split.

    Args:
        splits: as they were read.
        official: the split that published scores are of, test or validation; "" where there is none.

    Returns:
        The splits, train among them, and a sentence where what is tested on is not the official split.

    >>> choose_training({"test": Rows(pd.DataFrame({"a": [1]}), "PIQA/test.json")}, "validation")[1]
    ('no train split: PIQA/test.json is trained on, so that scores do not compare with published ones',)
    """
    if "train" not in splits:
        instead = "validation" if "validation" in splits else "test"
        rest = {split: rows for split, rows in splits.items() if split != instead}
        found, told = {"train": splits[instead], **rest}, f"no train split: {splits[instead].place} is trained on"
    elif official and splits.keys().isdisjoint({official, "test"}):
        part = f"{splits['validation'].place} is" if "validation" in splits else "a part of train is"
        found, told = splits, f"no {official} split: {part} tested on"
    else:
        return splits, ()
    return found, (f"{told}, so that scores do not compare with published ones",)


def _from_hub(name: str) -> dict[str, Rows]:
    described = SETS[name]
    if not described.hub:
        raise VxlabError(
            f"{name} is on no hub page of its authors: give folder=, or VXLAB_SETS, with {next(iter(described.files))}"
        )
    parts = [_hub_parts(each) for each in described.hub]
    splits = {
        split: _joined([part[split] for part in parts]) for split in _SPLITS if all(split in part for part in parts)
    }
    if described.hub_test:
        splits["test"] = _hub_parts(described.hub_test, "test")["test"]
    return splits


def _hub_parts(name: str, needed: str = "train") -> dict[str, Rows]:
    path, _, configuration = name.partition(":")
    found = hub_splits(path, configuration or None, needed=needed)
    return {split: hub_rows(found[split], f"{name} {split}") for split in _SPLITS if split in found}


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return Rows(frame.set_axis(range(1, len(frame) + 1)), parts[0].place)
