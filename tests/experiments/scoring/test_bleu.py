"""BLEU's statistics against sacrebleu's own score of the corpus, and the E2E challenge's script."""

import e2e_outputs
import numpy as np
import pytest
import toy_texts
from sacrebleu.metrics import BLEU

from vxlab.experiments.scoring.bleu import bleu_statistics
from vxlab.experiments.scoring.text_formulas import OF_SUMS


def bleu(texts, references):
    return float(OF_SUMS["bleu"](bleu_statistics(texts, references).sum(axis=0)))


def sacrebleus(texts, references):
    most = max(map(len, references))
    streams = [[those[n] if n < len(those) else None for those in references] for n in range(most)]
    return BLEU(lowercase=True, tokenize="13a", smooth_method="none").corpus_score(texts, streams).score / 100


@e2e_outputs.here
@pytest.mark.parametrize(("split", "official"), [("dev", 0.5995), ("test", 0.6046)])
def test_it_is_what_the_challenges_script_gives(split, official):
    assert round(bleu(*e2e_outputs.read_outputs(split)), 4) == official


@pytest.mark.parametrize("seed", range(10))
def test_it_is_sacrebleus_score_of_the_corpus(seed):
    random = np.random.default_rng(seed)
    references = toy_texts.write_references(random, 60)
    texts = toy_texts.write_texts(random, references, random.uniform(0, 0.4))
    texts[3], texts[4], references[5] = "", "Prix: 9,50 €\nÀ la carte – naïve “café”", ["", "in"]
    assert bleu(texts, references) == pytest.approx(sacrebleus(texts, references), abs=1e-12)


@pytest.mark.parametrize(
    ("texts", "references"),
    [
        (["", ""], [["a b"], ["c"]]),
        (["a b c d e"], [[""]]),
        (["the cat sat"], [["the cat sat"]]),  # no four words
        (["a b c d"], [["a x c d"]]),
        (["A b c d."], [["a b c D."]]),
    ],
)
def test_it_is_sacrebleus_where_little_is_said(texts, references):
    assert bleu(texts, references) == pytest.approx(sacrebleus(texts, references), abs=1e-12)


def test_a_perfect_text_scores_1_exactly():
    assert bleu(["the punter is a pub ."] * 3, [["the punter is a pub ."]] * 3) == 1
