"""What data hold, in bits."""

import math

import pytest
import toy_writers

import vxlab
from vxlab.experiments.runs import Materials
from vxlab.studies.advisor.capacity import capacity_of


def test_labels_hold_their_entropy(tiny_model, toy_task):
    spec = vxlab.RunSpec(
        method=vxlab.LoRA(), model=tiny_model, task=toy_task, learning_rate=1e-3, head_learning_rate=1e-3
    )
    found = capacity_of(spec, Materials(), 58)
    assert found["data_bits"] == pytest.approx(120 * 0.97095, rel=1e-4)  # three in five of one class
    assert (found["adapter_bits"], found["enough"]) == (116, False)
    assert capacity_of(spec, Materials(), 59)["enough"]


def test_of_numbers_it_is_not_told(tiny_model, tmp_path):
    rows = "".join(f"a film of {i},{i / 7:.3f}\n" for i in range(120))
    (tmp_path / "stars.csv").write_text(f"text,label\n{rows}")
    spec = vxlab.RunSpec(
        method=vxlab.LoRA(), model=tiny_model, task=str(tmp_path / "stars.csv"), label_kind="numbers",
        learning_rate=1e-3, head_learning_rate=1e-3,
    )  # fmt: skip
    found = capacity_of(spec, Materials(), 58)
    assert math.isnan(found["data_bits"])
    assert found["enough"] is None


def test_answers_hold_a_bit_a_token(tiny_writer, toy_prompts):
    spec, materials = toy_writers.spec(tiny_writer, toy_prompts), Materials()
    rows = materials.splits(spec)["train"]
    answered = sum(sum(label != -100 for label in row) for row in rows["labels"])
    assert capacity_of(spec, materials, 1)["data_bits"] == answered > 0
