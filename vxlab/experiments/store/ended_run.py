"""A run that ended, as a store keeps it and as another store may take it in."""

from typing import Any, NamedTuple


class EndedRun(NamedTuple):
    """A row of a store, of a run that ended."""

    key: str
    status: str
    """finished, diverged, or ended early"""
    spec: dict[str, Any]
    """the RunSpec's settings"""
    identity: dict[str, str]
    """what the key holds beside them"""
    record: dict[str, Any]
    """the RunRecord's fields"""
    predictions: bytes | None
    """a safetensors file, of a finished run"""
    at: float | None
    """epoch seconds: when it ended"""
