"""LoRA-XS in other subspaces than the top one, with rates of their own."""

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from vxlab.adapters import LoRAXS
from vxlab.checks import require_choice
from vxlab.experiments.sweeps import Candidate, Comparison, fair_study, reach

BASES = ("top", "middle", "bottom", "random", "random-svd")
IN_WORDS = {
    "top": "top of W",
    "middle": "middle of W",
    "bottom": "bottom of W",
    "random": "random, Σ of W",
    "random-svd": "top of a random matrix",
    "gradient": "first gradient",
}


def band_candidates(
    weights: Mapping[str, Tensor],
    rank: int,
    bases: Sequence[str] = BASES,
    *,
    rate: float | None = None,
    scale: str = "small",
    paper: str = "lora_xs",
    seed: int = 0,
) -> list[Candidate]:
    """Return LoRA-XS in several bases, each tuned around a rate at which its first step moves ΔW as far.

    An Adam step of rate η gives every entry of R about ±η, so that ‖ΔW‖_F is about η·‖left₀‖_F·‖right₀‖_F: with Σ of
    the bottom band in place of the top one, the same rate moves W far less. So the middle of a basis's rates is the
    top basis's times the ratio of these products, each the root mean square over the layers.

    Args:
        weights: W ``(out, in)`` of the layers to adapt, by dotted name.
        rank: r, 1 to min(out, in) of every layer.
        bases: of :class:`vxlab.LoRAXS`; no ``gradient``, whose basis is not known before the run.
        rate: the middle of the top basis's rates; None takes LoRA-XS's usual one at the scale.
        scale: as :func:`fair_study` takes it.
        paper: as :func:`fair_study` takes it.
        seed: of the random bases.

    Returns:
        One candidate a basis, in the order given.

    Raises:
        VxlabError: a basis or the scale is unknown, or the rank does not fit a layer.
    """
    for basis in bases:
        require_choice("basis", basis, BASES)
    methods = {basis: LoRAXS(rank=rank, basis=basis, seed=seed) for basis in ("top", *bases)}
    middle = rate or next(iter(fair_study([methods["top"]], scale, paper=paper).names.values())).centre
    reaches = {basis: reach(method, weights) for basis, method in methods.items()}
    centres = {basis: float(f"{middle * reaches['top'] / reaches[basis]:.2g}") for basis in bases}
    return [Candidate(methods[basis], learning_rate=centres[basis]) for basis in bases]


def by_basis(result: Comparison) -> Comparison:
    """Return a comparison of LoRA-XS's bases whose tables call each candidate by its basis alone.

    Args:
        result: of :func:`band_candidates`.
    """
    names = {
        name: IN_WORDS[each.method.basis]
        for name, each in result.fair.names.items()
        if isinstance(each.method, LoRAXS) and each.method.basis in IN_WORDS
    }

    def said(sentence: str) -> str:
        for name in sorted(names, key=len, reverse=True):  # one name may begin another
            sentence = sentence.replace(name, names[name])
        return sentence

    runs, tuning, summary = (
        table.assign(candidate=table["candidate"].replace(names))
        for table in (result.runs, result.tuning, result.summary)
    )
    pairs = result.pairs.assign(
        a=result.pairs["a"].replace(names),
        b=result.pairs["b"].replace(names),
        sentence=[said(each) for each in result.pairs["sentence"]],
    )
    return dataclasses.replace(
        result, runs=runs, tuning=tuning.assign(method=tuning["candidate"]), summary=summary, pairs=pairs
    )
