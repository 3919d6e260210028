"""Attaching, counting, merging and detaching, on every architecture."""

import copy
import subprocess
import sys

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab
from vxlab.adapters.core.family import Family
from vxlab.adapters.placement.attached import attachment_of

FAMILIES = [vxlab.LoRA(rank=4), vxlab.VeRA(rank=12), vxlab.LoRAXS(rank=4)]
LIDB = vxlab.LiDB(rank=2, aux_out=12, aux_in=10)
COUNTED = ["bert", "roberta", "distilbert", "deberta-v2", "gpt2", "llama", "vit", "dinov2"]


def logits(model: nn.Module, name: str) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(name)).logits


def randomise(model: nn.Module, size: float = 0.05) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in vxlab.adapted_layers(model).values():
            for tensor in layer.trained_tensors().values():
                tensor.normal_(std=size)
    return model


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attach_leaves_outputs_unchanged(name: str, family: Family) -> None:
    model = ARCHITECTURES[name]()
    before = logits(model, name)
    after = logits(vxlab.attach(model, family, targets="all-linear"), name)
    if isinstance(family, vxlab.LoRAXS):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    else:
        assert torch.equal(after, before)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
@pytest.mark.parametrize("name", COUNTED)
def test_trained_parameters_are_the_formulas(name: str, targets: str, family: Family) -> None:
    model = ARCHITECTURES[name]()
    weights = vxlab.resolve_targets(model, targets)
    total = sum(p.numel() for p in model.parameters())
    rows_and_columns = [
        tuple(w.weight.shape) if isinstance(w, nn.Linear) else tuple(w.weight.shape[::-1]) for w in weights.values()
    ]
    formula = {
        "lora": lambda out, n: 4 * (out + n),
        "vera": lambda out, n: out + 12,
        "lora_xs": lambda out, n: 16,
    }[family.name]
    count = vxlab.trainable_parameters(vxlab.attach(model, family, targets=targets))
    assert count.backbone == sum(formula(*shape) for shape in rows_and_columns)
    assert count.total == total
    assert count.head == sum(
        p.numel() for n, p in model.named_parameters() if n.startswith(("classifier", "pre_", "pooler", "score"))
    )


@pytest.mark.parametrize("name", COUNTED)
def test_only_adapters_and_head_receive_gradients(name: str) -> None:
    model = vxlab.attach(ARCHITECTURES[name](), vxlab.LoRA(rank=2), targets="all-linear")
    randomise(model).train()(**inputs(name)).logits.sum().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {n for n, p in model.named_parameters() if p.requires_grad}
    assert any(n.endswith(".A") for n in with_gradient)
    assert any(not n.endswith((".A", ".B")) for n in with_gradient)


def test_head_trains_the_head_alone_and_full_trains_everything() -> None:
    model = ARCHITECTURES["bert"]()
    head = vxlab.trainable_parameters(vxlab.attach(model, vxlab.Head()))
    assert (head.backbone, head.head) == (0, 32 * 2 + 2)
    vxlab.detach(model)
    full = vxlab.trainable_parameters(vxlab.attach(model, vxlab.Full()))
    assert full.backbone + full.head == full.total == head.total


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit"])
def test_merged_logits_are_the_unmerged_ones(name: str, family: Family) -> None:
    model = randomise(vxlab.attach(ARCHITECTURES[name](), family, targets="all-linear"))
    unmerged = logits(model, name)
    assert not torch.equal(unmerged, logits(ARCHITECTURES[name](), name))
    torch.testing.assert_close(logits(vxlab.merge(model), name), unmerged, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [*FAMILIES, LIDB], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unmerge_restores_the_weights_bit_for_bit(family: Family, dtype: torch.dtype) -> None:
    model = randomise(vxlab.attach(ARCHITECTURES["gpt2"]().to(dtype), family, targets="all-linear"), size=0.5)
    before = copy.deepcopy(model.state_dict())
    merged = copy.deepcopy(vxlab.merge(model).state_dict())
    after = vxlab.unmerge(model).state_dict()
    assert any(not torch.equal(before[key], merged[key]) for key in before)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_merging_twice_and_unmerging_twice_are_refused() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"is not merged; call merge\(model\) first"):
        vxlab.unmerge(model)
    vxlab.merge(model)
    weight = model.get_parameter("bert.encoder.layer.0.attention.self.query.weight").clone()
    with pytest.raises(vxlab.VxlabError, match=r"is merged already; call unmerge\(model\) first"):
        vxlab.merge(model)
    assert torch.equal(weight, model.get_parameter("bert.encoder.layer.0.attention.self.query.weight"))


def test_a_merged_model_refuses_to_train() -> None:
    model = vxlab.merge(vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))).train()
    with pytest.raises(vxlab.VxlabError, match=r"is merged, so its adapter cannot train"):
        model(**inputs("bert"))


@pytest.mark.parametrize("family", [*FAMILIES, LIDB, vxlab.Head(), vxlab.Full()], ids=str)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_detach_gives_back_the_model_as_it_was(name: str, family: vxlab.adapters.Method) -> None:
    model = ARCHITECTURES[name]()
    model.get_parameter(next(n for n, _ in model.named_parameters())).requires_grad_(False)
    before = {n: (p.clone(), p.requires_grad) for n, p in model.named_parameters()}
    modules = {n: type(m) for n, m in model.named_modules()}
    vxlab.detach(randomise(vxlab.attach(model, family)))
    assert {n: type(m) for n, m in model.named_modules()} == modules
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(p, after[n]) and grad == after[n].requires_grad for n, (p, grad) in before.items())


def test_merge_then_detach_leaves_a_plain_model_that_holds_the_update() -> None:
    model = randomise(vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=8)))
    expected = logits(model, "bert")
    plain = vxlab.detach(vxlab.merge(model))
    assert not vxlab.adapted_layers(plain)
    torch.testing.assert_close(logits(plain, "bert"), expected, rtol=0, atol=1e-5)


def test_attaching_twice_is_refused_and_changes_nothing() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match=r"already has LoRA\(rank=2.*attached; call vxlab.detach"):
        vxlab.attach(model, vxlab.VeRA(rank=2))
    assert attachment_of(model).method == vxlab.LoRA(rank=2)


def test_a_rank_that_fits_one_layer_only_leaves_the_model_bare() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
    with pytest.raises(vxlab.VxlabError, match=r"LoRAXS rank=8 is more than min.*=4 of `1`"):
        vxlab.attach(model, vxlab.LoRAXS(rank=8), targets="all-linear")
    assert all(type(module) is nn.Linear for module in model)
    vxlab.attach(model, vxlab.LoRAXS(rank=4), targets="all-linear")


def test_head_without_a_task_head_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"method=Head\(\) needs a task head, and Sequential has none"):
        vxlab.attach(nn.Sequential(nn.Linear(2, 2)), vxlab.Head())


def test_what_needs_adapters_says_that_there_are_none() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(vxlab.VxlabError, match="has no adapted layers to merge"):
        vxlab.merge(model)
    with pytest.raises(vxlab.VxlabError, match=r"has no adapter; call vxlab.attach"):
        vxlab.detach(model)


def test_vera_keeps_one_frozen_pair_for_all_layers_also_after_moving_and_copying() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=8), targets="all-linear")
    for moved in (model.to(torch.float64), copy.deepcopy(model)):
        pairs = {layer.shared.A.data_ptr() for layer in vxlab.adapted_layers(moved).values()}
        assert len(pairs) == 1
        assert next(iter(vxlab.adapted_layers(moved).values())).shared.A.dtype is torch.float64


def test_the_models_own_state_dict_keeps_its_keys() -> None:
    model = ARCHITECTURES["bert"]()
    keys = set(model.state_dict())
    adapted = set(vxlab.attach(model, vxlab.VeRA(rank=8)).state_dict())
    assert keys < adapted
    assert {key.rpartition(".")[2] for key in adapted - keys} == {"lambda_b", "lambda_d"}


def test_attaching_needs_the_core_dependencies_alone() -> None:
    program = """
import sys
for name in ("numpy", "transformers", "pandas", "scipy", "plotly", "datasets", "sklearn"):
    sys.modules[name] = None
import torch, vxlab
model = torch.nn.Sequential(torch.nn.Linear(4, 4))
lidb = vxlab.LiDB(aux_out=2, aux_in=2)
for method in (vxlab.LoRA(rank=2), vxlab.VeRA(rank=2), vxlab.LoRAXS(rank=2), lidb):
    vxlab.detach(vxlab.attach(model, method, targets="all-linear"))
print("attached")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "attached\n", done.stderr


def test_importing_vxlab_costs_little_more_than_torch() -> None:
    program = "import torch, time; t = time.perf_counter(); import vxlab; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.3
