"""What a reference's number is: of GSM8K's own answers, and by hand."""

import json

import pytest
from places import ROOT

from vxlab.experiments.scoring.number_answers import (
    is_flexible,
    is_hashed,
    is_last,
    is_last_strictly,
    is_metamath,
    is_metamath_strictly,
    read_decimal,
    read_shortest,
    read_whole,
)

FOLDER = ROOT.parent / "shared" / "data" / "gsm8k"
here = pytest.mark.skipif(not FOLDER.is_dir(), reason="no GSM8K in ../shared/data/gsm8k")


@here
def test_every_answer_of_gsm8k_has_a_number_that_is_right_by_every_rule():
    lines = (FOLDER / "test.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == 1319
    for answer in answers:
        number = answer.rpartition("#### ")[2]
        plain = read_decimal(answer)
        assert plain == number.replace(",", "") == read_whole(answer) == read_shortest(answer)
        assert is_hashed(answer, plain)
        assert is_flexible(answer, plain)
        assert is_last(answer, plain)
        assert is_last_strictly(answer, plain)
        assert is_metamath_strictly(f"The answer is: {plain}", plain)
        assert is_metamath(f"The answer is: {number}", plain) == (number.count(",") < 2)


@pytest.mark.parametrize(
    ("reference", "number", "whole", "shortest"),
    [
        ("18", "18", "18", "18"),
        (" 18. \n", "18", "18", "18"),
        ("576.0", "576.0", "576", None),
        ("#### 1,250.", "1250", "1250", "1250"),
        ("#### 1,25", None, None, None),
        ("#### 17\nThe answer is: 18", "18", "18", "18"),
        ("A: It is 18. The answer is 18.", "18", "18", "18"),
        ("-2.50", "-2.50", None, None),
        ("-0.25", "-0.25", None, "-0.25"),
        ("0", "0", "0", "0"),
        ("$18", None, None, None),
        ("1e3", None, None, None),
        ("nan", None, None, None),
        ("", None, None, None),
    ],
)
def test_a_references_number(reference, number, whole, shortest):
    assert (read_decimal(reference), read_whole(reference), read_shortest(reference)) == (number, whole, shortest)


@pytest.mark.parametrize("text", ["7/00", "1/" + "9" * 5000, "9" * 400, "-/5", "/5"])
def test_what_metamath_cannot_divide_or_hold_is_wrong(text):
    assert not is_metamath(f"The answer is: {text}", "7")
    assert not is_metamath(f"The answer is: {text}", "0")
