"""Decompositions kept on disk by the weights' content, so that nothing computes one twice.

The folder (``vxlab.paths.spectra_folder``) may be deleted at any time.
"""

import ctypes
import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from vxlab.files import write_whole
from vxlab.paths import spectra_folder

FORMAT = 1
"""Raise it when a method changes, so that what the earlier one computed is not found any more."""

_CHECKSUM_BYTES = 4
_said: set[Path] = set()


class CacheWarning(UserWarning):
    """Say that decompositions cannot be kept, so that they are computed again each time."""


def entry_key(weight: Tensor, kind: str) -> str:
    """Return the name of an entry: a sha256 over the weight's values, shape and dtype, the kind and the format.

    Args:
        weight: any device and dtype.
        kind: what is computed from it, such as ``top-64``.
    """
    content = weight.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{FORMAT}:{kind}:{tuple(content.shape)}:{content.dtype}:".encode())
    digest.update(memory_of(content))  # with Python's lock released, so that threads share the work
    return digest.hexdigest()


def read_entry(key: str) -> dict[str, Tensor] | None:
    """Return the tensors kept under a key; None where there are none, or the file is not what was written.

    Every file ends in the checksum of its key and content: one that was cut off, altered or renamed does not match.
    """
    try:
        with (spectra_folder() / key).open("rb") as file:
            content = file.read(max(os.fstat(file.fileno()).st_size - _CHECKSUM_BYTES, 0))
            return load(content) if file.read() == _checksum(key, content) else None
    except (OSError, SafetensorError):
        return None


def write_entry(key: str, tensors: Mapping[str, Tensor]) -> OSError | None:
    """Keep float64 tensors under a key, whole or not at all; return the error where the folder cannot be written.

    Processes may write one entry at the same time: the last to finish stays.
    """
    content = _serialised(tensors)
    try:
        with write_whole(spectra_folder() / key) as new, new.open("wb") as file:
            file.write(content)
            file.write(_checksum(key, content))
    except OSError as error:
        return error
    return None


def say_once(error: OSError) -> None:
    """Warn, once for each folder, that it cannot be written."""
    folder = spectra_folder()
    if folder not in _said:
        _said.add(folder)
        warnings.warn(
            f"{folder} cannot be written ({error.strerror or error}), so singular value decompositions are not kept "
            "and will be computed again; free some space there, or set VXLAB_SPECTRA (or VXLAB_CACHE, for downloads "
            "too) to a folder that can be written",
            CacheWarning,
            stacklevel=2,
        )


def memory_of(tensor: Tensor) -> ctypes.Array[ctypes.c_char]:
    """Return a view of a contiguous CPU tensor's bytes, without NumPy; it does not keep the tensor alive."""
    return (ctypes.c_char * (tensor.numel() * tensor.element_size())).from_address(tensor.data_ptr())


def _serialised(tensors: Mapping[str, Tensor]) -> bytes:
    """Return float64 tensors in the safetensors format, whose own writers need NumPy, which is no core dependency."""
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header: dict[str, object] = {}
    end = 0
    for name, tensor in kept.items():
        start, end = end, end + 8 * tensor.numel()
        header[name] = {"dtype": "F64", "shape": [*tensor.shape], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return b"".join([len(text).to_bytes(8, "little"), text, *(bytes(memory_of(tensor)) for tensor in kept.values())])


def _checksum(key: str, content: bytes) -> bytes:
    # Against accidents, which a sha256 would hardly find better, and slower: who can write here could write
    # a matching one as well.
    return zlib.crc32(content, zlib.crc32(key.encode())).to_bytes(_CHECKSUM_BYTES, "big")
