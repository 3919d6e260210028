"""Sharing a budget among layers, against every way to share it."""

import itertools

import numpy as np
import pytest

from vxlab.studies.advisor.allocation import allocate, fit_curve, uniform_rank

COSTS = {
    "LoRA": [lambda r: 5 * r, lambda r: 8 * r, lambda r: 5 * r],
    "LoRA-XS": [lambda r: r * r] * 3,
    "VeRA": [lambda r: 7 + r if r else 0, lambda r: 4 + r if r else 0, lambda r: 7 + r if r else 0],
}


def _concave(random, ranks, costs):
    """Return curves whose energy for each further parameter falls."""
    return [
        np.cumsum(np.sort(random.exponential(size=ranks))[::-1] * np.diff([cost(r) for r in range(ranks + 1)]))
        for cost in costs
    ]


def _captured(energies, ranks):
    return sum(float(energy[rank - 1]) if rank else 0.0 for energy, rank in zip(energies, ranks, strict=True))


def _best(energies, costs, budget):
    every = itertools.product(*(range(len(energy) + 1) for energy in energies))
    fit = (ranks for ranks in every if sum(c(r) for c, r in zip(costs, ranks, strict=True)) <= budget)
    return max(_captured(energies, ranks) for ranks in fit)


@pytest.mark.parametrize("method", COSTS)
@pytest.mark.parametrize("seed", range(8))
def test_no_way_to_share_a_budget_captures_more_than_one_step_more(method, seed):
    random, costs = np.random.default_rng(seed), COSTS[method]
    energies = _concave(random, 6, costs)
    curves = {str(i): fit_curve(e, c, 6) for i, (e, c) in enumerate(zip(energies, costs, strict=True))}
    for budget in (12, 25, 40):
        ranks = list(allocate(curves, budget).values())
        spent = sum(c(r) for c, r in zip(costs, ranks, strict=True))
        assert spent <= budget
        largest = max(np.diff(energy, prepend=0.0).max() for energy in energies)
        assert _captured(energies, ranks) >= _best(energies, costs, budget) - largest
        dearer = [c(r + 1) - c(r) for c, r in zip(costs, ranks, strict=True) if 0 < r < 6]
        assert all(price > budget - spent for price in dearer)  # nothing more fits


@pytest.mark.parametrize("seed", range(8))
def test_at_the_budgets_that_it_spends_whole_it_is_the_best(seed):
    costs = COSTS["LoRA-XS"]
    energies = _concave(np.random.default_rng(seed), 5, costs)
    curves = {str(i): fit_curve(e, c, 5) for i, (e, c) in enumerate(zip(energies, costs, strict=True))}
    for budget in range(3, 40):
        ranks = list(allocate(curves, budget).values())
        if sum(r * r for r in ranks) == budget and _greedy_only(curves, ranks):
            assert _captured(energies, ranks) == pytest.approx(_best(energies, costs, budget))


def _greedy_only(curves, ranks):
    """Say whether every rank taken brings more for a parameter than any that was not: no step was skipped."""
    taken = [curve.steps[rank - 1] for curve, rank in zip(curves.values(), ranks, strict=True) if rank]
    left = [curve.steps[rank] for curve, rank in zip(curves.values(), ranks, strict=True) if rank < len(curve.steps)]
    return min(taken) >= max(left, default=0.0)


def test_a_layer_without_energy_is_left_out():
    costs = lambda r: 4 * r  # noqa: E731
    curves = {"dead": fit_curve([-1.0, -2.0, -1.0], costs, 3), "alive": fit_curve([3.0, 4.0, 4.0], costs, 3)}
    assert allocate(curves, 24) == {"dead": 0, "alive": 3}


def test_noise_that_rises_is_pooled():
    curve = fit_curve([1.0, 4.0, 5.0, 4.5], lambda r: r, 4)
    assert curve.steps.tolist() == [2.0, 2.0, 1.0, 0.0]


def test_what_is_left_goes_to_the_lowest_ranks():
    curves = {name: fit_curve([energy], lambda r: 10 + r if r else 0, 100) for name, energy in (("a", 2.0), ("b", 1.0))}
    assert allocate(curves, 41) == {"a": 11, "b": 10}


def test_the_uniform_rank_is_the_highest_that_fits():
    costs = [lambda r: 3 * r, lambda r: 5 * r]
    assert [uniform_rank(costs, 4, budget) for budget in (7, 8, 15, 16, 1000)] == [0, 1, 1, 2, 4]
