"""Adapters on models that read images: which layers they find, and that they compute and train as PEFT's do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import toy_stacks
from image_models import SIDE
from peft_pairs import trained_by_both
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from toy_banks import random_rows
from vision_architectures import ARCHITECTURES, LABELS, OTHER_SIDE, build, images, layers_of

import vxlab
from vxlab.adapters import resolve_targets
from vxlab.adapters.core import Method, linear_shape
from vxlab.adapters.placement import backbones, head_parameters
from vxlab.adapters.stacked import stack_adapters

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

FAMILIES = [
    vxlab.LoRA(rank=4, alpha=6),
    vxlab.VeRA(rank=12, seed=3),
    vxlab.LoRAXS(rank=4),
    vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
]
SETS = {
    "query-value": ("query", "value"),
    "attention": ("query", "key", "value", "attention-output"),
    "mlp": ("up", "down"),
    "lora-xs-paper": ("query", "value", "attention-output", "up"),
    "lora-xs-released": ("query", "value", "attention-output", "down"),
}
every = pytest.mark.parametrize("name", ARCHITECTURES)
with_attention = pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "convnext"])


def in_order(model: nn.Module, names: list[str]) -> list[str]:
    order = {name: number for number, (name, _) in enumerate(model.named_modules())}
    return sorted(names, key=order.__getitem__)


def stirred(name: str, method: Method, targets: str = "all-linear", size: float = 0.1) -> Any:
    """Return a model whose trained tensors have moved from their start."""
    model = vxlab.attach(build(name), method, targets)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=size)
    return model.eval()


@torch.no_grad()
def logits(model: nn.Module, name: str, size: int = SIDE) -> Tensor:
    found: Tensor = model.eval()(**images(name, size)).logits
    return found


@every
def test_every_role_and_set_is_exactly_these_layers(name: str) -> None:
    model, found = build(name), ARCHITECTURES[name]
    for role, end in found.roles.items():
        assert list(resolve_targets(model, role)) == [f"{block}.{end}" for block in found.blocks]
    for target_set, roles in SETS.items():
        if expected := layers_of(name, *roles):
            assert list(resolve_targets(model, target_set)) == in_order(model, expected)
    assert list(resolve_targets(model, "all-linear")) == in_order(model, [*layers_of(name), *found.between])


@every
def test_the_head_is_the_classifier_alone_and_no_target(name: str) -> None:
    model = build(name)
    assert list(head_parameters(model)) == ["classifier.weight", "classifier.bias"]
    (backbone,) = backbones(model)
    assert "text" not in " ".join(key for key, _ in model.named_parameters())
    assert len(list(backbone.parameters())) == len(list(model.parameters())) - 2
    with pytest.raises(vxlab.VxlabError, match=f"'classifier' is in the task head of {type(model).__name__}"):
        vxlab.attach(model, vxlab.LoRA(rank=2), "classifier")


@pytest.mark.parametrize("targets", ["query-value", "attention", "query"])
def test_a_convnext_has_no_attention_and_says_what_it_has(targets: str) -> None:
    told = r"ConvNextForImageClassification has no such layers; its roles: 'up', 'down'\nits linear layers: 'pwconv1'"
    with pytest.raises(vxlab.VxlabError, match=rf"targets='{targets}': {told}, 'pwconv2'"):
        vxlab.attach(build("convnext"), vxlab.LoRA(rank=2), targets)


@pytest.mark.parametrize(
    ("name", "targets", "what"),
    [
        ("convnext", "dwconv", r"`convnext\.encoder\.stages\.0\.layers\.0\.dwconv` \(Conv2d\)"),
        ("convnext", "downsampling_layer.1", r"`convnext\.encoder\.stages\.1\.downsampling_layer\.1` \(Conv2d\)"),
        ("convnext", r".*dwconv|.*embeddings\..*", r"\((Conv2d|ConvNextLayerNorm)\)"),
        ("convnext", ["all-linear", "patch_embeddings"], r"`convnext\.embeddings\.patch_embeddings` \(Conv2d\)"),
        *(
            (name, "projection", r"embeddings\.patch_embeddings\.projection` \(Conv2d\)")
            for name in ("vit", "deit", "dinov2", "swin")
        ),
        ("clip", "patch_embedding", r"embeddings\.patch_embedding` \(Conv2d\)"),
        ("clip", "position_embedding", r"position_embedding` \(Embedding\)"),
        ("swin", "relative_position_bias", r"relative_position_bias` \(SwinRelativePositionBias\)"),
    ],
)
def test_a_convolution_is_refused_by_name_and_nothing_changes(name: str, targets: Any, what: str) -> None:
    model = build(name)
    before = {key: each.clone() for key, each in model.state_dict().items()}
    with pytest.raises(vxlab.VxlabError, match=f"{what}: an adapter needs a plain torch.nn.Linear"):
        vxlab.attach(model, vxlab.LoRA(rank=2), targets)
    assert model.state_dict().keys() == before.keys()
    assert all(each.requires_grad for each in model.parameters())


def peft_pair(name: str, method: str, targets: list[str]) -> tuple[nn.Module, nn.Module]:
    """Return our model and PEFT's, with the same random values in what trains; each draws VeRA's pair by itself."""
    if method == "lora":
        config: Any = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets)
        ours = vxlab.attach(build(name), vxlab.LoRA(rank=4, alpha=6), targets)
    else:
        config = peft.VeraConfig(r=12, projection_prng_key=11, target_modules=targets)
        ours = vxlab.attach(build(name), vxlab.VeRA(rank=12, seed=11), targets)
    theirs = peft.get_peft_model(build(name), config)
    torch.manual_seed(2)
    with torch.no_grad():
        for tensor, parameter in trained_by_both(ours, theirs):
            tensor.copy_(torch.randn_like(tensor) * 0.3)
            parameter.copy_(tensor)
    return ours.eval(), theirs.eval()


def chosen(name: str, targets: str) -> list[str]:
    return (
        [*layers_of(name), *ARCHITECTURES[name].between] if targets == "all-linear" else layers_of(name, *SETS[targets])
    )


@pytest.mark.parametrize("size", [SIDE, OTHER_SIDE])
@pytest.mark.parametrize("method", ["lora", "vera"])
@pytest.mark.parametrize(
    ("name", "targets"),
    [(name, targets) for name in ARCHITECTURES for targets in ("all-linear", "query-value")
     if (name, targets) != ("convnext", "query-value")],
)  # fmt: skip
def test_adapters_agree_with_peft_on_the_same_tensors(name: str, targets: str, method: str, size: int) -> None:
    ours, theirs = peft_pair(name, method, chosen(name, targets))
    given = images(name, size)
    mine, oracle = ours(**given).logits, theirs(**given).logits
    assert (mine - logits(build(name), name, size)).abs().max() > 1e-3
    torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-5)
    mine.square().sum().backward()
    oracle.square().sum().backward()
    compared = 0
    for tensor, parameter in trained_by_both(ours, theirs):
        assert tensor.grad is not None
        assert parameter.grad is not None
        assert parameter.grad.norm() > 0
        assert (tensor.grad - parameter.grad).norm() <= 1e-4 * parameter.grad.norm()
        compared += 1
    assert compared == 2 * len(chosen(name, targets))


def test_vera_takes_one_pair_of_the_largest_sizes_over_the_stages_of_a_swin() -> None:
    model = vxlab.attach(build("swin"), vxlab.VeRA(rank=5, seed=7), "query-value")
    layers = vxlab.adapted_layers(model)
    assert {linear_shape(build("swin").get_submodule(layer)) for layer in layers} == {(16, 16), (32, 32)}
    A, B = vxlab.VeRA(rank=5, seed=7).shared([(16, 16), (32, 32)]).values()
    assert (A.shape, B.shape) == ((5, 32), (32, 5))
    with torch.no_grad():
        for layer in layers.values():
            layer.trained_tensors()["lambda_b"].fill_(1.0)
            width = layer.out_features
            expected = 0.1 * B[:width] @ A[:, :width]
            torch.testing.assert_close(layer.delta_weight(), expected, rtol=0, atol=1e-6)


@every
def test_lora_xs_computes_its_dense_formula(name: str) -> None:
    model, base = stirred(name, vxlab.LoRAXS(rank=4, alpha=6)), build(name)
    with torch.no_grad():
        for layer, adapted in vxlab.adapted_layers(model).items():
            W = base.get_submodule(layer).weight.double()
            U, S, Vh = torch.linalg.svd(W)
            R = adapted.trained_tensors()["R"].double()
            delta = adapted.delta_weight().double()
            size = delta.norm()
            assert size > 0
            # U and V are known up to the signs of their columns, so the core in their own basis is compared by |R|.
            right = S[:4, None] * Vh[:4]
            core = U[:, :4].T @ delta @ torch.linalg.pinv(right)
            torch.testing.assert_close(U[:, :4] @ core @ right, delta, rtol=0, atol=1e-5 * float(size))
            torch.testing.assert_close(core.abs(), 6 / 4 * R.abs(), rtol=1e-3, atol=1e-4)
            base.get_submodule(layer).weight += delta.float()
        base.classifier.load_state_dict(model.classifier.state_dict())
    for size_of_images in (SIDE, OTHER_SIDE):
        found, expected = (logits(each, name, size_of_images) for each in (model, base))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@every
def test_merging_undoing_and_taking_off_keep_the_answers(name: str, family: Method) -> None:
    model, base = stirred(name, family), build(name)
    expected = {size: logits(model, name, size) for size in (SIDE, OTHER_SIDE)}
    assert (expected[SIDE] - logits(base, name)).abs().max() > 1e-3
    vxlab.merge(model)
    for size, found in expected.items():
        torch.testing.assert_close(logits(model, name, size), found, rtol=0, atol=1e-5)
    assert torch.equal(logits(vxlab.unmerge(model), name), expected[SIDE])
    vxlab.detach(vxlab.merge(model))
    torch.testing.assert_close(logits(model, name), expected[SIDE], rtol=0, atol=1e-5)
    assert model.state_dict().keys() == base.state_dict().keys()


@pytest.mark.parametrize("method", [*FAMILIES, vxlab.BitFit(), vxlab.Head(), vxlab.Full()], ids=str)
@every
def test_what_is_saved_comes_back_bit_for_bit(name: str, method: Method, tmp_path: Path) -> None:
    model = stirred(name, method)
    loaded = vxlab.load_adapter(build(name), vxlab.save_adapter(model, tmp_path / "a"))
    assert torch.equal(logits(loaded, name), logits(model, name))
    assert vxlab.trainable_parameters(loaded) == vxlab.trainable_parameters(model)


def unreached(name: str) -> set[str]:
    """Return the parameters that no answer depends on: CLIP's classifier reads the tokens before its last norm."""
    return {"vision_model.post_layernorm.weight", "vision_model.post_layernorm.bias"} if name == "clip" else set()


@pytest.mark.parametrize("method", [*FAMILIES, vxlab.BitFit(), vxlab.Head(), vxlab.Full()], ids=str)
@every
def test_a_step_moves_what_trains_and_nothing_else(name: str, method: Method) -> None:
    model = stirred(name, method)
    trained = {key for key, each in model.named_parameters() if each.requires_grad}
    before = {key: each.clone() for key, each in model.named_parameters()}
    labels = torch.tensor([0, LABELS - 1])
    model.train()(**images(name), labels=labels).loss.backward()
    torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=10.0).step()
    moved = {key for key, each in model.named_parameters() if not torch.equal(before[key], each)}
    never = {key for key in trained if "mask_token" in key}
    assert moved - trained == set()
    assert {key for key in trained - moved - unreached(name) - never if not zero_by_symmetry(key)} == set()


def zero_by_symmetry(key: str) -> bool:
    """Say whether a parameter's gradient is nought but for rounding: a softmax takes no notice of the keys' bias."""
    return key.endswith(("key.bias", "k_proj.bias"))


def counted(parts: Iterator[Tensor]) -> int:
    return sum(each.numel() for each in parts)


@every
def test_counts_are_of_the_backbone_and_of_the_head(name: str) -> None:
    width = build(name).classifier.in_features
    head = LABELS * (width + 1)
    total = counted(build(name).parameters())
    for method in (vxlab.LoRA(rank=3), vxlab.VeRA(rank=9), vxlab.LoRAXS(rank=2)):
        model = vxlab.attach(build(name), method, "all-linear")
        shapes = [linear_shape(build(name).get_submodule(layer)) for layer in vxlab.adapted_layers(model)]
        counts = vxlab.trainable_parameters(model)
        assert counts == (sum(map(method.parameter_count, shapes)), head, total)


@pytest.mark.parametrize("name", ["vit", "clip", "convnext"])
@pytest.mark.parametrize("method", [vxlab.LoRA(rank=3), vxlab.VeRA(rank=9), vxlab.LoRAXS(rank=4)], ids=str)
def test_a_stack_computes_and_trains_each_adapter_as_alone(name: str, method: Method) -> None:
    stack = stack_adapters(build(name), [method] * 2, "all-linear")
    for slot in (1, 2):
        toy_stacks.scatter(stack, slot)
    given = images(name, rows=4)
    found, grads = stack.model(**given).logits.detach(), toy_stacks.gradients(stack, given)
    for slot in (1, 2):
        expected, theirs = toy_stacks.alone(stack, slot, given)
        torch.testing.assert_close(found.chunk(2)[slot - 1], expected, rtol=0, atol=1e-5)
        assert grads[slot - 1].keys() == theirs.keys()
        for key, gradient in theirs.items():
            assert (grads[slot - 1][key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-8


@pytest.mark.parametrize("name", ["vit", "clip", "convnext"])
def test_every_row_of_images_meets_its_own_adapter_of_a_bank(name: str, tmp_path: Path) -> None:
    base = build(name)
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, vxlab.LoRA(rank=3), "all-linear")
    bank.add_many(["ann", "bob"], 0.1 * random_rows(bank, 2))
    given = images(name, rows=3)
    bank.attach(base)
    with torch.no_grad(), bank.rows(["bob", None, "ann"]) as served:
        found = served(**given).logits
    for number, who in enumerate(("bob", None, "ann")):
        alone = build(name) if who is None else bank.load(build(name), who)
        with torch.no_grad():
            expected = alone.eval()(given["pixel_values"][[number]]).logits
        torch.testing.assert_close(found[[number]], expected, rtol=0, atol=1e-5)


def test_rows_are_not_told_apart_in_the_windows_of_a_swin_which_is_refused(tmp_path: Path) -> None:
    """Its attention takes windows in place of rows, and nothing says whose each is."""
    given = images("swin", rows=4)
    stack = stack_adapters(build("swin"), [vxlab.LoRA(rank=2)] * 2, "query-value")
    with pytest.raises(vxlab.VxlabError, match=r"q_proj` was given .* in a batch of 4 rows; stacked adapters go where"):
        stack.model(**given)
    base = build("swin")
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, vxlab.LoRA(rank=2), "query-value")
    bank.add_many(["ann"], 0.1 * random_rows(bank, 1))
    bank.attach(base)
    with pytest.raises(vxlab.VxlabError, match=r"q_proj` was given .* in a batch of 4 named rows"):  # noqa: SIM117
        with bank.rows(["ann"] * 4) as served:
            served(**given)
    stack = stack_adapters(build("swin"), [vxlab.LoRA(rank=2)] * 2, "mlp")
    toy_stacks.scatter(stack, 2)
    expected, _ = toy_stacks.alone(stack, 2, given)
    torch.testing.assert_close(stack.model(**given).logits.chunk(2)[1], expected, rtol=0, atol=1e-5)


OLDER = {
    "vit": {"vit.layers.": "vit.encoder.layer.", "attention.q_proj": "attention.attention.query"},
    "deit": {"deit.layers.": "deit.encoder.layer.", "attention.q_proj": "attention.attention.query"},
    "dinov2": {"attention.q_proj": "attention.attention.query"},
    "swin": {"attention.q_proj": "attention.self.query"},
}
"""What transformers called layers before 5.23, where it called them otherwise."""


@pytest.mark.parametrize("name", OLDER)
def test_an_adapter_with_the_names_of_an_older_transformers_is_refused_with_those_of_here(
    name: str, tmp_path: Path
) -> None:
    peft.get_peft_model(build(name), peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    tensors, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    before = now = f"{ARCHITECTURES[name].blocks[-1]}.attention.q_proj"
    for new, old in OLDER[name].items():
        before = before.replace(new, old)
    held = {key.replace(now, before): each for key, each in load_file(tensors).items() if now in key}
    save_file(held, tensors, metadata={"format": "pt"})
    config.write_text(json.dumps(json.loads(config.read_text()) | {"target_modules": ["query"]}))
    with pytest.raises(vxlab.VxlabError) as refused:
        vxlab.load_adapter(build(name), tmp_path)
    assert f"adapts `{before}`, which this" in str(refused.value)
    assert f"here its query is called `{now}`, for transformers has renamed" in str(refused.value)
