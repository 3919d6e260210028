"""What a study takes at each scale where nothing else is chosen, and the warning of a scale that only shows it runs."""

from typing import Any

from vxlab.experiments.sweeps import scale_settings


def study_settings(study: str, scale: str) -> dict[str, Any]:
    """Return a study's settings at a scale, from ``data/scales.toml``.

    Args:
        study: its name, such as ``subspaces``.
        scale: ``smoke``, ``small`` or ``paper``.

    Raises:
        VxlabError: the scale is unknown.

    >>> study_settings("weight_similarity", "paper")["rank"]
    64
    """
    return scale_settings(f"studies.{study}", scale)


def smoke_warning(scale: str, what: str = "A few rows and one epoch") -> str:
    """Return a warning in Markdown for a run whose numbers mean nothing; empty for the other scales."""
    if scale != "smoke":
        return ""
    return f"> ⚠ **Smoke run.** {what}, to show that everything works. **Its numbers mean nothing.**"
