"""What an adapter is made of: methods with one part changed at a time, each at rates of its own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vxlab.adapters import LoRAXS, Method, VeRA
from vxlab.checks import require_known
from vxlab.experiments.models import load_model, usual_labels
from vxlab.experiments.runs import layer_weights
from vxlab.experiments.sweeps import Candidate, FairSweep, fair_study, first_step, reach
from vxlab.studies import study_settings

if TYPE_CHECKING:
    from torch import Tensor

UNCHANGED = "unchanged"
_STILL = 1e-6
"""A d that starts at most so large lets a first step move nothing."""


class Variant(NamedTuple):
    """A method with one part changed."""

    part: str
    """which, or ``unchanged``"""
    name: str
    """what it was changed to"""
    method: Method


def parts_sweep(
    variants: Sequence[Variant], scale: str = "small", *, names: Sequence[str] = (), **chosen: Any
) -> tuple[FairSweep, list[Variant]]:
    """Return the fair sweep of the unchanged methods and their variants, and these in its candidates' order.

    Args:
        variants: of VeRA and LoRA-XS, those of a method behind its unchanged one.
        scale: as :func:`vxlab.fair_recipe` takes it.
        names: of the variants to compare; empty takes the scale's (at ``smoke`` and ``small`` those with the largest
            published effects, and the open questions), and ``("all",)`` every one.
        chosen: as :func:`vxlab.fair_recipe` takes it.

    Raises:
        VxlabError: as :func:`vxlab.fair_recipe`; a variant is unknown; or the model cannot be had.
    """
    usual = study_settings("start_and_parts", scale)
    chosen = usual["sweep"] | {name: value for name, value in chosen.items() if value is not None}
    compared = _named(variants, names or usual["names"])
    plain = fair_study([each.method for each in compared if each.part == UNCHANGED], scale, **chosen)
    model, quantisation = plain.settings["model"], plain.settings.get("quantisation")
    layers = layer_weights(load_model(model, usual_labels(model), quantisation), plain.settings["targets"])
    centres = {each.method.name: each.centre for each in plain.names.values()}
    if "lora_xs" in centres:
        centres["lora_xs"] *= usual["lora_xs_share"]
    return fair_study(candidates(compared, centres, layers), scale, **chosen), compared


def candidates(
    variants: Sequence[Variant], centres: Mapping[str, float], weights: "Mapping[str, Tensor]"
) -> list[Candidate]:
    """Return variants as candidates of a fair sweep, at rates by which a first step moves ΔW as far as unchanged.

    Adam moves every entry of what trains by about the rate. VeRA's first step moves b, or d where that trains alone,
    and :func:`first_step` draws the matrices to see how far; LoRA-XS's moves R, and :func:`reach` tells how far. Where
    d starts next to 0 a first step moves nothing, and the basis of the first gradient is not known before the run,
    but has the unchanged method's Σ: there the rates are the unchanged method's.

    Args:
        variants: those of a method behind its unchanged one.
        centres: the middle of the unchanged methods' learning rates, by method's name.
        weights: W of the layers to adapt.
    """
    found, plain = [], variants[0].method
    for each in variants:
        plain = each.method if each.part == UNCHANGED else plain
        rate = centres[each.method.name] * _relative_step(plain, each.method, weights)
        found.append(Candidate(each.method, learning_rate=float(f"{rate:.3g}")))
    return found


def _relative_step(plain: Method, changed: Method, weights: "Mapping[str, Tensor]") -> float:
    """Return how far a first step moves the unchanged method's ΔW, as a multiple of the changed one's."""
    if isinstance(plain, VeRA) and isinstance(changed, VeRA) and changed.d_initial > _STILL:
        out_features, in_features = next(iter(weights.values())).shape
        shape = out_features, in_features
        return first_step(plain, shape) / first_step(changed, shape)
    if isinstance(plain, LoRAXS) and isinstance(changed, LoRAXS) and not changed.needs_gradients:
        return reach(plain, weights) / reach(changed, weights)
    return 1.0


def _named(variants: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    known = [each.name for each in variants if each.part != UNCHANGED]
    require_known(names, [*known, "all"], "there is no variant")
    return [each for each in variants if each.part == UNCHANGED or each.name in names or "all" in names]
