"""Find the files of a named set in a folder, as people keep them: by the set's names, or in a folder of that name."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import SPLIT_NAMES, SUFFIXES, Rows, find_splits, list_names, read_pieces, read_rows
from vxlab.experiments.tasks.sets.catalogue import SETS, names_of, plain_name, set_name

_HOMES = ("dataset", "data", "ft-training_set")
"""folders in a checkout of LLM-Adapters, and of others, in which sets lie"""
_REST = re.compile(rf"(?P<split>{'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})(xl|sample)?")

Found = dict[str, list[Path]]


def read_set_files(folder: Path, name: str) -> dict[str, Rows]:
    """Read what a folder holds of a set, by split; or one file, which is a train split.

    Args:
        folder: where to look, as :func:`find_set_files` does; or a file.
        name: a key of ``SETS``.

    Raises:
        VxlabError: as :func:`find_set_files`, or a file cannot be read.
    """
    if folder.is_file():
        return {"train": read_rows(folder)}
    return {split: read_pieces(paths) for split, paths in find_set_files(folder, name).items()}


def find_set_files(folder: Path, name: str) -> Found:
    """Return the files of a set in a folder, by split.

    Files are named by set and split (``arc_easy.train.jsonl``), or by the split in a folder named by the set
    (``ARC-Easy/train.json``, ``gsm8k/main/test-00000-of-00001.parquet``), which may be the one given; they lie in it,
    or in its ``dataset``, ``data`` or ``ft-training_set``.

    Args:
        folder: where to look.
        name: a key of ``SETS``.

    Raises:
        VxlabError: no such folder; no file of the set in it, or several of one split.
    """
    if not folder.is_dir():
        raise VxlabError(f"folder={folder}: no such folder (VXLAB_SETS, where set, is the default for the named sets)")
    names, whole = names_of(name), SETS[name].files
    homes = [home for home in (folder, *(folder / name for name in _HOMES)) if home.is_dir()]
    found = [files for home in homes for files in (_named_files(home, names, whole), *_in_folders(home, names, whole))]
    found = [files for files in found if files]
    owner = set_name(folder.name)
    if owner == name or not (found or owner):
        found = [files for files in [_own_files(folder, names, whole)] if files] or found
    if not found:
        here = list_names(sorted(each.name for each in folder.iterdir()))
        raise VxlabError(
            f"{folder}: no file of {name}; name it such as {name}.train.jsonl, or a folder of that name with "
            f"train.jsonl or train.json (the folder holds {here})"
        )
    if len(found) > 1:
        told = ", ".join(str(next(iter(files.values()))[0].relative_to(folder)) for files in found)
        raise VxlabError(f"{folder}: several copies of {name}: {told}; name the folder of one")
    return found[0]


def _named_files(home: Path, names: Collection[str], whole: Mapping[str, str]) -> Found:
    found: Found = {}
    for path in sorted(home.iterdir()):
        split = _split_of(plain_name(path.stem), names, whole)
        if split is None or path.suffix.lower() not in SUFFIXES:
            continue
        if split in found:
            raise VxlabError(f"{home}: several files for {split}: {found[split][0].name}, {path.name}; keep one")
        found[split] = [path]
    return found


def _split_of(stem: str, names: Collection[str], whole: Mapping[str, str]) -> str | None:
    if stem in whole:
        return whole[stem]
    rests = (_REST.fullmatch(stem.removeprefix(name)) for name in names if stem.startswith(name))
    return next((SPLIT_NAMES[rest["split"]] for rest in rests if rest), None)


def _own_files(folder: Path, names: Collection[str], whole: Mapping[str, str]) -> Found:
    """Return the files of a folder that is the set's own: named by splits alone, or by set and split."""
    found, named = find_splits(folder)[0], _named_files(folder, names, whole)
    if twice := found.keys() & named.keys():
        split = min(twice)
        raise VxlabError(
            f"{folder}: several files for {split}: {found[split][0].name}, {named[split][0].name}; keep one"
        )
    return found | named


def _in_folders(home: Path, names: Collection[str], whole: Mapping[str, str]) -> list[Found]:
    """Return the files of folders with the set's name, or in one folder of theirs, such as the hub's configuration."""
    found: list[Found] = []
    for folder in sorted(child for child in home.iterdir() if child.is_dir() and plain_name(child.name) in names):
        here = _own_files(folder, names, whole)
        below = [find_splits(child)[0] for child in sorted(folder.iterdir()) if child.is_dir()]
        found.extend(filter(None, [here] if here else below))
    return found
