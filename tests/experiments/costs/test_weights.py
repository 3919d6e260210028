"""What weights take in memory, by what holds them: against sizes known from the schemes, and torch's own count."""

import pytest
import torch
from torch import nn

import vxlab
from vxlab.experiments.costs import random_batch, step_memory, weight_memory
from vxlab.experiments.costs.packed_shapes import packed_bytes

pytest.importorskip("bitsandbytes")

SCHEMES = ("nf4", "int8", "torchao-int8")


def test_a_float_model_has_embeddings_and_the_rest(tiny_writer: str) -> None:
    model = vxlab.load_model(tiny_writer, 0)
    held = weight_memory(model)
    table = model.get_input_embeddings().weight
    assert held.packed == held.scales == 0
    assert held.embeddings == 4 * table.numel()  # the output layer shares them, or is of the rest
    assert held.total == 4 * sum(
        each.numel() for each in {id(t): t for t in (*model.parameters(), *model.buffers())}.values()
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_quantised_weights_take_what_the_scheme_says(scheme: str, tiny_writer: str) -> None:
    plain, model = vxlab.load_model(tiny_writer, 0), vxlab.load_model(tiny_writer, 0, scheme)
    layers = vxlab.resolve_targets(plain, "all-linear").values()
    held, whole = weight_memory(model), weight_memory(plain)
    packed = sum(packed_bytes(scheme, *layer.weight.shape) for layer in layers)
    assert held.packed + held.scales == packed
    assert held.embeddings == whole.embeddings
    assert held.rest == whole.rest - 4 * sum(layer.weight.numel() for layer in layers)
    vxlab.attach(model, vxlab.LoRAXS(rank=2), "all-linear")
    assert weight_memory(model) == held
    batch = random_batch(model, 2, 8)
    step = step_memory(model, batch, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad]))
    assert step.weights == held.total


def test_what_is_shared_counts_once() -> None:
    model = nn.ModuleList([nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)])
    model[1].weight = model[0].weight
    assert weight_memory(model) == (0, 0, 60, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "most"), [("nf4", 0.20), ("int8", 0.30), ("torchao-int8", 0.30)])
def test_a_real_models_weights_take_a_fraction_of_float32s_embeddings_apart(scheme: str, most: float) -> None:
    held, whole = (weight_memory(vxlab.load_model("smollm2", 0, each)) for each in (scheme, None))
    assert (held.total - held.embeddings) / (whole.total - whole.embeddings) <= most
