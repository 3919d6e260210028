"""Chats: the last turn is the answer, and what is no chat is named by its row and turn."""

import json

import datasets
import pandas as pd
import pytest

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.task import load_task


def _turn(role, content):
    return {"role": role, "content": content}


def _chats(count):
    return [
        [_turn("system", "Be brief."), _turn("user", f"Add 1 to {row}."), _turn("assistant", str(row + 1))]
        for row in range(count)
    ]


def _lines(path, chats):
    path.write_text("\n".join(json.dumps({"messages": turns}) for turns in chats), encoding="utf-8")
    return path


def test_the_last_turn_is_the_answer_and_the_others_are_the_prompt(tmp_path):
    task = load_task(_lines(tmp_path / "chats.jsonl", _chats(60)))
    assert task.num_labels == 0
    row = task.splits["test"][0]
    turns = json.loads(row["messages"])
    number = int(turns[1]["content"].split()[3].rstrip("."))
    assert turns == _chats(number + 1)[-1][:2]
    assert row["text"] == f"system: Be brief.\nuser: Add 1 to {number}."
    assert row["references"] == [str(number + 1)]
    assert task.splits["train"].column_names == ["text", "messages", "answer"]


def test_chats_of_parquet_and_of_the_hub_are_the_same(tmp_path, monkeypatch):
    expected = load_task(_lines(tmp_path / "chats.jsonl", _chats(60))).fingerprint
    pd.DataFrame({"messages": _chats(60)}).to_parquet(tmp_path / "chats.parquet")
    assert load_task(tmp_path / "chats.parquet").fingerprint == expected
    found = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"messages": _chats(60)})})
    monkeypatch.setattr(datasets, "load_dataset", lambda path, configuration: found)
    assert load_task("org/chats").fingerprint == expected


def test_a_split_of_one_chat_is_one(tmp_path):
    _lines(tmp_path / "train.jsonl", _chats(60))
    _lines(tmp_path / "test.jsonl", [[_turn("user", "Hello"), _turn("assistant", "Hi")]])
    assert load_task(tmp_path).splits["test"]["references"][:] == [["Hi"]]


def test_chats_that_read_alike_and_differ_in_their_turns_are_two_inputs(tmp_path):
    one = [_turn("user", "a\nassistant: b\nuser: c"), _turn("assistant", "d")]
    several = [_turn("user", "a"), _turn("assistant", "b"), _turn("user", "c"), _turn("assistant", "e")]
    _lines(tmp_path / "train.jsonl", _chats(60))
    _lines(tmp_path / "test.jsonl", [one, several, several])
    test = load_task(tmp_path).splits["test"]
    assert test["references"][:] == [["d"], ["e", "e"]]
    assert len(set(test["messages"])) == 2


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([_turn("user", "a")], "line 4: the last turn is of the user; a turn of the assistant, which is the answer"),
        ([_turn("assistant", "a")], "line 4: the answer is the only turn"),
        ([_turn("tool", "a"), _turn("assistant", "b")], "line 4, turn 1: the role is 'tool'; it must be system, user"),
        ([{"from": "human", "value": "a"}], "line 4, turn 1: the role is None"),
        ([_turn("user", None), _turn("assistant", "b")], "line 4, turn 1: the content is None; it must be a string"),
        ([_turn("user", " "), _turn("assistant", "b")], "line 4, turn 1: the turn of the user is empty"),
        ([_turn("user", "a"), _turn("assistant", "")], "line 4, turn 2: the turn of the assistant is empty"),
        ([_turn("user", "a\ud83d"), _turn("assistant", "b")], "line 4, turn 1: the content holds half of a character"),
        ([_turn("user", "a"), "b"], "line 4, turn 2: the role is None"),
        ([], r"line 4: messages is \[\]; it must be a list of turns"),
        ("user: a", "line 4: messages is 'user: a'; it must be a list of turns"),
        (None, "line 4: messages is None; it must be a list of turns"),
    ],
)
def test_what_is_no_chat_is_named_by_row_and_turn(tmp_path, turns, message):
    chats = _chats(60)
    chats[3] = turns
    with pytest.raises(VxlabError, match=f"chats.jsonl, {message}"):
        load_task(_lines(tmp_path / "chats.jsonl", chats))


def test_what_else_turns_hold_is_said(tmp_path):
    chats = _chats(60)
    chats[5][2] |= {"weight": 0, "name": None}
    with pytest.warns(DataWarning, match="turns hold more than role and content, which is not used: weight"):
        load_task(_lines(tmp_path / "chats.jsonl", chats))


def test_a_template_is_not_for_chats(tmp_path):
    with pytest.raises(VxlabError, match="prompt_template= needs answer_column="):
        load_task(_lines(tmp_path / "chats.jsonl", _chats(60)), prompt_template="{messages}")


def test_messages_beside_labels_are_not_read(tmp_path):
    rows = [{"messages": turns, "text": f"{row}", "label": row % 2} for row, turns in enumerate(_chats(60))]
    path = tmp_path / "rated.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert load_task(path).num_labels == 2
