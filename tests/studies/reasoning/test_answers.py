"""What was answered stands beside the right answer, the base first, with what the rule read and whether it is right."""

from typing import Any

import pytest
from made_up_results import BASE, made_up

from vxlab.studies.reasoning import answers_table

WRITTEN: dict[str, list[Any]] = {
    "text": ["Question: 2 + 2?\nAnswer:", "Question: 9 + 9?\nAnswer:"],
    "references": [["It is 4.\n#### 4"], ["It is 18.\n#### 18"]],
}
CHOSEN: dict[str, list[Any]] = {
    "text": ["Fire is", "Ice is"], "choices": [["hot", "cold"], ["hot", "cold"]], "label": [0, 1],
}  # fmt: skip


def show_rows(monkeypatch: pytest.MonkeyPatch, rows: dict[str, list[Any]] | None) -> None:
    for module in ("samples", "reasoning.answers"):
        monkeypatch.setattr(f"vxlab.studies.{module}.find_test_rows", lambda result: rows)


def test_of_a_written_answer_what_the_rule_read_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    show_rows(monkeypatch, WRITTEN)
    texts = {"LoRA": ["2 and 2 is 4.", "It is 17"], BASE: ["4 4 4 5", "Yes."]}
    result = made_up({"LoRA": {0: [1, 0]}, BASE: {0: [0, 0]}}, "flexible_number", texts)
    table = answers_table({"gsm8k": result})
    assert table.to_numpy().tolist() == [
        ["gsm8k 1", "prompt", "Question: 2 + 2?\nAnswer:"],
        ["gsm8k 1", "reference", "It is 4.\n#### 4"],
        ["gsm8k 1", BASE, "4 4 4 5\n— last number as written: 5, wrong"],
        ["gsm8k 1", "LoRA", "2 and 2 is 4.\n— last number as written: 4., right"],
        ["gsm8k 2", "prompt", "Question: 9 + 9?\nAnswer:"],
        ["gsm8k 2", "reference", "It is 18.\n#### 18"],
        ["gsm8k 2", BASE, "Yes.\n— last number as written: none found, wrong"],
        ["gsm8k 2", "LoRA", "It is 17\n— last number as written: 17, wrong"],
    ]


def test_of_a_chosen_answer_all_choices_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    show_rows(monkeypatch, CHOSEN)
    result = made_up({BASE: {0: [1, 0]}, "LoRA": {3: [1, 1]}}, "acc", {BASE: ["hot", "hot"], "LoRA": ["hot", "cold"]})
    table = answers_table({"arc": result, "again": result}, inputs=1)
    assert list(table["input"]) == ["arc 1"] * 4 + ["again 1"] * 4
    assert table.head(4)[["who", "text"]].to_numpy().tolist() == [
        ["prompt", "Fire is"], ["choices", "(1) hot ← right\n(2) cold"], [BASE, "hot\n— right"],
        ["LoRA", "hot\n— right"],
    ]  # fmt: skip


def test_rows_that_are_gone_are_left_out_and_hits_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    show_rows(monkeypatch, None)
    result = made_up({BASE: {0: [0, 1]}}, "flexible_number", {BASE: ["5", "18"]})
    assert answers_table({"gsm8k": result})["text"].tolist() == ["5\n— wrong", "18\n— right"]
