"""What the page compares at each scale and on each set, and that what is chosen wins."""

from pathlib import Path

import pytest
import toy_sets

import vxlab
from vxlab.studies.reasoning import reasoning_sweeps, smoke_sets

METHODS = {"base": None, "lora": None, "lora_xs": None, "vera": None}
LABELS = ["untuned base", "LoRA r=8", "LoRA-XS r=16", "VeRA r=256"]


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_scale_has_all_methods_on_every_set_and_tunes_none(scale: str) -> None:
    for fair in reasoning_sweeps(scale, [], METHODS, {}).values():
        assert [each.method.name for each in fair.names.values()] == list(METHODS)
        assert fair.runs()["tuning"] == 0


def test_a_set_has_its_own_settings_and_what_is_chosen_wins_over_both() -> None:
    sweeps = reasoning_sweeps("small", [], METHODS, {"task_folder": "sets", "epochs": None})
    assert list(sweeps) == ["arc_easy", "openbookqa", "gsm8k"]
    assert list(sweeps["arc_easy"].names) == LABELS
    assert sweeps["arc_easy"].report_seeds >= 3
    assert sweeps["gsm8k"].report_seeds < 3
    assert {fair.settings["task_folder"] for fair in sweeps.values()} == {"sets"}
    assert [fair.settings["task"] for fair in sweeps.values()] == list(sweeps)
    chosen = reasoning_sweeps("small", ["gsm8k"], METHODS, {"report_seeds": 4, "batch_size": 2, "train_examples": 6})
    (gsm8k,) = chosen.values()
    assert (gsm8k.report_seeds, gsm8k.settings["batch_size"], gsm8k.settings["train_examples"]) == (4, 2, 6)


def test_sets_of_ones_own_are_called_by_their_file(tmp_path: Path) -> None:
    sweeps = reasoning_sweeps("small", [str(tmp_path / "mine.jsonl"), "piqa"], METHODS, {})
    assert list(sweeps) == ["mine", "piqa"]
    assert sweeps["mine"].settings["task"] == str(tmp_path / "mine.jsonl")


def test_the_length_of_texts_is_chosen_for_sets_that_are_written_alone(tmp_path: Path) -> None:
    _, places = smoke_sets()
    folder = toy_sets.write_mathematics(tmp_path / "sets", rows=20)
    chosen = {"max_new_tokens": 33}
    assert (
        "max_new_tokens"
        not in reasoning_sweeps("small", [places["toy_choices"]], METHODS, chosen)["toy_choices"].settings
    )
    written = reasoning_sweeps("small", ["gsm8k"], METHODS, chosen | {"task_folder": folder})
    assert written["gsm8k"].settings["max_new_tokens"] == 33


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="method='lorra' is unknown"):
        reasoning_sweeps("small", [], {"lorra": None}, {})


def test_the_toy_sets_are_one_to_choose_from_and_one_to_be_written() -> None:
    _, places = smoke_sets()
    choices, sums = (vxlab.load_task(places[name], **own) for name, own in _COLUMNS.items())
    assert choices.metrics[0] == "acc"
    assert sums.kind.writes
    assert smoke_sets()[1] == places


_COLUMNS: dict[str, dict[str, str]] = {"toy_choices": {}, "toy_sums": {"answer_column": "answer"}}
