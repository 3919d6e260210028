"""NIST against the E2E challenge's own script, and by hand."""

import math

import e2e_outputs
import numpy as np
import pytest

from vxlab.experiments.scoring.nist import nist_statistics, tokenize
from vxlab.experiments.scoring.text_formulas import NIST_ORDER, OF_SUMS

TEXTS = ["The Punter is a pub.", "A cheap pub by the river", ""]
REFERENCES = [
    ["The Punter is a cheap pub.", "The pub is The Punter."],
    ["A cheap pub by the river"],
    ["A dear one, 9.5!"],
]


def nist(statistics):
    return float(OF_SUMS["nist"](statistics.sum(axis=0)))


@e2e_outputs.here
@pytest.mark.parametrize(("split", "official"), [("dev", 8.5785), ("test", 8.8988)])
def test_it_is_what_the_challenges_script_gives(split, official):
    assert round(nist(nist_statistics(*e2e_outputs.read_outputs(split))), 4) == official


def test_a_match_tells_as_much_as_it_is_rare():
    statistics = nist_statistics(["a b", "c"], [["a b"], ["a c"]])
    # a twice, b and c once, of four tokens; of two grams that begin with a, one goes on with b
    np.testing.assert_allclose(statistics[0, :2], [math.log2(4 / 2) + math.log2(4 / 1), math.log2(2 / 1)])
    np.testing.assert_array_equal(statistics[:, NIST_ORDER : NIST_ORDER + 2], [[2, 1], [1, 0]])
    assert statistics[:, -1].tolist() == [2, 2]
    short = math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(3 / 4) ** 2)
    assert nist(statistics) == pytest.approx(short * ((1 + 2 + 2) / 3 + 1 / 1))


def test_a_word_said_twice_counts_as_often_as_one_reference_has_it():
    once, twice = (nist_statistics(["no no no"], [given])[0, 0] for given in (["no", "no yes"], ["no no", "yes"]))
    assert once == pytest.approx(math.log2(3 / 2))
    assert twice == pytest.approx(2 * math.log2(3 / 2))


def test_a_text_of_two_thirds_of_the_references_length_scores_half():
    whole, cut = nist_statistics(["a b c"], [["a b c"]]), nist_statistics(["a b"], [["a b c"]])
    assert nist(cut) == pytest.approx(0.5 * 2 * math.log2(3) / 2)
    assert nist(whole) == pytest.approx(math.log2(3))


def test_a_sample_of_items_scores_by_the_corpus_information():
    statistics = nist_statistics(TEXTS, REFERENCES)
    again = nist_statistics([*TEXTS, *TEXTS], [*REFERENCES, *REFERENCES])
    assert nist(statistics[[0, 1, 2, 0, 1, 2]]) == pytest.approx(nist(again)) == pytest.approx(nist(statistics))
    assert nist(statistics[[1, 1]]) > nist(statistics) > nist(statistics[[2]]) == 0


def test_tokens_are_those_of_mteval():
    assert tokenize("Price: 9.50-12 (high) & A-la-carte's no. 5.") == [
        "price", ":", "9.50", "-", "12", "(", "high", ")", "&", "a-la-carte's", "no", ".", "5", ".",
    ]  # fmt: skip
