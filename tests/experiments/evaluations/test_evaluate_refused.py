"""What cannot be evaluated is refused, what scores do not show is told, and the process is left as it was."""

import json
import sys
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
import toy_runs
import toy_writers
from outside import evaluate

import vxlab


def test_what_cannot_be_evaluated_is_refused(
    tiny_model: str, toy_task: str, two_runs: list[vxlab.RunRecord], tiny_writer: str, templates: Path, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    with pytest.raises(vxlab.VxlabError, match=r"trains a head that classifies.*leave evaluate out"):
        vxlab.run(spec, store=tmp_path, evaluate=["arc_easy"], progress=False)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    with pytest.raises(vxlab.VxlabError, match=r"LoRA r=4\) trained a head that classifies"):
        evaluate(record, tmp_path, templates)
    with pytest.raises(vxlab.VxlabError, match=r"cannot write: BertLMHeadModel"):
        evaluate(tiny_model, tmp_path, templates)
    for value in ([], None, 3, [record, 4]):
        with pytest.raises(vxlab.VxlabError, match=r"runs.*give what vxlab.run\(spec\) returned"):
            evaluate(value, tmp_path, templates)
    for wrong in ({"limit": 1.5}, {"num_fewshot": -1}, {"batch_size": "8"}, {"chat_template": 3}, {"device": 3},
                  {"precision": 16}, {"base": 1}, {"fresh": "no"}, {"task_folder": 3}, {"tasks": {}}):  # fmt: skip
        with pytest.raises(vxlab.VxlabError, match=next(iter(wrong))):
            evaluate(tiny_writer, tmp_path, templates, **wrong)
    with pytest.raises(vxlab.VxlabError, match=r"limit=0 is not a positive integer"):
        evaluate(tiny_writer, tmp_path, templates, limit=0)
    with pytest.raises(vxlab.VxlabError, match=r"'gsm8k' lets the model write more tokens than it has positions for"):
        evaluate(tiny_writer, tmp_path, templates, ["gsm8k"])
    with pytest.raises(vxlab.VxlabError, match=r"brings no chat template; leave chat_template out"):
        evaluate(tiny_writer, tmp_path, templates, chat_template="tokenizer")


def test_prompts_are_written_by_a_template_that_is_asked_for(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jinja"
    chat.write_text(toy_writers.CHAT)
    plain, chatted = (
        evaluate(tiny_writer, tmp_path, templates, ["lambada_standard"], chat_template=template).evaluations[0]
        for template in (None, str(chat))
    )
    assert plain.scores != chatted.scores
    assert plain.key != chatted.key


def test_prompts_that_are_cut_are_told(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"arc_easy: \d+ prompts did not fit into the 128 tokens .* lost the beginning"
    ):
        found = evaluate(tiny_writer, tmp_path, templates, ["arc_easy"], num_fewshot=6)
    (note,) = found.evaluations[0].notes
    assert found.in_words()[-1] == f"{note}."
    assert evaluate(tiny_writer, tmp_path, templates, ["arc_easy"], num_fewshot=6).in_words() == found.in_words()
    assert evaluate(tiny_writer, tmp_path, templates, ["arc_easy"]).evaluations[0].notes == ()


@outside.here
def test_prompts_to_write_on_that_are_cut_are_told(documents: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in documents["gsm8k"]["test"].read_text().splitlines()]
    rows[0]["question"] = "word " * 400
    long = {"test": outside.write_lines(tmp_path / "long.jsonl", rows), "train": documents["gsm8k"]["train"]}
    with pytest.warns(UserWarning, match=r"gsm8k: 1 prompt did not fit into the 512 tokens"):
        vxlab.evaluate(
            str(outside.STORIES), vxlab.LocalTask("gsm8k", long), store=tmp_path, limit=2, num_fewshot=1, device="cpu",
            progress=False,
        )  # fmt: skip


def test_the_process_is_left_as_it_was(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    import logging
    import random

    import numpy as np

    def states() -> tuple[Any, ...]:
        return (
            random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            logging.getLogger("lm_eval").level, torch.get_default_dtype(), "evaluate" in sys.modules,
        )  # fmt: skip

    before = states()
    evaluate(tiny_writer, tmp_path, templates)
    assert states() == before
