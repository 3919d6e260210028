"""What can be fetched: the packaged models and data sets that data/assets.toml lists."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from vxlab.checks import require_known
from vxlab.errors import VxlabError
from vxlab.paths import shipped_path


@dataclass(frozen=True)
class Package:
    """Hold one wheel or source package of an index; ``part`` is the piece of a split zip inside it, if any."""

    name: str
    version: str
    filename: str
    bytes: int
    sha256: str
    part: str = ""

    def __post_init__(self) -> None:
        _refuse_unsafe(self.filename, folders=False)
        if not self.filename.endswith((".whl", ".tar.gz")):
            raise VxlabError(f"package {self.name}: filename={self.filename!r} is neither a .whl nor a .tar.gz")

    @property
    def is_source(self) -> bool:
        """Say whether this is a source package, which pip would have to run to fetch it."""
        return self.filename.endswith(".tar.gz")


@dataclass(frozen=True)
class File:
    """Hold one file: where it lies in the archive and in the asset's folder, its size and checksum.

    ``member`` is empty for what is written from the asset's original.
    """

    member: str
    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _refuse_unsafe(self.path, folders=True)


@dataclass(frozen=True)
class Original(File):
    """Hold the file, with its format, that an asset's files are written from; its ``path`` is a plain name."""

    format: str

    def __post_init__(self) -> None:
        _refuse_unsafe(self.path, folders=False)
        if self.format not in ("gguf", "onnx"):
            raise VxlabError(f"original {self.path}: format={self.format!r} is neither 'gguf' nor 'onnx'")


@dataclass(frozen=True)
class Asset:
    """Hold one packaged model or data set; data/README.md explains the fields."""

    name: str
    kind: str
    description: str
    licence: str
    source: str
    citation: str
    archive: str
    packages: tuple[Package, ...]
    files: tuple[File, ...]
    original: Original | None = None

    def __post_init__(self) -> None:
        _refuse_unsafe(self.name, folders=False)
        if self.kind not in ("model", "data"):
            raise VxlabError(f"asset {self.name}: kind={self.kind!r} is neither 'model' nor 'data'")
        if self.archive not in ("wheel", "split-zip", "sdist"):
            raise VxlabError(f"asset {self.name}: archive={self.archive!r} is neither 'wheel', 'split-zip' nor 'sdist'")
        if any(package.is_source != (self.archive == "sdist") for package in self.packages):
            raise VxlabError(f"asset {self.name}: archive={self.archive!r} of {self.packages[0].filename}")
        if self.original and self.archive != "wheel":
            raise VxlabError(f"asset {self.name}: archive={self.archive!r} with an original; it must be 'wheel'")
        for file in self.files:
            if bool(file.member) == bool(self.original):
                needed = (
                    "none, being written from the original" if self.original else "the member that it is in the archive"
                )
                raise VxlabError(f"asset {self.name}: member={file.member!r} of {file.path}; state {needed}")

    @property
    def download_bytes(self) -> int:
        """Return the bytes that a first fetch downloads."""
        return sum(package.bytes for package in self.packages)

    @property
    def fetch_bytes(self) -> int:
        """Return the bytes that a first fetch needs on disk at its peak, before the archives are removed."""
        copies = 2 if self.archive == "split-zip" else 1
        unpacked = (*self.files, self.original) if self.original else self.files
        return copies * self.download_bytes + sum(file.bytes for file in unpacked)


@lru_cache(maxsize=1)
def list_assets() -> dict[str, Asset]:
    """Return every packaged asset by its name.

    >>> list_assets()["minilm"].kind
    'model'
    """
    return read_manifest(shipped_path("data", "assets.toml"))


def read_manifest(path: Path) -> dict[str, Asset]:
    """Read a manifest in the layout of data/assets.toml.

    Raises VxlabError where a path would leave the cache folder, a kind or an archive layout is unknown, or a file
    has no member to come from.
    """
    with path.open("rb") as file:
        tables = tomllib.load(file)
    return {name: _asset(name, table) for name, table in tables.items()}


def find_asset(name: str) -> Asset:
    """Return the asset called ``name``.

    >>> find_asset("minilmm")
    Traceback (most recent call last):
    vxlab.errors.VxlabError: no asset is named 'minilmm'; did you mean 'minilm'? \
(packaged: minilm, mpnet, rotten_tomatoes, smollm2, dinov2s, cifar10_test)
    """
    require_known([name], list_assets(), "no asset is named", "packaged")
    return list_assets()[name]


def _asset(name: str, table: dict[str, Any]) -> Asset:
    packages = tuple(Package(**row) for row in table["packages"])
    files = tuple(File(**{"member": "", **row}) for row in table["files"])
    original = Original(**table["original"]) if "original" in table else None
    return Asset(**{**table, "name": name, "packages": packages, "files": files, "original": original})


def _refuse_unsafe(path: str, *, folders: bool) -> None:
    """Refuse a path that could name anything outside the folder it is joined to, on any system."""
    parts = PurePosixPath(path).parts
    # Posix calls "C:\x" and "..\x" plain names, Windows does not: allow only what both agree on.
    if not parts or ".." in parts or "\\" in path or PureWindowsPath(path).anchor or path.startswith("/"):
        raise VxlabError(f"manifest path {path!r} leaves the cache folder; use a relative path without '..'")
    if len(parts) > 1 and not folders:
        raise VxlabError(f"manifest name {path!r} has folders in it; use one plain name")
