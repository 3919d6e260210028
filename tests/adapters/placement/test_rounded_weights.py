"""Frozen weights held rounded while a model trains: the same numbers to the last bit, and the same weights after."""

import copy

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import Tensor, nn

import vxlab
from vxlab.adapters.placement.rounded_weights import hold_weights_rounded

HALF = torch.bfloat16


def adapted(name: str, method: vxlab.adapters.Method | None = None) -> nn.Module:
    torch.manual_seed(0)
    return vxlab.attach(ARCHITECTURES[name](), method or vxlab.LoRA(rank=2, dropout=0.1), "all-linear")


def batch_of(name: str, model: nn.Module) -> dict[str, Tensor]:
    batch = inputs(name)
    headless = type(model).__name__.endswith(("CausalLM", "LMHeadModel"))
    return batch | {"labels": batch["input_ids"] if headless else torch.tensor([0, 1])}


def numbers(model: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """Return what a step in training mode under autocast computes."""
    torch.manual_seed(1)
    with torch.autocast(model.device.type, HALF):
        outputs = model.train()(**batch)
    outputs.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    found = [tensor.clone() for tensor in (outputs.loss.detach(), outputs.logits.detach(), *gradients)]
    model.zero_grad()
    return found


def dtypes(model: nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}


# transformers' first DeBERTa masks with float32's smallest number, which fails under autocast by itself.
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "deberta"])
def test_no_number_of_a_step_changes_by_a_bit(name):
    model = adapted(name)
    batch = batch_of(name, model)
    before, weights = numbers(model, batch), copy.deepcopy(model.state_dict())
    with hold_weights_rounded(model, HALF, batch):
        held = dtypes(model)
        during = numbers(model, batch)
    assert held == {torch.float32, HALF}
    assert all(map(torch.equal, before, during))
    assert dtypes(model) == {torch.float32}
    assert all(map(torch.equal, weights.values(), model.state_dict().values()))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_nor_on_a_gpu(name):
    model = adapted(name).to("cuda")
    batch = {key: tensor.to("cuda") for key, tensor in batch_of(name, model).items()}
    before = numbers(model, batch)
    with hold_weights_rounded(model, HALF, batch):
        assert HALF in dtypes(model)
        assert all(map(torch.equal, before, numbers(model, batch)))


@pytest.mark.parametrize(
    "method", [vxlab.VeRA(rank=3), vxlab.LoRAXS(rank=2), vxlab.LiDB(rank=2, aux_out=8, aux_in=8)], ids=str
)
def test_every_family_trains_on_as_it_would(method):
    model = adapted("bert", method)
    batch = batch_of("bert", model)
    before = numbers(model, batch)
    with hold_weights_rounded(model, HALF, batch):
        assert HALF in dtypes(model)
        assert all(map(torch.equal, before, numbers(model, batch)))


def test_embeddings_tied_to_a_linear_layer_stay_whole():
    model = adapted("llama-lm")
    with hold_weights_rounded(model, HALF, batch_of("llama-lm", model)):
        assert model.lm_head.weight is model.get_input_embeddings().weight
        assert model.lm_head.weight.dtype == torch.float32


def test_modes_and_random_numbers_are_as_they_were():
    model = adapted("bert").train()
    model.classifier.eval()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with hold_weights_rounded(model, HALF, batch_of("bert", model)):
        assert [part.training for part in (model, model.classifier, model.bert)] == [True, False, True]
        assert torch.equal(torch.get_rng_state(), state)


class AsksForTheDtype(nn.Module):
    """Lets a result depend on the dtype of a layer's weight, as a mask's smallest number may."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, *given: Tensor, **more: Tensor) -> Tensor:
        return self.dense(*given, **more) * (1 + torch.finfo(self.dense.weight.dtype).eps)


class Fails(AsksForTheDtype):
    """Fails where a weight is not in float32."""

    def forward(self, *given: Tensor, **more: Tensor) -> Tensor:
        assert self.dense.weight.dtype == torch.float32, "not whole"
        with torch.autocast("cpu", enabled=False):
            return self.dense(given[0].float())


@pytest.mark.parametrize("wrapper", [AsksForTheDtype, Fails])
def test_a_model_that_would_give_other_numbers_keeps_its_weights_whole(wrapper):
    model = adapted("bert")
    model.bert.pooler.dense = wrapper(model.bert.pooler.dense)
    with hold_weights_rounded(model, HALF, batch_of("bert", model)):
        assert dtypes(model) == {torch.float32}


@pytest.mark.parametrize("method", [vxlab.PEFT("lora", r=2, use_dora=True), vxlab.Head(), vxlab.Full()], ids=str)
def test_what_is_no_family_of_ours_is_left_alone(method):
    torch.manual_seed(0)
    model = vxlab.attach(ARCHITECTURES["bert"](), method)
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    with hold_weights_rounded(model, HALF, batch_of("bert", model)):
        assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == before


def test_weights_come_back_after_an_error_and_float32_is_not_touched():
    model = adapted("bert")
    batch = batch_of("bert", model)
    with pytest.raises(KeyError), hold_weights_rounded(model, HALF, batch):
        raise KeyError
    assert dtypes(model) == {torch.float32}
    with hold_weights_rounded(model, torch.float32, batch):
        assert dtypes(model) == {torch.float32}
