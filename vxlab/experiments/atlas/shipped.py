"""The atlas that comes with vxlab, with what the user has added to it."""

from pathlib import Path

from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments.atlas.unpacking import unpack
from vxlab.experiments.store import Store
from vxlab.paths import atlas_folder, shipped_path


def atlas(*more: str | Path) -> Store:
    """Return the atlas as a store that is only read: runs by the fair protocol on many tasks, with their predictions.

    It is what comes with vxlab, then what you added by ``vxlab atlas add`` (``VXLAB_ATLAS``, or ``vxlab/atlas`` in your
    data folder), then the files named here. Whatever reads a store of runs reads it; what would train into it is
    refused. A classification's logits are 1 for the predicted class and else 0: scores are the runs' own, margins and
    probabilities are not kept.

    Args:
        more: further files of the atlas.

    Raises:
        VxlabError: there is no file; or as :func:`vxlab.experiments.atlas.unpack`.
    """
    if not (files := atlas_files(*settle_list("more", more, (str, Path), "paths of files of the atlas"))):
        raise VxlabError(
            f"there is no atlas: no .parquet in {shipped_path('data', 'atlas')} or {atlas_folder()}; train a fair "
            "sweep and add it by vxlab atlas add SWEEP.yaml, or name a file"
        )
    return unpack(files)


def atlas_files(*more: str | Path) -> list[Path]:
    """Return the files of the atlas in the order in which :func:`atlas` takes them; [] where there are none."""
    folders = (shipped_path("data", "atlas"), atlas_folder())
    return [path for folder in folders for path in sorted(folder.glob("*.parquet"))] + [Path(path) for path in more]
