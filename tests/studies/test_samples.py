"""Texts side by side are the records' own, of the rows that were tested."""

import dataclasses

import pytest

import vxlab
import vxlab.experiments
from vxlab.studies.samples import PROMPT, REFERENCE, samples_table


def test_every_input_has_its_prompt_its_reference_and_a_text_of_each(written: vxlab.Comparison) -> None:
    table = samples_table(written, inputs=4)
    task = written.fair.spec(*next(iter(written.fair.names.items()))[1:], 1.0, 0.0, 0).load_task()
    rows = task.splits["test"][:]
    runs = written.runs.sort_values("seed").groupby("candidate", sort=False)["key"].first()
    for number, own in table.groupby("input"):
        place = number * len(rows["text"]) // 4
        assert list(own["who"]) == [PROMPT, REFERENCE, *written.fair.names]
        assert own["text"].iloc[0] == rows["text"][place].strip()
        assert own["text"].iloc[1] == rows["references"][place][0]
        for who, text in zip(own["who"].iloc[2:], own["text"].iloc[2:], strict=True):
            assert text == written.records[runs[who]].texts()[place]


def test_no_more_inputs_are_shown_than_there_are(written: vxlab.Comparison) -> None:
    assert samples_table(written, inputs=500)["input"].nunique() == 12


def test_prompts_that_have_changed_since_are_not_shown_beside_the_texts(
    written: vxlab.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = vxlab.experiments.find_task
    changed = lambda fields: dataclasses.replace(found(fields), fingerprint="0" * 64)  # noqa: E731
    monkeypatch.setattr("vxlab.experiments.find_task", changed)
    table = samples_table(written, inputs=2)
    assert list(table["who"]) == [*written.fair.names] * 2
    assert table["input"].tolist() == sorted([0, 1] * len(written.fair.names))
