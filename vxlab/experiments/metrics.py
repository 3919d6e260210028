"""Score predictions, say how uncertain a score is, and what the simplest answer would have scored."""

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vxlab.errors import VxlabError

if TYPE_CHECKING:
    from vxlab.experiments.tasks import Task

Array = NDArray[Any]

_RESAMPLES = 1000
_BOOTSTRAP_SEED = 0  # an interval is a property of the predictions: the same ones give the same interval


def compute(names: Sequence[str], predictions: Array, labels: Array) -> dict[str, float]:
    """Compute metrics by name.

    ``accuracy``; ``f1`` = 2TP / (2TP + FP + FN) of class 1, for two classes; ``f1_macro``, the mean of the F1 of
    every class that occurs in labels or predictions; ``matthews``, the correlation of predicted and true class
    (Gorodkin 2004 for more than two), 0 where either is constant; ``pearson``; ``spearman``, the Pearson correlation
    of the ranks, ties sharing their mean rank. A correlation with a constant is undefined: it is scored 0.0, so that
    a model that learned nothing scores nothing.

    Args:
        names: metrics to compute, from those above.
        predictions: (items, classes) logits, whose argmax is taken, or (items,) class ids; for pearson and spearman
            (items,) or (items, 1) outputs of a regression.
        labels: (items,) class ids, or targets.

    Returns:
        Name to score, in the order asked for. Where a prediction is NaN or infinite, every score is NaN.

    Raises:
        VxlabError: an unknown metric, no items, arrays of different lengths, or f1 asked of more than two classes.

    Source:
        Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.

    >>> compute(["accuracy", "f1"], np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), np.array([0, 1, 1]))
    {'accuracy': 0.6666666666666666, 'f1': 0.6666666666666666}
    """
    return {name: _score(name, *_prepared(name, predictions, labels)) for name in names}


def interval(name: str, predictions: Array, labels: Array, level: float = 0.95) -> tuple[float, float]:
    """Give a confidence interval of one metric over the items.

    Accuracy has Wilson's binomial interval; the others the percentiles of a bootstrap of 1,000 resamples of the items
    with a fixed seed. It says how far the score could move with other test items, not with other training seeds.

    Args:
        name: a metric of :func:`compute`.
        predictions: as in :func:`compute`.
        labels: as in :func:`compute`.
        level: coverage, above 0 and below 1.

    Returns:
        (low, high); (nan, nan) where a prediction is NaN or infinite.

    Raises:
        VxlabError: as :func:`compute`, or ``level`` outside (0, 1).

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. Efron and Tibshirani,
        An Introduction to the Bootstrap, 1993, chapter 13.

    >>> low, high = interval("accuracy", np.array([1] * 80 + [0] * 20), np.ones(100, dtype=int))
    >>> round(low, 3), round(high, 3)
    (0.711, 0.867)
    """
    if not 0 < level < 1:
        raise VxlabError(f"level={level}: a confidence level lies between 0 and 1, such as 0.95")
    predicted, true = _prepared(name, predictions, labels)
    if np.isnan(predicted).any():
        return float("nan"), float("nan")
    if name == "accuracy":
        return _wilson(int((predicted == true).sum()), len(true), level)
    low, high = np.quantile(resampled(name, predictions, labels, _RESAMPLES), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled(name: str, predictions: Array, labels: Array, resamples: int) -> Array:
    """Score bootstrap resamples of the items.

    The draws depend on the number of items alone: two runs on the same items are resampled alike, so that the
    differences of what this returns are those of a paired bootstrap.

    Args:
        name: a metric of :func:`compute`.
        predictions: as in :func:`compute`.
        labels: as in :func:`compute`.
        resamples: how many, each of as many items as there are.

    Returns:
        (resamples,) scores; NaN where a prediction is NaN or infinite.

    Raises:
        VxlabError: as :func:`compute`.
    """
    predicted, true = _prepared(name, predictions, labels)
    if np.isnan(predicted).any():
        return np.full(resamples, np.nan)
    metric = _METRICS[name]
    if name == "spearman":  # sorted once, and not again in each resample
        predicted, true, metric = _order(predicted), _order(true), _pearson_of_ranks
    random = np.random.RandomState(_BOOTSTRAP_SEED)  # a stream that NumPy keeps frozen
    draws = (random.randint(len(true), size=len(true)) for _ in range(resamples))
    return np.array([metric(predicted[items], true[items]) for items in draws])


def in_words(name: str) -> str:
    """Return a metric's name as readers know it.

    >>> in_words("f1_macro"), in_words("accuracy")
    ('macro F1', 'accuracy')
    """
    return _WORDS.get(name, name)


def majority_score(task: "Task", split: str = "test") -> dict[str, float]:
    """Score the constant answer: the training set's most frequent class, or its mean target (correlation 0).

    Args:
        task: the task, whose metrics are computed.
        split: the split to score, one of ``task.splits``.

    Returns:
        Metric name to score, as :func:`compute`.
    """
    labels = np.asarray(task.splits[split]["label"])
    return compute(task.metrics, np.full(len(labels), task.constant), labels)


def _prepared(name: str, predictions: Array, labels: Array) -> tuple[Array, Array]:
    """Check one metric's input at the door and reduce predictions to one number an item."""
    if name not in _METRICS:
        near = difflib.get_close_matches(name, _METRICS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise VxlabError(f"unknown metric {name!r}{hint} Known: {', '.join(_METRICS)}")
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if len(labels) == 0 or len(predictions) != len(labels):
        raise VxlabError(
            f"{name} of {len(predictions)} predictions and {len(labels)} labels: as many are needed, and some"
        )
    predicted = predictions.astype(np.float64)
    if predicted.ndim == 2:
        # argmax would take a NaN for the largest logit: keep it a NaN instead.
        broken = ~np.isfinite(predicted).all(axis=1)
        predicted = predicted[:, 0] if predicted.shape[1] == 1 else predicted.argmax(axis=1).astype(np.float64)
        predicted[broken] = np.nan
    predicted[~np.isfinite(predicted)] = np.nan
    if name == "f1" and max(labels.max(), np.nan_to_num(predicted).max()) > 1:
        raise VxlabError("f1 is of class 1 against class 0, and here are more than two classes; ask for f1_macro")
    return predicted, labels.astype(np.float64)


def _score(name: str, predicted: Array, true: Array) -> float:
    return float("nan") if np.isnan(predicted).any() else float(_METRICS[name](predicted, true))


# These are scikit-learn's and SciPy's definitions (the tests hold them equal), without their checks of every call: a
# bootstrap makes thousands of calls, at milliseconds each there.
def _accuracy(predicted: Array, true: Array) -> float:
    return float((predicted == true).mean())


def _f1(predicted: Array, true: Array) -> float:
    confusion = _confusion(predicted, true)
    return float(_f1_by_class(confusion)[1]) if len(confusion) > 1 else 0.0


def _f1_macro(predicted: Array, true: Array) -> float:
    confusion = _confusion(predicted, true)
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return float(_f1_by_class(confusion)[occurs].mean())


def _f1_by_class(confusion: Array) -> Array:
    total = confusion.sum(axis=0) + confusion.sum(axis=1)  # 2TP + FP + FN
    return np.asarray(2 * confusion.diagonal() / np.maximum(total, 1))


def _matthews(predicted: Array, true: Array) -> float:
    confusion = _confusion(predicted, true).astype(np.float64)
    items, by_true, by_predicted = confusion.sum(), confusion.sum(axis=1), confusion.sum(axis=0)
    covariance = confusion.trace() * items - by_true @ by_predicted
    spread = (items**2 - by_true @ by_true) * (items**2 - by_predicted @ by_predicted)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def _confusion(predicted: Array, true: Array) -> Array:
    """Count (true, predicted) pairs."""
    p, t = predicted.astype(np.int64), true.astype(np.int64)
    classes = int(max(p.max(), t.max())) + 1
    return np.bincount(t * classes + p, minlength=classes**2).reshape(classes, classes)


def _pearson(predicted: Array, true: Array) -> float:
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    # Dividing by the range first keeps the squares of tiny differences from vanishing.
    p, t = ((values - values.mean()) / np.ptp(values) for values in (predicted, true))
    return float(np.clip((p / np.linalg.norm(p)) @ (t / np.linalg.norm(t)), -1, 1))


def _spearman(predicted: Array, true: Array) -> float:
    return _pearson_of_ranks(_order(predicted), _order(true))


def _order(values: Array) -> Array:
    """Number the distinct values from 0 up."""
    return np.unique(values, return_inverse=True)[1]


def _pearson_of_ranks(predicted: Array, true: Array) -> float:
    """Correlate the ranks of two arrays of such numbers, or of parts of them; ties share their mean rank."""
    counts = np.bincount(predicted), np.bincount(true)
    p, t = ((count.cumsum() - (count - 1) / 2) for count in counts)
    return _pearson(p[predicted], t[true])


def _wilson(hits: int, items: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    bounds = binomtest(hits, items).proportion_ci(confidence_level=level, method="wilson")
    return float(bounds.low), float(bounds.high)


_METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
_WORDS = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
