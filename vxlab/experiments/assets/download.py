"""Fetch one package, with a progress bar, and trust it only after its checksum."""

import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.assets.manifest import Package
from vxlab.experiments.assets.pip_calls import PIP_DOWNLOAD, find_reason
from vxlab.experiments.assets.source_address import by_hand, find_source_address
from vxlab.experiments.assets.transfer import MB, TransferError, receive
from vxlab.files import sha256_of
from vxlab.progress import progress_bar

_HOW = ("--progress-bar", "raw", "--resume-retries", "5")
_DISK_ERRORS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def download(package: Package, folder: Path, title: str) -> Path:
    """Return the verified archive of ``package`` in ``folder``, downloading it where it is not there already.

    pip runs in a process of its own and follows the user's settings (index, proxy, certificates). A source package,
    which pip cannot fetch without running its code, is received from the address that pip finds, and none of it is
    run. An archive already in ``folder`` is used if its sha256 is right, and discarded if not.

    package: what to fetch, with its size and sha256.
    folder: where the archive is kept; a half-finished download never appears in it under the archive's name.
    title: the label of the progress bar.

    Raises VxlabError where pip or the server fails or the archive is not the one listed, OSError where the disk
    refuses.
    """
    archive = folder / package.filename
    if archive.exists() and sha256_of(archive) == package.sha256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    if package.is_source:
        part = folder / f"{package.filename}.part"
        _receive_source(package, part, title)
        _put_in_place(package, part, archive)
    else:
        # pip's own temporary files go here too: then the disk that fills up is the one that the error names.
        with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as scratch:
            _run_pip(package, Path(scratch), title)
            _put_in_place(package, Path(scratch, package.filename), archive)
    return archive


def _put_in_place(package: Package, served: Path, archive: Path) -> None:
    digest = sha256_of(served) if served.exists() else "nothing"
    if digest != package.sha256:
        served.unlink(missing_ok=True)
        raise _wrong_checksum(package, digest)
    os.replace(served, archive)


def _receive_source(package: Package, part: Path, title: str) -> None:
    """Write a source package to a file, which stays for the next fetch where this one is cut off."""
    with progress_bar(-(-package.bytes // MB), title, "MB") as bar:
        try:
            if not part.exists() or part.stat().st_size < package.bytes:
                receive(find_source_address(package, part.parent), part, package.bytes, bar)
        except TransferError as error:
            raise by_hand(package, part.parent, str(error)) from None
        bar.update(bar.total - bar.n)


def _run_pip(package: Package, scratch: Path, title: str) -> None:
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    command = [*PIP_DOWNLOAD, *_HOW, "-d", str(scratch), "-r", str(wanted)]
    size = -(-package.bytes // MB)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:
        try:
            with progress_bar(size, title, "MB") as bar:
                lines = list(_follow(process.stdout or (), bar))
                if process.wait() == 0:
                    # A file from a local folder or from pip's own cache reports no progress.
                    bar.update(size - bar.n)
        finally:
            process.kill()  # an interrupted fetch must not leave pip downloading; a finished pip does not mind
    if process.returncode:
        raise _pip_failed(package, lines)


def _follow(lines: Iterable[str], bar: Any) -> Iterator[str]:
    """Move the bar by pip's ``Progress N of M`` lines and pass on the others."""
    for line in lines:
        if progress := re.match(r"Progress (\d+) of \d+", line):
            bar.update(int(progress[1]) // MB - bar.n)
        else:
            yield line.rstrip()


def _pip_failed(package: Package, lines: list[str]) -> Exception:
    output = "\n".join(lines)
    if got := re.search(r"^\s*Got\s+([0-9a-f]{64})", output, re.MULTILINE):
        return _wrong_checksum(package, got[1])
    disk = re.search(r"OSError: \[Errno (\d+)\]", output)
    if disk and int(disk[1]) in _DISK_ERRORS:
        return OSError(int(disk[1]), os.strerror(int(disk[1])))
    return VxlabError(
        f"{package.name} {package.version} could not be downloaded; pip says: {find_reason(lines)}\n"
        "Check the network and pip's settings (pip config list), or name a folder on disk instead."
    )


def _wrong_checksum(package: Package, digest: str) -> VxlabError:
    return VxlabError(
        f"{package.filename} is damaged, truncated or another file: its sha256 is {digest}, "
        f"the manifest lists {package.sha256}.\nNothing of it was kept; try again, or check which index pip uses."
    )
