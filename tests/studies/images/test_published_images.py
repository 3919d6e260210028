"""The paper's table of images, and its differences beside those measured."""

import pytest

import vxlab
from vxlab.studies.images import differences_beside, published_images


def test_the_table_is_the_papers() -> None:
    table = published_images().set_index(["model", "method"])
    assert list(table.index.get_level_values("method")) == ["head", "full", "lora", "vera"] * 2
    sets = ["cifar100", "food101", "flowers102", "resisc45"]
    assert table[sets].to_numpy()[3].tolist() == [84.8, 89.0, 99.0, 77.0]
    assert table[["rank", "parameters"]].to_numpy()[7].tolist() == [256, 61000]


def test_differences_are_of_the_same_two_methods(drawn: dict[int, vxlab.Comparison]) -> None:
    table = differences_beside(drawn[4])
    assert table[["a", "b"]].to_numpy().tolist() == [["full fine-tuning", "LoRA r=2"]]  # no head, and no VeRA
    means = drawn[4].summary.set_index("candidate")["mean"]
    first = table.iloc[0]
    assert first["here"] == pytest.approx(means["full fine-tuning"] - means["LoRA r=2"])
    assert first["low"] <= first["here"] <= first["high"]
    # ViT-L on Food101 78.7 - 79.5; ViT-B on RESISC45 78.9 - 77.7
    assert (first["least"], first["most"], first["sets"]) == (pytest.approx(-0.008), pytest.approx(0.012), 8)
