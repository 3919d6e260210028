"""What the resamples say: a planted update is found, noise is not, and intervals hold what they should."""

from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vxlab import LoRA, LoRAXS
from vxlab.experiments.runs import batch_gradients
from vxlab.experiments.tasks.kinds import recorded_kind
from vxlab.studies.advisor.advice import parameters_at
from vxlab.studies.advisor.energies import measure_energies
from vxlab.studies.advisor.stability import ALLOCATION, UNKNOWN, BudgetedRanks, budget_grid, paired_interval

LAYERS, OUT, IN, RANK = 6, 24, 16, 3
PLANTED = (1, 4)


class _Sensed(nn.Module):
    """Answer with Σ_l z_lᵀ·W_l·x_l: what each layer must learn shows in that layer's gradient alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(IN, OUT, bias=False) for _ in range(LAYERS))

    def forward(self, z, x):
        parts = [(z[:, i] * layer(x[:, i])).sum(1, keepdim=True) for i, layer in enumerate(self.layers)]
        return SimpleNamespace(logits=sum(parts))


def _planted(method, weight):
    """Return a rank-3 update of even singular values, for LoRA-XS between W's leading singular vectors."""
    turn = torch.linalg.qr(torch.randn(RANK, RANK)).Q
    if isinstance(method, LoRAXS):
        U, _, Vh = torch.linalg.svd(weight, full_matrices=False)
        return U[:, :RANK] @ turn @ Vh[:RANK]
    left, right = torch.linalg.qr(torch.randn(OUT, RANK)).Q, torch.linalg.qr(torch.randn(IN, RANK)).Q
    return left @ turn @ right.mT


def _judge(method, rows, shuffled=False, seed=0):
    """Return a judge of eight batches whose labels are what a teacher with updates in two layers answers more."""
    torch.manual_seed(seed)
    model = _Sensed()
    layers = {f"layers.{i}": layer for i, layer in enumerate(model.layers)}
    weights = {name: layer.weight.detach() for name, layer in layers.items()}
    updates = {i: _planted(method, weights[f"layers.{i}"]) for i in PLANTED}

    def batch():
        z, x = torch.randn(rows, LAYERS, OUT), torch.randn(rows, LAYERS, IN)
        labels = sum((z[:, i] * (x[:, i] @ update.mT)).sum(1) for i, update in updates.items())
        return {"z": z, "x": x, "labels": labels[torch.randperm(rows)] if shuffled else labels}

    found = {name: [] for name in layers}
    for _, gradients in batch_gradients(
        model, [batch() for _ in range(8)], layers, recorded_kind({"num_labels": 1}).lesson
    ):
        for name, gradient in gradients.items():
            found[name].append(gradient)
    signal = {name: torch.stack(each) for name, each in found.items()}
    energies = dict(measure_energies(signal, weights, method, seed))
    return BudgetedRanks(energies, {name: cache(partial(parameters_at, method, (OUT, IN))) for name in layers})


@pytest.mark.parametrize(("method", "budget"), [(LoRA(rank=1), 2 * 3 * (OUT + IN)), (LoRAXS(rank=1), 2 * 9)])
def test_a_planted_update_is_found_in_its_layers_with_its_rank(method, budget):
    judged = _judge(method, rows=256).judge(budget)
    assert [rank for i, rank in enumerate(judged.ranks.values()) if i not in PLANTED] == [0] * 4
    assert all(abs(judged.ranks[f"layers.{i}"] - RANK) <= 1 for i in PLANTED)
    assert judged.verdict == ALLOCATION
    assert judged.low > 0.05
    assert min(judged.stability.values()) > 0.9


@pytest.mark.parametrize(("method", "shuffles"), [(LoRA(rank=1), 5), (LoRAXS(rank=1), 20)])
def test_labels_in_any_order_give_no_allocation(method, shuffles):
    verdicts = []
    for seed in range(shuffles):
        judge = _judge(method, rows=64, shuffled=True, seed=seed)
        verdicts += [{judge.judge(judge.price(rank)).verdict for rank in (1, 3)}]
    assert sum(ALLOCATION in each for each in verdicts) <= shuffles // 20
    assert sum(UNKNOWN in each for each in verdicts) >= 0.8 * shuffles


def test_the_interval_of_pairs_holds_their_mean_in_nine_of_ten_and_noise_has_the_mean_zero():
    random = np.random.default_rng(0)
    truth = random.normal(size=30) * 0.7
    whole = truth @ truth
    held = []
    for _ in range(300):
        G = truth + random.normal(size=(8, 30))
        _, low, high = paired_interval(G @ G.T)
        held.append(low <= whole <= high)
    assert 0.85 < np.mean(held) < 0.99
    means = [paired_interval((G := random.normal(size=(8, 30))) @ G.T)[0] for _ in range(300)]
    assert abs(np.mean(means)) < 4 * np.std(means) / 300**0.5


def test_the_grid_goes_from_the_smallest_uniform_adapter_to_the_largest():
    judge = _judge(LoRA(rank=1), rows=16)
    grid = budget_grid(judge, [1000])
    assert grid[0] == judge.price(1)
    assert grid[-1] == judge.price(IN) == LAYERS * IN * (OUT + IN)
    assert 1000 in grid
