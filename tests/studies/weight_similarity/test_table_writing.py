"""Updates of models that write, beside each other and beside chance."""

from pathlib import Path

import pytest
import toy_writers

import vxlab
from vxlab.experiments.runs import sample_batches
from vxlab.studies.updates import pair_table, update_tables
from vxlab.studies.weight_similarity import require_role, similarity_table


def test_adapters_of_a_model_that_writes_are_compared(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    methods = {"lora": vxlab.LoRA(rank=2), "vera": vxlab.VeRA(rank=2, seed=1000), "full": vxlab.Full()}
    specs = {
        name: toy_writers.spec(tiny_writer, toy_prompts, method=each, epochs=1, max_new_tokens=0)
        for name, each in methods.items()
    }
    runs = {name: vxlab.run(spec, store=tmp_path, progress=False) for name, spec in specs.items()}
    texts = sample_batches(specs["lora"], 4)
    assert [set(batch) for batch in texts] == [{"input_ids", "attention_mask"}]
    table = similarity_table([runs["lora"], runs["vera"]], texts, draws=1)
    assert set(table["role"]) == {"query", "key", "value", "attention-output", "gate", "up", "down"}
    assert table[["cosine", "columns", "rows", "cka"]].notna().all(axis=None)
    require_role(specs["lora"], "gate")
    with pytest.raises(
        vxlab.VxlabError, match=r"role='pooler' is of none of the layers .* which are attention-output, "
    ):
        require_role(specs["lora"], "pooler")
    pairs = pair_table(runs["lora"], runs["full"], store=tmp_path)
    assert len(pairs) == 14
    assert pairs["cosine"].mean() > pairs["cosine_chance"].mean()  # both learnt the same task
    assert len(update_tables(runs["full"], store=tmp_path).layers) == 14
