"""A real server on loopback, `transformers serve` with SmolLM2: transport, and a judge that gives no ratings."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_bench
import toy_writers

from vxlab import Judge, VxlabError, judge_runs
from vxlab.experiments.assets import fetch
from vxlab.experiments.judges.rating import TRIES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")),
        reason="transformers serve needs transformers[serving]",
    ),
]


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield the server's URL, and the model's name there."""
    try:
        model = str(fetch("smollm2"))
    except VxlabError as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", model, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
               "--dtype", "bfloat16"]  # fmt: skip
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    try:
        end = time.monotonic() + 300
        while not _is_up(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_real_server_is_asked_and_what_it_says_is_no_rating(served, tiny_writer, tmp_path):
    url, model = served
    template = tmp_path / "chat.jinja"
    template.write_text(toy_writers.CHAT)
    judge = Judge(url=url, model=model, max_tokens=8, timeout=300, at_once=1)
    settings = {"folder": toy_bench.write_bench(tmp_path / "bench"), "chat_template": str(template), "questions": [1],
                "max_new_tokens": 6, "store": tmp_path / "runs.db", "device": "cpu"}  # fmt: skip
    started = time.monotonic()
    found = judge_runs(tiny_writer, judge, **settings)
    took = time.monotonic() - started
    assert len(found.ratings) == 2
    assert set(found.ratings["unparsable"]) <= set(range(TRIES + 1))
    assert found.ratings["rating"].isna().any()
    assert all(name.startswith(model) for name in found.ratings["answered_by"])
    assert str(Path(model).parent) not in str(found)
    started = time.monotonic()
    assert judge_runs(tiny_writer, judge, **settings).ratings.equals(found.ratings)
    assert time.monotonic() - started < took
