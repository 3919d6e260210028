"""Tables of costs with numbers to order, without measuring any."""

import pandas as pd

from vxlab.experiments.costs.by_rank import FROZEN, FULL, HEAD

COLUMNS = ["method", "rank", "ratio", "bytes", "peak"]
MIB = 2**20
ROWS = [
    (FROZEN, None, 1.00, 0, 300),
    (HEAD, None, 0.57, 3_596, 120),
    ("LoRA", 1, 1.10, 171_386, 370),
    ("LoRA", 8, 1.12, 1_330_000, 380),
    ("LoRA", 64, 1.20, 10_620_000, 420),
    ("VeRA", 4, 1.08, 87_000, 310),
    ("VeRA", 64, 1.14, 97_600, 320),
    ("VeRA", 256, 1.30, 126_000, 330),
    ("VeRA", 1024, 1.80, 235_900, 380),
    ("LoRA-XS", 4, 1.05, 7_916, 310),
    ("LoRA-XS", 64, 1.10, 600_000, 330),
    (FULL, None, 1.35, 90_868_277, 560),
]


def costs(rows=ROWS, spread=0.02, errors=()) -> pd.DataFrame:
    """Return a table as ``rank_costs`` makes it, whose eleven rounds have intervals of ``spread``."""
    return pd.DataFrame([_row(*row, spread, dict(errors)) for row in rows]).astype({"rank": "Int64"})


def _row(method, rank, ratio, stored, peak, spread, errors):
    label = f"{method} r={rank}" if rank else method
    row = {"method": method, "rank": rank, "label": label}
    if label in errors:
        return row | {"seconds": (), "error": errors[label]}
    around = 0.0 if method == FROZEN else spread
    # The frozen model takes one second. LoRA is slow where the others are fast, so that ratios to it spread as well.
    shifts = (-1.5, -1, -0.8, -0.6, -0.3, 0, 0.3, 0.6, 0.8, 1, 1.5)
    seconds = tuple(ratio + around * shift for shift in shifts[:: -1 if method == "LoRA" else 1])
    return row | {
        "seconds": seconds, "step_seconds": ratio, "ratio": ratio, "ratio_low": ratio - around,
        "ratio_high": ratio + around, "attach_seconds": 0.6, "attach_again_seconds": 0.05, "parameters": stored // 4,
        "bytes": stored, "weights": 87 * MIB, "adapter": 2 * MIB, "gradients": MIB, "optimizer": 2 * MIB,
        "activations": (peak - 100) * MIB, "temporary": 8 * MIB, "peak": peak * MIB, "error": "",
    }  # fmt: skip
