"""The simplest answers of a task in which models write: the frequencies of tokens, and one answer to everything."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.scoring import text_statistics
from vxlab.experiments.tasks.kinds import IGNORED


def trivial_statistics(job: Job, materials: Materials, split: str) -> NDArray[np.float64]:
    """Return (items, columns) statistics as of a run that learned nothing of its prompts.

    It finds every token of an answer as likely as it is frequent in the training answers, each token of the vocabulary
    counted once more; and it writes to every prompt the most frequent training answer, of several the first.

    Args:
        job: the run.
        materials: where its rows are.
        split: of the validation or test rows.
    """
    sums = unigram_sums(job, materials, split)
    task = materials.task(job.spec)
    if not job.spec.max_new_tokens or not split.startswith("test"):
        return sums
    rows = task.splits[split][:]
    answer = Counter(task.splits["train"]["answer"][:]).most_common(1)[0][0]
    return text_statistics(task.metrics, sums, [answer] * len(rows["text"]), rows["references"])


def unigram_sums(job: Job, materials: Materials, split: str, rows: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Return (items, 2) Σ log p by the tokens' frequencies in the training answers, and how many tokens there are.

    Args:
        job: the run.
        materials: where its rows are.
        split: of them.
        rows: (rows,) of bool, those that count; None takes all.
    """
    splits = materials.splits(job.spec)
    counts = np.ones(len(materials.tokenizer(job.spec)))
    np.add.at(counts, _answer_tokens(splits["train"]["labels"][:])[0], 1)
    logs = np.log(counts / counts.sum())
    tokens, row = _answer_tokens(splits[split]["labels"][:])
    if rows is not None:
        tokens, row = tokens[rows[row]], row[rows[row]]
    items = np.asarray(splits[split]["row"])[row]
    sums = np.zeros((len(materials.task(job.spec).splits[split]), 2))
    np.add.at(sums, items, np.stack([logs[tokens], np.ones(len(tokens))], axis=1))
    return sums


def _answer_tokens(labels: list[list[int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the tokens of all answers in one, and the row of each."""
    rows = np.repeat(np.arange(len(labels)), [len(each) for each in labels])
    tokens = np.concatenate([np.asarray(each) for each in labels])
    own = tokens != IGNORED
    return tokens[own], rows[own]
