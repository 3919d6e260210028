"""Whether merging changes what a model writes."""

import torch
from text_batches import text_batches

import vxlab
from vxlab.experiments.models.merge_check import check_merge


def test_an_adapter_on_a_model_that_writes_merges(tiny_writer: str) -> None:
    model = vxlab.attach(vxlab.load_model(tiny_writer, 0), vxlab.LoRA(rank=4), "all-linear")
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=0.1)
    found = check_merge(model, text_batches(tiny_writer, ["name[Aromi]", "name[Alimentum], area[centre], food[Thai]"]))
    assert found.merges
    assert found.computes
    assert found.effect > 1000 * found.merged
    assert found.rows == 2
