"""Explorers of what a model that writes learnt."""

from pathlib import Path

import toy_writers

import vxlab
from vxlab.views.explorers.subspaces import explore_subspaces
from vxlab.views.explorers.updates import explore_updates


def test_what_a_model_that_writes_learnt_is_explored(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.LoRA(rank=2), epochs=1, max_new_tokens=0)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    for explore in (explore_subspaces, explore_updates):
        said = str(explore(record, store=tmp_path, interactive=False).to_dict())
        assert "attention-output" in said
        assert "nan" not in said
