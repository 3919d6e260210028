"""Run the cases of one part of gpu_check.py in this process, and write each one's row as soon as it is known."""

import faulthandler
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

STICKY = 3
"""The exit status after an error that CUDA does not get over: every later call in this process would fail too."""


def main() -> None:
    rows, given = Path(sys.argv[1]), json.loads(sys.argv[2])
    cases = importlib.import_module(given["module"]).cases(given["device"], given["tiny"])

    def write(**event: Any) -> None:
        with rows.open("a") as file:
            file.write(json.dumps(event) + "\n")

    write(names=list(cases))
    for name, case in cases.items():
        if name in given["done"]:
            continue
        write(case=name, begun=True)
        # Ends this process with a traceback, wherever it hangs: in Python, in a kernel, in a lock.
        faulthandler.dump_traceback_later(given["limit"], exit=True)
        event, usable = run_case(case)
        faulthandler.cancel_dump_traceback_later()
        write(case=name, **event)
        if not usable:
            sys.exit(STICKY)


def run_case(case: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return a case's row, or why there is none, with its seconds; and whether this process can go on."""
    started = time.perf_counter()
    try:
        event: dict[str, Any] = {"row": case()}
    except ModuleNotFoundError as error:
        event = {"skipped": f"{error.name} is not installed"}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {str(error).strip()[:600]}"
        event = {"error": f"{told} ({Path(where.filename).name}:{where.lineno})"}
    usable = _clean()
    return event | {"seconds": round(time.perf_counter() - started, 2)}, usable


def _clean() -> bool:
    """Give memory back, and say whether the GPU still answers."""
    import gc

    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    main()
