"""Packed answers score as the logits did, and take no more room than they need."""

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from vxlab.errors import VxlabError
from vxlab.experiments.atlas.packed_answers import pack_answers, unpack_answers
from vxlab.experiments.record import pack_texts
from vxlab.experiments.scoring.metrics import compute


def _again(num_labels: int, **arrays: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is packed of an answer, and what comes back."""
    given = save({name.replace("__", "."): values for name, values in arrays.items()})
    answers, asked = pack_answers(given, num_labels)
    return load(answers), unpack_answers(answers, asked, num_labels)


@pytest.mark.parametrize(("classes", "dtype"), [(2, "uint8"), (17, "uint8"), (255, "uint8"), (256, "uint16")])
def test_every_metric_of_classes_comes_out_the_same(classes: int, dtype: str) -> None:
    random = np.random.default_rng(classes)
    logits = random.normal(size=(500, classes)).astype(np.float32)
    logits[::7] = 0.5  # a tie goes to the first
    labels = random.integers(classes, size=500)
    packed, found = _again(classes, test__logits=logits, test__labels=labels)
    assert packed["test.classes"].dtype == dtype
    assert found["test.logits"].dtype == np.float32
    names = ["accuracy", "f1_macro", "matthews", *(["f1"] if classes == 2 else [])]
    assert compute(names, found["test.logits"], found["test.labels"]) == compute(names, logits, labels)


def test_a_broken_row_stays_broken() -> None:
    logits = np.array([[1, 2], [np.nan, 3], [np.inf, 0]], dtype=np.float32)
    packed, found = _again(2, test__logits=logits, test__labels=np.array([1, 1, 0]))
    assert packed["test.classes"].tolist() == [1, 2, 2]
    assert np.isnan(found["test.logits"]).all(axis=1).tolist() == [False, True, True]
    assert np.isnan(compute(["accuracy"], found["test.logits"], found["test.labels"])["accuracy"])


@pytest.mark.parametrize("num_labels", [0, 1])
def test_outputs_and_statistics_stay_as_they_are(num_labels: int) -> None:
    random = np.random.default_rng(0)
    kept = {
        "test__logits": random.normal(size=(9, 1)).astype(np.float32) if num_labels else random.normal(size=(9, 40)),
        "test__labels": random.normal(size=9),
        "test__trivial": random.normal(size=(9, 40)),
        "test__units": np.arange(9),
        "test_other__logits": random.normal(size=(3, 1)),
        "test_other__labels": random.normal(size=3),
    }
    _, found = _again(num_labels, **kept)
    assert set(found) == {name.replace("__", ".") for name in kept}
    for name, values in kept.items():
        again = found[name.replace("__", ".")]
        assert again.dtype == values.dtype
        assert np.array_equal(again, values)


def test_texts_are_left_out_and_what_is_not_known_is_refused() -> None:
    statistics, texts = np.ones((2, 3)), pack_texts(["a secret", "b"]).numpy()
    packed, found = _again(0, test__logits=statistics, test__labels=np.arange(2), test__texts=texts)
    assert set(packed) | set(found) == {"test.logits", "test.labels"}
    with pytest.raises(VxlabError, match=r"hold 'test\.other', which an atlas has no place for"):
        _again(2, test__other=statistics)
