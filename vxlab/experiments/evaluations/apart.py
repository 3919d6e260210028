"""lm-eval set apart: it is there, works in silence, runs no code from the hub, and leaves the process as it was."""

import contextlib
import importlib.metadata
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from vxlab.errors import VxlabError
from vxlab.experiments.models import quiet_transformers

_LOGGERS = ("lm_eval", "lm-eval", "datasets", "huggingface_hub")
_METRICS_OF_THE_HUB = "evaluate"
"""A library whose metrics are programs that it downloads; lm-eval falls back on it without a word."""


def require_harness() -> str:
    """Return lm-eval's version, or raise VxlabError that names the extra that brings it."""
    if find_spec("lm_eval") is None:
        raise VxlabError("lm-eval is not installed; run: pip install 'vxlab[harness]'")
    return importlib.metadata.version("lm_eval")


def lacks_module(task: str, error: ModuleNotFoundError) -> VxlabError:
    """Return the error of a task whose code needs a package that is not there, or may not be used."""
    if error.name == _METRICS_OF_THE_HUB:
        return VxlabError(
            f"task {task!r} is scored by the library evaluate, whose metrics are programs from the hub that are not "
            "run; choose another task"
        )
    return VxlabError(f"task {task!r} needs the package {error.name}, which is not installed: pip install {error.name}")


@contextlib.contextmanager
def harness_apart() -> Iterator[None]:
    """Let lm-eval work in here: its seeds, bars, warnings and log lines end with it, and no metric is downloaded."""
    with contextlib.ExitStack() as apart:
        apart.enter_context(_random_states())
        apart.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        apart.enter_context(quiet_transformers())
        apart.enter_context(_quiet_loggers())
        apart.enter_context(_without(_METRICS_OF_THE_HUB))
        apart.enter_context(_without_bars())
        yield


@contextlib.contextmanager
def _random_states() -> Iterator[None]:
    plain, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numpys)


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _without(library: str) -> Iterator[None]:
    """Let the import of a library fail."""
    before: Any = sys.modules.get(library)
    sys.modules[library] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(library)
        if before is not None:
            sys.modules[library] = before


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hold back the bars of lm-eval's tasks, which take no setting, and of datasets."""
    import datasets
    import lm_eval.api.task

    usual, shown = lm_eval.api.task.tqdm, datasets.is_progress_bar_enabled()
    lm_eval.api.task.tqdm = lambda items, **_: items
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        lm_eval.api.task.tqdm = usual
        if shown:
            datasets.enable_progress_bars()
