"""What the page compares at each scale, and that what is chosen wins."""

import pytest

import vxlab
from vxlab.studies.generation import generation_sweep, smoke_files

METHODS = {"lora": None, "vera": 7, "lora_xs": None, "full": None, "base": None}


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_scale_has_all_methods_and_tunes_none(scale: str) -> None:
    fair = generation_sweep(scale, METHODS, {})
    assert [each.method.name for each in fair.names.values()] == list(METHODS)
    assert fair.runs()["tuning"] == 0
    assert "VeRA r=7" in fair.names


def test_what_is_chosen_wins_over_the_scale() -> None:
    chosen = {"task": "pairs.jsonl", "answer_column": "said", "learning_rates": 3, "epochs": None, "batch_size": 4}
    fair = generation_sweep("small", METHODS, chosen, {"lora": 1e-3})
    assert fair.settings["task"] == "pairs.jsonl"
    assert fair.settings["answer_column"] == "said"
    assert (fair.settings["epochs"], fair.settings["batch_size"]) == (1, 4)
    assert (fair.learning_rates, fair.tuning_seeds) == (3, 1)
    assert fair.names["LoRA r=8"].learning_rate == 1e-3


def test_a_task_of_ones_own_does_not_take_the_smoke_tasks_column() -> None:
    assert "answer_column" not in generation_sweep("smoke", METHODS, {"task": "chats.jsonl"}).settings


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="method='lorra' is unknown"):
        generation_sweep("small", {"lorra": None}, {})


def test_the_smoke_files_are_written_once_and_are_the_same_everywhere() -> None:
    from vxlab.experiments.models import model_fingerprint

    model, task = smoke_files()
    assert smoke_files() == (model, task)
    assert len(model_fingerprint(model)) == 64


def test_a_method_at_several_ranks_is_a_candidate_at_each() -> None:
    fair = generation_sweep("small", {"lora": [4, 8], "vera": None, "base": []}, {})
    assert list(fair.names) == ["LoRA r=4", "LoRA r=8", "VeRA r=256", "untuned base"]
    assert fair.names["LoRA r=4"].learning_rate == fair.names["LoRA r=8"].learning_rate == 6e-3
