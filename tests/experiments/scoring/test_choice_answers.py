"""Choices named in a text, on the sets they are for."""

import json

import pytest
from places import ROOT

from vxlab.experiments.scoring.choice_answers import is_letter, is_word, read_letter, read_word

FOLDER = ROOT.parent / "shared" / "data" / "llm_adapters"
here = pytest.mark.skipif(not FOLDER.is_dir(), reason="no sets of LLM-Adapters in ../shared/data/llm_adapters")


def rows(name):
    return json.loads((FOLDER / name / "test.json").read_text(encoding="utf-8"))


@here
@pytest.mark.parametrize("name", ["boolq", "piqa", "social_i_qa", "ARC-Easy", "ARC-Challenge", "openbookqa"])
def test_the_word_of_every_sentence_of_the_commonsense_sets_is_its_answer(name):
    found = rows(name)
    assert len(found) >= 500
    for row in found:
        assert read_word(row["output"]) == read_word(row["answer"]) == row["answer"]
        assert is_word(row["output"], row["answer"])


@here
def test_the_letter_of_every_row_of_aqua_is_read():
    found = rows("AQuA")
    assert len(found) == 254
    assert all(read_letter(row["answer"]) == row["answer"] and is_letter(row["answer"], row["answer"]) for row in found)


@pytest.mark.parametrize("kind", ["solution1", "answer1", "ending1", "option1", "true"])
def test_only_words_of_the_right_ones_kind_are_looked_for(kind):
    others = [each for each in ("solution1", "answer1", "ending1", "option1", "false") if each[:3] != kind[:3]]
    others = [each for each in others if (kind, each) != ("true", "false")]
    assert is_word(" ".join([*others, kind]), kind)
    assert not is_word(" ".join(others), kind)
