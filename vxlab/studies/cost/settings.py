"""What to measure the cost of rank on: the model, the batch and the ranks that suit a scale."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vxlab.adapters import LoRA, LoRAXS, VeRA
from vxlab.adapters.core.family import Family
from vxlab.errors import VxlabError
from vxlab.experiments.sweeps.recipes import SCALES


@dataclass(frozen=True)
class CostSettings:
    """The settings of one measurement."""

    model: str
    targets: str
    batch_size: int
    """texts a step"""
    tokens: int
    """of each text"""
    lora_ranks: tuple[int, ...]
    vera_ranks: tuple[int, ...]
    lora_xs_ranks: tuple[int, ...]
    rounds: int
    """timed steps of each method and rank; the sign test of a dozen comparisons shows nothing with fewer than ten"""

    def families(self) -> list[Family]:
        """Return every method at every rank."""
        return [
            *(LoRA(rank=rank) for rank in self.lora_ranks),
            *(VeRA(rank=rank) for rank in self.vera_ranks),
            *(LoRAXS(rank=rank) for rank in self.lora_xs_ranks),
        ]

    def rows(self) -> list[tuple[str, str]]:
        """Return each setting's name and its value in words."""
        return [(name, _words(value)) for name, value in asdict(self).items()]


_SMALL = CostSettings(
    model="minilm", targets="all-linear", batch_size=8, tokens=128, lora_ranks=(1, 8, 16, 64, 256),
    vera_ranks=(4, 64, 256, 1024), lora_xs_ranks=(4, 16, 64, 256), rounds=11,
)  # fmt: skip
_SETTINGS: Mapping[str, CostSettings] = {
    "smoke": replace(
        _SMALL, batch_size=2, tokens=8, lora_ranks=(1, 4), vera_ranks=(4, 16), lora_xs_ranks=(4,), rounds=2
    ),
    "small": _SMALL,
    # Every rank of both papers' GLUE figures, runtimes and rank studies.
    "paper": CostSettings(
        model="FacebookAI/roberta-large", targets="all-linear", batch_size=32, tokens=128,
        lora_ranks=(1, 2, 4, 8, 16, 32, 64), vera_ranks=(1, 4, 16, 64, 256, 1024),
        lora_xs_ranks=(4, 8, 12, 16, 20, 25, 32, 64), rounds=15,
    ),
}  # fmt: skip


def cost_settings(scale: str = "small", **chosen: Any) -> CostSettings:
    """Return a scale's settings, overridden by what is chosen.

    Args:
        scale: ``smoke`` (seconds: shows that everything runs), ``small`` (minutes on a laptop) or ``paper``
            (RoBERTa-large at the papers' ranks, for a GPU).
        chosen: any field of :class:`CostSettings`; None, or an empty list of ranks, keeps the scale's.

    Raises:
        VxlabError: the scale is unknown, or a number is below 1.

    >>> VeRA(rank=256) in cost_settings("small", vera_ranks=[256], tokens=None).families()
    True
    """
    if scale not in SCALES:
        raise VxlabError(f"scale={scale!r} is unknown; choose one of {', '.join(SCALES)}")
    kept = {name: value for name, value in chosen.items() if value is not None and value != []}
    ranks = {name: tuple(sorted(set(value))) for name, value in kept.items() if name.endswith("_ranks")}
    settings = replace(_SETTINGS[scale], **kept | ranks)
    for name in ("batch_size", "tokens", "rounds"):
        if getattr(settings, name) < 1:
            raise VxlabError(f"{name}={getattr(settings, name)} measures nothing; choose 1 or more")
    return settings


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
