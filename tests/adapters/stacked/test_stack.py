"""Stacked adapters on whole models, against each adapter alone."""

import copy

import pytest
import torch
import toy_stacks as toy
from architectures import ARCHITECTURES
from torch import Tensor, nn
from toy_methods import FrozenA

import vxlab
from vxlab.adapters.stacked import StackedHead, StackedLinear, stack_adapters
from vxlab.errors import VxlabError

LORA, LORA_FA, VERA, XS = vxlab.LoRA, vxlab.LoRA(rank=3, trains="B"), vxlab.VeRA, vxlab.LoRAXS
SAME = {
    "lora": [LORA(rank=3)] * 3,
    "lora_fa": [LORA_FA] * 3,
    "vera": [VERA(rank=9)] * 3,
    "lora_xs": [XS(rank=4)] * 3,
    "lidb": [vxlab.LiDB(rank=2, aux_out=6, aux_in=5)] * 3,
    "own": [FrozenA(rank=3)] * 3,
}
MIXED = {
    "lora": [LORA(rank=2), LORA(rank=5, alpha=10), LORA(rank=3)],
    "lora_fa": [LORA_FA, vxlab.LoRA(rank=4, trains="B"), vxlab.LoRA(rank=3, trains="B", seed=5)],
    "vera": [VERA(rank=4), VERA(rank=40), VERA(rank=9, d_initial=0.3)],
    "vera d": [VERA(rank=4, vectors="d"), VERA(rank=9, vectors="d", unique=False), VERA(rank=7, vectors="d")],
    "vera b": [VERA(rank=4, vectors="b"), VERA(rank=9, vectors="b"), VERA(rank=7, vectors="b", d_initial=0.5)],
    "vera unique": [VERA(rank=4, unique=True), VERA(rank=9, unique=True), VERA(rank=4, unique=True, seed=3)],
    "lora_xs": [XS(rank=2, alpha=6), XS(rank=8), XS(rank=8, sigma="none")],
    "lora_xs nested": [XS(rank=2), XS(rank=8), XS(rank=4)],
    "lidb": [
        vxlab.LiDB(rank=2, aux_out=6, aux_in=5), vxlab.LiDB(rank=1, aux_out=9, aux_in=5, seed=2),
        vxlab.LiDB(rank=3, aux_out=6, aux_in=8),
    ],
    "own": [FrozenA(rank=2), FrozenA(rank=5), FrozenA(rank=3, seed=4)],
}  # fmt: skip
ALL = {**{f"{name}, alike": each for name, each in SAME.items()}, **MIXED, "head": [vxlab.Head()] * 3}
every_family = pytest.mark.parametrize("methods", SAME.values(), ids=SAME.keys())
every_stack = pytest.mark.parametrize("methods", ALL.values(), ids=ALL.keys())


def assert_close(mine: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert mine.shape == theirs.shape
    assert (mine - theirs).norm() <= tolerance * theirs.norm()


@every_stack
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_logits_and_gradients_are_those_of_each_adapter_alone(methods, name):
    stack = toy.stacked(methods, name)
    given = toy.batch(6)
    logits, found = stack.model(**given).logits.detach(), toy.gradients(stack, given)
    for slot in (1, 2, 3):
        expected, theirs = toy.alone(stack, slot, given)
        assert_close(logits.chunk(3)[slot - 1], expected)
        assert found[slot - 1].keys() == theirs.keys()
        for key, gradient in theirs.items():
            assert_close(found[slot - 1][key], gradient, 1e-4)


BY_ROLE = {"query": 2, "key": 3, "value": 5, "attention-output": 1, "up": 5, "down": 3}
BY_LAYER = [
    [LORA(rank=BY_ROLE, alpha=6), LORA(rank=4), LORA(rank=BY_ROLE | {"layer.1.attention.self.query": 7})],
    [XS(rank=BY_ROLE, alpha=6), XS(rank=4), XS(rank=BY_ROLE | {"layer.1.attention.self.query": 7})],
    [VERA(rank=BY_ROLE), VERA(rank=BY_ROLE), VERA(rank=BY_ROLE)],
    [VERA(rank=BY_ROLE), VERA(rank=4), VERA(rank=BY_ROLE | {"layer.1.attention.self.query": 7}, d_initial=0.3)],
    [VERA(rank=BY_ROLE, vectors="d", unique=True), VERA(rank=4, vectors="d", unique=True)],
]


@pytest.mark.parametrize("methods", BY_LAYER, ids=["lora", "lora_xs", "vera alike", "vera", "vera unique"])
def test_with_ranks_by_layer_each_slot_is_its_adapter_alone(methods):
    stack = toy.stacked(methods)
    slots, given = len(methods), toy.batch(6)
    logits, found = stack.model(**given).logits.detach(), toy.gradients(stack, given)
    with torch.no_grad(), stack.rows([slot for slot in range(1, slots + 1) for _ in range(6 // slots)]) as model:
        assert_close(model(**given).logits, logits)  # where the first product is remembered for the next layer
    for slot in range(1, slots + 1):
        expected, theirs = toy.alone(stack, slot, given)
        assert_close(logits.chunk(slots)[slot - 1], expected)
        for key, gradient in theirs.items():
            assert_close(found[slot - 1][key], gradient, 1e-4)
    kept = {id(layer.shared) for layer in stack.layers.values()}
    assert len(kept) <= len({*BY_ROLE.values(), 7})  # of each rank once, and not of each layer


def trained(stack: object, given: dict[str, Tensor], steps: int) -> list[Tensor]:
    optimizer = torch.optim.AdamW(stack.parameters().values(), lr=1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        logits = stack.model(**given).logits
        logits.float().square().reshape(3, -1).mean(1).sum().backward()
        optimizer.step()
        losses.append(logits.detach().chunk(3)[1])
    return [*losses, *stack.take(2).values()]


@every_stack
def test_a_slots_bits_do_not_change_with_the_others_data_values_and_nans(methods):
    given = toy.batch(12)
    expected = trained(toy.stacked(methods), given, 3)
    other = {"input_ids": given["input_ids"].clone(), "attention_mask": given["attention_mask"]}
    other["input_ids"][:4], other["input_ids"][8:] = 5, 9  # other texts of the same lengths
    for value in (None, 3.0, float("nan")):
        stack = toy.stacked(methods)
        if value is not None:
            for slot in (1, 3):
                stack.put(slot, {name: torch.full_like(each, value) for name, each in stack.take(slot).items()})
        found = trained(stack, other, 3)
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@every_stack
def test_padding_stays_zero_in_training(methods):
    stack = toy.stacked(methods)
    trained(stack, toy.batch(6), 2)
    for name, parameter in stack.parameters().items():
        for slot in (1, 2, 3):
            own = stack.take(slot)[name].shape
            outside = parameter.detach()[slot - 1].clone()
            outside[tuple(map(slice, own))] = 0
            assert not outside.any(), name


@every_stack
def test_each_slot_starts_as_attach_starts_it_and_the_rest_is_frozen(methods):
    bare = ARCHITECTURES["bert"]()
    torch.manual_seed(4)
    stack = stack_adapters(bare, methods, "query-value")
    torch.manual_seed(4)
    for slot, method in enumerate(methods, 1):
        single = vxlab.attach(ARCHITECTURES["bert"](), method, "query-value")
        expected = {name: each for name, each in single.named_parameters() if each.requires_grad}
        start = stack.take(slot)
        assert start.keys() == expected.keys()
        assert all(torch.equal(start[name], each) for name, each in expected.items())
    trains = {id(each) for each in bare.parameters() if each.requires_grad}
    assert trains == {id(each) for each in stack.parameters().values()}


@every_stack
def test_rows_in_any_order_meet_their_own_slots_and_slot_zero_the_bare_model(methods):
    stack = toy.stacked(methods)
    bare = ARCHITECTURES["bert"]()
    given, order = toy.batch(5), [2, 0, 1, 2, 3]
    with stack.rows(order) as model, torch.no_grad():
        mixed = model(**given).logits
        alike = [model(**given).logits for model in [model] for _ in range(2)]
    assert torch.equal(alike[0], mixed)
    for row, slot in enumerate(order):
        own = {name: each[row : row + 1] for name, each in given.items()}
        if slot:
            with stack.single(slot) as model, torch.no_grad():
                assert_close(mixed[row : row + 1], model(**own).logits)
        else:
            assert_close(mixed[row : row + 1], bare(**own).logits)
    with stack.rows([0] * 5) as model, torch.no_grad():
        hidden = model(**given, output_hidden_states=True).hidden_states[-1]
    assert torch.equal(hidden, bare(**given, output_hidden_states=True).hidden_states[-1])


@every_family
def test_a_mixed_batch_has_the_bits_of_the_same_batch_with_other_neighbours(methods):
    stack, given = toy.stacked(methods), toy.batch(4)
    with torch.no_grad():
        with stack.rows([2, 1, 2, 3]) as model:
            one = model(**given).logits
        for slot in (1, 3):
            stack.put(slot, {name: torch.full_like(each, torch.nan) for name, each in stack.take(slot).items()})
        with stack.rows([2, 0, 2, 1]) as model:
            other = model(**given).logits
    assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert other[1].isfinite().all()
    assert other[3].isnan().all()


@every_stack
def test_an_adapter_goes_out_to_a_folder_and_into_another_slot(methods, tmp_path, frozen_a):
    stack = toy.stacked(methods)
    with stack.single(2) as model:
        vxlab.save_adapter(model, tmp_path)
        given = toy.batch(2)
        expected = model(**given).logits.detach()
        assert "stacked" not in str(model).lower()
    alone = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path)
    assert torch.equal(alone(**given).logits, expected)
    before = stack.take(2)
    toy.scatter(stack, 2, 0.3)
    with stack.single(2) as model:
        vxlab.load_adapter(model, tmp_path)
    assert all(torch.equal(each, before[name]) for name, each in stack.take(2).items())


@every_stack
def test_taken_off_the_model_is_what_it_was(methods):
    bare = ARCHITECTURES["bert"]()
    bare.classifier.bias.requires_grad_(False)
    state, trains = copy.deepcopy(bare.state_dict()), {n: p.requires_grad for n, p in bare.named_parameters()}
    modules, hooks = [*map(id, bare.modules())], sum(len(m._forward_pre_hooks) for m in bare.modules())
    stack = stack_adapters(bare, methods, "all-linear")
    trained(stack, toy.batch(6), 1)
    with stack.single(3) as model:
        if vxlab.adapted_layers(model):
            vxlab.merge(model)
    assert stack.remove() is bare
    assert bare.state_dict().keys() == state.keys()
    assert all(torch.equal(bare.state_dict()[name], each) for name, each in state.items())
    assert {n: p.requires_grad for n, p in bare.named_parameters()} == trains
    assert [*map(id, bare.modules())] == modules
    assert sum(len(m._forward_pre_hooks) for m in bare.modules()) == hooks
    assert not vars(bare).keys() & {"vxlab_stack", "vxlab_attachment", "save_pretrained"}
    vxlab.attach(bare, vxlab.LoRA(rank=2))


def test_what_is_alike_in_all_slots_is_kept_once():
    kinds = {
        "lora_fa": ({"A"}, set()), "vera": (set(), {"A", "B"}), "lora_xs": ({"left_basis", "right_basis"}, set()),
    }  # fmt: skip
    for name, (frozen, shared) in kinds.items():
        layer = next(iter(toy.stacked(SAME[name]).layers.values()))
        assert {key for key, each in layer.frozen.tensors().items() if each.dim() == 2} == frozen
        assert {key for key, each in layer.shared.tensors().items() if each.dim() == 2} == shared


def test_a_family_with_factors_of_its_own_does_not_go_through_an_inherited_chain():
    class Doubled(vxlab.LoRA):
        name = "doubled"

        def factors(self, tensors, shape):
            return 2 * tensors["B"], tensors["A"]

    stack, given = toy.stacked([Doubled(rank=2), Doubled(rank=3, alpha=9)]), toy.batch(4)
    logits = stack.model(**given).logits.detach()
    for slot in (1, 2):
        assert_close(logits.chunk(2)[slot - 1], toy.alone(stack, slot, given)[0])


def test_training_alone_goes_back_into_the_slot_and_an_error_leaves_it():
    stack = toy.stacked(SAME["lora"])
    before = stack.take(2)
    with pytest.raises(IndexError), stack.single(2) as model:
        nn.init.ones_(next(p for p in model.parameters() if p.requires_grad))[99]
    assert all(torch.equal(each, before[name]) for name, each in stack.take(2).items())
    with stack.single(2) as model:
        model.classifier.bias.data.fill_(3)
    assert (stack.take(2)["classifier.bias"] == 3).all()
    with pytest.raises(VxlabError, match="taken off inside"), stack.single(2) as model:
        vxlab.detach(model)
    assert isinstance(stack.model.classifier, StackedHead)
    assert stack.model(**toy.batch(3)).logits.shape == (3, 2)
    with pytest.raises(VxlabError, match=r"do not fit slot 2.*`classifier\.bias`"):
        stack.put(2, {name: each for name, each in before.items() if name != "classifier.bias"})


def test_dropout_spares_each_slot_its_share_and_none_in_evaluation():
    methods = [LORA(rank=3), LORA(rank=3, dropout=0.5), LORA(rank=3, dropout=0.2)]
    layer = next(iter(toy.stacked(methods).layers.values()))
    base = nn.functional.linear
    x = torch.ones(3, 400, 32)
    expected = layer(x).detach()
    layer.train()
    torch.manual_seed(0)
    y = layer(x).detach()
    torch.testing.assert_close(y[0], expected[0])
    W, bias = layer.base_layer.weight, layer.base_layer.bias
    for slot in (1, 2):
        assert not torch.equal(y[slot], expected[slot])
        update = expected[slot] - base(x[slot], W, bias)
        assert_close((y[slot] - base(x[slot], W, bias)).mean(0), update.mean(0), 0.15)
    assert torch.equal(layer.eval()(x), expected)


@every_family
def test_autocast_stays_close_and_half_precision_models_keep_float32_adapters(methods):
    stack, given = toy.stacked(methods), toy.batch(6)
    expected = toy.gradients(stack, given)
    with torch.autocast("cpu", torch.bfloat16):
        found = toy.gradients(stack, given)
    for one, other in zip(found, expected, strict=True):
        for name, gradient in other.items():
            assert one[name].dtype is torch.float32
            assert_close(one[name], gradient, 0.15)
    torch.manual_seed(0)
    half = stack_adapters(ARCHITECTURES["bert"]().bfloat16(), methods, "all-linear")
    toy.scatter(half, 2)
    logits = half.model(**given).logits
    assert logits.dtype is torch.bfloat16
    assert {each.dtype for name, each in half.parameters().items() if "classifier" not in name} == {torch.float32}
    assert_close(logits.chunk(3)[1], toy.alone(half, 2, given)[0], 0.02)


@every_family
def test_gradient_checkpointing_changes_nothing(methods):
    stack, given = toy.stacked(methods), toy.batch(6)
    expected = toy.gradients(stack, given)
    stack.model.activation_checkpointing_enable()
    stack.model.train()  # without which transformers keeps everything
    for module in stack.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for one, other in zip(toy.gradients(stack, given), expected, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_mode_of_the_model_follows_into_a_single_one_and_back():
    stack = toy.stacked(SAME["lora"])
    stack.model.train()
    with stack.single(1) as model:
        assert all(layer.training for layer in vxlab.adapted_layers(model).values())
        model.eval()
    assert not any(module.training for module in stack.model.modules() if isinstance(module, StackedLinear))
