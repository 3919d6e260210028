"""What merging and requantising cost, against the same worked out beside it from the layers."""

from pathlib import Path

import numpy as np
import pytest

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.experiments.runs import load_trained
from vxlab.experiments.scoring import compare_two
from vxlab.studies import first_reports
from vxlab.studies.quantised import (
    MERGED,
    REQUANTISED,
    UNMERGED,
    MergingCosts,
    merging_costs,
    quantised_sweeps,
    scheme_scores,
)
from vxlab.studies.quantised.merging import _change

pytest.importorskip("bitsandbytes")
import bitsandbytes.functional


@pytest.fixture(scope="module")
def merging(trained: dict[str, vxlab.Comparison]) -> MergingCosts:
    return merging_costs(trained, rows=6)


def test_each_layers_errors_are_those_of_its_weights(
    merging: MergingCosts, trained: dict[str, vxlab.Comparison]
) -> None:
    result = trained["nf4"]
    for name, key in first_reports(result).items():
        own = merging.layers.query(f"candidate == '{name}' and seed == 0").set_index("layer")
        layers = vxlab.adapted_layers(load_trained(result.records[key]))
        assert list(own.index) == list(layers)
        for layer, adapted in layers.items():
            W, delta = linear_weight(adapted.base_layer).double(), adapted.delta_weight().detach().double()
            packed = bitsandbytes.functional.quantize_4bit(
                (W + delta).float(), blocksize=64, compress_statistics=True, quant_type="nf4"
            )
            again = bitsandbytes.functional.dequantize_4bit(*packed).double()
            assert own.loc[layer, "lost"] == pytest.approx(float((again - W - delta).norm() / delta.norm()), rel=1e-4)
            kept = float(((again - W) * delta).sum() / delta.norm() ** 2)
            assert own.loc[layer, "kept"] == pytest.approx(kept, abs=1e-4)
            assert own.loc[layer, "rounded"] < 1e-3


def test_merged_outputs_are_the_unmerged_ones_and_requantised_ones_are_not(merging: MergingCosts) -> None:
    assert list(merging.outputs["candidate"]) == ["LoRA r=2", "LoRA-XS r=4"]
    assert (merging.outputs["rows"] == 6).all()
    assert (merging.outputs[MERGED] < 1e-3).all()
    assert (merging.outputs[REQUANTISED] > 10 * merging.outputs[MERGED]).all()


def test_scores_are_the_reported_ones_and_merging_leaves_them(
    merging: MergingCosts, trained: dict[str, vxlab.Comparison]
) -> None:
    means = trained["nf4"].summary.set_index("candidate")["mean"]
    for row in merging.scores.to_dict("records"):
        assert row[UNMERGED] == pytest.approx(means[row["candidate"]])
        assert row[MERGED] == pytest.approx(row[UNMERGED])
        assert row["change"] == pytest.approx(row[REQUANTISED] - row[UNMERGED])
        assert row["low"] <= row["change"] <= row["high"]
    assert np.isfinite(merging.scores["p_holm"]).all()


def test_a_float_base_alone_leaves_nothing_to_merge(trained: dict[str, vxlab.Comparison]) -> None:
    costs = merging_costs({"float": trained["float"]})
    assert all(table.empty for table in costs)


def test_a_model_that_writes_has_outputs_and_no_scores(tiny_writer: str, toy_prompts: str, tmp_path: Path) -> None:
    chosen = {"model": tiny_writer, "task": toy_prompts, "answer_column": "answer", "max_new_tokens": 0}
    sweeps = quantised_sweeps("smoke", ["int8"], {"lora": None}, chosen | {"precision": "float32", "device": "cpu"})
    results = {name: vxlab.compare(fair, store=tmp_path, progress=False) for name, fair in sweeps.items()}
    costs = merging_costs(results, rows=3)
    assert costs.scores.empty
    (row,) = costs.outputs.to_dict("records")
    assert row[MERGED] < 1e-3 < row[REQUANTISED] < 1
    assert scheme_scores(results)["score"].notna().all()


def test_every_run_is_compared_with_itself_so_that_luck_of_training_is_in_no_interval() -> None:
    labels = np.arange(200) % 2
    good, poor = (np.where(np.arange(200) % 20 < wrong, 1 - labels, labels) for wrong in (2, 8))
    worse = np.where(np.arange(200) % 50 == 19, 1 - good, good)
    alone = compare_two({0: worse}, {0: good}, labels)
    found = _change({0: good, 1: poor}, {0: worse, 1: poor}, labels, "accuracy", None)
    assert found.difference == pytest.approx(alone.difference / 2)
    assert not found.covers_seeds
    assert found.high - found.low < 0.06  # the two runs themselves lie 30 points apart
    assert _change({0: good}, {0: worse}, labels, "accuracy", None)[:4] == pytest.approx(alone[:4])
