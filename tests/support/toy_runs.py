"""A tiny encoder, a small task and a spec of seconds; run as a script, a run that kills itself at a chosen moment."""

import csv
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from architectures import SIZES

import vxlab

ROWS = {"train": 120, "validation": 20, "test": 40}
STEPS = 15  # of an epoch, with the spec's batch of 8

_TELLING = (("awful", "boring"), ("lovely", "great"), ("average", "fine"))
_FILLERS = ("the", "film", "was", "a", "story", "about", "people", "in", "town", "and", "their", "long", "summer")


def spec(model: str, task: str, **changes: Any) -> vxlab.RunSpec:
    """Return a spec of two seconds in which the loss falls; dropout makes it use the random state at every step."""
    settings: dict[str, Any] = {
        "method": vxlab.LoRA(rank=4, dropout=0.1), "learning_rate": 1e-2, "head_learning_rate": 2e-2,
        "epochs": 2, "batch_size": 8, "max_length": 16, "device": "cpu",
    }  # fmt: skip
    return vxlab.RunSpec(model=model, task=task, **settings | changes)


def write_model(folder: Path) -> str:
    from transformers import BertConfig, BertModel

    from vxlab.experiments.models.files import quiet_transformers
    from vxlab.experiments.models.load import load_tokenizer

    tokenizer = load_tokenizer("minilm")
    # Weights five times BERT's usual start: at this width an untrained encoder would barely tell texts apart.
    config = BertConfig(**SIZES, vocab_size=len(tokenizer), initializer_range=0.1)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_task(folder: Path, labels: Sequence[object]) -> str:
    """Write train, validation and test as CSV, one kind of text for each label; three in five are of two's first."""
    draw = random.Random(0)
    seen: set[str] = set()
    folder.mkdir()
    for split, rows in ROWS.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            for row in range(rows):
                kind = int(row % 5 > 2) if len(labels) == 2 else row % len(labels)
                words = draw.choices(_TELLING[kind], k=draw.randint(2, 5)) + draw.choices(
                    _FILLERS, k=draw.randint(0, 4)
                )
                draw.shuffle(words)
                while (text := " ".join(words)) in seen:  # a text in two splits is warned of
                    words.append("indeed")
                seen.add(text)
                writer.writerow((text, labels[kind]))
    return str(folder)


def die_in_second_epoch() -> None:
    from vxlab.experiments.runs.trainer import Watch

    _before(Watch, "on_step_begin", lambda watch, args, state, *_, **__: state.global_step == STEPS + 3)


def die_writing_second_checkpoint() -> None:
    from transformers import TrainerState

    def half_written(state: Any, path: str) -> bool:
        if state.global_step < 2 * STEPS:
            return False
        Path(path).write_text('{"best_global_step": 15, "log_history": [{"ep')
        return True

    _before(TrainerState, "save_to_json", half_written)


def die_after_second_checkpoint() -> None:
    from vxlab.experiments.runs.trainer import Watch

    _before(Watch, "on_save", lambda watch, args, state, *_, **__: state.global_step == 2 * STEPS)


def die_before_the_record() -> None:
    from vxlab.experiments.record import RunRecord

    _before(RunRecord, "save", lambda record: True)


def _before(owner: type, name: str, condition: Callable[..., bool]) -> None:
    """Kill this process before a call of a method, where the condition on its arguments holds."""
    method = getattr(owner, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if condition(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    moment, model, task, store, *quantisation = sys.argv[1:]
    globals()[moment]()
    vxlab.run(
        spec(model, task, **({"quantisation": quantisation[0]} if quantisation else {})), store=store, progress=False
    )
