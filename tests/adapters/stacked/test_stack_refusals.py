"""What cannot be stacked is refused, and the model is then as it was."""

import copy

import pytest
import toy_stacks as toy
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab
from vxlab.adapters.stacked import stack_adapters
from vxlab.errors import VxlabError

LORA = vxlab.LoRA(rank=2)
METHODS = {
    "none": ([], "methods=.* is empty"),
    "no list": ("lora", "methods='lora' is no list"),
    "a name": ([LORA, "lora"], "methods holds 'lora'"),
    "two classes": ([LORA, vxlab.VeRA(rank=2)], "several classes .*LoRA, VeRA"),
    "no adapter": ([vxlab.BitFit()] * 2, "BitFit.* does not stack"),
    "peft's": ([vxlab.PEFT("ia3")] * 2, "PEFT.* does not stack"),
    "other tensors train": ([LORA, vxlab.LoRA(rank=2, trains="B")], "do not stack, for they train or share other"),
    "other tensors are shared": ([vxlab.VeRA(rank=2), vxlab.VeRA(rank=2, unique=True)], "train or share other"),
    "a rank too high": ([vxlab.LoRAXS(rank=2), vxlab.LoRAXS(rank=99)], "rank=99"),
    "bases of a folder": ([vxlab.LoRAXS(rank=2), vxlab.LoRAXS(rank=2, basis="gradient")], "basis='gradient'.*alone"),
}


@pytest.mark.parametrize(("methods", "told"), METHODS.values(), ids=METHODS.keys())
def test_methods_that_do_not_stack(methods, told):
    model = ARCHITECTURES["bert"]()
    before, trains = copy.deepcopy(model.state_dict()), [each.requires_grad for each in model.parameters()]
    with pytest.raises(VxlabError, match=told):
        stack_adapters(model, methods)
    assert model.state_dict().keys() == before.keys()
    assert [each.requires_grad for each in model.parameters()] == trains
    assert model(**inputs("bert")).logits.shape == (2, 2)
    vxlab.attach(model, LORA)


def test_a_model_that_has_adapters_already():
    model = vxlab.attach(ARCHITECTURES["bert"](), LORA)
    with pytest.raises(VxlabError, match="already has LoRA"):
        stack_adapters(model, [LORA])
    stack = stack_adapters(vxlab.detach(model), [LORA])
    with pytest.raises(VxlabError, match=r"stacked adapters on it already; call remove\(\)"):
        stack_adapters(model, [LORA])
    with pytest.raises(VxlabError, match=r"stacked adapters.*remove\(\)"):
        vxlab.attach(model, LORA, "attention.output.dense")
    with pytest.raises(VxlabError, match="has no adapter"):
        vxlab.save_adapter(model, "nowhere")
    stack.remove()
    vxlab.attach(model, LORA)


def test_a_model_whose_rows_see_one_another():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(VxlabError, match=r"`1` \(BatchNorm1d\) normalises over all rows"):
        stack_adapters(model, [LORA] * 2, ["0"])


def test_a_head_of_more_than_linear_layers():
    model = ARCHITECTURES["bert"]()
    model.classifier = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 2))
    with pytest.raises(VxlabError, match=r"`classifier\.0\.weight` of LayerNorm"):
        stack_adapters(model, [LORA] * 2)


@pytest.mark.parametrize("name", ["deberta", "deberta-v2"])
def test_layers_that_see_positions_in_place_of_rows(name):
    stack = toy.stacked([LORA] * 2, name)
    with pytest.raises(VxlabError, match=r"pos_\w+` was given \(1, .* in a batch of 4 rows.*other targets"):
        stack.model(**toy.batch(4))


@pytest.mark.parametrize("rows", [3, 5])
def test_rows_that_are_no_equal_parts(rows):
    stack = toy.stacked([LORA] * 2)
    with pytest.raises(VxlabError, match=f"{rows} rows are no 2 equal parts"):
        stack.model(**toy.batch(rows))
    assert stack.model(**toy.batch(4)).logits.shape == (4, 2)


def test_rows_named_that_are_fewer_than_the_batch():
    stack = toy.stacked([LORA] * 2)
    with stack.rows([1, 2]) as model, pytest.raises(VxlabError, match=r"batch of 2 rows, by rows=\[1, 2\]"):
        model(**toy.batch(4))


@pytest.mark.parametrize("slot", [0, 3, -1, True, "1", None], ids=repr)
def test_slots_that_are_not_there(slot):
    stack = toy.stacked([LORA] * 2)
    with pytest.raises(VxlabError, match="choose 1-2"):
        stack.take(slot)
    with pytest.raises(VxlabError, match="choose 1-2"), stack.single(slot):
        pass
