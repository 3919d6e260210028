"""The commit of vxlab, where the package runs from a git checkout of its own."""

import functools
import os
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SECONDS = 1.0
"""A run does not wait for git: a file system that hangs must not hold it up."""


@functools.cache
def commit(root: Path = _ROOT) -> str:
    """Return twelve digits of the commit, with ``+changes`` where the code differs from it; "" where there is none.

    Asked once in a process: the code that runs is the one that was imported. No error comes from here.

    Args:
        root: the folder that holds the package.
    """
    try:
        own = (root / ".git").exists() and 'name = "vxlab"' in (root / "pyproject.toml").read_text(encoding="utf-8")
        if not own:  # installed, or copied into somebody's own repository
            return ""
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "vxlab", "notebooks")
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return head + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    # Variables such as GIT_DIR, which git sets for its hooks, would lead to another repository.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=_SECONDS, check=True)
    return done.stdout.strip()
