"""The fair protocol: every candidate tuned with the same budget, chosen on validation, reported on fresh seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from vxlab.adapters import Head, Method
from vxlab.checks import quote, require_known, settle_fields, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, layers, method_label, tell_apart, usual_settings
from vxlab.experiments.sweeps.rates import CENTRES

DECIDED = ("method", "learning_rate", "head_learning_rate", "seed", "draw", "ends_after")
"""Fields of a run in which those of one sweep differ."""
SHARED = tuple(each.name for each in fields(RunSpec) if each.name not in DECIDED)
"""Fields of a run that all runs of a sweep share; but for ``targets``, which a candidate may name."""


@dataclass(frozen=True)
class Candidate:
    """One method at one rank on one set of layers.

    >>> from vxlab import LoRA
    >>> Candidate(LoRA(rank=8)).centre
    0.002
    """

    method: Method
    targets: str | tuple[str, ...] | None = None
    """the adapted layers; None takes the sweep's"""
    learning_rate: float | None = None
    """the middle of the rates tried; None takes the method's usual one"""

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise VxlabError(
                f"candidate {quote(self.method)} is not a method; pass vxlab.LoRA(rank=8), VeRA, LoRAXS, ..."
            )
        label = method_label(self.method)
        if isinstance(self.targets, Real):
            raise VxlabError(
                f"targets={self.targets!r} of {label} is a number; a rate goes by its name: "
                f"Candidate({self.method!r}, learning_rate={self.targets!r})"
            )
        settle_fields(self, f"{label}: ")
        rate = self.learning_rate
        if self.targets is not None and not self.targets:
            raise VxlabError(f"targets={self.targets!r} of {label} names no layer; None takes the sweep's")
        if rate is not None and not self.method.by_gradient:
            raise VxlabError(f"learning_rate={rate!r} of {label}, which has none; leave it out")
        if rate is not None and rate <= 0:
            raise VxlabError(f"learning_rate={rate!r} of {label} is not a positive number; try 2e-3")
        if rate is None and self.method.by_gradient and self.method.name not in CENTRES:
            raise VxlabError(
                f"{label} has no usual learning rate here; name the middle of its range: "
                f"Candidate({self.method!r}, learning_rate=...)"
            )

    @property
    def centre(self) -> float:
        """The middle of the learning rates tried; 0 of a method that has none."""
        return self.learning_rate or (CENTRES[self.method.name] if self.method.by_gradient else 0.0)


@dataclass(frozen=True, kw_only=True)
class FairSweep:
    """What is compared, and the budget that each candidate gets.

    Every candidate is tuned over the same number of learning rates (log-spaced around its own centre), the same head
    learning rates, seeds, steps and batches. The median of validation over the tuning seeds chooses; the chosen rates
    run again on fresh seeds, and only their test scores are reported. Where a best rate is the lowest or highest
    tried, every candidate gets one more rate on the side where its own best lies, ``widen`` times at most; an edge
    that stays is flagged. A run that diverges or fails costs its budget.

    With a ``tuning_share`` below 1 no rate is tried to its end: every tuning run, of every candidate, ends after that
    share of its steps, as a whole run would stand there, and the lowest median of the validation loss chooses. The runs
    that are reported are always whole.

    A method that has no rates and no seeds (``Probe``) is not tuned here, and runs once.

    With ``shots`` in the settings every seed is a draw of its own: the run of seed s learns from draw s of the shots,
    tuning and reported runs alike, and what has no seeds runs once on each reported draw. The reported runs of all
    candidates are on the same draws, and are compared by draw. A ``draw`` in the settings puts all runs on that draw,
    and then no interval covers its luck.

    Tuning has two stages where there are several tuning seeds: all rates, the wider ones included, on the first seed,
    then the ``finalists`` best on the others.

    >>> from vxlab import LoRA, VeRA
    >>> fair = FairSweep(candidates=[LoRA(rank=8), VeRA(rank=256)], learning_rates=3, report_seeds=5)
    >>> fair.rates(fair.names["LoRA r=8"])
    (0.000632, 0.002, 0.00632)
    >>> fair.runs()
    {'tuning': 6, 'report': 10, 'widening': 2}
    """

    candidates: Sequence[Candidate | Method]
    """what is compared; a method alone takes the sweep's targets and its usual rates"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """fields of :class:`RunSpec` that all runs share: model, task, targets, epochs, batch_size, shots, ..."""
    learning_rates: int = 3
    """rates tried for each candidate, 1 or more; 1 tunes nothing, and the verdict says so"""
    spacing: float = 10**0.5
    """factor between neighbouring rates, 1.01 or more"""
    head_learning_rates: tuple[float, ...] = (5e-3,)
    """tried with each of them"""
    tuning_share: float = 1.0
    """share of its steps after which a run that chooses ends, above 0, to 1; below 1 the validation loss chooses"""
    tuning_seeds: int = 1
    """seeds 0, 1, ... of the runs that choose; 0 runs none, where one rate leaves nothing to choose"""
    finalists: int = 2
    """rates that run on the second and further tuning seeds"""
    report_seeds: int = 5
    """fresh seeds of the runs that are reported; with ``shots`` each is a fresh draw, too"""
    widen: int = 1
    """how often the ranges grow where a best rate is on an edge; 0 leaves the flag"""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "tuning_seeds", "finalists", "report_seeds", "widen"):
            value, least = getattr(self, name), 0 if name in ("widen", "tuning_seeds") else 1
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise VxlabError(
                    f"{name}={quote(value)} is not a whole number of {least} or more{_MEANT.get(name, '')}"
                )
        settle_fields(self)
        if not 1.01 <= self.spacing <= 1000:
            raise VxlabError(
                f"spacing={self.spacing!r} is the factor between learning rates; choose 1.01 or more, such as 3"
            )
        if not 0 < self.tuning_share <= 1:
            raise VxlabError(f"tuning_share={self.tuning_share!r} is not a share of the steps; choose above 0, to 1")
        self._check_head_rates()
        object.__setattr__(self, "settings", _checked_settings(self.settings))
        usual = self.settings.get("targets", "query-value")
        complete = [replace(each, targets=each.targets or usual) for each in all_candidates(self.candidates)]
        if not complete:
            raise VxlabError("candidates is empty; give methods, such as [vxlab.LoRA(rank=8), vxlab.VeRA(rank=256)]")
        for each in complete:
            if each.method.by_gradient:
                self._check_rates(each)
            self.spec(each, each.centre, self.head_learning_rates[0], 0)  # refuses what no run could have
        if not any(each.method.by_gradient for each in complete):
            raise VxlabError("candidates holds none that has a learning rate to tune; a probe alone is for vxlab.run")
        names = _names(complete)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise VxlabError(f"candidates holds {twice[0]} twice; name each once")
        object.__setattr__(self, "candidates", tuple(complete))

    @property
    def names(self) -> dict[str, Candidate]:
        """The candidates by their label; those that a label does not tell apart show what differs."""
        complete = [each for each in self.candidates if isinstance(each, Candidate)]
        return dict(zip(_names(complete), complete, strict=True))

    @property
    def draws_vary(self) -> bool:
        """Whether each seed learns from a draw of its own."""
        return self.settings.get("shots") is not None and "draw" not in self.settings

    @property
    def fresh_seeds(self) -> range:
        """The seeds of the runs that are reported, and their draws."""
        return range(self.tuning_seeds, self.tuning_seeds + self.report_seeds)

    @property
    def tuned(self) -> list[str]:
        """The names of the candidates that have learning rates and seeds."""
        return [name for name, each in self.names.items() if each.method.by_gradient]

    def rates(self, candidate: Candidate, below: int = 0, above: int = 0) -> tuple[float, ...]:
        """Return a candidate's learning rates in order, with so many more below and above; none where it has none."""
        if not candidate.method.by_gradient:
            return ()
        middle = (self.learning_rates - 1) / 2
        steps = range(-below, self.learning_rates + above)
        return tuple(float(f"{candidate.centre * self.spacing ** (step - middle):.3g}") for step in steps)

    def spec(
        self, candidate: Candidate, learning_rate: float, head_learning_rate: float, seed: int, tuning: bool = False
    ) -> RunSpec:
        """Return one run of a candidate, of those that choose or of those that are reported.

        The head alone has one rate, which is tuned as the others' adapter rate is.
        """
        if isinstance(candidate.method, Head):
            head_learning_rate = learning_rate
        draw = {"draw": seed} if self.draws_vary else {}
        return RunSpec(
            **{**self.settings, "targets": candidate.targets, **draw},
            method=candidate.method,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            seed=seed,
            ends_after=self.tuning_share if tuning else 1.0,
        )

    def untuned(self) -> list[tuple[str, RunSpec]]:
        """Return the runs of each candidate that has no learning rates and no seeds: one, or one on each draw."""
        draws = self.fresh_seeds if self.draws_vary else (0,)
        others = ((name, each) for name, each in self.names.items() if name not in self.tuned)
        return [(name, self.spec(each, 0.0, 0.0, draw)) for name, each in others for draw in draws]

    def runs(self) -> dict[str, int]:
        """Return how many runs there are: to tune, to report, and at most where the ranges grow."""
        heads, names = len(self.head_learning_rates), self.names
        rates = [1 if isinstance(names[name].method, Head) else heads for name in self.tuned]
        more = sum(min(self.finalists, self.learning_rates * n) * (self.tuning_seeds - 1) for n in rates)
        report = len(rates) * self.report_seeds + len(self.untuned())
        counts = {"tuning": self.learning_rates * sum(rates) + more, "report": report}
        if not self.tuning_seeds:
            counts["tuning"] = 0
        return {**counts, "widening": sum(rates) * self.widen if self.learning_rates > 1 else 0}

    def _check_head_rates(self) -> None:
        rates = self.head_learning_rates
        if not self.tuning_seeds and (self.learning_rates > 1 or len(rates) > 1):
            raise VxlabError(
                f"tuning_seeds=0 chooses nothing, and there are {self.learning_rates} learning rates and {len(rates)} "
                "of the head; choose 1 seed or more, or one rate each"
            )
        if not rates:
            raise VxlabError("head_learning_rates is empty; give one rate or more, such as (5e-3,)")
        if low := [rate for rate in rates if rate <= 0]:
            raise VxlabError(f"head_learning_rates={rates!r} holds {low[0]!r}; a rate is above 0, such as 5e-3")
        if len(set(rates)) < len(rates):
            raise VxlabError(f"head_learning_rates={rates!r} holds a rate twice; name each once")

    def _check_rates(self, candidate: Candidate) -> None:
        """Raise where the range of learning rates goes beyond what a float holds."""
        try:
            rates = self.rates(candidate, self.widen, self.widen)
        except OverflowError:
            rates = (math.inf,)
        if not 0 < rates[0] <= rates[-1] < math.inf:
            raise VxlabError(
                f"learning_rates={self.learning_rates}, widen={self.widen} and spacing={self.spacing:g} ask for rates "
                "that no float holds; choose fewer, or a smaller spacing"
            )


BUDGET = tuple(each.name for each in fields(FairSweep) if each.name not in ("candidates", "settings"))
"""Fields of a fair sweep that say what each candidate gets."""

_MOST_NAMED = 6
"""Layers that a label names each; of more, it says how many, and their ranks' sum."""

_MEANT = {
    "learning_rates": " (how many are tried); their middle is named by Candidate(method, learning_rate=1e-3)",
    "tuning_seeds": " (how many there are)",
    "report_seeds": " (how many there are)",
}


def all_candidates(candidates: Any) -> list[Candidate]:
    """Return candidates, which may be methods alone, as a list; refuse what holds anything else."""
    found = settle_list("candidates", candidates, (Candidate, Method), "methods, such as [vxlab.LoRA(rank=8)]")
    return [each if isinstance(each, Candidate) else Candidate(each) for each in found]


def _checked_settings(settings: Any) -> dict[str, Any]:
    """Return a sweep's own copy of its settings, or refuse a name; :class:`RunSpec` checks the values."""
    if not isinstance(settings, Mapping):
        raise VxlabError(f"settings={quote(settings)} is not a mapping; write settings={{'epochs': 1}}")
    for name in settings:
        if name in DECIDED and name != "draw":
            raise VxlabError(f"settings has {name!r}, which the protocol decides; see candidates, rates and seeds")
    require_known(settings, (*SHARED, "draw"), "settings has no field")
    return dict(settings)


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """Label the candidates, with what tells those of one label apart: as little of it as does, and else all of it."""
    forms = [
        [_told(each, candidates, usual, whole) for each in candidates]
        for usual, whole in ((False, False), (True, False), (True, True))
    ]
    return [
        next((name for name, form in zip(each, forms, strict=True) if form.count(name) == 1), each[-1])
        for each in zip(*forms, strict=True)
    ]


def _told(candidate: Candidate, candidates: Sequence[Candidate], usual: bool, whole: bool) -> str:
    """Return a candidate's label with the details in which it differs from others of that label.

    Args:
        candidate: one of the candidates.
        candidates: all of them.
        usual: also what is the method's own default, where several settings differ, and the middle of the rates.
        whole: also of many layers each by its name.
    """
    name, mine = method_label(candidate.method), _details(candidate)
    apart = tell_apart(_details(each) for each in candidates if method_label(each.method) == name)
    differing = [key for key in mine if key in apart]
    if not usual and len(set(differing) - {"targets", "centre"}) > 1:
        defaults = usual_settings(candidate.method)
        differing = [key for key in differing if key not in defaults or mine[key] != defaults[key]]
    differing = [key for key in differing if usual or key != "centre"]
    return ", ".join([name, *(_shown(key, mine[key], whole) for key in differing)])


def _details(candidate: Candidate) -> dict[str, Any]:
    adapted = layers(candidate.method, candidate.targets or ())
    return {"targets": adapted, **candidate.method.settings(), "centre": candidate.centre}


def _shown(key: str, value: Any, whole: bool) -> str:
    if key == "centre":
        return f"rates around {value:g}"
    if key == "targets":
        names = str(value).split(", ")
        return "+".join(names) if whole or len(names) <= _MOST_NAMED else f"{len(names)} layers"
    return f"{key}={value}"
