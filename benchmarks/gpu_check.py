"""Check every GPU path on one GPU, in six minutes at most, offline.

    python benchmarks/gpu_check.py [--only steps,svd] [--device cpu --tiny]

Needs torch, transformers, peft, scipy, safetensors, platformdirs and pytest; what needs more is skipped by name. Each
part runs in a process of its own, which is started again after a crash, a hang or an error that CUDA does not get
over, behind the case that brought it about: no failure hides another. Writes benchmarks/results/gpu_check.json after
every part and prints a table last. ``--device cpu --tiny`` rehearses all of it on toy shapes.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SECONDS = 350.0
"""of everything together: six minutes, less what it takes to end"""


class Part(NamedTuple):
    """Cases of one kind, in one module's ``cases(device, tiny)``: functions without arguments by name."""

    name: str
    module: str
    seconds: float
    """of all its cases, imports included"""
    case_seconds: float
    """of one case, before it counts as hung"""


PARTS = (
    Part("hardware", "gpu_hardware", 30, 15),
    Part("exact", "gpu_exact", 40, 20),
    Part("tests", "gpu_tests", 65, 64),
    Part("steps", "gpu_steps", 105, 25),
    Part("svd", "gpu_svd", 45, 35),
    Part("compile", "gpu_compile", 45, 40),
    Part("recipes", "gpu_recipes", 100, 50),
)
"""The last takes what the others leave of the time; with more of it, each may take more in proportion."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy shapes: shows that everything runs, measures nothing")
    parser.add_argument("--only", default=",".join(part.name for part in PARTS), help="parts, by name")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for everything together")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu_check.json")
    arguments = parser.parse_args()
    chosen = [part for part in PARTS if part.name in arguments.only.split(",")]
    check(chosen, arguments.device, arguments.tiny, arguments.seconds, arguments.out)


def check(parts: Sequence[Part], device: str, tiny: bool, seconds: float, out: Path) -> dict[str, Any]:
    """Run parts one after the other, write what is known after each, and print a table."""
    from gpu_report import table  # no torch here: this process is to hold nothing on the GPU

    started = time.monotonic()
    found: dict[str, Any] = {"device": device, "tiny": tiny, "parts": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts:
            left, share = started + seconds - time.monotonic(), max(1.0, seconds / SECONDS)
            longer = part._replace(seconds=min(part.seconds * share, left), case_seconds=part.case_seconds * share)
            found["parts"][part.name] = run_part(longer, device, tiny, Path(scratch))
            found["seconds"] = round(time.monotonic() - started, 1)
            _write(found, out)
            print(f"{part.name}: {_summary(found['parts'][part.name])}", file=sys.stderr, flush=True)
    print(table(found), flush=True)
    return found


def run_part(part: Part, device: str, tiny: bool, scratch: Path) -> dict[str, Any]:
    """Return each case's row, or its error, by name; the part's processes end before this returns."""
    started, rows, names = time.monotonic(), scratch / f"{part.name}.jsonl", None
    found: dict[str, Any] = {}
    known = -1
    while (left := part.seconds - (time.monotonic() - started)) > 1:
        how = _child(part, device, tiny, left, [*found], rows, scratch)
        events = _read(rows)
        names = next((event["names"] for event in events if "names" in event), names)
        found |= {event["case"]: event for event in events if "seconds" in event}
        begun = [event["case"] for event in events if "begun" in event and event["case"] not in found]
        found |= {case: {"case": case, "error": how} for case in begun}
        if names is None:  # its module does not load
            return {"seconds": round(time.monotonic() - started, 1), "cases": [], "error": how}
        if len(found) == len(names) or len(found) == known:
            break
        known = len(found)
    missing = [{"case": name, "error": "not run: out of time"} for name in names or () if name not in found]
    cases = [*found.values(), *missing]
    error = {} if names is not None else {"error": "not run: out of time"}
    return {"seconds": round(time.monotonic() - started, 1), "cases": cases, **error}


def _child(part: Part, device: str, tiny: bool, seconds: float, done: Sequence[str], rows: Path, scratch: Path) -> str:
    """Run a part's cases that are not done, in a process group of its own; return how it ended, in words."""
    rows.write_text("")
    given = {"module": part.module, "device": device, "tiny": tiny, "limit": part.case_seconds, "done": list(done)}
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VXLAB_SPECTRA": str(scratch / "spectra"),
        "VXLAB_REPORTS": str(scratch / "reports"),
        "GPU_CHECK_CASE_SECONDS": str(part.case_seconds),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    }
    environment |= {"OMP_NUM_THREADS": "1"} if tiny else {}
    command = [sys.executable, str(HERE / "gpu_cases.py"), str(rows), json.dumps(given)]
    said = scratch / f"{part.name}.stderr"
    with said.open("w") as stderr:
        child = subprocess.Popen(
            command, env=environment, stdout=stderr, stderr=stderr, start_new_session=True, cwd=scratch
        )
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # its own children, where it left any
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    last = " | ".join(said.read_text(errors="replace").strip().splitlines()[-6:])
    ended = "out of time" if code is None else f"its process ended with {code}"
    return f"{ended}: {last}"[:1500]


def _read(rows: Path) -> list[dict[str, Any]]:
    events = []
    for line in rows.read_text(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # cut short by the end of its process
            continue
    return events


def _write(found: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}")
    new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(new, out)


def _summary(part: dict[str, Any]) -> str:
    bad = [case for case in part["cases"] if "error" in case or case.get("row", {}).get("ok") is False]
    skipped = [case for case in part["cases"] if "skipped" in case]
    fine = len(part["cases"]) - len(bad) - len(skipped)
    return f"{fine} fine, {len(bad)} not, {len(skipped)} skipped, {part['seconds']} s {part.get('error', '')}"


if __name__ == "__main__":
    main()
