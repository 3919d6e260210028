"""A run's predictions, packed to what its scores are made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from vxlab.errors import VxlabError
from vxlab.experiments import TEXTS, TRIVIAL

_LOGITS, _CLASSES = ".logits", ".classes"
_OF_DATA = (".labels", ".units", f".{TRIVIAL}")
"""What every run on the same rows has alike."""


def pack_answers(predictions: bytes, num_labels: int) -> tuple[bytes, bytes]:
    """Return what a run answered, and what was asked, each as the bytes of a safetensors file.

    Of logits (rows, classes) the class with the largest is kept, in the smallest unsigned integer, and ``classes`` for
    a row of which one is NaN or infinite. Outputs of a regression, and statistics of what was written or chosen, stay
    as they are. What was written is left out.

    Args:
        predictions: a run's predictions file.
        num_labels: of its task: 1 of a regression, 0 where the model writes or chooses.

    Raises:
        VxlabError: the file holds what is not known here.
    """
    answers: dict[str, NDArray[Any]] = {}
    asked: dict[str, NDArray[Any]] = {}
    for name, values in load(predictions).items():
        if name.endswith(_LOGITS):
            split = name.removesuffix(_LOGITS)
            answers.update({name: values} if num_labels < 2 else {split + _CLASSES: _classes(values)})
        elif name.endswith(_OF_DATA):
            asked[name] = values
        elif not name.endswith(f".{TEXTS}"):
            raise VxlabError(f"its predictions hold {name!r}, which an atlas has no place for")
    return save(answers), save(asked)


def unpack_answers(answers: bytes, asked: bytes, num_labels: int) -> dict[str, NDArray[Any]]:
    """Return a predictions file's arrays that score as those which :func:`pack_answers` packed.

    A class comes back as logits that are 1 there and else 0, of float32.
    """
    found = load(asked)
    for name, values in load(answers).items():
        if name.endswith(_CLASSES):
            found[name.removesuffix(_CLASSES) + _LOGITS] = _one_hot(values, num_labels)
        else:
            found[name] = values
    return found


def _classes(logits: NDArray[Any]) -> NDArray[Any]:
    classes = logits.shape[1]
    chosen = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), classes)
    packed: NDArray[Any] = chosen.astype(np.min_scalar_type(classes))
    return packed


def _one_hot(chosen: NDArray[Any], classes: int) -> NDArray[np.float32]:
    rows = np.eye(classes, dtype=np.float32), np.full((1, classes), np.nan, dtype=np.float32)
    logits: NDArray[np.float32] = np.concatenate(rows)[chosen]
    return logits
