"""The trial of the advice, as it was fixed before any of its runs: what is compared, at which budgets, and how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vxlab.adapters import Family, LoRA, LoRAXS, VeRA
from vxlab.adapters.core import Shape, role_of
from vxlab.errors import VxlabError

UNIFORM_ALLOCATION, ADVISED_ALLOCATION = "uniform", "by energy"
KINDS = ("uniform", "advised", "by energy", "random", "one module", "rule of thumb")
"""Of allocations: one rank on all layers; what the advice says, which is uniform ranks where it abstains; ranks by
energy whether it abstains or not; drawn at random; all in the layers of one role; uniform ranks of the middle budget,
the usual rank for a few hundred rows, or of the budget itself where that is smaller."""

TRIAL_TASKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "rotten_tomatoes": {"model": "minilm", "max_length": 32},
        "sst2": {"model": "minilm", "max_length": 32},
        "cifar10_test": {"model": "dinov2s", "resolution": 70},
    }
)
TRIAL_RANKS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"lora": (1, 4, 16), "vera": (16, 64, 256), "lora_xs": (4, 8, 16)}
)
"""The budgets, as what uniform ranks on all linear layers of the blocks cost."""
TRIAL_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"targets": "all-linear", "epochs": 1, "batch_size": 8, "train_examples": 800, "eval_examples": 300,
     "precision": "bfloat16"}
)  # fmt: skip
TRIAL_PROTOCOL: Mapping[str, Any] = MappingProxyType(
    {"learning_rates": 3, "tuning_share": 0.33, "tuning_seeds": 1, "report_seeds": 3, "widen": 0}
)
"""Of the fair sweep in which uniform ranks and those by energy are tuned and reported; the other allocations take the
rate of the uniform ranks, and seeds 1, 2, 3 in turn."""
ADVICE_BATCHES = 12
RANDOM_DRAWS = 20
_HIGHEST_VERA = 1024

Allocation = Mapping[str, int]
"""Ranks by layer; a layer that is not there is not adapted."""


@dataclass(frozen=True)
class TrialCell:
    """One task, method and budget."""

    task: str
    method: str
    rank: int
    """whose uniform cost is the budget"""

    def family(self) -> Family:
        """Return the method at the uniform rank."""
        families: Mapping[str, type[Family]] = {each.name: each for each in (LoRA, VeRA, LoRAXS)}
        return families[self.method](rank=self.rank)


def trial_cells() -> list[TrialCell]:
    """Return all cells of the trial, small budgets of all tasks and methods first."""
    return [
        TrialCell(task, method, TRIAL_RANKS[method][size])
        for size in range(3) for task in TRIAL_TASKS for method in TRIAL_RANKS
    ]  # fmt: skip


def random_allocation(family: Family, shapes: Mapping[str, Shape], budget: int, seed: int) -> dict[str, int]:
    """Return ranks drawn at random that cost no more than a budget.

    Every layer gets a share of the budget, uniform among all ways to share it out (Dirichlet, all α = 1), and the
    highest rank that its share pays; what is left goes, rank by rank, to layers in random order.

    Args:
        family: LoRA, VeRA or LoRA-XS, of any one rank.
        shapes: (out, in) of the target layers.
        budget: trained parameters.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(len(shapes)))
    costs = {name: _costs(family, shape) for name, shape in shapes.items()}
    most = {name: highest_rank(family, shape) for name, shape in shapes.items()}
    ranks = {
        name: _affordable(costs[name], most[name], share * budget) for name, share in zip(shapes, shares, strict=True)
    }
    left = budget - sum(costs[name](rank) for name, rank in ranks.items())
    return _kept(_spend(ranks, left, costs, most, [list(shapes)[i] for i in generator.permutation(len(shapes))]))


def one_module_allocation(family: Family, shapes: Mapping[str, Shape], budget: int, role: str) -> dict[str, int]:
    """Return the highest rank, the same for all layers of one role, that a budget pays; what is left, rank by rank.

    Raises:
        VxlabError: there is no such layer, or the budget pays not even rank 1 on one of them.
    """
    own = {name: shape for name, shape in shapes.items() if role_of(name) == role}
    if not own:
        raise VxlabError(
            f"role={role!r} is of none of the layers; choose among {sorted(set(map(str, roles_of(shapes))))}"
        )
    costs = {name: _costs(family, shape) for name, shape in own.items()}
    most = {name: highest_rank(family, shape) for name, shape in own.items()}
    ranks = {name: _affordable(costs[name], most[name], budget / len(own)) for name in own}
    left = budget - sum(costs[name](rank) for name, rank in ranks.items())
    found = _kept(_spend(ranks, left, costs, most, list(own)))
    if not found:
        raise VxlabError(f"budget={budget} pays not even rank 1 on one layer of role {role!r}; give more")
    return found


def roles_of(layers: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Return the roles of layers, each once, in their order."""
    return list(dict.fromkeys(role for name in layers if (role := role_of(name))))


def highest_rank(family: Family, shape: Shape) -> int:
    """Return the highest rank that the trial gives a layer: VeRA's is the largest that its paper tries."""
    return _HIGHEST_VERA if isinstance(family, VeRA) else min(shape)


def _costs(family: Family, shape: Shape) -> Callable[[int], int]:
    return lambda rank: replace(family, rank=rank).parameter_count(shape) if rank else 0


def _affordable(cost: Callable[[int], int], most: int, budget: float) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle - 1)
    return low


def _spend(
    ranks: dict[str, int], left: int, costs: Mapping[str, Callable[[int], int]], most: Mapping[str, int],
    order: Sequence[str],
) -> dict[str, int]:  # fmt: skip
    open_ones = list(order)
    while open_ones:
        for name in list(open_ones):
            price = costs[name](ranks[name] + 1) - costs[name](ranks[name])
            if ranks[name] == most[name] or price > left:
                open_ones.remove(name)
            else:
                ranks[name], left = ranks[name] + 1, left - price
    return ranks


def _kept(ranks: Mapping[str, int]) -> dict[str, int]:
    return {name: rank for name, rank in ranks.items() if rank}


REGISTERED = """
**Tasks**: film reviews (`rotten_tomatoes`) and SST-2 with MiniLM, ten classes of photographs (`cifar10_test`) with
dinov2s.
**Methods and budgets**: what LoRA costs at rank 1, 4 and 16, VeRA at 16, 64 and 256, LoRA-XS at 4, 8 and 16, on all
linear layers of the blocks: 27 cells.
**Allocations** of each budget: *uniform*; *by energy*, from 12 batches of gradients; *advised*, which is the one by
energy where the advice advises it and uniform where it abstains; *random*, 20 draws of shares of the budget, uniform
among all; *one module*, all in the layers of one role, each of the six in turn; *rule of thumb*, the middle of the
three uniform ranks for a task of 800 rows, or the budget's own where that is smaller.
**Runs**: 100 steps of 8 rows; three rates for uniform and for by energy, each tried for a third of the steps on seed
0, chosen by validation loss; these two reported on seeds 1, 2 and 3; random draws and single modules run once each,
at the uniform ranks' rate, on seeds 1, 2, 3 in turn. 300 test rows.
**Regret** of an allocation in a cell: (oracle − chosen) / (oracle − worst) of test scores; oracle and worst are the
allocations that validation puts highest and lowest, so that neither is chosen by the luck of its own test. Over
cells: the sum of the numerators over the sum of the denominators. Intervals by a bootstrap over cells.
**Passes** if the advice is never below uniform by more than the interval of their seeds, its regret is at most half
of random's, and where it abstains, ranks by energy are not shown to be better. *No better than uniform* is a finding.
""".strip()
"""What was fixed before any run of the trial, as the notebook shows it."""
