"""Angles between bases against SciPy's, chance, and Wedin's bound."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

import vxlab
from vxlab.experiments.runs import layer_weights
from vxlab.studies.quantised import turned_bases
from vxlab.studies.quantised.angles import _of_layer

pytest.importorskip("bitsandbytes")


def test_angles_are_those_between_the_dequantised_weights_singular_vectors(tiny_model: str) -> None:
    table = turned_bases(tiny_model, 2, ["nf4", "int8"], [2, 4, 32], "query-value")
    assert set(table["rank"]) == {2, 4}  # 32 is all of a weight, which cannot turn
    assert set(table["role"]) == {"query", "value"}
    for scheme, own in table.groupby("scheme"):
        before, after = (layer_weights(vxlab.load_model(tiny_model, 2, each), "query-value") for each in (None, scheme))
        for row in own.to_dict("records"):
            (U, _, Vh), (Uq, _, Vqh) = (np.linalg.svd(each[row["layer"]].double().numpy()) for each in (before, after))
            pair = (U, Uq) if row["side"] == "output" else (Vh.T, Vqh.T)
            angles = scipy.linalg.subspace_angles(*(each[:, : row["rank"]] for each in pair))
            assert row["largest"] == pytest.approx(math.degrees(angles.max()), abs=1e-3)
            assert row["overlap"] == pytest.approx((np.cos(angles) ** 2).mean(), abs=1e-8)
            assert row["chance_overlap"] == row["rank"] / 32
            E = after[row["layer"]].double() - before[row["layer"]].double()
            assert row["error"] == pytest.approx(np.linalg.norm(E.numpy(), 2), rel=1e-6)


def test_no_angle_is_above_wedins_bound() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        U, V = (torch.linalg.qr(torch.randn(n, 6, generator=generator)).Q for n in (12, 8))
        W = U @ torch.diag(torch.tensor([9.0, 7.0, 4.0, 2.0, 1.0, 0.5])) @ V.mT
        Wq = W + 0.08 * torch.randn(12, 8, generator=generator)
        rows = list(_of_layer(W, Wq, [1, 2, 3]))
        assert len(rows) == 6
        for _, _, _, _, largest, *_, bound in rows:
            assert largest <= bound < 90


def test_where_the_gap_is_smaller_than_the_error_the_bound_says_nothing() -> None:
    W = torch.diag(torch.tensor([2.0, 1.0, 1.0 - 1e-3, 0.5]))
    rows = {row[:2]: row for row in _of_layer(W, W + 0.01 * torch.ones(4, 4), [1, 2])}
    assert rows[1, "output"][-1] < 90
    assert rows[2, "output"][-1] == 90.0


def test_a_weight_that_is_the_same_has_no_angle() -> None:
    W = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    for row in _of_layer(W, W.clone(), [1, 3]):
        assert row[2] == pytest.approx(1)
        assert row[4] == pytest.approx(0, abs=1e-5)
