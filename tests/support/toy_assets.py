"""Tiny real wheels, a manifest that lists them, who fetches them, and a server that can fail halfway."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vxlab.experiments.assets.manifest import Asset, File, Package
from vxlab.paths import cache_folder

WEIGHTS = os.urandom(300_000)  # does not compress, so half of the wheel is half of the weights
CONFIG = b'{"model_type": "toy"}'

# Runs fetch in another process, under a manifest of the test's own; what follows comes from each test.
CHILD = """
import sys
from pathlib import Path
from vxlab.experiments.assets import cache as assets, manifest
table = manifest.read_manifest(Path(sys.argv[1]))
manifest.list_assets = lambda: table
"""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Package:
    """Write a wheel that pip accepts and return its row of the manifest."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for member, content in members.items():
            packed.writestr(member, content)
        packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", wheel)
        packed.writestr(f"{info}/RECORD", "")
    content = path.read_bytes()
    return Package(name, "1.0", path.name, len(content), digest(content))


def make_source(folder: Path, name: str, members: dict[str, bytes], links: dict[str, str] | None = None) -> Package:
    """Write a source package, whose own code would leave a file behind, and return its row of the manifest."""
    path = folder / f"{name}-1.0.tar.gz"
    trap = f"open({str(folder / 'it_was_run')!r}, 'w')".encode()
    with tarfile.open(path, "w:gz") as packed:
        for member, content in ({"setup.py": trap} | members).items():
            row = tarfile.TarInfo(member)
            row.size = len(content)
            packed.addfile(row, io.BytesIO(content))
        for member, target in (links or {}).items():
            row = tarfile.TarInfo(member)
            row.type, row.linkname = tarfile.SYMTYPE, target
            packed.addfile(row)
    content = path.read_bytes()
    return Package(name, "1.0", path.name, len(content), digest(content))


def make_source_asset(folder: Path) -> Asset:
    members = {"deep/config.json": CONFIG, "deep/weights.bin": WEIGHTS, "last": b""}
    return describe("toy", "sdist", (make_source(folder, "toy_source", members),))


def make_asset(folder: Path, name: str = "toy", weights: bytes = WEIGHTS) -> Asset:
    package = make_wheel(
        folder, f"{name}_wheel", {"deep/weights.bin": weights, "deep/config.json": CONFIG, "x.py": b""}
    )
    return describe(name, "wheel", (package,), weights)


def make_split_asset(folder: Path, parts: int = 3) -> Asset:
    joined = io.BytesIO()
    with zipfile.ZipFile(joined, "w") as packed:
        packed.writestr("deep/weights.bin", WEIGHTS)
        packed.writestr("deep/config.json", CONFIG)
    content, size = joined.getvalue(), -(-len(joined.getvalue()) // parts)
    packages = []
    for i in range(parts):
        part = f"input/toy.zip.00{i + 1}"
        package = make_wheel(folder, f"toy_part_{i + 1}", {part: content[i * size : (i + 1) * size]})
        packages.append(replace(package, part=part))
    return describe("toy", "split-zip", tuple(packages))


def describe(name: str, archive: str, packages: tuple[Package, ...], weights: bytes = WEIGHTS) -> Asset:
    kept = {"weights.bin": weights, "sub/config.json": CONFIG}
    members = ("deep/weights.bin", "deep/config.json")
    files = tuple(
        File(member, path, len(content), digest(content))
        for member, (path, content) in zip(members, kept.items(), strict=True)
    )
    return Asset(name, "data", "a toy", "CC0-1.0", "here", "nobody", archive, packages, files)


def write_manifest(path: Path, asset: Asset) -> Path:
    """Write a manifest that lists one asset."""
    heads = ("kind", "description", "licence", "source", "citation", "archive")
    lines = [f"[{asset.name}]", *(f"{key} = {json.dumps(getattr(asset, key))}" for key in heads)]
    for kind in ("packages", "files"):
        for row in getattr(asset, kind):
            lines += [f"[[{asset.name}.{kind}]]", *(f"{key} = {json.dumps(value)}" for key, value in vars(row).items())]
    if asset.original:
        rows = vars(asset.original).items()
        lines += [f"[{asset.name}.original]", *(f"{key} = {json.dumps(value)}" for key, value in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def start_child(manifest_file: Path, code: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD + code, str(manifest_file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    with process:
        return process.communicate(timeout=60)[0]


def left_in_cache() -> list[str]:
    """Name every file in the cache but the empty lock."""
    root = cache_folder()
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")


class Server(ThreadingHTTPServer):
    """Serve a folder, also as a proxy; cut, hold or refuse an answer, and remember who asked for what."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.cut, self.hold = "", ""
        self.refusal = 0
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, start = self.path.rpartition("/")[2], self.headers.get("Range", "bytes=0-")
        self.server.asked.append((name, start))
        if not name:
            return super().do_GET()
        if self.server.refusal:
            return self.send_error(self.server.refusal)
        content = Path(self.directory, name).read_bytes()
        first = int(start.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[first:half])
        if self.server.hold == name:
            time.sleep(60)
        if self.server.cut == name:
            self.server.cut = ""
            return None
        self.wfile.write(content[max(first, half) :])
        return None

    def log_message(self, *_: object) -> None:
        pass
