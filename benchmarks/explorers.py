"""Measure each explorer's first view and its slider's ticks, on mpnet with its spectra in the cache.

    python benchmarks/explorers.py

A tick is the callback from a slider's move to the changed figure, words and table; the first visit computes the view,
the second finds it. Before, if need be, the spectra are computed, two adapters trained for a few steps on all linear
layers of mpnet, and notebook 02's smoke sweep for the sweep explorer: minutes on two cores.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vxlab
from vxlab.experiments import describe_hardware, library_versions

RESULTS = Path(__file__).parent / "results" / "explorers.json"
MODEL = "mpnet"


def main() -> None:
    with tempfile.TemporaryDirectory() as store:
        rows = [measured(name, make) for name, make in explorers(store).items()]
    for row in rows:
        ticks = ", ".join(
            f"{visit} visit {row[visit][0]:.0f} / {row[visit][1]:.0f} ms" for visit in ("first", "second")
        )
        print(
            f"{row['explorer']}: first view {row['first_view_s']:.2f} s; tick, median / 95 %: {ticks} ({row['ticks']})"
        )
    found = {"model": MODEL, "hardware": describe_hardware("cpu"), "versions": library_versions(), "explorers": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def explorers(store: str) -> dict[str, Callable[[], Any]]:
    """Return what makes each explorer's widget, by its name."""
    few = {"model": MODEL, "targets": "all-linear", "train_examples": 64, "eval_examples": 32, "epochs": 1}
    one, other = (vxlab.run(vxlab.recipe("lora", seed=seed, **few), store=store) for seed in (0, 1))
    sweep = vxlab.compare(vxlab.fair_recipe("smoke"), store=store)
    shown = {"store": store, "interactive": True}
    return {
        "rank": lambda: vxlab.explore_rank(MODEL, interactive=True),
        "subspaces": lambda: vxlab.explore_subspaces(one, **shown),
        "updates": lambda: vxlab.explore_updates(one, **shown),
        "updates of two": lambda: vxlab.explore_updates(one, other, **shown),
        "sweep": lambda: vxlab.explore_sweep(sweep, interactive=True),
    }


def measured(name: str, make: Callable[[], Any]) -> dict[str, Any]:
    """Return one explorer's first view in seconds, and the median and 95th percentile of its ticks in milliseconds."""
    make()  # imports, downloads and decompositions
    start = time.perf_counter()
    widget = make()
    first_view = time.perf_counter() - start
    visits = {visit: ticks(widget) for visit in ("first", "second")}
    spread = {visit: np.quantile(values, [0.5, 0.95]).round(1).tolist() for visit, values in visits.items()}
    return {"explorer": name, "first_view_s": round(first_view, 2), "ticks": len(visits["first"]), **spread}


def ticks(widget: Any) -> list[float]:
    """Return the milliseconds of each move over all stops, for every option of each menu."""
    found = []
    for menu in widget.menus or [None]:
        for option in menu.options if menu is not None else [None]:
            if menu is not None:
                menu.value = option
            for index in [*range(1, len(widget.slider.options)), 0]:
                start = time.perf_counter()
                widget.slider.index = index
                found.append(1000 * (time.perf_counter() - start))
    return found


if __name__ == "__main__":
    main()
