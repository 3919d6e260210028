"""Quantised base models: the schemes by name, the libraries that they need, and which layers stay in floating point."""

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from vxlab.adapters.core import guard_kernels, is_conv1d, is_linear, quantisation_of
from vxlab.adapters.placement import head_parameters
from vxlab.checks import require_choice
from vxlab.errors import VxlabError
from vxlab.experiments.models.files import find_model, read_config

_LIBRARIES = {"nf4": "bitsandbytes", "int8": "bitsandbytes", "torchao-int8": "torchao"}
QUANTISATIONS = tuple(_LIBRARIES)
"""``nf4``: 4-bit NormalFloat in blocks of 64 with quantised scales, as QLoRA has it (Dettmers et al. 2023, arXiv
2305.14314); ``int8``: 8 bits with a scale for each row (LLM.int8(), arXiv 2208.07339), both by bitsandbytes;
``torchao-int8``: the same on torch's own tensors."""
_SAVED_BY = {"bitsandbytes": "bitsandbytes", "torchao": "torchao"}
"""The library of a model that was saved quantised, by what its config calls the method."""


def check_quantisation(scheme: str | None) -> None:
    """Refuse a scheme that is unknown, or whose library is not installed.

    Raises:
        VxlabError: which names the schemes, or the library.
    """
    if scheme is not None:
        require_choice("quantisation", scheme, QUANTISATIONS)
        _require_library(_LIBRARIES[scheme], f"quantisation={scheme!r}")


def quantisation_config(scheme: str, whole: nn.Module) -> Any:
    """Return transformers' config for a scheme, by which all of the backbone's linear layers are quantised.

    The task head, which trains, and a language model's output layer stay in floating point.

    Args:
        scheme: one of :data:`QUANTISATIONS`.
        whole: the model that is to be quantised, as shapes alone.
    """
    from transformers import BitsAndBytesConfig, TorchAoConfig

    stay = _unquantised(whole)
    if scheme == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=stay,
        )
    if scheme == "int8":
        # Threshold 0: no columns of the input are left out of the 8 bits, so that W alone is quantised on a CPU.
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0, llm_int8_skip_modules=stay)
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=stay)


def check_saved_quantisation(name: str, saved: Any, asked: str | None) -> None:
    """Refuse a model whose files are quantised in a way that is not known here, or are to be quantised again.

    Args:
        name: the model's, for the error.
        saved: its config.
        asked: the scheme that it is to be quantised by.

    Raises:
        VxlabError: as said, or its library is not installed.
    """
    if (method := saved_method(saved)) is None:
        return
    if method not in _SAVED_BY:
        raise VxlabError(
            f"model={name!r} was saved quantised by {method or 'an unnamed method'}, which is not read here; name its "
            f"unquantised original, with quantisation= one of {', '.join(QUANTISATIONS)}, or one saved by bitsandbytes "
            "or torchao"
        )
    if asked is not None:
        raise VxlabError(f"model={name!r} was saved quantised already; leave quantisation={asked!r} out")
    _require_library(_SAVED_BY[method], f"model={name!r} was saved quantised by {method}, and")


def settle_quantised(name: str, model: nn.Module, asked: str | None) -> None:
    """Make a quantised model sound to train and to read: no repacking, one precision, and every layer of a known kind.

    Raises:
        VxlabError: nothing was quantised where it was asked for, or a layer is in a way that is not known here.
    """
    guard_kernels(model)
    layers = {key: module for key, module in model.named_modules() if quantisation_of(module)}
    if asked is not None and not layers:
        raise VxlabError(
            f"quantisation={asked!r} leaves {name!r} as it is: {type(model).__name__} has no torch.nn.Linear in its "
            "backbone to quantise; leave it out"
        )
    for module in layers.values():
        if (state := getattr(module.weight, "quant_state", None)) is not None:
            state.dtype = torch.float32  # of what it unpacks to, in which the model computes
    unknown = [key for key, module in model.named_modules() if _hides_its_weight(module) and key not in layers]
    if unknown:
        raise VxlabError(
            f"model={name!r}: `{unknown[0]}` ({type(model.get_submodule(unknown[0])).__name__}) is quantised in a way "
            f"that is not read here; quantise its original by one of {', '.join(QUANTISATIONS)}"
        )


def quantising_library(name: str, asked: str | None) -> dict[str, str]:
    """Return the library that computes a base's quantised layers, with its version: another's numbers may be others.

    Args:
        name, asked: as :func:`vxlab.load_model` takes them.

    Returns:
        {} of a base in floating point.

    Raises:
        VxlabError: as :func:`vxlab.load_model`.
    """
    if asked is not None:
        library: str | None = _LIBRARIES[asked]
    else:
        library = _SAVED_BY.get(saved_method(read_config(name, find_model(name))) or "")
    return {} if library is None else {library: version(library)}


def saved_method(saved: Any) -> str | None:
    """Return what a model's config calls the way in which its files are quantised; None where they are not."""
    stored = getattr(saved, "quantization_config", None)
    if stored is None:
        return None
    settings = stored if isinstance(stored, dict) else stored.to_dict()
    return str(settings.get("quant_method", "")).rpartition(".")[2].lower()


def quantised_layers(whole: nn.Module, scheme: str) -> dict[str, nn.Module]:
    """Return by name the linear layers that are quantised when a model is loaded by a scheme.

    Args:
        whole: the model, in floating point or as shapes alone.
        scheme: one of :data:`QUANTISATIONS`.
    """
    stay, transposed = set(_unquantised(whole)), _LIBRARIES[scheme] == "bitsandbytes"
    return {
        name: module
        for name, module in whole.named_modules()
        if name not in stay and (isinstance(module, nn.Linear) or (transposed and is_conv1d(module)))
    }


def _unquantised(whole: nn.Module) -> list[str]:
    """Return the names of the linear layers that stay in floating point: of the head, and the output layer."""
    head = {id(parameter) for parameter in head_parameters(whole).values()}
    output: Callable[[], nn.Module | None] = getattr(whole, "get_output_embeddings", lambda: None)
    last = output()
    return [
        name
        for name, module in whole.named_modules()
        if isinstance(module, nn.Linear) and (module is last or any(id(each) in head for each in module.parameters()))
    ]


def _hides_its_weight(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and not is_linear(module) and not module.weight.is_floating_point()


def _require_library(library: str, what: str) -> None:
    try:
        version(library)
    except PackageNotFoundError as error:
        extra = "quantised" if library == "bitsandbytes" else "torchao"
        raise VxlabError(f"{what} needs {library}, which is not installed; pip install 'vxlab[{extra}]'") from error
    if library not in sys.modules:
        with _by_itself():
            importlib.import_module(library)


@contextlib.contextmanager
def _by_itself() -> Iterator[None]:
    """Import a library without its remarks on kernels that it lacks, and without any that it would download.

    Where the package ``kernels`` is there, bitsandbytes takes compiled code from the model hub while it is imported.
    """
    before = logging.root.manager.disable
    absent = "kernels" not in sys.modules
    if absent:
        sys.modules["kernels"] = None  # type: ignore[assignment]
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        if absent:
            del sys.modules["kernels"]
