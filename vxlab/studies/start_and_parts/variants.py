"""What an adapter is made of: VeRA and LoRA-XS with one part changed at a time, each at rates of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vxlab.adapters import LoRAXS, Method, VeRA
from vxlab.adapters.core.family import nearest
from vxlab.errors import VxlabError
from vxlab.experiments.models.load import load_model
from vxlab.experiments.runs.trained import layer_weights
from vxlab.experiments.sweeps.fair_recipes import fair_study
from vxlab.experiments.sweeps.protocol import Candidate, FairSweep
from vxlab.experiments.sweeps.rates import first_step, reach

if TYPE_CHECKING:
    from torch import Tensor


_RANKS = {"small": (64, 64), "smoke": (8, 8), "paper": (256, 25)}
"""VeRA's and LoRA-XS's, by scale."""
_CHOSEN: dict[str, dict[str, Any]] = {
    "small": {
        "batch_size": 4, "train_examples": 840, "eval_examples": 200, "learning_rates": 3, "report_seeds": 3,
        "spacing": 2.5,
    },
    "smoke": {"learning_rates": 1, "report_seeds": 1},
    "paper": {},
}  # fmt: skip
"""Beside the scale's own settings: VeRA learns by the number of steps rather than of examples, and there are many
variants."""
_FEW = ("d alone", "b alone", "uniform in [0, 0.1]", "1.0", "of the first gradient", "absent")
"""What a laptop has time for: the changes with the largest published effects, and the open questions; the basis of a
random matrix is notebook 03's."""
_XS_SHARE = {"small": 0.5, "smoke": 0.5, "paper": 1.0}
"""Of the scale's usual rate for LoRA-XS: in short runs a high rank takes a lower one."""

UNCHANGED = "unchanged"


class Variant(NamedTuple):
    """A method with one part changed."""

    part: str
    """which, or ``unchanged``"""
    name: str
    """what it was changed to"""
    method: Method
    step: float = 1.0
    """its learning rates, as a multiple of the unchanged method's"""


def parts_sweep(
    scale: str = "small", *, names: Sequence[str] = (), vera_rank: int = 0, lora_xs_rank: int = 0, **chosen: Any
) -> tuple[FairSweep, list[Variant]]:
    """Return the fair sweep of the unchanged methods and their variants, and these in its candidates' order.

    Args:
        scale: as :func:`vxlab.fair_recipe` takes it.
        names: of the variants; empty takes the scale's (at ``smoke`` and ``small`` those with the largest published
            effects, and the open questions), and ``("all",)`` every one.
        vera_rank: VeRA's r; 0 takes the scale's.
        lora_xs_rank: LoRA-XS's r; 0 takes the scale's.
        chosen: as :func:`vxlab.fair_recipe` takes it.

    Raises:
        VxlabError: as :func:`vxlab.fair_recipe`; a variant is unknown; or the model cannot be had.
    """
    chosen = _CHOSEN.get(scale, {}) | {name: value for name, value in chosen.items() if value is not None}
    plain = fair_study([VeRA(), LoRAXS()], scale, **chosen)
    of_vera, of_xs = _RANKS[scale]
    layers = layer_weights(load_model(plain.settings["model"], num_labels=2), plain.settings["targets"])
    of = _named(
        variants(vera_rank or of_vera, lora_xs_rank or of_xs, layers), names or (("all",) if scale == "paper" else _FEW)
    )
    centres = {each.method.name: each.centre for each in plain.names.values()}
    centres["lora_xs"] *= _XS_SHARE[scale]
    return fair_study(candidates(of, centres), scale, **chosen), of


def _named(of: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    known = [each.name for each in of if each.part != UNCHANGED]
    for name in names:
        if name not in known and name != "all":
            raise VxlabError(f"names has {name!r}, which is no variant{nearest(name, known)}")
    return [each for each in of if each.part == UNCHANGED or each.name in names or "all" in names]


def variants(vera_rank: int, lora_xs_rank: int, weights: "Mapping[str, Tensor]") -> list[Variant]:
    """Return VeRA and LoRA-XS unchanged, and each with one part changed.

    A variant's learning rates are those of the unchanged method, times the ratio of how far the first step of a rate
    moves ΔW: Adam moves every entry of what trains by about the rate. VeRA's first step moves b, or d where that
    trains alone, and ``first_step`` draws the matrices to see how far; LoRA-XS's moves R, and
    ``reach`` tells how far. Where d starts at 1e-7 the first step moves nothing,
    and its rates are the unchanged method's; the first gradient's basis has the unchanged method's Σ, and so its rates.

    Args:
        vera_rank: VeRA's r.
        lora_xs_rank: LoRA-XS's r.
        weights: W of the layers to adapt.
    """
    shape = next(iter(weights.values())).shape
    vera = VeRA(rank=vera_rank)

    def step(method: VeRA) -> float:
        return first_step(vera, (shape[0], shape[1])) / first_step(method, (shape[0], shape[1]))

    d_alone, uniform = VeRA(vera_rank, vectors="d"), VeRA(vera_rank, matrices="uniform")
    normal, d_one = VeRA(vera_rank, matrices="kaiming-normal"), VeRA(vera_rank, d_initial=1.0)
    of_vera = [
        Variant(UNCHANGED, "as published", vera),
        Variant("trained vectors", "d alone", d_alone, step(d_alone)),
        Variant("trained vectors", "b alone", VeRA(vera_rank, vectors="b"), 1.0),
        Variant("random matrices", "Kaiming normal", normal, step(normal)),
        Variant("random matrices", "uniform in [0, 0.1]", uniform, step(uniform)),
        Variant("start of d", "1e-7", VeRA(vera_rank, d_initial=1e-7), 1.0),
        Variant("start of d", "1.0", d_one, step(d_one)),
        Variant("matrices shared", "own for each layer", VeRA(vera_rank, unique=True), 1.0),
    ]
    return of_vera + _of_lora_xs(LoRAXS(rank=lora_xs_rank), weights)


def _of_lora_xs(plain: LoRAXS, weights: "Mapping[str, Tensor]") -> list[Variant]:
    changes = {
        ("basis", "of a random matrix"): dataclasses.replace(plain, basis="random-svd"),
        ("basis", "of the first gradient"): dataclasses.replace(plain, basis="gradient"),
        ("place of Σ", "output"): dataclasses.replace(plain, sigma="output"),
        ("place of Σ", "split"): dataclasses.replace(plain, sigma="split"),
        ("place of Σ", "absent"): dataclasses.replace(plain, sigma="none"),
    }
    own = reach(plain, weights)
    steps = [1.0 if each.needs_gradients else own / reach(each, weights) for each in changes.values()]
    changed = [Variant(*place, each, step) for (place, each), step in zip(changes.items(), steps, strict=True)]
    return [Variant(UNCHANGED, "as published", plain), *changed]


def candidates(of: Sequence[Variant], centres: Mapping[str, float]) -> list[Candidate]:
    """Return the variants as candidates of a fair sweep.

    Args:
        of: from :func:`variants`.
        centres: the middle of the unchanged methods' learning rates, by method's name.
    """
    return [Candidate(each.method, learning_rate=float(f"{centres[each.method.name] * each.step:.3g}")) for each in of]
