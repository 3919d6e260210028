"""Merging is held against its definition on images as on texts, whatever the architecture."""

import functools

import exported
import pytest
import torch
from vision_architectures import ARCHITECTURES, build, images

import vxlab
from vxlab.experiments.models.merge_check import check_merge


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_of_images_merges_within_rounding(name: str, precision: str) -> None:
    model = exported.stir(vxlab.attach(build(name), vxlab.LoRA(rank=3), "all-linear"), scale=0.2)
    found = check_merge(model, [images(name, rows=3)], precision)
    assert found.merges
    assert found.computes
    assert found.effect > 10 * found.rounding
    assert found.rows == 3


def test_a_merge_that_adds_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported.stir(vxlab.attach(build("vit"), vxlab.LoRA(rank=3), "all-linear"))
    for name, by in (("merge", 1), ("unmerge", -1)):
        shift = functools.partial(torch.Tensor.add_, model.classifier.bias.data, by)
        monkeypatch.setattr(f"vxlab.experiments.models.merge_check.{name}", lambda model, shift=shift: shift())
    found = check_merge(model, [images("vit")])
    assert not found.merges
    assert "**Merging changes the answers**" in found.sentence()
