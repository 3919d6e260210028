"""Pretrained models by packaged name, hub id or folder."""

import contextlib
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from vxlab.adapters.targets import head_parameters
from vxlab.errors import VxlabError
from vxlab.experiments import assets

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "sentencepiece.bpe.model",
)


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are."""

    name: str
    path: str
    """a folder, or a hub id"""
    fingerprint: str
    """sha256 over weights, config and tokenizer, or the hub's commit: other content behind a name is another run"""


def load_model(name: str, num_labels: int) -> nn.Module:
    """Load a pretrained model for sequence classification, or regression with one label, in float32.

    The head is new, with initial values from torch's global generator, unless the model brings one of just this shape.

    Args:
        name: a packaged model (``minilm``, ``mpnet``), a hub id (``org/name``), or a folder with config.json,
            safetensors weights and a tokenizer.
        num_labels: number of classes; 1 means regression.

    Returns:
        A transformers model on the CPU, in evaluation mode.

    Raises:
        VxlabError: the name is neither of these, or the folder lacks a file or some of the backbone's weights.
            Pickled weights and remote code are refused.
    """
    from transformers import AutoModelForSequenceClassification

    if num_labels < 1:
        raise VxlabError(f"num_labels={num_labels} is not a number of classes; choose 2 or more, or 1 for regression")
    source = model_source(name)
    with quiet_transformers(), _explained(name):
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            source.path,
            num_labels=num_labels,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _require_backbone(name, model, loaded)
    model.vxlab_drawn = _absent(loaded)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = load_tokenizer(name).pad_token_id
    return model  # type: ignore[no-any-return]


def copy_with_new_head(model: nn.Module) -> nn.Module:
    """Return a copy of what :func:`load_model` returned, its head drawn anew from torch's global generator.

    The same seed gives the same values as loading again does, at the cost of a copy in memory.
    """
    fresh: Any = copy.deepcopy(model)
    drawn: frozenset[str] = fresh.vxlab_drawn
    for path, module in fresh.named_modules():
        names = {name: f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)}
        if drawn.isdisjoint(names.values()):
            continue
        # transformers draws what is not marked: parameters that the weights brought are, and modules once drawn.
        module._is_hf_initialized = False
        for name, parameter in module.named_parameters(recurse=False):
            parameter._is_hf_initialized = names[name] not in drawn
    fresh.initialize_weights()
    return fresh  # type: ignore[no-any-return]


def load_tokenizer(name: str) -> Any:
    """Load a model's tokenizer; where it has no padding token, the end-of-text token pads.

    Raises:
        VxlabError: as :func:`load_model`.
    """
    from transformers import AutoTokenizer

    source = model_source(name)
    with quiet_transformers(), _explained(name):
        tokenizer = AutoTokenizer.from_pretrained(source.path, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def model_source(name: str) -> ModelSource:
    """Find a model: fetch a packaged one, check a folder's files, or ask the hub for an id's commit.

    Raises:
        VxlabError: as :func:`load_model`.
    """
    packaged = {key for key, asset in assets.manifest().items() if asset.kind == "model"}
    if name in packaged:
        folder = assets.fetch(name)
        return ModelSource(name, str(folder), _content_sha256(folder))
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return ModelSource(name, str(folder), _content_sha256(folder))
    return ModelSource(name, name, _hub_commit(name, packaged))


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


def _check_folder(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise VxlabError(f"model={str(folder)!r} is a folder without config.json; name one written by save_pretrained")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth")))
        what = f"only pickled weights ({pickled[0]}), which are not loaded" if pickled else "no weights"
        raise VxlabError(f"model={str(folder)!r} holds {what}; save it with save_pretrained, which writes safetensors")
    if not names.intersection(_TOKENIZER_FILES):
        raise VxlabError(
            f"model={str(folder)!r} holds no tokenizer ({', '.join(_TOKENIZER_FILES[:4])}); save it there too"
        )


def _content_sha256(folder: Path) -> str:
    """Hash what decides a run's numbers, whatever the folder's own name and the other files in it."""
    decisive = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt", *_TOKENIZER_FILES)
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.name in decisive:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _require_backbone(name: str, model: nn.Module, loaded: dict[str, Any]) -> None:
    """Refuse a backbone that transformers filled with random values; a new head and pooler are no surprise."""
    absent = _absent(loaded) & (dict(model.named_parameters()).keys() - head_parameters(model).keys())
    lost = sorted(key for key in absent if "pooler" not in key.split("."))
    if lost:
        raise VxlabError(
            f"model={name!r}: its weights lack {lost[0]!r} (and {len(lost) - 1} more) or have them in another shape; "
            "name a model whose weights and config.json belong together"
        )


def _absent(loaded: dict[str, Any]) -> frozenset[str]:
    """Return the parameters that the weights lack, or have in another shape: transformers drew them at random."""
    return frozenset(loaded["missing_keys"]) | {key for key, *_ in loaded["mismatched_keys"]}


def _hub_commit(name: str, packaged: set[str]) -> str:
    from transformers import AutoConfig

    with quiet_transformers(), _explained(name, packaged):
        return str(AutoConfig.from_pretrained(name, trust_remote_code=False)._commit_hash)


@contextlib.contextmanager
def _explained(name: str, packaged: set[str] = frozenset()) -> Iterator[None]:  # type: ignore[assignment]
    """Turn what transformers raises for a model it cannot load into one line that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if isinstance(error, VxlabError):
            raise
        near = get_close_matches(name, packaged, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        known = f"Packaged: {', '.join(sorted(packaged))}. " if packaged else ""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VxlabError(f"model={name!r} cannot be loaded: {meant}{known}{reason}") from error
