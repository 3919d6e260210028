"""How fast a batch is whose rows each have an adapter of their own: against one adapter's, and against PEFT's."""

import importlib.util
import random
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import LoRA, Method, resolve_targets
from vxlab.adapters.bank import AdapterBank
from vxlab.adapters.placement import head_parameters
from vxlab.errors import VxlabError
from vxlab.experiments import method_label
from vxlab.experiments.costs import random_batch, time_call
from vxlab.experiments.models import load_model, unloaded_side
from vxlab.progress import progress_bar
from vxlab.studies.many.storage import synthetic_names, synthetic_rows

ONE, MIXED, THEIRS = "one", "mixed", "peft"
PASS, PREFILL, DECODE = "one pass", "prefill", "decode"
"""What is timed: an encoder's forward pass; of a model that writes the prompts, and one token a row after them."""
_IN_BANK = 2
"""times as many adapters in the bank as rows in a batch, so that every batch has others"""
_DECODED = 4
"""tokens a row of one timing of decoding"""
Step = Callable[[], object]


def mixed_throughput(
    model: str,
    num_labels: int,
    methods: Sequence[Method],
    targets: str | Sequence[str],
    *,
    rows: int,
    tokens: Iterable[int],
    rounds: int,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Time inference of batches of one adapter, of as many adapters as rows out of a bank, and of PEFT's.

    In every round each is timed once, the rows' adapters drawn anew and read from the bank within the time, but for
    decoding, whose rows were read with their prompts. The one adapter is on the model as :func:`vxlab.attach` puts it
    there. PEFT's batches name their adapters by ``adapter_names``, with one task head for all; of these methods it has
    that for LoRA alone. All are synthetic, in float32.

    Columns: ``candidate``, ``stage`` (:data:`PASS`; or :data:`PREFILL` and :data:`DECODE` where the model writes),
    ``rows``, ``tokens`` of each row in a pass, and the seconds of each round by ``one``, ``mixed`` and ``peft`` (empty
    where PEFT has no such batch, or is not installed).

    Args:
        model: as :func:`vxlab.load_model` takes it.
        num_labels: likewise; 0 of a model that writes.
        methods: of a bank each.
        targets: as :func:`vxlab.attach` takes them.
        rows: of a batch, each with an adapter of its own.
        tokens: of each row; of a model that writes, of its prompts.
        rounds: timings of each.
        device: ``cpu``, ``cuda`` or ``mps``.
        folder: for the bank's temporary files; None takes the system's.
        progress: show a bar.

    Raises:
        VxlabError: the model reads images.
    """
    if unloaded_side(model) is not None:
        raise VxlabError(
            f"model={model!r} reads images, and batches out of a bank are timed here on texts; name another"
        )
    lengths, found = list(tokens), []
    with progress_bar(len(methods) * len(lengths), "timing batches", "batch", shown=progress) as bar:
        for method in methods:
            with _served(model, num_labels, method, targets, rows, device, folder) as (one, bank, mixed):
                theirs = _of_peft(model, num_labels, method, targets, rows, device)
                for length in lengths:
                    for stage, count, steps in _stages(one, bank, mixed, theirs, rows, length):
                        own = {"candidate": method_label(method), "stage": stage, "rows": rows, "tokens": count}
                        found.append(own | {THEIRS: []} | _interleave(steps, rounds))
                    bar.update()
    return pd.DataFrame(found)


def _stages(
    one: nn.Module, bank: AdapterBank, mixed: nn.Module, theirs: nn.Module | None, rows: int, tokens: int
) -> Iterator[tuple[str, int, dict[str, Step]]]:
    """Yield what is timed, the tokens of a row in it, and the steps."""
    names, own = _drawn_names(rows), synthetic_names(0, rows)
    batch = random_batch(one, rows, tokens)
    del batch["labels"]
    if head_parameters(one):
        steps = {ONE: partial(one, **batch), MIXED: partial(_under, bank, names, partial(mixed, **batch))}
        yield PASS, tokens, steps | _and_theirs(theirs, lambda model: partial(model, **batch, adapter_names=own))
        return
    prompts, named = batch["input_ids"], {"adapter_names": own}
    steps = {
        ONE: partial(_prefill, one, prompts),
        MIXED: partial(_under, bank, names, partial(_prefill, mixed, prompts)),
    }
    yield PREFILL, tokens, steps | _and_theirs(theirs, lambda model: partial(_prefill, model, prompts, **named))
    with torch.no_grad(), bank.rows(next(names)):
        steps = {
            ONE: partial(_go_on, one, prompts, _prefill(one, prompts)),
            MIXED: partial(_go_on, mixed, prompts, _prefill(mixed, prompts)),
        }
        yield DECODE, 1, steps | _and_theirs(theirs, lambda model: _theirs_go_on(model, prompts, named))


def _and_theirs(theirs: nn.Module | None, step: Callable[[nn.Module], Step]) -> dict[str, Step]:
    return {} if theirs is None else {THEIRS: step(theirs)}


def _theirs_go_on(model: nn.Module, prompts: Tensor, named: Mapping[str, Any]) -> Step:
    return partial(_go_on, model, prompts, _prefill(model, prompts, **named), **named)


def _prefill(model: nn.Module, prompts: Tensor, **named: Any) -> Any:
    """Read the prompts, and return what the model keeps of them."""
    from transformers import DynamicCache

    cache = DynamicCache()
    model(input_ids=prompts, past_key_values=cache, logits_to_keep=1, **named)
    return cache


def _go_on(model: nn.Module, prompts: Tensor, cache: Any, **named: Any) -> None:
    """Take a token a row, several times, and leave the cache as it was."""
    for _ in range(_DECODED):
        model(input_ids=prompts[:, :1], past_key_values=cache, **named)
    cache.crop(-_DECODED)


def _under(bank: AdapterBank, names: Iterator[list[str]], step: Step) -> None:
    with bank.rows(next(names)):
        step()


@torch.no_grad()
def _interleave(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every step by round, every other round in reverse order."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for number in range(rounds):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            seconds[name].append(time_call(steps[name]))
    return seconds


@contextmanager
def _served(
    model: str, num_labels: int, method: Method, targets: str | Sequence[str], rows: int, device: str,
    folder: Path | None,
) -> Iterator[tuple[nn.Module, AdapterBank, nn.Module]]:  # fmt: skip
    """Yield a model with one adapter, a bank of synthetic ones, and the model that it serves."""
    base = _loaded(model, num_labels, device)
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        AdapterBank.create(Path(scratch) / "bank", base, method, targets) as bank,
    ):
        count = _IN_BANK * rows
        bank.add_many(synthetic_names(0, count), synthetic_rows(bank, count))
        one = bank.load(_loaded(model, num_labels, device), synthetic_names(0, 1)[0]).eval()
        yield one, bank, bank.attach(base)


def _drawn_names(rows: int) -> Iterator[list[str]]:
    """Yield different names for all rows, others each time."""
    draw, names = random.Random(0), synthetic_names(0, _IN_BANK * rows)
    while True:
        yield draw.sample(names, rows)


def _of_peft(
    model: str, num_labels: int, method: Method, targets: str | Sequence[str], rows: int, device: str
) -> nn.Module | None:
    """Return the model with one of PEFT's LoRA adapters for every row; None where PEFT has no such batches."""
    if type(method) is not LoRA or importlib.util.find_spec("peft") is None:
        return None
    import peft

    base, names = _loaded(model, num_labels, device), synthetic_names(0, rows)
    config = peft.LoraConfig(
        r=method.r, lora_alpha=method.r, target_modules=list(resolve_targets(base, targets)),
        init_lora_weights=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, whose names peft calls
        theirs: Any = peft.get_peft_model(base, config, adapter_name=names[0])
        for name in names[1:]:
            theirs.add_adapter(name, config)
    return theirs.eval()  # type: ignore[no-any-return]


def _loaded(model: str, num_labels: int, device: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return load_model(model, num_labels).to(device, torch.float32).eval()
