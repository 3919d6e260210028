"""What the advisor says: the ranks by layer, what they rest on, how sure they are, and what to run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vxlab.adapters import Family, Method, VeRA
from vxlab.adapters.core import Shape
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.sweeps import Candidate, FairSweep
from vxlab.studies.advisor.stability import ALLOCATION, LEAST_GAIN, UNIFORM, UNKNOWN
from vxlab.words import with_minus

COLUMNS = (
    "layer", "block", "role", "out", "in", "rank", "allocated", "uniform", "parameters", "energy", "energy_uniform",
    "energy_all", "low", "high", "stability",
)  # fmt: skip
"""Of :attr:`Advice.layers`."""
_DECIDED = ("method", "learning_rate", "head_learning_rate", "seed", "draw", "ends_after", "targets")
"""Fields of a run that a fair sweep decides, or its candidates."""


@dataclass(frozen=True, eq=False)
class Advice:
    """Ranks by layer under a budget, from the first gradients alone; :func:`vxlab.advise` makes it.

    Energies are of the loss's gradient by the weights, noise corrected: ‖P·E[G]‖² of what a method's subspace reaches.
    They say what a first step could do, not what training reaches.
    """

    spec: RunSpec
    """the run that was asked about, of one rank on all its targets"""
    budget: int
    """trained parameters of the backbone"""
    verdict: str
    """``allocation``, ``uniform`` or ``unknown``"""
    layers: pd.DataFrame
    """a row a layer: ``layer, block, role, out, in``; ``rank`` (advised; 0 leaves it out), ``allocated`` (by energy,
    advised or not), ``uniform``; ``parameters`` (of ``rank``); ``energy`` (captured at ``allocated``),
    ``energy_uniform``, ``energy_all`` (‖E[G]‖²) with its 90 % interval ``low, high``; ``stability`` (share of the
    resamples whose rank is within a factor of 2 of ``allocated``)"""
    energies: pd.DataFrame
    """``layer, rank, parameters, energy, share`` (of the layer's ``energy_all``)"""
    budgets: pd.DataFrame
    """a row a budget from the smallest to the largest adapter: ``budget, uniform_rank, kept`` (share of all layers'
    energy that the allocation captures), ``kept_uniform``; ``gain, low, high`` (of held-out batches' energy, as a share
    of all: the median over resamples with the 5th and 95th percentile, allocation less uniform); ``verdict``"""
    allocations: pd.DataFrame
    """``budget, layer, allocated, uniform, energy, energy_uniform, stability``, for every budget of the grid"""
    steps: int
    """batches whose gradients were taken"""
    cost: float
    """the share of the run's steps that these are"""
    capacity: Mapping[str, Any]
    """``data_bits``, ``adapter_bits``, and whether these are ``enough``, by a rule of thumb; NaN and None of
    regression"""
    rates: tuple[float, ...]
    """learning rates to try: the fair protocol's own"""

    def method(self) -> Family:
        """Return the method with the advised ranks: by layer where the verdict is ``allocation``, else the uniform."""
        family = self._family()
        if self.verdict != ALLOCATION:
            return dataclasses.replace(family, rank=int(self.layers["uniform"].iloc[0]))
        return dataclasses.replace(family, rank=self._ranks())

    def run_spec(self) -> RunSpec:
        """Return the run to start with: the advised method on the layers that it adapts, at the middle rate."""
        return dataclasses.replace(self.spec, method=self.method(), targets=self._targets())

    def fair_sweep(self, **budget: Any) -> FairSweep:
        """Return the sweep that tests the advice: uniform ranks, and where ranks by layer are advised these too.

        Args:
            budget: further fields of :class:`~vxlab.FairSweep`, such as ``report_seeds=5``.
        """
        uniform = dataclasses.replace(self._family(), rank=int(self.layers["uniform"].iloc[0]))
        candidates = [Candidate(uniform, targets=self.spec.targets)]
        if self.verdict == ALLOCATION:
            candidates.append(Candidate(self.method(), targets=self._targets()))
        heads = {"head_learning_rates": (self.spec.head_learning_rate,)} if self.spec.head_learning_rate else {}
        return FairSweep(candidates=candidates, settings=self._settings(), **heads | budget)

    def at(self, budget: int) -> pd.DataFrame:
        """Return :attr:`layers` at another budget of :attr:`budgets`, without new gradients.

        Raises:
            VxlabError: it is none of them.
        """
        known = self.budgets["budget"].tolist()
        if budget not in known:
            raise VxlabError(f"budget={budget!r} is none of those that were judged; choose among {known}")
        verdict = self.budgets.set_index("budget")["verdict"][budget]
        return layers_at(self.spec, self.layers, self.allocations, budget, verdict)

    def sentence(self) -> str:
        """Return the advice in one to three plain sentences, with what it does not know."""
        uniform = int(self.layers["uniform"].iloc[0])
        at = self.budgets[self.budgets["budget"] == self.budget].to_dict("records")[0]
        seen = f"{100 * at['gain']:+.1f} % of all energy ({100 * at['low']:+.1f} to {100 * at['high']:+.1f})"
        capture = f"on batches that they were not chosen by, ranks by layer change what it captures by {seen}"
        told = {
            ALLOCATION: f"Give ranks by layer{self._in_words()}: on batches that they were not chosen by they capture "
            f"{seen} more than uniform rank {uniform} with as many parameters",
            UNIFORM: f"{_abstaining(uniform, at['low'], at['high'])}: {capture}",
            UNKNOWN: f"Take uniform rank {uniform}: {self.steps} batches do not tell the gradient from noise, so that "
            "nothing is known of layers or ranks",
        }[self.verdict]
        limits = (
            "What VeRA captures at the start hardly depends on its rank, of which this says nothing"
            if isinstance(self.spec.method, VeRA)
            else "This is of the first step alone, not of what later steps need or what score follows, for which "
            "`fair_sweep()` trains both"
        )
        return f"{with_minus(told)}. {limits}{self._scales()}{self._head()}.{self._doubt()}"

    def _scales(self) -> str:
        """Say what ranks by layer change beside the ranks, where α does not follow them."""
        alpha = getattr(self.spec.method, "alpha", None)
        told = alpha is not None and self.verdict == ALLOCATION
        return f", nor of the scale, which α={alpha:g} makes another one at each rank" if told else ""

    def _head(self) -> str:
        """Say what no half of the batches shows: the gradients reach the layers through a head that was drawn."""
        drawn = self.spec.head_learning_rate > 0
        return f", and all of it under one random head (seed {self.spec.seed}): another may change it" if drawn else ""

    def _doubt(self) -> str:
        if self.capacity["enough"] is not False:
            return ""
        bits = "The data's labels hold {data_bits:,.0f} bits, and by a rule of thumb the adapter {adapter_bits:,.0f}"
        return f" {bits.format(**self.capacity)}: it cannot learn them all by heart."

    def _in_words(self) -> str:
        ranks, out = self._ranks().values(), int((self.layers["rank"] == 0).sum())
        left = f", {out} of {len(self.layers)} layers left out" if out else ""
        return f" ({min(ranks)} to {max(ranks)}{left})" if ranks else ""

    def _family(self) -> Family:
        assert isinstance(self.spec.method, Family)
        return self.spec.method

    def _ranks(self) -> dict[str, int]:
        kept = self.layers[self.layers["rank"] > 0]
        return dict(zip(kept["layer"], kept["rank"].astype(int), strict=True))

    def _targets(self) -> str | tuple[str, ...]:
        return tuple(self._ranks()) if self.verdict == ALLOCATION else self.spec.targets

    def _settings(self) -> dict[str, Any]:
        each = {field.name: (getattr(self.spec, field.name), field.default) for field in dataclasses.fields(self.spec)}
        own = {name: value for name, (value, usual) in each.items() if value != usual}
        draw = {"draw"} if self.spec.shots is not None else set()
        return {name: value for name, value in own.items() if name not in set(_DECIDED) - draw}


def _abstaining(uniform: int, low: float, high: float) -> str:
    """Say why uniform ranks are advised: as good, where the interval of the gain holds no gain that counts."""
    if high < LEAST_GAIN:
        return f"Uniform rank {uniform} is as good here"
    if low < LEAST_GAIN:
        return f"Take uniform rank {uniform}, which is not shown to be worse"
    return f"Take uniform rank {uniform}, as ranks by layer differ too much from one half of the batches to the other"


def layers_at(
    spec: RunSpec, layers: pd.DataFrame, allocations: pd.DataFrame, budget: int, verdict: str
) -> pd.DataFrame:
    """Return the table of layers at one budget of the allocations."""
    chosen = allocations[allocations["budget"] == budget].set_index("layer")
    found = layers.copy()
    for column in ("allocated", "uniform", "energy", "energy_uniform", "stability"):
        found[column] = found["layer"].map(chosen[column])
    found["rank"] = found["allocated"] if verdict == ALLOCATION else found["uniform"]
    each = zip(found["out"], found["in"], found["rank"], strict=True)
    found["parameters"] = [parameters_at(spec.method, (int(o), int(i)), int(rank)) for o, i, rank in each]
    return found[list(COLUMNS)]


def parameters_at(family: Method, shape: Shape, rank: int) -> int:
    """Return what a family trains on a layer at a rank; nothing at rank 0."""
    assert isinstance(family, Family)
    return dataclasses.replace(family, rank=rank).parameter_count(shape) if rank else 0
