"""NIST against the E2E challenge's own script, and by hand."""

import math

import numpy as np
import pytest
from places import ROOT

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.nist import ORDER, item_statistics, nist, tokenize

OFFICIAL = ROOT.parent / "shared" / "data" / "e2e_metrics"
TEXTS = ["The Punter is a pub.", "A cheap pub by the river", ""]
REFERENCES = [
    ["The Punter is a cheap pub.", "The pub is The Punter."],
    ["A cheap pub by the river"],
    ["A dear one, 9.5!"],
]


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="no outputs of the E2E challenge in ../shared/data/e2e_metrics")
@pytest.mark.parametrize(("split", "official"), [("dev", 8.5785), ("test", 8.8988)])
def test_it_is_what_the_challenges_script_gives(split, official):
    texts = (OFFICIAL / f"{split}.sys.txt").read_text(encoding="utf-8").splitlines()
    blocks = (OFFICIAL / f"{split}.ref.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert round(nist(item_statistics(texts, [block.splitlines() for block in blocks])), 4) == official


def test_a_match_tells_as_much_as_it_is_rare():
    statistics = item_statistics(["a b", "c"], [["a b"], ["a c"]])
    # a twice, b and c once, of four tokens; of two grams that begin with a, one goes on with b
    np.testing.assert_allclose(statistics[0, :2], [math.log2(4 / 2) + math.log2(4 / 1), math.log2(2 / 1)])
    np.testing.assert_array_equal(statistics[:, ORDER : ORDER + 2], [[2, 1], [1, 0]])
    assert statistics[:, -1].tolist() == [2, 2]
    short = math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(3 / 4) ** 2)
    assert nist(statistics) == pytest.approx(short * ((1 + 2 + 2) / 3 + 1 / 1))


def test_a_word_said_twice_counts_as_often_as_one_reference_has_it():
    once, twice = (item_statistics(["no no no"], [given])[0, 0] for given in (["no", "no yes"], ["no no", "yes"]))
    assert once == pytest.approx(math.log2(3 / 2))
    assert twice == pytest.approx(2 * math.log2(3 / 2))


def test_a_text_of_two_thirds_of_the_references_length_scores_half():
    whole, cut = item_statistics(["a b c"], [["a b c"]]), item_statistics(["a b"], [["a b c"]])
    assert nist(cut) == pytest.approx(0.5 * 2 * math.log2(3) / 2)
    assert nist(whole) == pytest.approx(math.log2(3))


def test_a_sample_of_items_scores_by_the_corpus_information():
    statistics = item_statistics(TEXTS, REFERENCES)
    again = item_statistics([*TEXTS, *TEXTS], [*REFERENCES, *REFERENCES])
    assert nist(statistics[[0, 1, 2, 0, 1, 2]]) == pytest.approx(nist(again)) == pytest.approx(nist(statistics))
    assert nist(statistics[[1, 1]]) > nist(statistics) > nist(statistics[[2]]) == 0


def test_tokens_are_those_of_mteval():
    assert tokenize("Price: 9.50-12 (high) & A-la-carte's no. 5.") == [
        "price", ":", "9.50", "-", "12", "(", "high", ")", "&", "a-la-carte's", "no", ".", "5", ".",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "references", "message"),
    [
        ([], [], "0 texts and references of 0 items"),
        (["a"], [["a"], ["b"]], "1 texts and references of 2 items"),
        (["a", "b"], [["a"], []], "item 1 has no list of references"),
        (["a"], ["a"], "item 0 has no list of references"),
    ],
)
def test_items_that_do_not_match_are_refused(texts, references, message):
    with pytest.raises(VxlabError, match=message):
        item_statistics(texts, references)
