"""What is chosen wins over a scale, and a method has a table of settings, or one a rank."""

from typing import Any

import pytest

import vxlab
from vxlab.studies import adapters_sweep

USUAL: dict[str, Any] = {
    "model": "smollm2", "task": "e2e", "targets": "all-linear", "epochs": 2, "batch_size": 8,
    "budget": {"learning_rates": 1, "tuning_seeds": 0, "report_seeds": 2, "widen": 0},
    "methods": {"lora": [{"rank": 4, "learning_rate": 1e-3}, {"rank": 8, "learning_rate": 2e-3}]},
}  # fmt: skip


def test_the_scales_ranks_are_taken_where_none_is_named() -> None:
    fair = adapters_sweep(USUAL, {"lora": None, "base": None}, {"epochs": 1, "batch_size": None})
    assert [(name, each.learning_rate) for name, each in fair.names.items()] == [
        ("LoRA r=4", 1e-3), ("LoRA r=8", 2e-3), ("untuned base", None),
    ]  # fmt: skip
    assert (fair.settings["epochs"], fair.settings["batch_size"], fair.report_seeds) == (1, 8, 2)
    assert USUAL["epochs"] == 2


def test_a_rank_of_the_scale_has_its_own_settings_and_another_those_of_the_first() -> None:
    fair = adapters_sweep(USUAL, {"lora": [8, 32]}, {}, {})
    assert {name: each.learning_rate for name, each in fair.names.items()} == {"LoRA r=8": 2e-3, "LoRA r=32": 1e-3}
    assert adapters_sweep(USUAL, {"lora": 8}, {}, {"lora": 0.5}).names["LoRA r=8"].learning_rate == 0.5


def test_several_rates_are_tuned_on_one_seed_at_least() -> None:
    fair = adapters_sweep(USUAL, {"lora": 8}, {"learning_rates": 3})
    assert (fair.learning_rates, fair.tuning_seeds) == (3, 1)


def test_a_rank_that_is_no_number_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="rank='four'"):
        adapters_sweep(USUAL, {"lora": "four"}, {})  # type: ignore[dict-item]
