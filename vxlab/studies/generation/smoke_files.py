"""A tiny task of facts and sentences, and a model: to try the page in seconds; the numbers mean nothing."""

import json
from pathlib import Path

from vxlab.studies import smoke_pairs, write_once, write_smoke_model

ROWS = {"train": 64, "validation": 8, "test": 12}


def smoke_files() -> tuple[str, str]:
    """Return the folders of a Llama of two small layers with random weights, and of restaurants as facts and sentences.

    They lie in the cache, where they are written once.
    """
    folder = write_once("smoke-writer", _write)
    return str(folder / "model"), str(folder / "restaurants")


def write_smoke_task(folder: Path) -> str:
    """Write train, validation and test as JSON lines with the columns prompt and answer."""
    folder.mkdir(parents=True)
    rows = smoke_pairs(sum(ROWS.values()))
    for split, count in ROWS.items():
        lines = [json.dumps(dict(zip(("prompt", "answer"), rows.pop(), strict=True))) for _ in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


def _write(folder: Path) -> None:
    write_smoke_task(folder / "restaurants")
    write_smoke_model(folder / "model")
