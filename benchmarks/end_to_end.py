"""One ordinary run in a new process, from imports to the saved adapter, beside a plain script that does the same.

    python benchmarks/end_to_end.py [--rounds 3] [--threads 2] [--train 1000] [--write]

LoRA r=8 on MiniLM's query and value, film reviews, one epoch in batches of 16, validation at its end, the best
checkpoint loaded, the test split, the adapter saved: ``vxlab.run`` with an empty store, against PEFT's LoRA in
transformers' Trainer on the same rows and files. The plain script has two forms: as its authors' guides write it,
and with all that Trainer itself offers to save padding (rows grouped by length). Each side is a process of its own;
the rounds are interleaved, and every other one in reverse. Both pay for downloads and for compiled Python beforehand.

Phases are exclusive: an import within the loading of a model counts as an import. ``process`` is what lies outside of
the script's own clock: Python's start and its end. ``cpu`` counts the processors' seconds, which others' work on the
machine moves less than the clock on the wall, and which threads that wait for one another add to.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "end_to_end.json"
SIDES = ("ours", "plain", "grouped")
BATCH, EVAL_BATCH, RANK, LENGTH, RATE, HEAD_RATE = 16, 32, 8, 128, 2e-3, 5e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--train", type=int, default=1000, help="sentences to train on")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        run_side(asked.side, asked.folder, asked.train)
    else:
        compare_sides(asked)


def compare_sides(asked: argparse.Namespace) -> None:
    """Time the sides in turn, and show and keep their medians."""
    from rounds import ratio

    from vxlab.experiments import describe_hardware, library_versions

    found: dict[str, list[dict[str, Any]]] = {side: [] for side in asked.sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, asked.train)
        for number in range(asked.rounds):
            for side in list(found)[:: -1 if number % 2 else 1]:
                found[side].append(time_side(side, folder, asked))
                print(side, {name: round(each, 1) for name, each in found[side][-1]["wall"].items()}, flush=True)
    totals = {
        clock: {side: [sum(each[clock].values()) for each in rounds] for side, rounds in found.items()}
        for clock in ("wall", "cpu")
    }
    result = {
        "command": f"python benchmarks/end_to_end.py --rounds {asked.rounds} --threads {asked.threads}"
        f" --train {asked.train}",
        "seconds": totals,
        "ratios": {
            clock: {side: ratio(seconds["ours"], each)._asdict() for side, each in seconds.items() if "ours" in seconds}
            for clock, seconds in totals.items()
        },
        "phases": {
            side: {clock: _medians(rounds, clock) for clock in ("wall", "cpu")} for side, rounds in found.items()
        },
        "scores": {side: rounds[0]["scores"] for side, rounds in found.items()},
        "load": {side: [each["load"] for each in rounds] for side, rounds in found.items()},
        "hardware": {**describe_hardware("cpu"), "threads": asked.threads},
        "versions": library_versions(("torch", "transformers", "accelerate", "datasets", "peft")),
    }
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def time_side(side: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Run one side in a new process, and return its phases' seconds and its scores."""
    load, started, spent = os.getloadavg()[0], time.perf_counter(), _children_seconds()
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--train", str(asked.train)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    totals = {"wall": time.perf_counter() - started, "cpu": _children_seconds() - spent}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for clock, total in totals.items():
        result[clock]["process"] = total - sum(result[clock].values())
    return {**result, "load": load}


def _children_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def write_rows(folder: Path, train: int) -> None:
    """Write the rows of all three splits as JSON lines, for a plain script to read, and fetch the model."""
    from vxlab.experiments.assets import fetch
    from vxlab.experiments.tasks import load_task

    for split, rows in load_task("rotten_tomatoes", train_examples=train).splits.items():
        lines = [json.dumps({"text": row["text"], "label": row["label"]}) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    fetch("minilm")


def run_side(side: str, folder: Path, train: int) -> None:
    """Do one side's whole work, and print the seconds of its phases."""
    from phases import Phases

    phases = Phases()
    phases.watch_imports("imports")
    with tempfile.TemporaryDirectory(dir=folder) as own:
        if side == "ours":
            scores = run_ours(phases, Path(own), train)
        else:
            scores = run_plain(phases, folder, Path(own), grouped=side == "grouped")
        print(json.dumps({**phases.total(), "scores": scores}))


def run_ours(phases: Any, own: Path, train: int) -> dict[str, float]:
    """Run the spec by vxlab."""
    import vxlab

    vxlab.run  # noqa: B018  # loads what it needs, so that it can be watched
    watch_trainer(phases)
    watch_ours(phases)
    spec = vxlab.RunSpec(
        method=vxlab.LoRA(rank=RANK),
        learning_rate=RATE,
        head_learning_rate=HEAD_RATE,
        targets="query-value",
        epochs=1,
        batch_size=BATCH,
        max_length=LENGTH,
        train_examples=train,
    )
    record = vxlab.run(spec, store=own, progress=False)
    return {row["split"]: row["value"] for row in record.metrics if row["metric"] == "accuracy"}


def watch_ours(phases: Any) -> None:
    """Watch where vxlab loads, hashes, trains and keeps."""
    from vxlab.experiments import RunSpec, hardware
    from vxlab.experiments.runs import inputs
    from vxlab.experiments.store import Store

    one_run = sys.modules["vxlab.experiments.runs.one_run"]
    phases.watch(inputs, "model_fingerprint", "fingerprints")
    phases.watch(RunSpec, "load_task", "data")
    phases.watch(inputs.Materials, "splits", "data")
    phases.watch(inputs.Materials, "tokenizer", "model")
    phases.watch(inputs, "load_model", "model")
    phases.watch(inputs, "attach", "attaching")
    phases.watch(one_run, "_trainer", "Trainer")
    phases.watch(one_run, "keep_predictions", "saving")
    phases.watch(one_run, "record_run", "saving")
    phases.watch(hardware, "reset_peak_memory", "memory")
    phases.watch(gc, "collect", "memory")
    phases.watch(one_run, "commit", "git")
    for name in ("finish", "lease", "record", "release", "release_dead"):
        phases.watch(Store, name, "store")


def watch_trainer(phases: Any) -> None:
    """Watch what transformers' Trainer does, in either side."""
    from transformers import Trainer

    phases.watch(Trainer, "__init__", "Trainer")
    phases.watch(Trainer, "train", "steps")
    phases.watch(Trainer, "evaluate", "validation")
    phases.watch(Trainer, "predict", "test")
    phases.watch(Trainer, "_save_checkpoint", "checkpoints")
    phases.watch(Trainer, "_load_best_model", "checkpoints")


def run_plain(phases: Any, folder: Path, own: Path, grouped: bool) -> dict[str, float]:
    """Do the same by PEFT and Trainer, as their guides do."""
    import numpy as np
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from vxlab.experiments.assets import fetch

    watch_trainer(phases)
    set_seed(0)
    path = str(fetch("minilm"))
    with phases.phase("model"):
        tokenizer = AutoTokenizer.from_pretrained(path)
    with phases.phase("data"):
        read = {split: Dataset.from_json(f"{folder}/{split}.jsonl", cache_dir=str(own)) for split in
                ("train", "validation", "test")}  # fmt: skip
        splits = {split: _tokenised(rows, tokenizer) for split, rows in read.items()}
    with phases.phase("model"):
        model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)
    with phases.phase("attaching"):
        config = LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=RANK, target_modules=["query", "value"])
        model = get_peft_model(model, config)
    arguments = TrainingArguments(
        output_dir=str(own / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=EVAL_BATCH,
        learning_rate=RATE,
        warmup_steps=0.06,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        **({"train_sampling_strategy": "group_by_length"} if grouped else {}),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda out: {"accuracy": float(np.mean(out.predictions.argmax(-1) == out.label_ids))},
    )
    trainer.train()
    validation = [row["eval_accuracy"] for row in trainer.state.log_history if "eval_accuracy" in row]
    test = trainer.predict(splits["test"]).metrics["test_accuracy"]
    with phases.phase("saving"):
        model.save_pretrained(own / "adapter")
    return {"validation": max(validation), "test": test}


def _tokenised(rows: Any, tokenizer: Any) -> Any:
    return rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=LENGTH), batched=True)


def _medians(rounds: list[dict[str, Any]], clock: str) -> dict[str, float]:
    phases = sorted({name for each in rounds for name in each[clock]})
    return {name: statistics.median(each[clock].get(name, 0.0) for each in rounds) for name in phases}


if __name__ == "__main__":
    main()
