"""Whether a model, or an adapter's folder, is of the base, the method and the frozen tensors that a bank is of."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vxlab.adapters import Family, Method
from vxlab.adapters.bank.description import BankDescription
from vxlab.adapters.core import PROBE_TOLERANCE, check_fingerprints
from vxlab.adapters.placement import BaseValues, base_parameters, own_buffers, select_unmoved
from vxlab.checks import quote
from vxlab.errors import VxlabError

_COMMON = ("float32", "float16", "bfloat16")
"""Precisions that fingerprints are taken in, beside the tensors' own."""


def check_base(description: BankDescription, model: nn.Module, bank: str) -> None:
    """Raise unless a model, with an adapter or without, is the base of a bank.

    Args:
        description: the bank's.
        model: whose frozen weights are compared, and the shapes of its head.
        bank: what an error calls the bank.
    """
    own, owner = base_parameters(model), type(model).__name__
    wanted = {place.name: place.shape for place in description.layout.places if place.name in description.head}
    for name, shape in wanted.items():
        found = tuple(own[name].shape) if name in own else "nothing"
        if found != shape:
            raise VxlabError(
                f"{bank} is of a task head whose `{name}` is {shape}, and this {owner} has {found} there; load the "
                "model with as many labels as the bank's adapters have"
            )
    what = f"{bank} is of another base: this {owner}'s frozen"
    check_fingerprints(BaseValues(model, wanted), description.prints["base"], f"{what} weights")
    if "buffers" in description.prints:
        check_fingerprints(select_unmoved(own_buffers(model), ()), description.prints["buffers"], f"{what} buffers")


def check_method(description: BankDescription, method: Method, whose: str) -> None:
    """Raise unless an adapter's method is a bank's, in every setting, naming what differs."""
    own = description.method
    if type(method).name != type(own).name:
        raise VxlabError(f"{whose} is of {method}, and the bank holds {own}; make a bank of its own for it")
    here, there = _in_full(own, description.layers), _in_full(method, description.layers)
    if differing := [name for name in {**here, **there} if here.get(name) != there.get(name)]:
        told = ", ".join(f"{name}={quote(there.get(name))} (here {quote(here.get(name))})" for name in differing)
        raise VxlabError(f"{whose} has {told}: a bank holds one method in one setting; make a bank of its own for it")


def check_layers(description: BankDescription, layers: Mapping[str, object], whose: str) -> None:
    """Raise unless an adapter is on a bank's layers and no others."""
    for name in (*description.layers, *layers):
        if (name in layers) != (name in description.layers):
            told = "is not on" if name in description.layers else "is on"
            raise VxlabError(
                f"{whose} {told} `{name}`, and the bank's adapters are {'' if name in description.layers else 'not '}"
                f"({len(layers)} layers, and {len(description.layers)}); make a bank of its own for such targets"
            )


def check_frozen(description: BankDescription, prints: Mapping[str, Any], whose: str) -> None:
    """Raise unless frozen tensors (VeRA's pair, LoRA-XS's bases) are those of a bank, by their fingerprints."""
    own = description.prints
    if own.get("shared_sha256") != prints.get("shared_sha256"):
        raise VxlabError(
            f"{whose} has other frozen matrices than the bank, though of the same seed: another torch drew them (here "
            f"{torch.__version__}); use the version that the bank was made with"
        )
    here, there = own.get("basis_probes", []), prints.get("basis_probes", [])
    same = [math.isclose(one, two, abs_tol=PROBE_TOLERANCE) for one, two in zip(here, there, strict=False)]
    if len(here) != len(there) or not all(same):
        first = list(description.layers)[same.index(False) if False in same else 0]
        raise VxlabError(
            f"{whose} has another frozen basis on `{first}` than the bank, so its numbers would act on other "
            "directions; use the base of the bank, in the precision that it had when the bank was made"
        )
    if own.get("code") != prints.get("code"):
        raise VxlabError(
            f"{whose} is of other code of {type(description.method).__name__} than the bank was made with (or another "
            "Python), so its update may be another; make a new bank for it"
        )


def check_saved_base(description: BankDescription, saved: Mapping[str, Any], whose: str) -> None:
    """Raise unless the base that an adapter's folder was saved with is a bank's, as far as their precisions tell."""
    for field, what in (("base", "weights"), ("buffers", "buffers")):
        here, there = description.prints.get(field), saved.get(field)
        if here is None and there is None:
            continue
        if here is None or there is None or not _is_same(here, there):
            raise VxlabError(
                f"{whose} was trained on another base than the bank's: the frozen {what} have another fingerprint; "
                "make a bank on that base for it"
            )
    if saved.get("trained_on"):
        raise VxlabError(
            f"{whose} was trained on another base and put on the bank's by base='any'; a bank takes none such"
        )


def _is_same(here: Mapping[str, str], there: Mapping[str, str]) -> bool:
    """Tell whether two fingerprints are of the same tensors, rounded to the coarser precision of the two."""
    if here["dtype"] == there["dtype"]:
        return here["sha256"] == there["sha256"]
    both = {*here["dtype"].split(","), *there["dtype"].split(",")}
    if {"float16", "bfloat16"} <= both:
        return False
    coarser = next(name for name in reversed(_COMMON) if name in both)
    one, two = (each["sha256"] if each["dtype"] == coarser else each.get(f"sha256_{coarser}") for each in (here, there))
    return one is not None and one == two


def _in_full(method: Method, layers: Mapping[str, object]) -> dict[str, Any]:
    """Return a method's settings with the numbers that None stands for, and ranks by layer as each layer has its own.

    The same ranks may be said by roles here, and there by names.
    """
    settings = method.settings()
    if isinstance(method, Family) and not isinstance(method.rank, int):
        with contextlib.suppress(VxlabError):  # it is on fewer layers: another method as it is
            ranks = {layer: method.at(layer).r for layer in layers}
            settings["rank"] = ranks if len(set(ranks.values())) > 1 else next(iter(ranks.values()))
    if "alpha" in settings and settings["alpha"] is None:
        settings["alpha"] = settings["rank"]
    return settings
