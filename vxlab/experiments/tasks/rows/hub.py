"""Read a data set of the Hugging Face hub."""

from functools import partial
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.columns import Columns, Reading
from vxlab.experiments.tasks.rows.files import Rows
from vxlab.experiments.tasks.rows.image_columns import image_cells
from vxlab.experiments.tasks.rows.label_kinds import Labels
from vxlab.words import first_line

_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "valid": "validation", "test": "test"}


def read_hub(name: str, columns: Columns) -> Reading:
    """Read a hub data set, ``org/name`` or ``org/name:configuration``, with its own names of the classes.

    Splits train, validation (or dev, valid) and test are used. Downloads lie in the hub's own cache (``HF_HOME``),
    shared with the user's other tools.

    Raises:
        VxlabError: the hub cannot be reached, has no such data set, or the data set has no train split.
    """
    path, _, configuration = name.partition(":")
    source = f"Hugging Face hub, {name}"
    found = hub_splits(path, configuration or None)
    usual = (name for name in ("label", "score") if name in found["train"].column_names)
    label = columns.answer_column or columns.label_column or next(usual, None)
    splits = {ours: hub_rows(found[theirs], f"{name} {theirs}") for theirs, ours in _SPLITS.items() if theirs in found}
    names = tuple(getattr(found["train"].features.get(label), "names", None) or ())
    if names and columns.label_kind != "numbers":
        for rows in splits.values():
            rows.frame[label] = [_name(number, names) for number in rows.frame[label].tolist()]
        return Reading(splits, columns, source, labels=Labels(names))
    return Reading(splits, columns, source)


def hub_splits(path: str, configuration: str | None, revision: str | None = None, needed: str = "train") -> Any:
    """Download a data set and return its DatasetDict, or raise a VxlabError that says why not and what to do."""
    import datasets

    chosen = {} if revision is None else {"revision": revision}

    # A mistyped name, a lacking configuration, no network and a full disk arrive as these three families.
    try:
        found = datasets.load_dataset(path, configuration, **chosen)
    except (OSError, ValueError, RuntimeError) as error:
        raise VxlabError(
            f"cannot read {path!r} from the Hugging Face hub, and no local folder has that name: {first_line(error)}\n"
            "Check the name and the network, or pass folder= with the files on disk."
        ) from error
    if needed not in found:
        raise VxlabError(f"{path}: no split named {needed}; the data set has {', '.join(found)}")
    return found


def hub_rows(split: Any, place: str) -> Rows:
    """Turn one split of a hub data set into numbered rows, with images as they are encoded, and unread."""
    import datasets

    features = split.features
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if images and getattr(split, "_indices", None) is not None:
        split = split.flatten_indices()
    frame = split.remove_columns(images).to_pandas() if images else split.to_pandas()
    for name in images:
        stamp = f"{split._fingerprint} {name}"
        cells = image_cells(partial(_cell, split.data.column(name)), len(split), place, stamp=stamp)
        frame[name] = pd.Series(cells, dtype=object)
    classes = {
        name: tuple(feature.names) for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)
    }
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place, classes=classes)


def _cell(column: Any, row: int) -> Any:
    return column[row].as_py()


def _name(number: Any, names: tuple[str, ...]) -> Any:
    """Return a class by its name: a hub data set holds the numbers, also where the names are other numbers."""
    return names[int(number)] if isinstance(number, int | float) and 0 <= number < len(names) else number
