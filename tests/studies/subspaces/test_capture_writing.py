"""What bases can follow of the first gradient of a model that writes."""

import math
from pathlib import Path

import toy_writers

import vxlab
from vxlab.studies.subspaces.capture import band_capture


def test_bases_are_judged_on_batches_of_answers(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.LoRAXS(rank=2), batch_size=2, max_new_tokens=0)
    table = band_capture(spec, [2], ["top", "gradient"], batches=2, store=tmp_path)
    assert set(table["family"]) == {"top of W", "first gradient"}
    assert len(table) == 2 * 14
    shares = table.groupby("family")["share"].mean()
    assert 1 > shares["first gradient"] > 5 * shares["top of W"]
    assert all(math.isfinite(each) for each in table["low"])
