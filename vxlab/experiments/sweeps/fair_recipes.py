"""Fair sweeps that are ready to run: for a smoke test, for a laptop, and the papers' own grids."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vxlab.adapters import Method, method_from_name
from vxlab.checks import quote, require_choice, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, hardware
from vxlab.experiments.sweeps.protocol import BUDGET, Candidate, FairSweep, all_candidates
from vxlab.experiments.sweeps.recipes import fit_train_examples, recipe
from vxlab.experiments.sweeps.scales import SCALES, presets, scale_settings

_STUDY_HEADS = {"full": 2e-3}
"""At a higher rate a fresh head throws a fully trained model off before it has learnt anything."""
_LORA_XS_HEADS = (5e-4, 1e-3, 5e-3)


def fair_recipe(
    scale: str = "small",
    *,
    paper: str = "vera",
    ranks: Mapping[str, Sequence[int]] | None = None,
    others: Sequence[str] = (),
    **chosen: Any,
) -> FairSweep:
    """Return a fair sweep of LoRA, VeRA and LoRA-XS over their ranks.

    Args:
        scale: ``smoke`` (its numbers mean nothing), ``small`` (minutes on a laptop; few rates and seeds, so it sees
            large differences only) or ``paper`` (a paper's ranks, epochs and seeds on RoBERTa-large, for a GPU).
        paper: whose grid at the scale ``paper``: ``vera`` (Figure 2: RTE) or ``lora_xs`` (GLUE; SST-2).
        ranks: by method's name; None takes the scale's. A method without ranks is left out.
        others: further methods by name, as they come, such as ``head`` or ``full``.
        chosen: fields of :class:`FairSweep` (``learning_rates``, ``report_seeds``, ...) and of :class:`RunSpec`
            (``model``, ``task``, ``epochs``, ...); None keeps the scale's.

    Raises:
        VxlabError: the scale, the paper, a method or a field is unknown.

    >>> fair_recipe("small", ranks={"lora": [8], "vera": [256]}).runs()
    {'tuning': 6, 'report': 16, 'widening': 0}
    """
    usual = usual_ranks(scale, paper)
    if ranks is not None and not isinstance(ranks, Mapping):
        raise VxlabError(f"ranks={quote(ranks)} is not a mapping; write ranks={{'lora': [2, 8], 'vera': [256]}}")
    chosen_ranks = usual if ranks is None else ranks
    ranked = {name: settle(f"ranks of {name}", several, tuple[int, ...]) for name, several in chosen_ranks.items()}
    methods = [_method(name, rank, scale) for name, several in ranked.items() for rank in several]
    methods += [method_from_name(name) for name in settle("others", others, tuple[str, ...])]
    return fair_study(methods, scale, paper=paper, **chosen)


def fair_study(
    candidates: Sequence[Candidate | Method], scale: str = "small", *, paper: str = "vera", **chosen: Any
) -> FairSweep:
    """Return a fair sweep of candidates of your own, in the settings and with the budget of a scale.

    Args:
        candidates: methods, whose rates lie where the scale's length of a run asks for them; or candidates, which may
            name the middle of their rates.
        scale: as :func:`fair_recipe` takes it.
        paper: whose settings at the scale ``paper``.
        chosen: as :func:`fair_recipe` takes it.

    Raises:
        VxlabError: the scale, the paper or a field is unknown.
    """
    _known(scale, paper)
    chosen = {name: value for name, value in chosen.items() if value is not None}
    budget = scale_settings("sweep.budget", scale) | {name: chosen.pop(name) for name in BUDGET if name in chosen}
    if scale == "paper":
        settings = _paper_settings(paper, chosen)
        budget.setdefault("head_learning_rates", settings.pop("heads"))
    else:
        settings = scale_settings("sweep.settings", scale) | _quick_precision()
    centres = scale_settings("sweep.centres", scale)
    placed = [
        replace(each, learning_rate=each.learning_rate or centres.get(each.method.name))
        for each in all_candidates(candidates)
    ]
    return FairSweep(candidates=placed, settings=fit_train_examples(settings | chosen, chosen), **budget)


def usual_ranks(scale: str = "small", paper: str = "vera") -> dict[str, tuple[int, ...]]:
    """Return the ranks of LoRA, VeRA and LoRA-XS at a scale, or in a paper's grid at the scale ``paper``.

    Raises:
        VxlabError: the scale or the paper is unknown.
    """
    _known(scale, paper)
    usual = scale_settings("sweep.ranks", scale)
    return dict(usual[paper] if scale == "paper" else usual)


def study_run(method: Method, scale: str = "small", *, paper: str = "lora_xs", **chosen: Any) -> RunSpec:
    """Return one run whose update is to be looked at: the scale's settings, twice as long where that is short.

    Args:
        method: at its usual rate for the scale; rates are not tuned here.
        scale: as :func:`fair_recipe` takes it.
        paper: whose settings at the scale ``paper``; there full fine-tuning takes 1e-5.
        chosen: fields of :class:`RunSpec`; None keeps the scale's.

    Raises:
        VxlabError: as :func:`fair_recipe`; at the scale ``paper`` also a model or task without published settings.

    >>> from vxlab import LoRA
    >>> spec = study_run(LoRA(rank=64), targets="query")
    >>> spec.learning_rate, spec.train_examples, spec.batch_size
    (0.006, 1600, 8)
    """
    chosen = {name: value for name, value in chosen.items() if value is not None}
    of_run = {name: chosen.pop(name) for name in ("learning_rate", "head_learning_rate", "seed") if name in chosen}
    fair = fair_study([method], scale, paper=paper, **scale_settings("sweep.study_run", scale) | chosen)
    (candidate,) = fair.names.values()
    heads = {} if scale == "paper" else _STUDY_HEADS
    head = heads.get(method.name, fair.head_learning_rates[-1])
    rates = {"learning_rate": candidate.centre, "head_learning_rate": head}
    settings = fit_train_examples({**fair.settings, "targets": candidate.targets}, chosen)
    return RunSpec(method=method, **settings | rates | of_run)


def _known(scale: str, paper: str) -> None:
    require_choice("scale", scale, SCALES)
    if paper not in (papers := presets("sweep.settings.paper")):
        raise VxlabError(f"paper={paper!r} has no grid here; choose one of {', '.join(papers)}")


def _method(name: str, rank: int, scale: str) -> Method:
    # LoRA-XS's GLUE runs keep alpha at 16, so that its scale falls as the rank grows.
    alpha = {"alpha": 16} if (name, scale) == ("lora_xs", "paper") else {}
    return method_from_name(name, rank=rank, **alpha)


def _paper_settings(paper: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the paper's own runs on its model and task, or on those chosen."""
    wanted = {name: chosen.get(name, default) for name, default in presets("sweep.settings.paper")[paper].items()}
    spec = recipe(paper, scale="paper", **wanted)
    names = ("model", "task", "targets", "epochs", "batch_size", "max_length", "warmup")
    heads = _LORA_XS_HEADS if paper == "lora_xs" else (spec.head_learning_rate,)
    return {**{name: getattr(spec, name) for name in names}, "heads": heads}


def _quick_precision() -> dict[str, str]:
    """Ask for bfloat16 on a processor that computes in it; a GPU takes it by itself."""
    quick = hardware.resolve_device("auto") == "cpu" and hardware.cpu_has_bfloat16()
    return {"precision": "bfloat16"} if quick else {}
