"""The tests marked gpu, run by pytest in an environment that may lack pytest's plugins and half of the libraries.

Warnings do not fail them here, but are counted: another torch than the pinned one may warn. After an error that CUDA
does not get over the tests behind it run in a new process.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("GPU_CHECK_CASE_SECONDS", "64")) - 4
"""for all tests, their hanging included"""
STICKY = ("illegal memory access", "device-side assert", "launch failure", "misaligned address", "CUBLAS_STATUS")


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    return {"pytest": lambda: run(device)}


def run(device: str) -> dict[str, Any]:
    """Return what became of every test, by name; on a CPU, of those that such a device can rehearse."""
    deadline, done, said = time.monotonic() + SECONDS, dict[str, str](), ""
    while (left := deadline - time.monotonic()) > 1:
        outcomes, ended, said = _pytest(device, list(done), left)
        found = _usable(outcomes)
        done |= found
        if not found or (ended and len(found) == len(outcomes)):
            break
    failed = {name: outcome for name, outcome in done.items() if not outcome.startswith(("passed", "skipped"))}
    counts = {kind: sum(each.startswith(kind) for each in done.values()) for kind in ("passed", "skipped")}
    row = {"ok": bool(done) and not failed, **counts, "failed": len(failed), "warnings": said.count("Warning: ")}
    return row | {"outcomes": done} | ({} if done else {"said": said[-1500:]})


def _pytest(device: str, done: Sequence[str], seconds: float) -> tuple[dict[str, str], bool, str]:
    """Run the tests that are not done; return their outcomes, whether pytest came to its end, and what it said."""
    with tempfile.TemporaryDirectory() as scratch:
        settings, report = Path(scratch, "pytest.ini"), Path(scratch, "report.xml")
        # Its own settings: pyproject.toml's name options of plugins that may not be there, and make warnings errors.
        helpers = f"pythonpath = {ROOT / 'tests' / 'support'} {ROOT / 'benchmarks'}"
        settings.write_text(f"[pytest]\n{helpers}\nmarkers =\n  gpu: -\n  slow: -\n  alone: -\n")
        command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-c", str(settings), f"--rootdir={ROOT}"]
        command += ["--import-mode=importlib", f"--confcutdir={ROOT}", "--tb=short"]
        command += ["-p", "no:cacheprovider", "-p", "no:logging"]
        command += [f"--junitxml={report}", *(f"--deselect={name}" for name in done), *_files()]
        environment = {**os.environ, "VXLAB_GPU_TESTS_ON": device, "PYTHONUNBUFFERED": "1"}
        lines = Path(scratch, "said")
        with lines.open("w") as said, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, cwd=ROOT, env=environment, stdout=said, stderr=said, timeout=seconds)
        text = lines.read_text(errors="replace")
        return (_outcomes(report), True, text) if report.is_file() else (_told(text), False, text)


def _files() -> list[str]:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "mark.gpu" in path.read_text(encoding="utf-8")]


def _outcomes(report: Path) -> dict[str, str]:
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        told = bad[0].get("message", "") if bad else ""
        told += f" {(bad[0].text or '')[-600:]}" if bad and bad[0].tag != "skipped" else ""
        kind = {"failure": "failed", "error": "error", "skipped": "skipped"}[bad[0].tag] if bad else "passed"
        found[name] = f"{kind}: {told}" if told else kind
    return found


def _told(text: str) -> dict[str, str]:
    """Return the outcomes that pytest told before it was cut off; what it was at counts as failed."""
    begun = re.findall(r"^(tests/\S+::.*?)(?: (PASSED|FAILED|ERROR|SKIPPED)\b.*)?$", text, flags=re.MULTILINE)
    words = {"PASSED": "passed", "SKIPPED": "skipped", "": "failed: pytest ended, or was ended, while it ran"}
    return {name.strip(): words.get(word, f"{word.lower()}, and its message was lost") for name, word in begun}


def _usable(outcomes: dict[str, str]) -> dict[str, str]:
    """Return outcomes up to the first that spoils those behind it."""
    kept = {}
    for name, outcome in outcomes.items():
        kept[name] = outcome
        if outcome.startswith(("failed", "error")) and any(word in outcome for word in STICKY):
            break
    return kept
