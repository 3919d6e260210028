"""What a finished run trained: the model, each layer's update, and how far it moved."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vxlab.adapters import (
    AdaptedLinear,
    VeRA,
    adapter_updates,
    layer_update,
    load_adapter,
    resolve_targets,
    updated_layers,
    weight_before,
)
from vxlab.adapters.core import linear_weight, number_blocks, role_of
from vxlab.analysis import FullUpdate, Update
from vxlab.errors import VxlabError
from vxlab.experiments import ENDED_EARLY, IMPORTED, RunRecord, family_name
from vxlab.experiments.models import load_model, name_labels
from vxlab.experiments.probes import load_probed
from vxlab.experiments.provenance import base_in_words, require_own_base, weights_of
from vxlab.experiments.store import Where, open_store

if TYPE_CHECKING:
    import pandas as pd

LAYER_COLUMNS = ["layer", "block", "role", "relative_norm", "d_norm", "b_norm"]


def load_trained(record: RunRecord) -> nn.Module:
    """Load a run's model with what it trained, unmerged, on the CPU in evaluation mode.

    Of a probe's run it is the frozen model with the fitted classifier behind it, and answers batches as any other:
    ``load_trained(record)(**batch).logits``.

    Raises:
        VxlabError: the adapter is gone, or the base model is no longer the one the run trained on.
    """
    adapter = record.adapter_folder()  # before the base is loaded, which takes long
    base = _base(record)
    if record.probe:
        return load_probed(base, adapter).eval()
    return load_adapter(base, adapter).eval() if record.trains else base.eval()


def finished_run(row: "Mapping[Any, Any] | pd.Series[Any]", store: Where = None) -> RunRecord:
    """Return the record of a run that a sweep's table has.

    Args:
        row: of what :func:`vxlab.sweep` returns.
        store: as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: the run failed, and why; or it did not finish.
    """
    with open_store(store) as results:
        record = results.record(row["key"])
    if record is None:
        why = str(row["error"]).rstrip(".") if isinstance(row["error"], str) else "its record is not in the store"
        raise VxlabError(f"{row['label']} ({row['status']}) has no result: {why}. Mend the cause and run again")
    require_finished(record)
    return record


def require_updates(record: object, name: str = "run") -> None:
    """Raise unless a value is the record of a run that finished and may have trained the backbone, or an imported one.

    Args:
        record: what a caller gave.
        name: of the argument.

    Raises:
        VxlabError: it is no record (``Store.record`` gives None for a run that is not there), or the run diverged or is
            a probe's.
    """
    if not isinstance(record, RunRecord):
        raise VxlabError(
            f"{name} is {'None' if record is None else f'of type {type(record).__name__}'}, not a trained run; give "
            "what vxlab.run(spec) returned, or vxlab.Store().record(key) with a key from its table()"
        )
    if record.status != IMPORTED:
        require_finished(record)
    if not record.trains:
        what = "a probe" if record.probe else "the untuned base"
        raise VxlabError(
            f"run {record.key[:12]} is of {what}, which trains nothing in the backbone, so there is no update to look "
            "at; give a run of an adapter or of full fine-tuning"
        )


def require_finished(record: RunRecord) -> None:
    """Raise VxlabError unless a run finished: what the others trained says nothing, and an import is no run."""
    if record.status == IMPORTED:
        raise VxlabError(
            f"{describe_run(record)} is an imported adapter: its updates can be looked at, and nothing else is known "
            "of it; give a run that trained here"
        )
    if record.status == ENDED_EARLY:
        raise VxlabError(
            f"{describe_run(record)} ended after {record.spec['ends_after']:g} of its steps, to help to choose a "
            "learning rate; give a run of all its steps"
        )
    if record.status != "finished":
        raise VxlabError(
            f"{describe_run(record)} {record.status}, so its update says nothing; lower its learning rate and train "
            "again"
        )


def require_same(first: RunRecord, second: RunRecord, what: str, of: Callable[[RunRecord], Any]) -> None:
    """Raise unless two runs share what is compared.

    Args:
        first: one run.
        second: the other.
        what: it is called, in the plural.
        of: returns it of a run.
    """
    if of(first) != of(second):
        told = f"{describe_run(first)} has {of(first)}, {describe_run(second)} has {of(second)}"
        raise VxlabError(f"runs differ in their {what}: {told}; compare runs that share them")


def require_same_base(first: RunRecord, second: RunRecord) -> None:
    """Raise unless two runs started from the same weights: updates of others have nothing to be alike in."""
    require_same(first, second, "base models", lambda run: weights_of(run.identity) or base_in_words(run.spec))


def describe_run(record: RunRecord) -> str:
    """Return a run by its method, its seed and the start of its key, for an error."""
    family = family_name(record.spec["method"])
    if record.status == IMPORTED:
        return f"{family}, {record.spec['adapter']} ({record.key[:12]})"
    return f"{family}, seed {record.spec.get('seed')} (run {record.key[:12]})"


def updates_of(record: RunRecord, targets: str | Sequence[str] = "all-linear") -> Mapping[str, Update]:
    """Return every layer's update of a run in model order: :func:`full_updates` of ``Full()``, else trained_updates.

    Args:
        record: a finished run.
        targets: the layers of a full fine-tuning, as :func:`vxlab.attach` takes them.

    Raises:
        VxlabError: the run trained no updates, or its base model is no longer the one it trained on.
    """
    require_updates(record)
    return full_updates(record, targets) if record.spec["method"]["name"] == "full" else trained_updates(record)


def trained_updates(record: RunRecord) -> dict[str, Update]:
    """Return every adapted layer's update, in float64 on the CPU, in model order: in its factors where it has any.

    Raises:
        VxlabError: the run trained no adapter, what it trained is no update of weights (see :func:`adapter_updates`),
            or its base model is no longer the one it trained on.
    """
    require_updates(record)
    updates = adapter_updates(load_trained(record))
    if not updates:
        raise VxlabError(
            f"run {record.key[:12]} ({record.spec['method']['name']}) trained no adapter on layers; give a run of one, "
            "or take full_updates of a full fine-tuning"
        )
    return updates


@torch.no_grad()
def full_updates(record: RunRecord, targets: str | Sequence[str] = "all-linear") -> dict[str, FullUpdate]:
    """Return ΔW = W' - W of full fine-tuning by layer, in model order.

    Args:
        record: a finished run of ``Full()``.
        targets: the layers, as :func:`vxlab.attach` takes them.

    Raises:
        VxlabError: the run is of another method, or its base model is no longer the one it trained on.
    """
    require_updates(record)
    if record.spec["method"]["name"] != "full":
        raise VxlabError(
            f"run {record.key[:12]} is of {record.spec['method']['name']}; give a run of Full(), or take "
            "trained_updates"
        )
    before, after = base_weights(record, targets), layer_weights(load_trained(record), targets)
    return {name: FullUpdate(after[name].double() - weight.double()) for name, weight in before.items()}


def base_weights(record: RunRecord, targets: str | Sequence[str] = "all-linear") -> dict[str, Tensor]:
    """Return W ``(out, in)`` of the model that a run started from, by layer, in model order.

    Args:
        record: any run.
        targets: the layers, as :func:`vxlab.attach` takes them.

    Raises:
        VxlabError: the base model is no longer the one the run trained on.
    """
    return layer_weights(_base(record), targets)


def layer_weights(model: nn.Module, targets: str | Sequence[str] = "all-linear") -> dict[str, Tensor]:
    """Return W ``(out, in)`` of a bare model's layers, in model order.

    Args:
        model: without adapters.
        targets: the layers, as :func:`vxlab.attach` takes them.
    """
    return {name: linear_weight(module).detach() for name, module in resolve_targets(model, targets).items()}


def blocks_and_roles(layers: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return each layer's block, from 0, and its role, from the dotted names.

    Args:
        layers: all of a model that are looked at: blocks in stages (Swin, ConvNeXt) are numbered through those given.

    >>> blocks_and_roles(["bert.encoder.layer.3.attention.self.query"])
    {'bert.encoder.layer.3.attention.self.query': (3, 'query')}
    """
    numbers = number_blocks(layers)
    return {name: (number, role_of(name) or "other") for name, number in numbers.items()}


def layer_updates(model: nn.Module) -> "pd.DataFrame":
    """Return one row for each adapted layer.

    Columns: ``layer`` (dotted name), ``block`` (its number, from 0), ``role``, ``relative_norm`` = ‖ΔW‖_F / ‖W‖_F,
    and for VeRA ``d_norm`` = ‖d‖₂ and ``b_norm`` = ‖b‖₂ (NaN for other families).
    """
    import pandas as pd

    rows = []
    layers = updated_layers(model)
    # By all of the model: of layers in the last stage alone, blocks before them would not be counted.
    places = blocks_and_roles([*layers, *(name for name, _ in model.named_modules())])
    for name, layer in layers.items():
        tensors = layer.factors() if isinstance(layer, AdaptedLinear) else layer.parameters()
        finite = all(tensor.isfinite().all() for tensor in tensors)  # not so after a run that diverged
        relative = layer_update(layer, name).relative_norm(weight_before(layer)) if finite else math.nan
        trained = _vera_vectors(layer)
        d, b = (float(trained[key].detach().norm()) if key in trained else math.nan for key in ("lambda_d", "lambda_b"))
        rows.append((name, *places[name], relative, d, b))
    return pd.DataFrame(rows, columns=LAYER_COLUMNS)


def _vera_vectors(layer: nn.Module) -> dict[str, nn.Parameter]:
    if not isinstance(layer, AdaptedLinear) or not isinstance(layer.family, VeRA):
        return {}
    return layer.trained_tensors()


def _base(record: RunRecord) -> nn.Module:
    """Load the model that a run started from; an adapter's own check sees no base under full fine-tuning."""
    require_own_base(record)
    spec, task = record.spec, record.task
    base = load_model(spec["model"], task["num_labels"], spec.get("quantisation"))
    return name_labels(base, task["label_names"])
