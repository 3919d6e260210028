"""Where things lie: shipped files, the cache of downloads, the folder of reports."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(*parts: str) -> Path:
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


def reports_folder() -> Path:
    """Return the folder of finished runs and reports: ``VXLAB_REPORTS``, or ``reports`` in the working directory."""
    return Path(os.environ.get("VXLAB_REPORTS", "reports")).expanduser().absolute()
