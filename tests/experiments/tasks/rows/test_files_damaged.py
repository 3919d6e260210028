"""Damaged and odd files: each loads rightly or is refused in two lines, never by another error."""

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import vxlab

ODD = (0, 1, -1, 2.5, 1.0, float("nan"), float("inf"), None, True, "a", "", "nan", "1.0", [1], {"a": 1}, 10**25, "  ")
BYTES = (b'"', b"\n", b"\r", b",", b"\t", b"\0", b"{", b"[", b'""', b"\xff", b"\\ud800")
KINDS: tuple[Callable[[int], Any], ...] = (lambda row: row % 2, lambda row: "ab"[row % 2], lambda row: row / 7)


def _write(path: Path, draw: random.Random) -> None:
    kind, share = draw.choice(KINDS), draw.choice((0, 0, 0.02, 0.2))

    def cell(value: object) -> object:
        return draw.choice(ODD) if draw.random() < share else value

    numbers = range(draw.choice((0, 1, 3, 20, 40)))
    rows = [{"text": cell(f"t {row}"), "label": cell(kind(row))} for row in numbers]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pd.DataFrame(rows, columns=["text", "label"]).to_csv(
            path, sep="," if path.suffix == ".csv" else "\t", index=False
        )
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((0, 0, 1, 1, 10))):
        place = draw.randrange(len(content) + 1)
        content[place : place + draw.choice((0, 1, 30))] = draw.choice((b"", *BYTES))
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("seed", range(6))
def test_odd_files_load_or_are_refused_in_two_lines(tmp_path: Path, seed: int) -> None:
    draw, loaded, refused = random.Random(seed), 0, []
    for _ in range(50):
        for old in tmp_path.iterdir():
            old.unlink()
        for split in draw.choice((["train"], ["train", "test"], ["train", "dev", "test"])):
            _write(tmp_path / f"{split}{draw.choice(('.csv', '.tsv', '.jsonl', '.json'))}", draw)
        chosen: dict[str, Any] = {"label_kind": draw.choice((None, None, "classes", "numbers"))}
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                task = vxlab.load_task(tmp_path, **chosen, train_examples=draw.choice((None, None, 5)))
            assert all(map(len, task.splits.values()))
            loaded += 1
        except vxlab.VxlabError as error:
            refused.append(str(error))
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert loaded
    assert refused
    assert all(len(message) < 600 and message.count("\n") < 2 for message in refused)
