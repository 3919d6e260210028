"""The rules that extract answers: on answers made up for them, against lm-eval's filters, and what is refused."""

import warnings

import numpy as np
import pytest
from made_up_answers import MADE_UP

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.scoring.answer_rules import ANSWER_RULES, answer_statistics, extract_answer, read_answers
from vxlab.experiments.scoring.text_formulas import COLUMNS, EXTRACTED_METRICS
from vxlab.experiments.scoring.text_statistics import text_statistics

STRICTER = {
    "gsm8k_strict": "gsm8k",
    "last_number_strict": "last_number",
    "math_strict": "math",
    "answer_letter_strict": "answer_letter",
}


def _hit(metric, text, reference):
    return int(answer_statistics(metric, [text], [[reference]])[0, 0])


@pytest.mark.parametrize("made_up", MADE_UP, ids=range(len(MADE_UP)))
def test_a_made_up_answer_is_worth_what_was_worked_out_by_hand(made_up):
    metric = made_up["metric"]
    found = text_statistics([metric], np.zeros((1, 2)), [made_up["text"]], [[made_up["reference"]]])
    assert found[0, COLUMNS[metric]].tolist() == [made_up["hit"], 1]


def test_every_rule_has_answers_made_up_for_it_some_of_them_right():
    assert len(MADE_UP) >= 200
    assert len({(each["metric"], each["text"], each["reference"]) for each in MADE_UP}) == len(MADE_UP)
    assert tuple(ANSWER_RULES) == EXTRACTED_METRICS
    for metric in ANSWER_RULES:
        hits = [each["hit"] for each in MADE_UP if each["metric"] == metric]
        assert set(hits) == {0, 1}
        assert len(hits) >= 7


def test_a_text_that_is_right_has_an_answer_that_the_rule_reads():
    ruled = [each for each in MADE_UP if each["metric"] in ANSWER_RULES]
    found = [extract_answer(each["metric"], each["text"], each["reference"]) for each in ruled]
    assert all(answer for answer, each in zip(found, ruled, strict=True) if each["hit"])
    assert None in found


@pytest.mark.parametrize(
    ("metric", "reference", "found"),
    [
        ("gsm8k", "18", "1,7"), ("flexible_number", "18", "$4."), ("hash_number", "18", "5"),
        ("last_number", "18", "4."),
        ("math", "18", "1,7 of \\boxed{3} #### 5 B answer2 $4"), ("answer_word", "answer1", "answer2"),
        ("answer_word", "true", None), ("answer_letter", "A", "B"),
    ],
)  # fmt: skip
def test_what_a_rule_reads_is_shown_as_it_is_written(metric, reference, found):
    text = "The answer is: 1,7 of \\boxed{3} #### 5 B answer2 $4."
    assert extract_answer(metric, text, reference) == found


def test_a_text_is_right_where_it_gives_the_answer_of_any_reference():
    references = [["2", "3"], ["2", "3"], ["4"]]
    found = answer_statistics("last_number", ["It is 3.", "It is 23.", "4"], references)
    np.testing.assert_array_equal(found, [[1, 1], [0, 1], [1, 1]])


@pytest.mark.parametrize(("strict", "published"), STRICTER.items())
def test_what_is_right_by_a_stricter_rule_is_right_by_the_published_one(strict, published):
    references = {each["reference"] for each in MADE_UP if each["metric"] in (strict, published)}
    pairs = [(each["text"], reference) for each in MADE_UP for reference in references]
    right = [pair for pair in pairs if _hit(strict, *pair)]
    assert len(right) >= 8
    assert all(_hit(published, *pair) for pair in right)


@pytest.mark.parametrize(
    ("metric", "published", "filters"),
    [("hash_number", "strict-match", {}), ("flexible_number", "flexible-extract", {"group_select": -1})],
)
def test_numbers_are_lm_evals(metric, published, filters):
    """lm-eval's own filter and its own comparison, set as its gsm8k.yaml sets them, on every text made up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filtering = pytest.importorskip("lm_eval.filters.extraction", reason="lm-eval is not installed")
        comparing = pytest.importorskip("lm_eval.api.metrics").exact_match_hf_evaluate
    pattern, settings = _of_yaml(published)
    extract = filtering.RegexFilter(regex_pattern=pattern, **filters)
    references = ["#### 18", "#### 1,250", "#### -7", "7", "2.5", "#### 1450000", "4"]
    texts = sorted({each["text"] for each in MADE_UP})
    hits = 0
    for text in texts:
        (taken,) = next(iter(extract.apply([[text]], [{}])))
        for reference in references:
            theirs = comparing(predictions=[taken], references=[reference], **settings)["exact_match"]
            assert _hit(metric, text, reference) == theirs, (text, reference)
            hits += int(theirs)
    assert hits >= 10


def _of_yaml(published):
    """Return a filter's pattern and the comparison's settings as lm-eval's task has them."""
    import lm_eval
    import yaml

    (folder,) = lm_eval.__path__
    with open(f"{folder}/tasks/gsm8k/gsm8k.yaml", encoding="utf-8") as file:
        task = yaml.safe_load(file)
    (filters,) = [each["filter"] for each in task["filter_list"] if each["name"] == published]
    (metric,) = task["metric_list"]
    settings = {name: metric[name] for name in ("regexes_to_ignore", "ignore_case", "ignore_punctuation")}
    return filters[0]["regex_pattern"], settings


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("gsm8k", "It is 18"),
        ("gsm8k", "#### 2.5"),
        ("gsm8k", "#### "),
        ("gsm8k_strict", "#### eighteen"),
        ("flexible_number", "576.0"),
        ("hash_number", "2.50"),
        ("last_number", "16 hours"),
        ("last_number", ""),
        ("last_number_strict", "12,34"),
        ("math", "So there are seven of them in all."),
        ("math", "It is $\\boxed{}$."),
        ("math", "\\boxed{7"),
        ("math", "\\text{ cm}"),
        ("math_strict", "   "),
        ("answer_word", "the correct answer is answer6"),
        ("answer_word", "the correct answer is answer12"),
        ("answer_word", "untrue"),
        ("answer_letter", "F"),
        ("answer_letter", "Both are right"),
        ("answer_letter_strict", "a"),
    ],
)
def test_a_reference_without_an_answer_is_refused_for_no_text_could_be_right(metric, reference):
    good = next(each["reference"] for each in MADE_UP if each["metric"] == metric)
    with pytest.raises(VxlabError, match=rf"^{metric}: item 1's reference .* holds no answer .* it must be") as refused:
        answer_statistics(metric, ["a", "b"], [[good], [good, reference]])
    assert f"reference {quote(reference)} holds" in str(refused.value)
    assert f"leave {metric} out of the metrics" in str(refused.value)


@pytest.mark.parametrize("metric", ANSWER_RULES)
def test_a_reference_is_right_by_its_own_rule(metric):
    phrases = {"hash_number": "#### {}", "gsm8k": "The answer is: {}", "math": "The answer is: {}"}
    form = phrases.get(metric.removesuffix("_strict"), "{}")
    for reference in {each["reference"] for each in MADE_UP if each["metric"] == metric}:
        ((answer,),) = read_answers(metric, [[reference]])
        published_reads_one_comma = metric.startswith("gsm8k") and len(answer) > 9
        assert published_reads_one_comma or _hit(metric, form.format(answer), reference)
