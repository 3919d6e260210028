"""Receive one file from a URL, going on where it broke off."""

import ast
import http.client
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from vxlab._version import __version__

MB = 10**6
_CHUNK = 1 << 20
_TRIES = 6
_SILENCE = 60.0  # seconds without a byte
_PASSING = {408, 416, 425, 429}  # and 500 and above: another try may do


class TransferError(Exception):
    """Report, in its text, what ended a transfer."""


def receive(address: str, path: Path, size: int, bar: Any) -> None:
    """Write what a URL serves into a file, after what the file holds of it already.

    A connection that breaks is taken up where it broke, a few times. The user's proxy and certificates are used: pip's
    settings ``proxy`` and ``cert``, else those of the environment. What was received stays where it cannot be ended;
    that it is the right file is for the caller to check.

    address: of the scheme http, https or file.
    path: the file; its folder exists.
    size: bytes that the whole file should have; what a longer one has after them is left.
    bar: a progress bar in MB.

    Raises TransferError where the server refuses or all tries broke, OSError where the disk refuses.
    """
    opener = _make_opener()
    for attempt in Retrying(
        retry=retry_if_exception_type(_InterruptionError), stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(multiplier=0.25, max=8.0), reraise=True,
    ):  # fmt: skip
        with attempt:
            _go_on(opener, address, path, size, bar)


class _InterruptionError(TransferError):
    """Report what another try may get over."""


def _go_on(opener: OpenerDirector, address: str, path: Path, size: int, bar: Any) -> None:
    here = path.stat().st_size if path.exists() else 0
    if here >= size:
        return
    with _ask(opener, address, here, path) as answer:
        here = here if answer.status == 206 else 0  # else it serves the file from its start
        coming = int(answer.headers.get("Content-Length") or size - here)
        end = min(here + coming, size)
        with path.open("ab" if here else "wb") as target:
            while here < end and (chunk := _read(answer)):
                target.write(chunk)
                here += len(chunk)
                bar.update(here // MB - bar.n)
    if here < end:
        raise _InterruptionError(f"the connection ended after {here:,} of {end:,} bytes")


def _ask(opener: OpenerDirector, address: str, here: int, path: Path) -> Any:
    headers = {"User-Agent": f"vxlab/{__version__}"} | ({"Range": f"bytes={here}-"} if here else {})
    try:
        return opener.open(Request(address, headers=headers), timeout=_SILENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is none of what is served
            path.unlink(missing_ok=True)
        kind = _InterruptionError if error.code in _PASSING or error.code >= 500 else TransferError
        raise kind(f"the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptionError(str(getattr(error, "reason", "") or error)) from None


def _read(answer: Any) -> bytes:
    try:
        return bytes(answer.read1(_CHUNK))  # what has come: nothing of it is lost where the rest does not
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptionError(str(error) or type(error).__name__) from None


def _make_opener() -> OpenerDirector:
    settings = _read_pip_settings()
    bundle = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE")
    folder = bundle if bundle and os.path.isdir(bundle) else None
    try:
        context = ssl.create_default_context(capath=folder, cafile=None if folder else bundle)
    except OSError as error:
        raise TransferError(f"the certificates in {bundle} cannot be read: {error}") from None
    proxy = settings.get("proxy")
    return build_opener(HTTPSHandler(context=context), ProxyHandler({"http": proxy, "https": proxy} if proxy else None))


def _read_pip_settings() -> dict[str, str]:
    """Return pip's settings for a download; a later section outweighs an earlier one, as in pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    lines = re.findall(r"^(global|download|:env:)\.(\S+?)=(.*)$", shown, re.MULTILINE)
    order = ["global", "download", ":env:"]
    return {name: str(ast.literal_eval(value)) for _, name, value in sorted(lines, key=lambda row: order.index(row[0]))}
