"""BLEU, the precision of n-grams with a penalty for short texts: what each text adds to it, by sacrebleu."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from vxlab.experiments.scoring.text_formulas import Sums


def bleu_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sums:
    """Return what each item adds to the corpus' BLEU, ``(items, 10)``, in lower case and with the tokens of 13a.

    Columns: matches, then n-grams of the text, n = 1 to 4; the text's length; the length of its closest reference.

    Args:
        texts: one generated text an item; an empty one matches nothing.
        references: the texts that are right for the item, one or more.

    Source:
        Papineni et al., BLEU: a method for automatic evaluation of machine translation, 2002. Post, A call for clarity
        in reporting BLEU scores, 2018.
    """
    metric = BLEU(lowercase=True, tokenize="13a", smooth_method="none")
    rows = []
    for text, those in zip(texts, references, strict=True):
        found = metric.corpus_score([text], [[each] for each in those])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, dtype=np.float64)
