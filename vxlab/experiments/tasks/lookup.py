"""Find the reader that a task's name calls for."""

import re
from dataclasses import replace
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.image_rows import holds_images
from vxlab.experiments.tasks.rows import (
    SUFFIXES,
    Columns,
    Reading,
    find_splits,
    holds_image_folders,
    read_hub,
    read_image_folders,
    read_splits,
)
from vxlab.experiments.tasks.sets import (
    CHOICE_SETS,
    GLUE_TASKS,
    IMAGE_SETS,
    SETS,
    glue_name,
    read_choice_set,
    read_cifar10_test,
    read_e2e,
    read_glue,
    read_image_set,
    read_rotten_tomatoes,
    read_written_set,
    set_name,
)
from vxlab.words import nearest

_NAMES = ("rotten_tomatoes", "e2e", *GLUE_TASKS, *SETS, "cifar10_test")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(:[\w.-]+)?")


def known_name(name: str) -> str:
    """Return the name that a task goes by: GLUE's and the named sets' own, however they are written.

    >>> known_name("STS-B"), known_name("ARC-e"), known_name("my/reviews.csv")
    ('stsb', 'arc_easy', 'my/reviews.csv')
    """
    return glue_name(name) or set_name(name) or name


def read_task(name: str, given: str | None, columns: Columns) -> Reading:
    """Read a task by its name. Known names come first: write ./rte for a folder of that name.

    Args:
        name: of the task, as :func:`known_name` has it.
        given: a folder, or None.
        columns: as the user named them; of known tasks none, but for a prompt of theirs.

    Raises:
        VxlabError: an unknown name, no such folder, or what the reader raises.
    """
    folder = None if given is None else _expand("folder", given)
    if name in _NAMES:
        try:
            return _read_known(name, folder, columns)
        except VxlabError as error:
            if not (told := tell_hidden(name, given)):
                raise
            raise VxlabError(f"{error}\n{told[0]}") from error
    path = folder or _expand("task", name)
    if _exists(path) and (folder or name):  # the empty name is no task, though Path('') is this folder
        return _read_local(path, columns)
    if folder is not None:
        raise VxlabError(f"folder={folder}: no such file or folder{nearest(name.lower(), _NAMES)}")
    if _HUB_ID.fullmatch(name) and path.suffix not in SUFFIXES:
        return read_hub(name, columns)
    raise VxlabError(
        f"unknown task {name!r:.200}{nearest(name.lower(), _NAMES)}\n"
        "Name one of these, a file or folder that exists, or a hub data set as org/name."
    )


def tell_hidden(asked: str, given: str | None) -> tuple[str, ...]:
    """Say where a file or folder of a known task's name is here, and is not what is read.

    Args:
        asked: the name as the user wrote it.
        given: a folder, or None.
    """
    if given is not None or known_name(asked) not in _NAMES or not _exists(Path(asked)):
        return ()
    return (f"{asked!r} is a known task's name, and {asked} that lies here is not read; write ./{asked} for that",)


def _read_local(path: Path, columns: Columns) -> Reading:
    """Read tables where there are some to train on, which may name images, or else folders of images."""
    tables = path.is_file() or "train" in find_splits(path)[0]
    images = holds_image_folders(path)
    if images and not tables:
        return read_image_folders(path, columns)
    reading = Reading(read_splits(path), columns, f"local files, {path.name}")
    if images and not holds_images(reading):
        told = f"{path.name}: {reading.splits['train'].place} is read, and the folders of images beside it are not"
        return replace(reading, notes=(told,))
    return reading


def _read_known(name: str, folder: Path | None, columns: Columns) -> Reading:
    writes = name == "e2e" or (name in SETS and name not in IMAGE_SETS)
    free = Columns(prompt_template=columns.prompt_template) if writes else Columns()
    if columns != free:
        fields = (
            "text_columns",
            "label_column",
            "group_column",
            "label_kind",
            "prompt_template",
            "answer_column",
            "image_column",
        )
        named = [field for field in fields if getattr(columns, field) != getattr(free, field)]
        raise VxlabError(f"{name} has its own columns: leave out {', '.join(named)}")
    if name == "e2e":
        return read_e2e(folder, columns.prompt_template)
    if name in CHOICE_SETS:
        return read_choice_set(name, folder, columns.prompt_template)
    if name in IMAGE_SETS:
        return read_image_set(name, folder)
    if name in SETS:
        return read_written_set(name, folder, columns.prompt_template)
    if name == "cifar10_test":
        return read_cifar10_test(folder)
    return read_rotten_tomatoes(folder) if name == "rotten_tomatoes" else read_glue(name, folder)


def _expand(argument: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise VxlabError(f"{argument}={path!r}: there is no such user's home folder") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a file
        return False
