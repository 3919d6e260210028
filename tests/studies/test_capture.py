"""The table of captured gradients: against autograd on the attached adapters, and by its bounds."""

import math

import numpy as np
import pytest
import torch

import vxlab
from vxlab.analysis.capture import best_capture
from vxlab.errors import VxlabError
from vxlab.experiments.runs.gradients import weight_gradients
from vxlab.studies.capture import CAPTURE_COLUMNS, capture_table

METHODS = [
    vxlab.LoRA(rank=2), vxlab.LoRA(rank=8, alpha=16), vxlab.VeRA(rank=6), vxlab.VeRA(rank=6, vectors="d"),
    vxlab.VeRA(rank=6, vectors="b", unique=True), vxlab.LoRAXS(rank=3), vxlab.LoRAXS(rank=3, basis="random"),
    vxlab.LiDB(rank=2, aux_out=7, aux_in=5), vxlab.LoRA(rank=4, trains="B"),
    *(kind(rank={"query": 2, "up": 5}) for kind in (vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS)),
]  # fmt: skip
TARGETS = ["query", "intermediate.dense"]


@pytest.fixture(scope="module")
def model(tiny_model):
    torch.manual_seed(0)
    return vxlab.load_model(tiny_model, 2)


@pytest.fixture(scope="module")
def gradients(model):
    generator = torch.Generator().manual_seed(1)
    draw = {"generator": generator}
    batches = [
        {"input_ids": torch.randint(0, 64, (8, 12), **draw), "labels": torch.randint(0, 2, (8,), **draw)}
        for _ in range(4)
    ]
    layers = vxlab.resolve_targets(model, TARGETS)
    return [weight_gradients(model, [batch], layers) for batch in batches]


def _by_autograd(model, method, gradient, layer):
    """Return the share of G in the span of ∂ΔW/∂(trained) of the adapter as ``attach`` starts it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vxlab.attach(model, method, TARGETS)
    adapted = vxlab.adapted_layers(model)[layer].double()
    trained = adapted.trained_tensors()
    if "R" in trained:
        trained["R"].data.zero_()  # the tangent space does not depend on R
    entries = adapted.delta_weight().flatten()
    basis = torch.eye(len(entries), dtype=torch.float64)
    found = torch.autograd.grad(entries, list(trained.values()), basis, is_grads_batched=True)
    J = torch.cat([each.flatten(1) for each in found], 1)
    vxlab.detach(model)
    model.float()
    G = gradient.double().flatten()
    U, S, _ = torch.linalg.svd(J, full_matrices=False)
    return float((U[:, S.gt(1e-9 * S[0])].T @ G).square().sum() / G.square().sum())


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_shares_are_those_of_the_attached_adapters_own_jacobian(model, gradients, method):
    table = capture_table(model, gradients[0], [method], TARGETS).set_index("layer")
    layer = "bert.encoder.layer.1.attention.self.query"
    share = _by_autograd(model, method, gradients[0][layer], layer)
    assert table.loc[layer, "share"] == pytest.approx(share, abs=1e-6)


def test_one_row_a_layer_and_method_within_its_bounds(model, gradients):
    before = {name: each.clone() for name, each in model.state_dict().items()}
    table = capture_table(model, gradients, METHODS, TARGETS)
    assert list(table.columns) == CAPTURE_COLUMNS
    assert len(table) == 4 * len(METHODS)
    assert set(table["role"]) == {"query", "up"}
    assert list(table["block"].unique()) == [0, 1]
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()
    of_rank_r = table[~table["family"].str.startswith("LiDB")]
    assert (of_rank_r["share"] <= of_rank_r["best"] + 1e-9).all()
    assert all(each.equal(before[name]) for name, each in model.state_dict().items())
    own = table.query("method == 'LoRA alpha=16 r=8'")
    layer, row = own["layer"].iloc[0], own.iloc[0]
    assert row["best"] == pytest.approx(np.mean([best_capture(batch[layer], 8) for batch in gradients]))
    assert row["parameters"] == vxlab.LoRA(rank=8).parameter_count((32, 32))
    assert row["chance"] == 8 / 32


def test_methods_of_one_family_are_named_by_what_sets_them_apart(model, gradients):
    names = list(capture_table(model, gradients, METHODS, TARGETS)["family"].unique())
    assert names[:2] == ["LoRA alpha=None", "LoRA alpha=16"]
    assert "VeRA vectors=d unique=False" in names
    assert "LoRA-XS basis=random" in names
    assert {"LiDB", "LoRA-FA"} <= set(names)


def test_ranks_by_layer_are_each_layers_own_row(model, gradients):
    method = vxlab.LoRAXS(rank={"query": 2, "up": 5})
    table = capture_table(model, gradients[0], [method], TARGETS)
    assert set(zip(table["role"], table["rank"], strict=True)) == {("query", 2), ("up", 5)}
    assert table["parameters"].sum() == method.count(model, vxlab.resolve_targets(model, TARGETS))
    assert set(table["method"]) == {"LoRA-XS r=2 (query), 5 (up)"}
    for role, rank in (("query", 2), ("up", 5)):
        uniform = capture_table(model, gradients[0], [vxlab.LoRAXS(rank=rank)], TARGETS)
        own, alone = (each.loc[each["role"] == role, ["share", "best"]] for each in (table, uniform))
        assert np.array_equal(own, alone)


def test_unrelated_gradients_keep_what_chance_says(model, gradients):
    generator = torch.Generator().manual_seed(0)
    random = [
        {layer: torch.randn(each.shape, generator=generator) for layer, each in gradients[0].items()} for _ in range(60)
    ]
    table = capture_table(model, random, METHODS, TARGETS)
    assert table["share"].to_numpy() == pytest.approx(table["chance"].to_numpy(), rel=0.35)
    assert (table["share"] / table["chance"]).mean() == pytest.approx(1, abs=0.05)


def test_a_basis_from_the_first_batch_is_judged_on_the_others(model, gradients):
    method = vxlab.LoRAXS(rank=4, basis="gradient")
    alone = capture_table(model, gradients[0], [method], TARGETS)
    assert alone["share"].to_numpy() == pytest.approx(alone["best"].to_numpy(), abs=1e-6)
    assert alone["low"].isna().all()
    others = capture_table(model, gradients[:2], [method], TARGETS)
    assert (others["share"] < others["best"]).all()


def test_a_zero_gradient_leaves_no_share(model, gradients):
    zero = {layer: torch.zeros_like(each) for layer, each in gradients[0].items()}
    table = capture_table(model, zero, [vxlab.LoRA(rank=2)], TARGETS)
    assert table[["share", "low", "best"]].isna().all(axis=None)
    both = capture_table(model, [zero, gradients[0]], [vxlab.LoRA(rank=2)], TARGETS)
    alone = capture_table(model, gradients[0], [vxlab.LoRA(rank=2)], TARGETS)
    assert both[["share", "best"]].equals(alone[["share", "best"]])


def test_what_cannot_be_tabulated_is_refused(model, gradients):
    good, lora = gradients[0], [vxlab.LoRA(rank=2)]
    layer = next(iter(good))
    with pytest.raises(VxlabError, match="gradients is empty"):
        capture_table(model, [], lora, TARGETS)
    with pytest.raises(VxlabError, match="methods is empty"):
        capture_table(model, good, [], TARGETS)
    with pytest.raises(VxlabError, match=r"holds Full\(\), whose tangent space is not known"):
        capture_table(model, good, [vxlab.Full()], TARGETS)
    with pytest.raises(VxlabError, match=r"gradients has none of `bert.*key`.*did you mean"):
        capture_table(model, good, lora, "key")
    with pytest.raises(VxlabError, match=r"the gradient of .* is \(2, 3\); its weight is \(out, in\) = \(32, 32\)"):
        capture_table(model, good | {layer: torch.ones(2, 3)}, lora, TARGETS)
    with pytest.raises(VxlabError, match="holds NaN or infinite"):
        capture_table(model, good | {layer: good[layer] * math.nan}, lora, TARGETS)
    with pytest.raises(VxlabError, match="LoRAXS rank=99"):
        capture_table(model, good, [vxlab.LoRAXS(rank=99)], TARGETS)
