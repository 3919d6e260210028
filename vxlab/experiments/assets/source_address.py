"""Find where an index keeps a source package, by asking pip, which neither downloads nor runs it."""

import re
import subprocess
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit

from vxlab.errors import VxlabError
from vxlab.experiments.assets.manifest import Package
from vxlab.experiments.assets.pip_calls import PIP_DOWNLOAD, find_reason

# pip has no command that tells an address. Told to take wheels only, it notes each source package that it passes over.
_PASSED_OVER = re.compile(r"No sources permitted for \S+: (\S+)")


def find_source_address(package: Package, folder: Path) -> str:
    """Return the URL of a source package on the user's own index or among the links that pip is set to.

    package: what to look for.
    folder: for pip's temporary files, and where errors say that the file may be put by hand; it exists.

    Raises VxlabError where pip finds no such file, or its URL holds a password.
    """
    with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as scratch:
        notes = Path(scratch, "notes.txt")
        command = [*PIP_DOWNLOAD, "--log", str(notes), "-d", scratch, f"{package.name}=={package.version}"]
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        ).stdout  # fmt: skip
        noted = notes.read_text(encoding="utf-8", errors="replace") if notes.exists() else ""
    for found in _PASSED_OVER.finditer(noted):
        address = urldefrag(found[1]).url
        if unquote(PurePosixPath(urlsplit(address).path).name) == package.filename:
            _refuse_unusable(package, folder, address)
            return address
    raise by_hand(package, folder, f"pip names no address of it; pip says: {find_reason(said.splitlines())}")


def by_hand(package: Package, folder: Path, why: str) -> VxlabError:
    """Return the error that says why a source package cannot be downloaded, and where to put it otherwise."""
    return VxlabError(
        f"{package.filename} could not be downloaded: {why}\nCheck the network and pip's settings (pip config list), "
        f"or download it by hand into {folder}, where it is looked for first (sha256 {package.sha256})."
    )


def _refuse_unusable(package: Package, folder: Path, address: str) -> None:
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise by_hand(package, folder, "its address on your index holds a password, which pip does not tell")
    if parts.scheme not in ("https", "http", "file"):
        raise by_hand(package, folder, f"its address begins with {parts.scheme}:, which is none of https, http, file")
