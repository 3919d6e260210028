"""Families with ranks by layer on whole models: the same as layers of several uniform ones, layer by layer."""

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import Tensor, nn
from toy_checkpoints import logits, trained

import vxlab
from vxlab.adapters import Family
from vxlab.adapters.core import Rank, Shape
from vxlab.adapters.core.layer import AdaptedLinear
from vxlab.errors import VxlabError

RANKS = {"query": 2, "value": 5, "layer.1.attention.self.value": 3}
TARGETS = ["query", "value"]
FAMILIES: list[Family] = [
    vxlab.LoRA(rank=RANKS),
    vxlab.LoRA(rank=RANKS, alpha=16),
    vxlab.LoRA(rank=RANKS, rank_stabilised=True, trains="B", seed=5),
    vxlab.VeRA(rank=RANKS, seed=3),
    vxlab.VeRA(rank=RANKS, vectors="d"),
    vxlab.VeRA(rank=RANKS, unique=True, vectors="b"),
    vxlab.LoRAXS(rank=RANKS, alpha=4),
    vxlab.LoRAXS(rank=RANKS, basis="random"),
    vxlab.LiDB(rank=RANKS, aux_out=12, aux_in=10),
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def layer_named(end: str) -> str:
    return f"bert.encoder.layer.{end}"


def uniform(family: Family, rank: int) -> Family:
    return type(family)(**{**family.settings(), "rank": rank})


def test_a_layer_has_the_family_at_its_own_rank() -> None:
    family = vxlab.LoRA(rank=RANKS, alpha=16)
    assert family.at(layer_named("0.attention.self.value")) == vxlab.LoRA(rank=5, alpha=16)
    assert family.at(layer_named("1.attention.self.value")) == vxlab.LoRA(rank=3, alpha=16)
    assert vxlab.LoRA(rank=4).at("anything") == vxlab.LoRA(rank=4)
    assert (family.highest_rank, vxlab.LoRA(rank=4).highest_rank) == (5, 4)
    assert vxlab.LoRA(rank=4).r == 4
    with pytest.raises(VxlabError, match=r"has ranks by layer; ask LoRA.at\(layer\) for one layer's"):
        _ = family.r
    with pytest.raises(VxlabError, match="has ranks by layer"):
        family.parameter_count((8, 8))  # which is of one layer, and of none that it knows


def test_two_orders_of_ranks_are_one_method() -> None:
    one, other = vxlab.VeRA(rank={"query": 4, "value": 16}), vxlab.VeRA(rank={"value": 16, "query": 4})
    assert one == other
    assert (hash(one), repr(one), one.settings()) == (hash(other), repr(other), other.settings())
    assert type(one.settings()["rank"]) is dict
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert one != vxlab.VeRA(rank={"query": 4, "value": 4})


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        ({}, r"LoRA rank=\{\} names no layer; give one rank, or such as"),
        ({"query": 0}, "LoRA rank of 'query'=0 is not a positive integer"),
        ({"query": -1}, "LoRA rank of 'query'=-1 is not a positive integer"),
        ({"query": 2.5}, "it must be a whole number or a mapping of names to whole numbers"),
        ({1: 4}, "it must be a whole number or a mapping of names to whole numbers"),
    ],
)
def test_what_is_no_rank_of_a_layer_is_refused(rank: Mapping[str, int], message: str) -> None:
    with pytest.raises(VxlabError, match=message):
        vxlab.LoRA(rank=rank)


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        ({"query": 4}, "rank=.* has none for `bert.*value`, a target layer"),
        ({"query": 4, "value": 4, "key": 2}, "'key' is of no target layer"),
        ({"query": 4, "valeu": 4}, r"'valeu' is of no target layer; did you mean 'value'\?"),
        (
            {"query": 4, "value": 99},
            r"LoRAXS rank=99 is more than min\(.*\)=32 of `bert.*value`",
        ),
    ],
)
def test_ranks_that_do_not_fit_the_layers_leave_the_model_as_it_was(rank: dict[str, int], message: str) -> None:
    model = ARCHITECTURES["bert"]()
    before = [name for name, _ in model.named_parameters()]
    with pytest.raises(VxlabError, match=message):
        vxlab.attach(model, vxlab.LoRAXS(rank=rank), TARGETS)
    assert [name for name, _ in model.named_parameters()] == before
    assert not vxlab.adapted_layers(model)


def test_an_error_shows_a_long_allocation_in_short() -> None:
    family = vxlab.LoRA(rank={f"encoder.layer.{number}.query": 4 for number in range(36)})
    assert len(str(family)) < 250
    assert eval(repr(family), {"LoRA": vxlab.LoRA}) == family


@every_family
def test_outputs_gradients_and_updates_are_those_of_uniform_layers_with_the_same_tensors(family: Family) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"]().double(), family, TARGETS)
    torch.manual_seed(2)
    for name, layer in vxlab.adapted_layers(model).items():
        # Frozen tensors by another way: of a whole model with that one rank on the layers that have it.
        alike = [other for other in vxlab.adapted_layers(model) if family.at(other) == family.at(name)]
        alone = vxlab.attach(ARCHITECTURES["bert"]().double(), uniform(family, layer.family.r), alike)
        single = vxlab.adapted_layers(alone)[name]
        assert single.family == layer.family
        with torch.no_grad():
            for key, parameter in layer.trained_tensors().items():
                parameter.normal_()
                single.trained_tensors()[key].copy_(parameter)
        x = torch.randn(5, layer.shape[1], dtype=torch.float64)
        torch.testing.assert_close(layer.delta_weight(), single.delta_weight(), rtol=1e-12, atol=1e-12)
        outputs = [each(x) for each in (layer, single)]
        torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
        for each in outputs:
            each.square().sum().backward()
        for key, parameter in layer.trained_tensors().items():
            torch.testing.assert_close(parameter.grad, single.trained_tensors()[key].grad, rtol=1e-12, atol=1e-12)


@every_family
def test_equal_ranks_by_layer_have_the_bits_of_one_rank(family: Family) -> None:
    same = type(family)(**{**family.settings(), "rank": {"query": 4, "value": 4}})
    models = []
    for each in (same, uniform(family, 4)):
        torch.manual_seed(7)
        model = vxlab.attach(ARCHITECTURES["bert"](), each, TARGETS)
        model(**inputs("bert")).logits.square().sum().backward()
        models.append(model)
    one, other = (dict(model.named_parameters()) for model in models)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name])
        assert (one[name].grad is None) == (other[name].grad is None)
        assert one[name].grad is None or torch.equal(one[name].grad, other[name].grad)
    assert torch.equal(logits(models[0], "bert"), logits(models[1], "bert"))


def test_layers_of_one_rank_share_veras_pair_and_layers_of_another_have_their_own() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank={"query": 4, "value": 9}), TARGETS)
    shared: dict[str, set[int]] = {}
    for name, layer in vxlab.adapted_layers(model).items():
        shared.setdefault(name.rpartition(".")[2], set()).add(id(layer.shared))
        assert layer.shared.A.shape[0] == layer.family.r
    assert [len(each) for each in shared.values()] == [1, 1]


@every_family
def test_parameters_are_counted_layer_by_layer(family: Family) -> None:
    model = ARCHITECTURES["bert"]()
    layers = vxlab.resolve_targets(model, TARGETS)
    counted = family.count(model, layers)
    vxlab.attach(model, family, TARGETS)
    own = vxlab.adapted_layers(model).values()
    assert counted == sum(layer.family.parameter_count(layer.shape) for layer in own)
    assert counted == vxlab.trainable_parameters(model).backbone
    assert counted == sum(each.numel() for layer in own for each in layer.trained_tensors().values())


@every_family
def test_saved_loaded_merged_unmerged_and_detached_models_answer_alike(family: Family, tmp_path: Path) -> None:
    model = trained("bert", family, TARGETS)  # type: ignore[arg-type]
    expected = logits(model, "bert")
    bare = ARCHITECTURES["bert"]()
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path))
    assert again.vxlab_attachment.method == family
    assert torch.equal(logits(again, "bert"), expected)
    torch.testing.assert_close(logits(vxlab.merge(model), "bert"), expected, rtol=1e-4, atol=1e-5)
    vxlab.unmerge(model)
    assert torch.equal(logits(model, "bert"), expected)
    vxlab.detach(model)
    weights = dict(bare.named_parameters())
    assert all(torch.equal(each, weights[name]) for name, each in model.named_parameters() if "encoder" in name)


def test_a_folder_is_read_without_a_model_as_it_is_with_one(tmp_path: Path) -> None:
    for number, family in enumerate(FAMILIES):
        model = trained("bert", family, TARGETS)  # type: ignore[arg-type]
        folder = vxlab.save_adapter(model, tmp_path / str(number))
        layers = vxlab.adapted_layers(model)
        saved = vxlab.adapters.read_saved(folder, {name: layer.shape for name, layer in layers.items()})
        if isinstance(family, vxlab.LoRAXS):
            assert saved.ranks == {name: layer.family.r for name, layer in layers.items()}
            continue  # whose bases are made of the base's weights
        for name, (left, right) in saved.factors({name: layer.shape for name, layer in layers.items()}).items():
            torch.testing.assert_close(left @ right, layers[name].delta_weight().detach(), rtol=1e-5, atol=1e-6)


def test_another_pair_of_one_rank_alone_is_told_when_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.VeRA(rank=RANKS), TARGETS), tmp_path)  # type: ignore[arg-type]
    plain = vxlab.VeRA.shared

    def drawn(self: vxlab.VeRA, shapes: list[Shape]) -> dict[str, Tensor]:
        pair = plain(self, shapes)
        return {name: each + 1 for name, each in pair.items()} if self.rank == 3 else pair

    monkeypatch.setattr(vxlab.VeRA, "shared", drawn)
    with pytest.raises(VxlabError, match="frozen"):
        vxlab.load_adapter(ARCHITECTURES["bert"](), folder)


def test_alpha_over_r_is_each_layers_own() -> None:
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank={"query": 2, "value": 8}, alpha=16), TARGETS)
    assert {layer.family.r: layer.family.scaling for layer in vxlab.adapted_layers(model).values()} == {2: 8.0, 8: 2.0}


def test_a_gradient_basis_takes_each_layers_rank() -> None:
    model = ARCHITECTURES["bert"]()
    layers = vxlab.resolve_targets(model, TARGETS)
    gradients = {name: torch.randn(layer.weight.shape) for name, layer in layers.items()}
    family = vxlab.LoRAXS(rank=RANKS, basis="gradient")
    vxlab.attach(model, family, TARGETS, gradients=gradients)
    for name, layer in vxlab.adapted_layers(model).items():
        bases = layer.frozen_tensors()
        assert (bases["left_basis"].shape[1], bases["right_basis"].shape[0]) == (family.at(name).r,) * 2
        U = torch.linalg.svd(gradients[name].double())[0][:, : family.at(name).r]
        overlap = torch.linalg.matrix_norm(U.T @ bases["left_basis"].double()).square()
        assert float(overlap) == pytest.approx(family.at(name).r, abs=1e-4)


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_quantised_bases_take_ranks_by_layer(scheme: str) -> None:
    pytest.importorskip("bitsandbytes")
    import toy_quantised

    layers = {name: toy_quantised.quantised(nn.Linear(64, 32), scheme) for name in ("query", "value")}
    model = nn.ModuleDict(layers)
    vxlab.attach(model, vxlab.LoRA(rank={"query": 2, "value": 5}), ["query", "value"])
    x = torch.randn(3, 64)
    for rank, layer in zip((2, 5), vxlab.adapted_layers(model).values(), strict=True):
        assert layer.family.r == rank
        before = layer(x)
        with torch.no_grad():
            layer.trained_tensors()["B"].normal_()
        delta = layer.delta_weight()
        torch.testing.assert_close(layer(x), before + x @ delta.T, rtol=1e-4, atol=1e-4)


@dataclass(frozen=True)
class Scaled(Family):
    """A family of a user's own, at one rank or at ranks by layer."""

    name: ClassVar[str] = "scaled"
    rank: Rank = 4

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        return {"A": torch.randn(self.r, shape[1]), "B": torch.zeros(shape[0], self.r)}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        return tensors["B"] / self.r, tensors["A"]

    def parameter_count(self, shape: Shape) -> int:
        return self.r * sum(shape)


@dataclass(frozen=True)
class Narrow(Scaled):
    """One of a user's own that says it takes one rank alone."""

    name: ClassVar[str] = "narrow"
    rank: int = 4


def test_a_family_of_ones_own_takes_ranks_by_layer_where_its_field_says_so(frozen_a: None, tmp_path: Path) -> None:
    vxlab.register(Scaled)
    family = Scaled(rank={"query": 2, "value": 3})
    model = trained("bert", family, TARGETS)  # type: ignore[arg-type]
    layers = vxlab.adapted_layers(model)
    assert all(isinstance(layer, AdaptedLinear) and layer.family.r == len(layer.A) for layer in layers.values())
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path))
    assert torch.equal(logits(again, "bert"), logits(model, "bert"))
    with pytest.raises(VxlabError, match=r"Narrow rank=\{'query': 2\} is a dict; it must be a whole number"):
        Narrow(rank={"query": 2})  # type: ignore[arg-type]
