"""Where things lie: shipped files, the cache of downloads, the folder of reports."""

import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from vxlab.warn import warn_once

FIRST_NOTEBOOK = "00_start.ipynb"

_PACKAGE = Path(__file__).resolve().parent


def shipped_path(*parts: str) -> Path:
    """Return the path of a file that comes with vxlab, such as ``shipped("data", "assets.toml")``.

    A wheel carries data/ and notebooks/ inside the package; a checkout has them beside it.
    """
    installed = _PACKAGE / "shipped"
    return (installed if installed.is_dir() else _PACKAGE.parent).joinpath(*parts)


def cache_folder() -> Path:
    """Return the folder of downloads: ``VXLAB_CACHE``, or ``vxlab`` in the user's own cache directory."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("VXLAB_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("vxlab")


def spectra_folder() -> Path:
    """Return the folder of kept decompositions: ``VXLAB_SPECTRA``, or ``spectra`` in the cache folder."""
    chosen = os.environ.get("VXLAB_SPECTRA")
    return Path(chosen).expanduser().absolute() if chosen else cache_folder() / "spectra"


def atlas_folder() -> Path:
    """Return the folder of the user's own part of the atlas: ``VXLAB_ATLAS``, or ``vxlab/atlas`` in their data folder.

    Not in the cache, which may be deleted at any time.
    """
    from platformdirs import user_data_path

    chosen = os.environ.get("VXLAB_ATLAS")
    return Path(chosen).expanduser().absolute() if chosen else user_data_path("vxlab") / "atlas"


def reports_folder() -> Path:
    """Return the folder of finished runs and reports, which is the same wherever a notebook's kernel stands.

    It is ``VXLAB_REPORTS``, or else ``reports`` in the working directory. From anywhere in a checkout of vxlab, and
    from a folder of its notebooks elsewhere, it is that of the checkout or the one beside the notebooks: editors,
    nbconvert and papermill start kernels where a notebook lies, and would find another store there. A store that was
    made in the working directory by an earlier version is not looked at any more, which is warned of once.
    """
    if chosen := os.environ.get("VXLAB_REPORTS"):
        return Path(chosen).expanduser().absolute()
    here = Path.cwd()
    folder = _home(here) / "reports"
    if folder.parent != here and (left := here / "reports" / "runs.db").is_file():
        warn_once(f"{left} is a store of before and is not looked at: runs are in {folder / 'runs.db'} now. Name it as "
                  f"store={str(left)!r}, or set VXLAB_REPORTS to its folder")  # fmt: skip
    return folder


def _home(here: Path) -> Path:
    """Return the folder that everything in it shares its reports with, which may be the given one itself."""
    checkout = _PACKAGE.parent
    if not (_PACKAGE / "shipped").is_dir() and (checkout / "notebooks").is_dir() and here.is_relative_to(checkout):
        return checkout
    return here.parent if here.name == "notebooks" and (here / FIRST_NOTEBOOK).is_file() else here


def without_folders(value: Any) -> Any:
    """Return a value as it may be published: absolute paths in it, however deep, by their last part.

    >>> without_folders({"task": "sst2", "task_folder": "/home/me/glue", "store": "sqlite:////home/me/runs.db"})
    {'task': 'sst2', 'task_folder': 'glue', 'store': 'sqlite:///runs.db'}
    """
    if isinstance(value, Mapping):
        return {name: without_folders(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if isinstance(value, Path):
        return value.name
    return _last_part(value) if isinstance(value, str) else value


def _last_part(text: str) -> str:
    scheme, _, place = text.rpartition("://")  # of an SQLite file's URL, or none
    windows = PureWindowsPath(place)
    if not (place.startswith(("/", "~/")) or (windows.drive and windows.root)):
        return text
    last = windows.name  # both kinds of slashes part its names
    return f"{scheme}:///{last}" if scheme else last
