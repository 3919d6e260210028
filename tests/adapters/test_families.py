"""Every family: its factors, initial values, parameter counts and refusals."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

import vxlab
from vxlab.adapters.core.family import Family
from vxlab.adapters.core.fingerprint import weights_fingerprint
from vxlab.adapters.core.layer import AdaptedLinear, SharedTensors
from vxlab.adapters.core.random_bases import random_basis, random_weight

OUT, IN = 6, 9
RECORDED = "4a84864b1556f0df7f6f25185d88086c18e3cddb6daf24b1c6e4db4f7cee46c7"  # with torch 2.13.0
FAMILIES = [
    vxlab.LoRA(rank=3, alpha=5),
    vxlab.LoRA(rank=3, rank_stabilised=True),
    vxlab.LoRA(rank=3, alpha=5, trains="B"),
    vxlab.LoRA(rank=12, trains="B"),
    vxlab.VeRA(rank=4),
    vxlab.VeRA(rank=12),
    vxlab.VeRA(rank=4, vectors="d"),
    vxlab.VeRA(rank=4, vectors="b", unique=True),
    vxlab.LiDB(rank=2, aux_out=5, aux_in=4),
    *(vxlab.LoRAXS(rank=3, sigma=sigma) for sigma in ("input", "output", "split", "none")),
    *(vxlab.LoRAXS(rank=3, basis=basis) for basis in ("middle", "bottom", "random")),
]


def adapted(family: Family, *, bias: bool = True, dtype: torch.dtype = torch.float64) -> AdaptedLinear:
    torch.manual_seed(0)
    base = nn.Linear(IN, OUT, bias=bias, dtype=dtype).requires_grad_(False)
    shared = SharedTensors(family.shared([(OUT, IN)])).to(dtype)
    return AdaptedLinear(base, family, shared, family.frozen({"layer": base.weight})["layer"], "layer")


def randomise(layer: AdaptedLinear) -> AdaptedLinear:
    with torch.no_grad():
        for tensor in layer.trained_tensors().values():
            tensor.normal_()
    return layer


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [1, 3, 30])
@pytest.mark.parametrize("input_grad", [True, False])
def test_gradcheck_passes(family: Family, bias: bool, tokens: int, input_grad: bool) -> None:
    layer = randomise(adapted(family, bias=bias))
    x = torch.randn(tokens, IN, dtype=torch.float64, requires_grad=input_grad)
    names, values = zip(*layer.trained_tensors().items(), strict=True)

    def call(x: torch.Tensor, *trained: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, trained, strict=True)), x)

    assert gradcheck(call, (x, *values))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_forward_is_the_dense_formula(family: Family) -> None:
    layer = randomise(adapted(family))
    x = torch.randn(5, IN, dtype=torch.float64)
    expected = nn.functional.linear(x, layer.weight + layer.delta_weight(), layer.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_trained_tensors_are_as_many_as_the_formula_says(family: Family) -> None:
    trained = sum(tensor.numel() for tensor in adapted(family).trained_tensors().values())
    assert trained == family.parameter_count((OUT, IN))


def test_lora_is_scaled_b_a() -> None:
    layer = randomise(adapted(vxlab.LoRA(rank=4, alpha=2)))
    torch.testing.assert_close(layer.delta_weight(), 0.5 * layer.B @ layer.A)
    stable = randomise(adapted(vxlab.LoRA(rank=4, alpha=2, rank_stabilised=True)))
    torch.testing.assert_close(stable.delta_weight(), 1.0 * stable.B @ stable.A)


def test_lora_starts_at_zero_with_a_kaiming_uniform_a() -> None:
    layer = adapted(vxlab.LoRA(rank=500))
    assert not layer.B.any()
    reference = torch.empty(500, IN, dtype=torch.float64)
    nn.init.kaiming_uniform_(reference, a=math.sqrt(5))
    assert layer.A.abs().max() <= 1 / math.sqrt(IN)
    assert layer.A.std().item() == pytest.approx(reference.std().item(), rel=0.03)


def test_lora_dropout_is_the_mean_of_the_update_and_off_in_evaluation() -> None:
    layer = randomise(adapted(vxlab.LoRA(rank=3, dropout=0.5)))
    x = torch.randn(1, IN, dtype=torch.float64)
    layer.eval()
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight + layer.delta_weight(), layer.bias))
    layer.train()
    many = layer(x.expand(40_000, IN))
    assert many.std(0).min() > 0
    torch.testing.assert_close(many.mean(0, keepdim=True), layer.eval()(x), rtol=0, atol=0.1)


def test_vera_is_b_times_b_times_d_times_a() -> None:
    layer = randomise(adapted(vxlab.VeRA(rank=4)))
    expected = torch.diag(layer.lambda_b) @ layer.shared.B @ torch.diag(layer.lambda_d) @ layer.shared.A
    torch.testing.assert_close(layer.delta_weight(), expected)


def test_vera_starts_with_zero_b_and_its_first_gradient_for_d_is_exactly_zero() -> None:
    layer = adapted(vxlab.VeRA(rank=4, d_initial=0.3))
    assert not layer.lambda_b.any()
    assert (layer.lambda_d == torch.tensor(0.3, dtype=torch.float32).double()).all()
    layer(torch.randn(5, IN, dtype=torch.float64)).square().sum().backward()
    assert not layer.lambda_d.grad.any()
    assert layer.lambda_b.grad.any()


def test_loras_first_gradient_for_a_is_exactly_zero() -> None:
    layer = adapted(vxlab.LoRA(rank=4))
    layer(torch.randn(5, IN, dtype=torch.float64)).square().sum().backward()
    assert not layer.A.grad.any()
    assert layer.B.grad.any()


def test_vera_layers_of_several_shapes_slice_one_pair() -> None:
    family = vxlab.VeRA(rank=4, seed=7)
    shared = family.shared([(6, 9), (8, 5)])
    assert shared["A"].shape == (4, 9)
    assert shared["B"].shape == (8, 4)
    left, right = family.factors({**shared, "lambda_b": torch.ones(6), "lambda_d": torch.ones(4)}, (6, 5))
    torch.testing.assert_close(left, shared["B"][:6])
    torch.testing.assert_close(right, shared["A"][:, :5])


def test_veras_random_pair_is_the_recorded_one() -> None:
    # A torch that draws other numbers fails here, and refuses every adapter saved before it.
    shared = vxlab.VeRA(rank=16, seed=7).shared([(24, 40)])
    assert weights_fingerprint(shared) == RECORDED


@pytest.mark.parametrize("vectors", ["d", "b"])
def test_vera_with_one_trained_vector_starts_at_zero_with_a_gradient(vectors: str) -> None:
    layer = adapted(vxlab.VeRA(rank=4, vectors=vectors))
    assert list(layer.trained_tensors()) == [f"lambda_{vectors}"]
    assert not layer.delta_weight().any()
    layer(torch.randn(5, IN, dtype=torch.float64)).square().sum().backward()
    assert getattr(layer, f"lambda_{vectors}").grad.all()


def test_vera_fixes_the_vector_that_does_not_train() -> None:
    only_d = randomise(adapted(vxlab.VeRA(rank=4, vectors="d", d_initial=0.3)))
    B, A = only_d.shared.B, only_d.shared.A
    torch.testing.assert_close(only_d.delta_weight(), B @ torch.diag(only_d.lambda_d) @ A)
    only_b = randomise(adapted(vxlab.VeRA(rank=4, vectors="b", d_initial=0.3)))
    torch.testing.assert_close(only_b.delta_weight(), 0.3 * torch.diag(only_b.lambda_b) @ B @ A)


def test_veras_matrices_are_drawn_as_asked() -> None:
    shapes = [(500, 800)]
    normal = vxlab.VeRA(rank=300, matrices="kaiming-normal").shared(shapes)
    assert normal["A"].std().item() == pytest.approx(math.sqrt(2 / 800), rel=0.01)
    assert normal["B"].std().item() == pytest.approx(math.sqrt(2 / 300), rel=0.01)
    assert normal["A"].abs().max() > math.sqrt(6 / 800)
    for matrix in vxlab.VeRA(rank=300, matrices="uniform").shared(shapes).values():
        assert 0 <= matrix.min() < 1e-4 < 0.0999 < matrix.max() <= 0.1


@pytest.mark.parametrize(("seed", "same"), [(2**40 + 1, 1), (-1, 2**32 - 1), (2**64 - 1, 2**32 - 1)])
def test_a_seed_of_which_torch_takes_a_part_is_warned_of(seed: int, same: int) -> None:
    with pytest.warns(UserWarning, match=f"VeRA seed={seed} draws the matrices of seed={same}: torch"):
        drawn = vxlab.VeRA(rank=2, seed=seed).shared([(3, 3)])
    assert torch.equal(drawn["A"], vxlab.VeRA(rank=2, seed=same).shared([(3, 3)])["A"])
    own = [vxlab.VeRA(rank=2, seed=each, unique=True).frozen({"a": torch.ones(3, 3)})["a"] for each in (seed, same)]
    assert not torch.equal(own[0]["A"], own[1]["A"])  # of these a hash takes every digit


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_that_torch_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(vxlab.VxlabError, match=f"VeRA seed={seed} is no seed of torch's; choose 0 to"):
        vxlab.VeRA(rank=2, seed=seed)


def test_unique_pairs_differ_between_layers_and_follow_seed_and_layer_alone() -> None:
    family = vxlab.VeRA(rank=4, unique=True)
    weights = {"a": torch.ones(6, 9), "b": torch.ones(6, 9), "c": torch.ones(8, 5)}
    pairs = family.frozen(weights)
    assert family.shared([(6, 9)]) == {}
    assert pairs["c"]["B"].shape == (8, 4)
    assert pairs["c"]["A"].abs().max() > math.sqrt(6 / 9)  # within its own fan-in's bound, and not the largest one's
    assert not torch.equal(pairs["a"]["A"], pairs["b"]["A"])
    assert torch.equal(pairs["b"]["A"], family.frozen({"b": weights["b"] + 1})["b"]["A"])
    assert not torch.equal(pairs["b"]["A"], vxlab.VeRA(rank=4, unique=True, seed=1).frozen(weights)["b"]["A"])
    layer = randomise(adapted(family))
    expected = torch.diag(layer.lambda_b) @ layer.B @ torch.diag(layer.lambda_d) @ layer.A
    torch.testing.assert_close(layer.delta_weight(), expected)


@pytest.mark.parametrize("sigma", ["input", "output", "split", "none"])
def test_a_gradient_basis_is_the_gradients_directions_with_the_weights_spectrum(sigma: str) -> None:
    torch.manual_seed(0)
    W, G = torch.randn(OUT, IN, dtype=torch.float64), torch.randn(OUT, IN, dtype=torch.float64)
    powers = {"input": (0, 1), "output": (1, 0), "split": (0.5, 0.5), "none": (0, 0)}[sigma]
    bases = vxlab.LoRAXS(rank=3, basis="gradient", sigma=sigma).frozen({"layer": W}, {"layer": G})["layer"]
    (U, _, Vh), S = torch.linalg.svd(G, full_matrices=False), torch.linalg.svdvals(W)[:3]
    left, right = U[:, :3] * S ** powers[0], S[:, None] ** powers[1] * Vh[:3]
    torch.testing.assert_close(bases["left_basis"] @ bases["right_basis"], left @ right)
    for mine, theirs in ((bases["left_basis"], left), (bases["right_basis"].T, right.T)):
        torch.testing.assert_close(mine.T @ mine, theirs.T @ theirs)
        torch.testing.assert_close((mine * theirs).sum(0).abs(), (theirs * theirs).sum(0))


def test_a_random_svd_basis_is_the_top_of_a_gaussian_matrix_of_the_weights_norm() -> None:
    torch.manual_seed(0)
    W = 7 * torch.randn(OUT, IN)
    gaussian = random_weight(W, 0, "layer")
    assert gaussian.norm().item() == pytest.approx(W.norm().item())
    U, S, Vh = torch.linalg.svd(gaussian, full_matrices=False)
    bases = vxlab.LoRAXS(rank=3, basis="random-svd").frozen({"layer": W})["layer"]
    torch.testing.assert_close(bases["left_basis"] @ bases["right_basis"], U[:, :3] * S[:3] @ Vh[:3])
    assert not torch.allclose(gaussian, random_weight(W, 1, "layer"))
    assert not torch.allclose(gaussian, random_weight(W, 0, "other"))


@pytest.mark.parametrize("sigma", ["input", "output", "split", "none"])
def test_lora_xs_bases_hold_sigma_on_the_side_asked_for(sigma: str) -> None:
    layer = adapted(vxlab.LoRAXS(rank=3, sigma=sigma, alpha=6))
    U, S, Vh = torch.linalg.svd(layer.weight, full_matrices=False)
    powers = {"input": (0, 1), "output": (1, 0), "split": (0.5, 0.5), "none": (0, 0)}[sigma]
    R = torch.randn(3, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.R.copy_(R)
    signs = torch.sign((layer.left_basis * U[:, :3]).sum(0))
    signed = signs[:, None] * R * signs  # the same R, said in the oracle's signs
    expected = 2.0 * U[:, :3] @ torch.diag(S[:3] ** powers[0]) @ signed @ torch.diag(S[:3] ** powers[1]) @ Vh[:3]
    torch.testing.assert_close(layer.delta_weight(), expected, rtol=1e-10, atol=1e-12)


def test_lora_xs_starts_from_a_tiny_normal_r() -> None:
    torch.manual_seed(0)
    R = vxlab.LoRAXS(rank=200).trained((300, 300))["R"]
    assert R.std().item() == pytest.approx(1e-5, rel=0.02)


def test_random_bases_are_orthonormal_and_depend_on_seed_and_layer_only() -> None:
    U, Vh = random_basis((7, 5), 3, seed=1, layer="a")
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(U.T @ U, identity)
    torch.testing.assert_close(Vh @ Vh.T, identity)
    assert torch.equal(U, random_basis((7, 5), 3, seed=1, layer="a")[0])
    assert not torch.allclose(U, random_basis((7, 5), 3, seed=2, layer="a")[0])
    assert not torch.allclose(U, random_basis((7, 5), 3, seed=1, layer="b")[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adapters_on_half_precision_weights_train_in_float32(dtype: torch.dtype) -> None:
    layer = adapted(vxlab.LoRAXS(rank=3), dtype=dtype)
    assert layer.R.dtype is torch.float32
    assert layer(torch.randn(2, IN, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        (0, "is not a positive integer; choose 1"),
        (-1, "is not a positive integer; choose 1"),
        (2.5, "is a float; it must be a whole number"),
        (True, "is a bool; it must be a whole number"),
        (
            "8",
            "is a text; it must be a whole number or a mapping of names to whole numbers: write rank=8, without quotes",
        ),
        (None, "is a NoneType; it must be a whole number"),
    ],
)
@pytest.mark.parametrize("family", [vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS, vxlab.LiDB])
def test_a_rank_that_is_no_positive_integer_is_refused(family: type[Family], rank: object, message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=rf"{family.__name__} rank={rank!r} {message}"):
        family(rank=rank)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: vxlab.LoRA(rank_stabilised="false"), "rank_stabilised='false' .* True or False: write .*=False"),
        (lambda: vxlab.VeRA(unique="no"), "VeRA unique='no' is a text; .*: write unique=False"),
        (lambda: vxlab.LoRA(alpha="16"), "LoRA alpha='16' is a text; .*: write alpha=16, without quotes"),
        (lambda: vxlab.LoRA(dropout=None), "LoRA dropout=None is a NoneType; it must be a number"),
        (lambda: vxlab.VeRA(d_initial=float("nan")), "VeRA d_initial=nan is not finite"),
        (lambda: vxlab.LoRAXS(basis=3), "LoRAXS basis=3 is an int; it must be a text"),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_name(refused: Callable[[], object], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        refused()


def test_numpys_numbers_are_settings_like_pythons() -> None:
    method = vxlab.LoRA(rank=np.int64(8), alpha=np.float32(0.1), rank_stabilised=np.True_)  # type: ignore[arg-type]
    assert method == vxlab.LoRA(rank=8, alpha=0.1, rank_stabilised=True)
    assert [type(value) for value in method.settings().values()] == [int, float, bool, float]


def test_a_rank_above_the_smaller_side_is_refused_for_lora_xs_only() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"LoRAXS rank=7 is more than min.*=6 of `layer`; choose 1-6"):
        vxlab.LoRAXS(rank=7).check((OUT, IN), "layer")
    vxlab.VeRA(rank=1024).check((OUT, IN), "layer")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: vxlab.LoRA(alpha=0), "LoRA alpha=0 is not a positive number"),
        (lambda: vxlab.LoRA(dropout=1.0), "LoRA dropout=1.0 is not a probability below 1"),
        (lambda: vxlab.VeRA(d_initial=-1), "VeRA d_initial=-1 is not a positive number"),
        (lambda: vxlab.LoRAXS(sigma="left"), "sigma='left' is unknown; choose one of input, output"),
        (lambda: vxlab.LoRAXS(basis="best"), "basis='best' is unknown; choose one of top, .*, random, random-svd, gr"),
        (lambda: vxlab.VeRA(vectors="c"), "VeRA vectors='c' is unknown; choose one of both, d, b"),
        (lambda: vxlab.VeRA(matrices="normal"), "VeRA matrices='normal' is unknown; choose one of kaiming-uniform"),
        (lambda: vxlab.method_from_name("vora"), "method='vora' is unknown; did you mean '(lora|vera|elora)'"),
        (lambda: vxlab.method_from_name("lora", rnk=3), "method 'lora' has no setting 'rnk'; did you mean 'rank'"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: object, message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        settings()  # type: ignore[operator]


def test_elora_is_vera() -> None:
    assert vxlab.ELoRA is vxlab.VeRA
    assert vxlab.method_from_name("elora", rank=8) == vxlab.VeRA(rank=8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_layer(value: float) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight[0, 0] = value
    with pytest.raises(vxlab.VxlabError, match="the weight of `0` holds NaN or infinite values"):
        vxlab.attach(model, vxlab.LoRAXS(rank=2), targets="all-linear")
