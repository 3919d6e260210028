"""How far training moved each block."""

import pandas as pd
import pytest

import vxlab
from vxlab.experiments.runs import layer_updates, load_trained
from vxlab.studies.images import changes_by_block, most_changed


def test_each_run_that_moves_layers_has_a_row_for_each(drawn: dict[int, vxlab.Comparison], store: str) -> None:
    result = drawn[4]
    changes = changes_by_block(result, store)
    roles = changes.groupby("candidate")["role"].unique()
    assert set(roles.index) == {"LoRA r=2", "full fine-tuning"}  # neither the probe nor the head
    assert set(roles["LoRA r=2"]) == {"query", "value"}
    assert {"query", "key", "value", "attention-output", "up", "down"} == set(roles["full fine-tuning"])
    assert (changes["relative_norm"] > 0).all()
    assert changes.groupby(["candidate", "block", "role"])["key"].nunique().eq(2).all()
    key = changes.loc[changes["candidate"] == "LoRA r=2", "key"].iloc[0]
    own = changes[changes["key"] == key]["relative_norm"].tolist()
    assert own == pytest.approx(layer_updates(load_trained(result.records[key]))["relative_norm"].tolist())


def test_blocks_are_ordered_by_their_mean_over_roles_and_runs() -> None:
    rows = [("a", run, block, role, norm) for run, norms in (("1", (1, 2, 4)), ("2", (5, 2, 4)))
            for block, norm in enumerate(norms) for role in ("query", "value")]  # fmt: skip
    changes = pd.DataFrame(rows, columns=["candidate", "key", "block", "role", "relative_norm"])
    table = most_changed(changes, "a")
    assert table.to_dict("list") == {"block": [2, 0, 1], "mean": [4, 3, 2], "first": [1, 1, 0], "runs": [2, 2, 2]}
