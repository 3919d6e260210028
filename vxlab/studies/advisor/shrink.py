"""What rank would have been enough: a trained update cut by one threshold on all its layers' singular values."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from vxlab.adapters import Family, LiDB, LoRA, LoRAXS, VeRA, adapted_layers, adapter_updates, attach_layers, detach
from vxlab.adapters.core import linear_weight
from vxlab.checks import quote, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label
from vxlab.experiments.runs import (
    base_weights,
    blocks_and_roles,
    load_trained,
    require_finished,
    require_updates,
    trained_updates,
    updates_of,
)
from vxlab.experiments.scoring import compare_two, compute
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar
from vxlab.studies import AskedItems
from vxlab.studies.advisor.shrunk import Shrunk
from vxlab.studies.advisor.threshold import cut_all, rank_one_parts, truncate

_USUAL = (0.5, 0.75, 0.9, 0.95, 0.99)
_UNLIKE = 0.05
"""Of the items, the share that the model may answer otherwise than its run did: rounding on another machine."""
_NEAR = 0.01
"""Up to which share of itself an answer in numbers counts as the same."""
_SCORES = [
    "share", "kept", "rank_min", "rank_median", "rank_max", "parameters", "own_parameters", "score", "difference",
    "low", "high", "p", "error", "freedom",
]  # fmt: skip
_RANKS = ["layer", "block", "role", "trained", "share", "kept"]


class _Tables(NamedTuple):
    scores: pd.DataFrame
    ranks: pd.DataFrame


def shrink(
    record: RunRecord,
    share: float | Sequence[float] = _USUAL,
    *,
    device: str | None = None,
    store: Where = None,
) -> Shrunk:
    """Cut a trained update to the largest singular values of all its layers, and score it again without training.

    ``ΔW_l = Σ_i σ_li·u_li·v_liᵀ``, and one threshold over all layers l decides which i stay: the fewest values, largest
    first, whose Σσ² reaches the share of all (train at one rank, then prune globally). A layer that keeps none goes
    without an adapter; head, biases and all else stay as they were trained. The result answers which rank would have
    been enough *of this update*: a run that trains at that rank may do better, or not get there. Shares are chosen by
    nobody on the test split, but a rank that is picked from the table is: confirm it by a run of its own.

    LoRA, LoRA-XS, LiDB, full fine-tuning and those of peft's methods whose update is a matrix are cut exactly, by the
    singular values of the product of their factors. Cut, a LoRA of rank k remains; LiDB keeps its form, and of LoRA-XS
    R becomes a matrix of rank k between the bases of before (r² numbers, or 2·r·k where these are fewer).

    VeRA's ``ΔW = Σ_j d_j·(b ∘ B_j)·A_j`` is no VeRA any more without some of its singular values, and its rank is
    meant in terms: those with the largest ``|d_j|·‖b ∘ B_j‖·‖A_j‖`` stay, which zeroes the other entries of d and
    keeps the pair. The terms are not orthogonal, so the share is of the sum of their own squared norms, which is near
    ‖ΔW‖² for random A and B, but not equal to it. A VeRA that is trained at that rank has another pair, drawn for it.

    Args:
        record: a finished run that trained an update.
        share: of the energy Σσ² over all layers that stays, each above 0, at most 1; 1 is always among them, and is
            the run as it was scored.
        device: to ask on: ``auto``, ``cuda``, ``mps`` or ``cpu``; None takes the run's.
        store: where to keep the tables, as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: the run did not finish, trained no update of weights (a head, a probe, the base, biases) or one
            that is 0, its model no longer answers as the run did, its task is one of multiple choice, or a share is
            out of its range. What a model wrote is not looked at: it is scored by how likely it finds the references.

    Source:
        PARA (2026), arXiv 2604.27796: ranks pruned after training by one threshold over all layers.
    """
    shares = _checked(share)
    require_updates(record)
    require_finished(record)
    tables = kept_table(_shrunk, record, shares, device, store=store)
    return Shrunk(method_label(record.spec["method"]), record.task["metrics"][0], _is_by_term(record), *tables)


def _is_by_term(record: RunRecord) -> bool:
    return bool(record.spec["method"]["name"] == VeRA.name)


class _Trained:
    """A run's model, from which its update is taken so that it can be put back in part."""

    def __init__(self, record: RunRecord, device: str) -> None:
        self.model = load_trained(record).to(device)
        self.families = {name: layer.family for name, layer in adapted_layers(self.model).items()}
        full = record.spec["method"]["name"] == "full"
        updates = updates_of(record) if full else adapter_updates(self.model) or trained_updates(record)
        by_term = _is_by_term(record)
        self.shapes = {name: update.shape for name, update in updates.items()}
        self.parts = {name: rank_one_parts(update, by_term) for name, update in updates.items()}
        self.whole = base_weights(record) if full else {}
        if not sum(len(S) for _, S, _ in self.parts.values()):
            raise VxlabError(f"run {record.key[:12]}: its update is 0 in every layer, so there is nothing to shrink")

    def take_off(self) -> None:
        """Leave the model as it was before training, but for what no layer's update holds, such as the head."""
        detach(self.model)
        with torch.no_grad():
            for name, weight in self.whole.items():
                linear_weight(self.model.get_submodule(name)).copy_(weight)

    @contextmanager
    def with_kept(self, kept: Mapping[str, int]) -> Iterator[nn.Module]:
        """Put the first parts of each layer's update on the model, which :meth:`take_off` has bared."""
        ranks = {layer: rank for layer, rank in kept.items() if rank}
        attach_layers(self.model, LoRA(rank=ranks), {layer: self.model.get_submodule(layer) for layer in ranks})
        try:
            with torch.no_grad():
                for name, layer in adapted_layers(self.model).items():
                    trained, (left, right) = layer.trained_tensors(), truncate(self.parts[name], kept[name])
                    trained["B"].copy_(left)
                    trained["A"].copy_(right)
            yield self.model.eval()
        finally:
            detach(self.model)

    def trained_ranks(self) -> dict[str, int]:
        """Return each layer's rank: as its family has it, and without one how many values are not 0."""
        return {
            name: self.families[name].r if name in self.families else len(parts.S) for name, parts in self.parts.items()
        }

    def parameters(self, kept: Mapping[str, int]) -> tuple[int, float]:
        """Return the parameters of what is kept, as a LoRA and in the method's own form."""
        own = [_own_count(self.families.get(name), self.shapes[name], rank) for name, rank in kept.items() if rank]
        return sum(rank * sum(self.shapes[name]) for name, rank in kept.items()), float(sum(own))


def _own_count(family: Family | None, shape: tuple[int, int], kept: int) -> float:
    """Return how many parameters the method itself has for what is kept of a layer, NaN where its form is lost."""
    match family if type(family) in (LoRA, LoRAXS, LiDB, VeRA) else None:
        case LoRA(trains="both"):
            return kept * sum(shape)
        case LoRAXS(r=rank):
            return min(rank**2, 2 * rank * kept)
        case LiDB(aux_out=aux_out, aux_in=aux_in):
            return kept * (aux_out + aux_in)
        case VeRA(vectors=vectors):
            return {"both": shape[0] + kept, "d": kept, "b": shape[0]}[vectors]
    return float("nan")


def _shrunk(record: RunRecord, shares: Sequence[float], device: str | None) -> _Tables:
    asked = AskedItems(record, device=device)
    trained = _Trained(record, asked.device)
    predictions, labels = (tensor.numpy() for tensor in record.predictions())
    _require_same_answers(record, _in_order(asked, trained.model), predictions)
    trained.take_off()
    metric, units = record.task["metrics"][0], record.units()
    places, ranks_before = blocks_and_roles(trained.parts), trained.trained_ranks()
    scores: list[tuple[Any, ...]] = []
    ranks: list[tuple[Any, ...]] = []
    with progress_bar(len(shares), "shares of the update", "evaluation") as bar:
        for share in shares:
            kept = cut_all(trained.parts, share)
            if share == 1:  # asked already: these are the run's own answers
                answers, told = predictions, (0.0, 0.0, 0.0, 1.0, 0.0, float("inf"))
            else:
                with trained.with_kept(kept) as model:
                    answers = _in_order(asked, model)
                found = compare_two({0: answers}, {0: predictions}, labels, metric, units)
                told = (*found[:4], found.error, found.freedom)
            spread = np.array(list(kept.values()))
            extent = int(spread.min()), float(np.median(spread)), int(spread.max())
            score = compute([metric], answers, labels)[metric]
            scores.append((share, int(spread.sum()), *extent, *trained.parameters(kept), score, *told))
            ranks += [(name, *places[name], ranks_before[name], share, rank) for name, rank in kept.items()]
            bar.update()
    return _Tables(pd.DataFrame(scores, columns=_SCORES), pd.DataFrame(ranks, columns=_RANKS))


def _in_order(asked: AskedItems, model: nn.Module) -> NDArray[Any]:
    """Return a model's answers in the test split's own order, (items,) or (items, columns)."""
    answers = np.array(asked.answers(model))[np.argsort(asked.rows)]
    return answers[:, 0] if answers.shape[1] == 1 else answers


def _require_same_answers(record: RunRecord, now: NDArray[Any], predictions: NDArray[Any]) -> None:
    """Refuse where the model as it was trained no longer answers as its run did: all differences would be to that."""
    then = predictions if now.ndim == 2 or record.task["num_labels"] == 1 else predictions.argmax(-1)
    then = then[:, : now.shape[1]] if now.ndim == 2 else then.reshape(len(then))
    same = now.shape == then.shape
    if same:
        near = np.isclose(now, then, rtol=_NEAR, atol=_NEAR).reshape(len(now), -1).all(axis=1)
        same = bool(near.mean() >= 1 - _UNLIKE)
    if not same:
        raise VxlabError(
            f"run {record.key[:12]}: its model does not answer the test split as the run did, so its data or what "
            "reads them have changed since; put them back, or train it again with vxlab.run(spec, fresh=True)"
        )


def _checked(share: Any) -> list[float]:
    shares = settle_list("share", share, (int, float), "shares of the energy, such as [0.9, 0.99]")
    if not shares or any(isinstance(each, bool) or not 0 < each <= 1 for each in shares):
        raise VxlabError(
            f"share={quote(share)} is no share of the energy that stays; give one or several, each above 0, at most 1"
        )
    return sorted({1.0, *map(float, shares)}, reverse=True)
