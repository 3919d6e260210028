"""Score predictions, say how uncertain a score is, and what the simplest answer would have scored."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vxlab.checks import require_known
from vxlab.errors import VxlabError
from vxlab.experiments.scoring.bounds import of_accuracy, of_perfect, tail
from vxlab.experiments.scoring.formulas import METRICS, OF_COUNTS, Array, number_values, pearson_of_ranks, score_metric
from vxlab.experiments.scoring.text_formulas import COLUMNS, OF_SUMS, SHARES
from vxlab.experiments.scoring.unit_statistics import Units, units_of

RESAMPLES = 1000
_ROUNDING = 1e-9  # resamples that differ by less score alike
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
    scores = {}
    for name in names:
        predicted, true = prepare(name, predictions, labels)
        scores[name] = math.nan if np.isnan(predicted).any() else score_metric(name, predicted, true)
    return scores


def interval(
    name: str, predictions: Array, labels: Array, level: float = 0.95, units: Array | None = None
) -> tuple[float, float]:
    """Give a confidence interval of one metric over the items, or over the units they belong to.

    Accuracy has Wilson's binomial interval, with units at the effective number of items and Student's quantile
    (:func:`vxlab.experiments.scoring.bounds.of_accuracy`), as has an exact match; the others the percentiles of a
    bootstrap of 1,000 resamples
    of the items, or of whole units (:func:`vxlab.experiments.scoring.bounds.tail`), with a fixed seed. It says how far
    the score could move with other test items, not with other training seeds.

    No interval is of zero width. A perfect score of classes reaches down to the metric at Wilson's bound of the error
    rate. Where else resamples score alike (a correlation of exactly 1 or -1, a constant answer's F1 or
    correlation), nothing tells how far the score could move, and the interval is NaN.

    Args:
        name: a metric of :func:`compute`.
        predictions: as in :func:`compute`.
        labels: as in :func:`compute`.
        level: coverage, above 0 and below 1.
        units: (items,) the independent unit of each item, such as its film; None where items are independent.

    Returns:
        (low, high); (nan, nan) where a prediction is NaN or infinite, and where there is no defensible interval.

    Raises:
        VxlabError: as :func:`compute`, ``level`` outside (0, 1), or units of another length or all alike.

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. Efron and Tibshirani,
        An Introduction to the Bootstrap, 1993, chapter 13.

    >>> low, high = interval("accuracy", np.array([1] * 80 + [0] * 20), np.ones(100, dtype=int))
    >>> round(low, 3), round(high, 3)
    (0.711, 0.867)
    """
    if not 0 < level < 1:
        raise VxlabError(f"level={level}: a confidence level lies between 0 and 1, such as 0.95")
    predicted, true = prepare(name, predictions, labels)
    held = units_of(units, len(true))
    if np.isnan(predicted).any():
        return math.nan, math.nan
    if name == "accuracy":
        return of_accuracy(predicted == true, held, level)
    if name in SHARES:
        return of_accuracy(predicted[:, 0] == predicted[:, 1], held, level)
    if name in OF_COUNTS and (predicted == true).all():
        return of_perfect(name, true, held, level)
    outside = tail(held, level)
    low, high = np.quantile(resample(name, predictions, labels, RESAMPLES, units), [outside, 1 - outside])
    # Not the draws' own range: one that lacks a class, or is constant, would hide that all others are alike.
    return (float(low), float(high)) if high - low > _ROUNDING else (math.nan, math.nan)


def resample(name: str, predictions: Array, labels: Array, resamples: int, units: Array | None = None) -> Array:
    """Score bootstrap resamples of the items, or of whole units of them.

    The draws depend on the number of items, or on the units, alone: two runs on the same items are resampled alike, so
    that the differences of what this returns are those of a paired bootstrap.

    Args:
        name: a metric of :func:`compute`.
        predictions: as in :func:`compute`.
        labels: as in :func:`compute`.
        resamples: how many, each of as many items, or units, as there are.
        units: as in :func:`interval`.

    Returns:
        (resamples,) scores; NaN where a prediction is NaN or infinite.

    Raises:
        VxlabError: as :func:`interval`.
    """
    predicted, true = prepare(name, predictions, labels)
    held = units_of(units, len(true))
    if np.isnan(predicted).any():
        return np.full(resamples, np.nan)
    random = np.random.RandomState(_BOOTSTRAP_SEED)  # a stream that NumPy keeps frozen
    draws = (random.randint(len(held.sizes), size=len(held.sizes)) for _ in range(resamples))
    if name in OF_SUMS:
        return _resample_sums(name, predicted, held, draws)
    metric: Callable[[Array, Array], float] = functools.partial(score_metric, name)
    if name == "spearman":  # sorted once, and not again in each resample
        predicted, true, metric = number_values(predicted), number_values(true), pearson_of_ranks
    chosen = (drawn if held.single else held.items(drawn) for drawn in draws)
    return np.array([metric(predicted[items], true[items]) for items in chosen])


def in_words(name: str) -> str:
    """Return a metric's name as readers know it.

    >>> in_words("f1_macro"), in_words("accuracy")
    ('macro F1', 'accuracy')
    """
    return _WORDS.get(name, name)


def prepare(name: str, predictions: Array, labels: Array) -> tuple[Array, Array]:
    """Check one metric's input at the door and reduce predictions to what it needs, NaN where they are broken.

    Args:
        name: a metric of :func:`compute`.
        predictions: as in :func:`compute`.
        labels: as in :func:`compute`.

    Returns:
        (items,) classes or outputs, or a metric of texts' own (items, columns) statistics; and (items,) labels; both of
        float64.

    Raises:
        VxlabError: as :func:`compute`.
    """
    require_known([name], METRICS, "unknown metric")
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if len(labels) == 0 or len(predictions) != len(labels):
        raise VxlabError(
            f"{name} of {len(predictions)} predictions and {len(labels)} labels: as many are needed, and some"
        )
    predicted = predictions.astype(np.float64)
    if name in OF_SUMS:
        predicted = _own_columns(name, predicted)
    elif predicted.ndim == 2:
        # argmax would take a NaN for the largest logit: keep it a NaN instead.
        broken = ~np.isfinite(predicted).all(axis=1)
        predicted = predicted[:, 0] if predicted.shape[1] == 1 else predicted.argmax(axis=1).astype(np.float64)
        predicted[broken] = np.nan
    predicted[~np.isfinite(predicted)] = np.nan
    if name == "f1" and max(labels.max(), np.nan_to_num(predicted).max()) > 1:
        raise VxlabError("f1 is of class 1 against class 0, and here are more than two classes; ask for f1_macro")
    return predicted, labels.astype(np.float64)


def _own_columns(name: str, statistics: Array) -> Array:
    columns = COLUMNS[name]
    if statistics.ndim != 2 or statistics.shape[1] < columns.stop:
        raise VxlabError(
            f"{name} of predictions of the shape {statistics.shape}: they hold no statistics of it; give the "
            f"(items, columns) array of text_statistics, {columns.stop} columns of it or more"
        )
    return statistics[:, columns].copy()


def _resample_sums(name: str, statistics: Array, units: Units, draws: Iterable[Array]) -> Array:
    """Score each draw of units by the sums of their statistics: how often each was drawn, times its own."""
    by_unit = units.sums(statistics)
    sums = [np.bincount(drawn, minlength=len(by_unit)) @ by_unit for drawn in draws]
    return OF_SUMS[name](np.array(sums))


_WORDS = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "log_likelihood": "log-likelihood per token",
    "bleu": "BLEU",
    "nist": "NIST",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "exact_match": "exact match",
    "acc": "accuracy by likelihood",
    "acc_norm": "accuracy by likelihood per character",
    "gsm8k": "GSM8K accuracy",
    "gsm8k_strict": "strict GSM8K accuracy",
    "flexible_number": "last number as written",
    "hash_number": "number after ####",
    "last_number": "last number",
    "last_number_strict": "number at the end",
    "math": "MATH accuracy",
    "math_strict": "strict MATH accuracy",
    "answer_word": "choice named first",
    "answer_letter": "letter named first",
    "answer_letter_strict": "letter at the end",
}
