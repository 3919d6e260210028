"""An adapter's two files: written beside whatever else a folder holds, and read with every field checked."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.files import sha256_of, write_whole

FORMAT = 1
SETTINGS_FILE, TENSORS_FILE = "adapter.json", "adapter.safetensors"
CHECKSUM = "settings_sha256"
"""In the settings file: the sha256 of all its other fields. Files of earlier versions have none."""

_NEEDED = ("format", "method", "settings", "layers", "tensors_sha256", "base")


def write_adapter(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write an adapter's two files into a folder; all else in it stays.

    Both are written under other names first, and the settings are put in place before the tensors. A process that ends
    between the two leaves settings whose sha256 is not that of the tensors, which :func:`read_tensors` refuses.

    Raises:
        VxlabError: the folder cannot be made or written, or has a file of such a name that is no adapter's. What was
            there is then as it was.
    """
    try:
        with _made(folder), write_whole(folder / TENSORS_FILE) as new, write_whole(folder / SETTINGS_FILE) as own:
            _require_ours(folder)
            save_file(dict(tensors), new)
            whole = json.loads(json.dumps({**settings, "tensors_sha256": sha256_of(new)}))  # as it will be read
            text = json.dumps({**whole, CHECKSUM: _checksum(whole)}, separators=(",", ":")) + "\n"
            own.write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"the adapter cannot be saved in {folder}: {error}; give one that can be written") from error


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what a folder's settings file holds, with every field that decides a number of its right type.

    Raises:
        VxlabError: there is none, it is damaged or altered, or no adapter of a format known here.
    """
    path = folder / SETTINGS_FILE
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"{SETTINGS_FILE} cannot be read ({error.strerror}){_hint_at_those_in(folder)}"
        raise VxlabError(f"{folder} holds no adapter: {why}") from error
    except (ValueError, RecursionError) as error:
        raise VxlabError(f"{path} is damaged: not JSON ({error}); save the adapter again") from error
    if not _looks_like_ours(saved):
        lacking = "" if not isinstance(saved, dict) else f": it lacks {', '.join(sorted({*_NEEDED} - saved.keys()))}"
        raise VxlabError(f"{path} is not a vxlab adapter{lacking}")
    if type(saved["format"]) is not int or saved["format"] != FORMAT:
        raise VxlabError(f"{path} has format {saved['format']!r}; this vxlab reads format {FORMAT}; upgrade vxlab")
    if CHECKSUM in saved and saved[CHECKSUM] != _checksum(saved):
        raise VxlabError(f"{path} was altered: its settings do not have the checksum in it; save the adapter again")
    for field, (is_right, wanted) in _FIELDS.items():
        if field in saved and not is_right(saved[field]):
            raise VxlabError(
                f"{path} is damaged: {field}={quote(saved[field])} is not {wanted}; save the adapter again"
            )
    return dict(saved)


def _hint_at_those_in(folder: Path) -> str:
    below = sorted(path.parent.name for path in folder.glob(f"*/{SETTINGS_FILE}"))
    if len(below) == 1:
        return f"; it lies in {folder / below[0]}"
    return f"; those in it do: {', '.join(below[:8])}" if below else ""


def read_tensors(folder: Path, saved: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors that belong to these settings.

    Raises:
        VxlabError: they cannot be read, or are not those that the settings were written with.
    """
    path = folder / TENSORS_FILE
    try:
        intact = sha256_of(path) == saved["tensors_sha256"]
        tensors: dict[str, Tensor] = load_file(path) if intact else {}
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{path} cannot be read ({error}); save the adapter again") from error
    if not intact:
        raise VxlabError(
            f"{path} is truncated or altered, or saving it was cut short: its sha256 is not the one in "
            f"{SETTINGS_FILE}; save the adapter again"
        )
    return tensors


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder where there is none; where an error follows, take it away again, unless others wrote there too."""
    if folder.exists() and not folder.is_dir():
        raise VxlabError(f"the adapter cannot be saved in {folder}: it is a file; give a folder")
    before = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not before:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


def _require_ours(folder: Path) -> None:
    """Refuse to write over a file that no adapter was saved in."""
    settings, tensors = folder / SETTINGS_FILE, folder / TENSORS_FILE
    present = [path for path in (settings, tensors) if os.path.lexists(path)]
    if not present:
        return
    try:
        ours = _looks_like_ours(json.loads(settings.read_text(encoding="utf-8"))) and not tensors.is_dir()
    except (OSError, ValueError, RecursionError):
        ours = False
    if not ours:
        raise VxlabError(
            f"{folder} has {' and '.join(path.name for path in present)}, and no whole adapter of vxlab's; give "
            "another folder, or delete what is not needed there"
        )


def _looks_like_ours(saved: object) -> bool:
    return isinstance(saved, dict) and set(_NEEDED) <= saved.keys()


def _checksum(settings: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in settings.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_fingerprints(value: object) -> bool:
    return isinstance(value, dict) and {"dtype", "sha256"} <= value.keys() and all(map(_is_text, value.values()))


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(each) in (int, float) and math.isfinite(each) for each in value)


def _are_quantisations(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and _is_text(each.get("scheme")) for each in value)


def _is_base(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _are_fingerprints(value.get("base"))
        and _are_quantisations(value.get("quantisation"))
    )


_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "method": (_is_text, "a name"),
    "settings": (lambda value: isinstance(value, dict), "a mapping of settings"),
    "layers": (_is_list_of_names, "a list of layers, each of them once"),
    "tensors_sha256": (_is_text, "a sha256"),
    "base": (_are_fingerprints, "a mapping of fingerprints"),
    "buffers": (_are_fingerprints, "a mapping of fingerprints"),
    "quantisation": (_are_quantisations, "a list of schemes"),
    "trained_on": (_is_base, "what told another base"),
    "shared_sha256": (_is_text, "a sha256"),
    "basis_probes": (_are_numbers, "a list of finite numbers"),
}
"""What a field must be, and that in words."""
