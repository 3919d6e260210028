"""What to measure the cost of rank on: the model, the batch and the ranks that suit a scale."""

from dataclasses import asdict, dataclass
from typing import Any

from vxlab.adapters import LoRA, LoRAXS, VeRA
from vxlab.adapters.core.family import Family
from vxlab.errors import VxlabError
from vxlab.studies.scales import study_settings


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
    kept = {name: value for name, value in chosen.items() if value is not None and value != []}
    ranks = {name: tuple(sorted(set(value))) for name, value in kept.items() if name.endswith("_ranks")}
    settings = CostSettings(**study_settings("cost", scale) | kept | ranks)
    for name in ("batch_size", "tokens", "rounds"):
        if getattr(settings, name) < 1:
            raise VxlabError(f"{name}={getattr(settings, name)} measures nothing; choose 1 or more")
    return settings


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
