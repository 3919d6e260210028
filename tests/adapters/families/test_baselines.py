"""Ways to fine-tune without an adapter: what trains, and what is refused."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab

WITH_BIASES = ["bert", "roberta", "distilbert", "deberta-v2", "gpt2", "vit", "dinov2", "clip"]


@pytest.mark.parametrize("name", WITH_BIASES)
def test_bitfit_trains_the_biases_of_the_backbone_and_the_whole_head(name: str) -> None:
    model = ARCHITECTURES[name]()
    head = vxlab.trainable_parameters(vxlab.attach(ARCHITECTURES[name](), vxlab.Head())).head
    biases = {n for n, _ in model.named_parameters() if n.endswith(".bias") and _in_backbone(model, n)}
    count = vxlab.trainable_parameters(vxlab.attach(model, vxlab.BitFit()))
    trained = {n for n, p in model.named_parameters() if p.requires_grad and _in_backbone(model, n)}
    assert trained == biases
    assert count.backbone == sum(model.get_parameter(n).numel() for n in biases)
    assert count.head == head
    assert count.total == sum(p.numel() for p in model.parameters())
    model.train()(**inputs(name)).logits.sum().backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None}
    assert moved <= trained | {n for n, _ in model.named_parameters() if not _in_backbone(model, n)}
    assert len(moved & trained) > 0.8 * len(trained)


def _in_backbone(model: nn.Module, name: str) -> bool:
    return name not in vxlab.adapters.placement.targets.head_parameters(model)


def test_bitfit_comes_back_bit_for_bit_and_takes_no_notice_of_targets(tmp_path: Path) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.BitFit(), targets="no such layer")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path / "a"))
    with torch.no_grad():
        expected, found = (each.eval()(**inputs("bert")).logits for each in (model, loaded))
    assert torch.equal(found, expected)
    assert vxlab.trainable_parameters(loaded) == vxlab.trainable_parameters(model)


def test_bitfit_without_biases_is_refused_and_changes_nothing() -> None:
    model = ARCHITECTURES["llama"]()
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with pytest.raises(vxlab.VxlabError, match=r"BitFit\(\) trains biases, and the backbone of this Llama.* has none"):
        vxlab.attach(model, vxlab.BitFit())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == before
    assert not hasattr(model, "vxlab_attachment")
