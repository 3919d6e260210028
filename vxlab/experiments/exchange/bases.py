"""What a base model is called where others read it, and how to tell whether they have the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets import list_assets
from vxlab.experiments.models import model_fingerprint
from vxlab.paths import without_folders

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class BaseName:
    """A base model as it may be published: no folder of this machine is in it."""

    name: str
    """packaged name, hub id, or the last part of a folder; "" where it is not known"""
    hub_id: str
    """"" where the hub has no model of which this is known to come"""
    fingerprint: str
    """the sha256 of its files, or the hub's commit; "" where it is not known"""
    packaged: bool
    licence: str
    """of a packaged model's weights; "" of others"""

    @property
    def is_commit(self) -> bool:
        """Whether the fingerprint is a commit on the hub."""
        return bool(_COMMIT.fullmatch(self.fingerprint))


def name_base(name: str, identity: Mapping[str, str]) -> BaseName:
    """Return how a base is called in public.

    Args:
        name: as :func:`vxlab.load_model` takes it; "" where it is not known.
        identity: a run's, which holds the base's fingerprint; of a base without a run it is taken from the files.
    """
    asset = list_assets().get(name)
    hub_id = name if _HUB_ID.fullmatch(name) and not Path(name).expanduser().exists() else ""
    if asset is not None and _HUB_ID.fullmatch(asset.source):
        hub_id = asset.source
    licence = asset.licence if asset is not None else ""
    fingerprint = identity.get("model") or _fingerprint(name)
    return BaseName(_public(name), hub_id, fingerprint, asset is not None, licence)


def packaged_name(place: str) -> str:
    """Return a packaged model's name for its folder in the cache, and any other name as it is."""
    folders = {row["folder"]: row["name"] for row in assets.status()}
    return str(folders.get(place, place))


def _public(name: str) -> str:
    folder = Path(name).expanduser()
    return str(without_folders(folder.resolve())) if name and folder.is_dir() else str(without_folders(name))


def _fingerprint(name: str) -> str:
    try:
        return model_fingerprint(name) if name else ""
    except VxlabError:  # the place that a model in memory came from is gone
        return ""
