"""What a score may be weighed against, and the axis of each cost."""

import math
from typing import NamedTuple


class Cost(NamedTuple):
    """One cost of a candidate."""

    column: str
    title: str
    unit: float
    """by which the column is multiplied"""
    axis: str
    """``log`` or ``linear``"""


PARAMETERS = "trained parameters in the backbone (the task head apart)"
COSTS = {
    "parameters": Cost("backbone", PARAMETERS, 1, "log"),
    "bytes": Cost("bytes_stored", "bytes of a saved adapter, its head included", 1, "log"),
    "step time": Cost("step_seconds", "time of a training step, ms, beside other runs", 1000, "linear"),
    "peak memory": Cost("peak_memory", "peak memory of training, MiB, beside other runs", 2**-20, "linear"),
}


SHOTS = "shots"
AXES = COSTS | {SHOTS: Cost("shots", "training examples of each class (shots)", 1, "log")}
"""All that a score may be drawn against: the costs, and how many examples it was learned from."""


def log_ticks(low: float, high: float) -> dict[float, str]:
    """Return the ticks of a logarithmic axis: powers of ten, or 1, 2 and 5 of each where these would be few.

    Args:
        low: its lower end's logarithm to base 10.
        high: its upper end's.

    >>> log_ticks(2.9, 4.2)
    {1000.0: '1k', 2000.0: '2k', 5000.0: '5k', 10000.0: '10k'}
    """
    steps = (1,) if high - low > 2.5 else (1, 2, 5)
    marks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return {mark: _in_thousands(mark) for mark in marks if low <= math.log10(mark) <= high}


def _in_thousands(number: float) -> str:
    thousands = max(0, int(math.log10(number) + 1e-9) // 3)
    return f"{number / 1000**thousands:g}{['', 'k', 'M', 'G', 'T'][thousands]}"
