"""Two tiny sets, of questions to choose from and of sums to write, and a model: to try the page in seconds."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vxlab.studies import write_once, write_smoke_model

ROWS = {"train": 48, "validation": 8, "test": 10}
_THINGS = {"fire": "hot", "ice": "cold", "night": "dark", "a stone": "hard", "the sea": "wet", "sugar": "sweet"}


def smoke_sets() -> tuple[str, dict[str, str]]:
    """Return the folder of a Llama of two small layers with random weights, and of each set by its name.

    They lie in the cache, where they are written once.
    """
    folder = write_once("smoke-reasoner", _write)
    return str(folder / "model"), {name: str(folder / name) for name in _MAKERS}


def _write(folder: Path) -> None:
    write_smoke_model(folder / "model")
    for name, make in _MAKERS.items():
        (folder / name).mkdir()
        made = make(random.Random(0))
        for split, count in ROWS.items():
            lines = [json.dumps(next(made)) for _ in range(count)]
            (folder / name / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toy_choices(draw: random.Random) -> Iterator[dict[str, Any]]:
    for row in range(sum(ROWS.values())):
        thing, right = draw.choice(list(_THINGS.items()))
        choices = [right, *draw.sample([each for each in _THINGS.values() if each != right], 2)]
        draw.shuffle(choices)
        yield {"text": f"{row + 1}. What is {thing} like? It is", "choices": choices, "label": choices.index(right)}


def _toy_sums(draw: random.Random) -> Iterator[dict[str, Any]]:
    for row in range(sum(ROWS.values())):
        a, b = row % 9 + 1, draw.randint(1, 9)
        yield {"prompt": f"{row + 1}. {a} + {b} =", "answer": str(a + b)}


_MAKERS = {"toy_choices": _toy_choices, "toy_sums": _toy_sums}
