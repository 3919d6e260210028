"""Read a data set of the Hugging Face hub."""

from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.columns import Columns, Reading
from vxlab.experiments.tasks.rows.files import Rows
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
    """Turn one split of a hub data set into numbered rows."""
    frame = split.to_pandas()
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place)


def _name(number: Any, names: tuple[str, ...]) -> Any:
    """Return a class by its name: a hub data set holds the numbers, also where the names are other numbers."""
    return names[int(number)] if isinstance(number, int | float) and 0 <= number < len(names) else number
