"""Measure whether an adapter beats the frozen probe on a few photographs of each class, by the fair protocol.

    python benchmarks/few_shot.py path/to/grocery_81 [--store reports/few_shot.db] [--shots 5 10] [--resolution 112]

The folder is of GroceryStoreDataset's photographs, ``train`` and ``test``, one folder a class in each. Six test
photographs of each class are held out for test, by a seed; the ten of train and those of the other four whose file
names stand in no train folder are the pool of which shots are drawn (12.5 a class), and of which a tenth is carved for
validation, once for all draws (beyond 9 shots one of each class is set aside for it instead). Every method is tuned on
draw 0 and reported on fresh draws; the probe reads these at 224 pixels, too. What is read is laid out as links in a
folder of its own, beside the store.
Writes benchmarks/results/few_shot.json; runs that the store has are not trained again.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import vxlab
from vxlab.experiments.sweeps import Candidate, Comparison, FairSweep
from vxlab.paths import without_folders

RESULTS = Path(__file__).parent / "results" / "few_shot.json"
HELD_OUT, FINE = 6, 224
CARVED = 9
"""Shots of each class that are left where validation is carved; for more, one of each is set aside for it."""
METHODS = ["head", "vera", "lora_xs", "lora", "full"]
STEPS = 254
"""Of every run, about: ten epochs of 5 shots, five of 10."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="train and test, one folder a class in each")
    parser.add_argument("--store", default="reports/few_shot.db", help="where finished runs are kept, and found again")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--resolution", type=int, default=112)
    parser.add_argument("--draws", type=int, default=3, help="that are reported")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="beside the probe")
    parser.add_argument("--engine", default="inline")
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    laid = lay_out(given.folder, Path(given.store).with_suffix(""))
    for shots in given.shots:
        fair = fair_sweep(folder_of(shots, laid), shots, given.resolution, given.draws, given.methods)
        result = vxlab.compare(fair, store=given.store, engine=given.engine, stack=1)
        found[f"{shots} shots"] = described(result)
        print(result.verdict(), flush=True)
        write(found)
    for shots in given.shots:
        found[f"{shots} shots, probe at {FINE} px"] = probe_scores(folder_of(shots, laid), shots, given)
        write(found)


def folder_of(shots: int, laid: Mapping[str, Path]) -> Path:
    return laid["pooled" if shots <= CARVED else "wide"]


def write(found: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def lay_out(source: Path, work: Path) -> dict[str, Path]:
    """Link the photographs as a pool with a test split, and as one with a photograph of each class for validation."""
    for own in sorted((source / "train").iterdir()):
        tests = sorted((source / "test" / own.name).iterdir())
        order = np.random.RandomState(0).permutation(len(tests))
        held, rest = ([tests[place] for place in sorted(part)] for part in (order[:HELD_OUT], order[HELD_OUT:]))
        trained = sorted(own.iterdir())
        for split, files in {
            "pooled/train": [*trained, *rest], "pooled/test": held,
            "wide/train": [*trained, *rest[1:]], "wide/validation": rest[:1], "wide/test": held,
        }.items():  # fmt: skip
            folder = work / split / own.name
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                if not (folder / file.name).exists():
                    (folder / file.name).symlink_to(file.resolve())
    return {name: work / name for name in ("pooled", "wide")}


def fair_sweep(folder: Path, shots: int, resolution: int, draws: int, methods: list[str]) -> FairSweep:
    """Return the sweep: the methods of VeRA's table, on query and value, for about as many steps at every k."""
    settings = {
        "model": "dinov2s", "task": f"grocery_81, {folder.name}", "task_folder": str(folder), "shots": shots,
        "resolution": resolution, "epochs": STEPS * 16 // (81 * shots), "batch_size": 16, "precision": "bfloat16",
    }  # fmt: skip
    candidates = [
        Candidate(vxlab.Probe()),
        Candidate(vxlab.Head(), learning_rate=5e-3),
        Candidate(vxlab.VeRA(rank=256), learning_rate=2e-2),
        Candidate(vxlab.LoRAXS(rank=16), learning_rate=4e-3),
        Candidate(vxlab.LoRA(rank=8), learning_rate=2e-3),
        Candidate(vxlab.Full(), learning_rate=5e-5),
    ]
    chosen = [each for each in candidates if each.method.name in ("probe", *methods)]
    return FairSweep(
        candidates=chosen, settings=settings, learning_rates=3, tuning_share=0.33, report_seeds=draws, widen=1
    )


def probe_scores(folder: Path, shots: int, given: argparse.Namespace) -> list[float]:
    """Return the probe's test accuracies on the reported draws at the resolution that suits frozen features better.

    Against the probe at the resolution of training alone, adapters would gain over less than the best simple answer.
    """
    task = {"task": f"grocery_81, {folder.name}", "task_folder": str(folder)}
    specs = [
        vxlab.RunSpec(
            model="dinov2s", **task, shots=shots, draw=draw, resolution=FINE, precision="bfloat16",
            method=vxlab.Probe(),
        )
        for draw in range(1, 1 + given.draws)
    ]  # fmt: skip
    return [vxlab.run(spec, store=given.store, progress=False).score() for spec in specs]


def described(result: Comparison) -> dict[str, Any]:
    first = next(iter(result.records.values()))
    columns = ["candidate", "backbone", "head", "mean", "sd", "scores", "learning_rate", "edge", "budget_seconds"]
    pairs = [{**pair, "seen": bool(pair["seen"])} for pair in result.pairs.to_dict("records")]
    return {
        "metric": result.metric,
        "trivial": result.trivial,
        "items": result.items,
        "rows": first.task["rows"],
        "candidates": json.loads(result.summary[columns].to_json(orient="records")),
        "against the probe": [pair for pair in pairs if "probe" in (pair["a"], pair["b"])],
        "verdict": result.verdict(),
        "settings": without_folders(dict(result.fair.settings)),
        "hardware": first.hardware,
        "versions": first.versions,
    }


if __name__ == "__main__":
    main()
