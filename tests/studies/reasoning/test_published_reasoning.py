"""The papers' tables as they are printed, and none without saying how certain it is."""

import pytest

from vxlab.studies.reasoning import published_reasoning


def test_mathematics_has_full_fine_tuning_lora_and_lora_xs() -> None:
    table = published_reasoning(mathematics=True).set_index(["model", "method"])
    assert len(table) == 6
    assert table.loc[("Mistral-7B", "LoRA-XS"), ["rank", "parameters", "gsm8k", "math"]].tolist() == [
        64, 920_000, 68.01, 17.86,
    ]  # fmt: skip
    assert table.loc[("Gemma-7B", "LoRA"), ["gsm8k", "math"]].tolist() == [74.90, 31.28]
    assert set(table["mark"]) == {"quoted by later work"}


def test_commonsense_has_what_stands_in_the_paper() -> None:
    table = published_reasoning(mathematics=False).set_index("method")
    assert table.loc["LoRA", ["hellaswag", "openbookqa"]].tolist() == [83.6, 81.0]
    assert table.loc["LoRA-XS", ["hellaswag", "openbookqa", "boolq"]].tolist() == [75.4, 74.6, 67.2]
    assert table["boolq"].isna().tolist() == [True, False]
    assert set(table["mark"]) == {"in the paper"}


@pytest.mark.parametrize("mathematics", [True, False])
def test_every_row_has_a_source(mathematics: bool) -> None:
    assert published_reasoning(mathematics)["source"].str.contains("arXiv 2405.17604").all()
