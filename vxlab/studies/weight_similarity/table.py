"""How alike the updates of several runs are: by cosine, by the spaces they live in, and by what they do to inputs."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import adapter_updates, resolve_targets
from vxlab.adapters.placement import adapter_parameters
from vxlab.analysis import FullUpdate, Update, chance_cosine, chance_overlap, linear_cka
from vxlab.errors import VxlabError
from vxlab.experiments import (
    IMPORTED,
    RunRecord,
    RunSpec,
    family_name,
    has_ranks_by_layer,
    rank_of,
    ranks_in_words,
)
from vxlab.experiments.models import layer_inputs, load_model, usual_labels
from vxlab.experiments.runs import (
    blocks_and_roles,
    describe_run,
    load_trained,
    require_same,
    require_same_base,
    require_updates,
    trained_updates,
)

MEASURES = {
    "cosine": "cosine of the updates",
    "columns": "overlap of the column spaces",
    "rows": "overlap of the row spaces",
    "leading_columns": "overlap of the leading column directions",
    "leading_rows": "overlap of the leading row directions",
    "cka": "CKA of the updates' outputs",
}
"""Columns of a similarity table that hold a measure. All but ``cka`` have their chance level in ``<name>_chance``."""


def similarity_table(
    records: Sequence[RunRecord | None],
    batches: Sequence[Mapping[str, Tensor]],
    *,
    draws: int = 4,
    leading: int = 8,
    tokens: int = 400,
) -> pd.DataFrame:
    """Compare the updates of every two runs, and of every run with random updates of its own family, layer by layer.

    Args:
        records: finished runs of adapters on one base and task, at one rank, on the same layers; those of one family
            differ in their seeds alone. ``Store.record`` gives None for a run that failed, which is refused. Imported
            adapters may be among them, whose tasks and settings of training are not known.
        batches: of test rows, from :func:`vxlab.experiments.runs.sample_batches`, whose tokens are the inputs on which
            outputs are compared; of images the patches.
        draws: random updates for each run, from :func:`random_updates`; 0 for runs that have none.
        leading: number of leading singular directions that are compared beside the whole spaces.
        tokens: at most so many of them.

    Returns:
        One row for each pair and layer. ``kind`` names the families and how the seeds relate, as in ``VeRA – LoRA,
        same seed``, and in one family whether the frozen matrices differ; then ``first, second`` (the runs),
        ``first_seed, second_seed`` (of training), ``layer, block, role``, the :data:`MEASURES` and their chance
        levels. That of the cosine is the standard deviation 1/√(out·in) of two unrelated updates, whose mean is 0;
        those of overlaps are means. CKA has none: two maps of the same inputs are alike by what the inputs share, so
        hold it against the kind with random updates. Where an update is 0, its measures are NaN.

    Raises:
        VxlabError: fewer than two runs, one without a score, or runs that differ in base, task, layers or rank, or in
            settings within a family; or the seed of a VeRA pair is another run's training seed, which would make them
            alike by construction.
    """
    runs = _checked(records)
    trained = sorted((_run_side(record, runs) for record in runs), key=lambda side: side.order)
    _same_layers(trained)
    pairs = [(late, early) for early, late in combinations(trained, 2)]
    for side in trained:
        pairs += [(side, random) for random in _random_sides(side, draws)]
    layers, spec = list(trained[0].updates), runs[0].spec
    base = load_model(spec["model"], runs[0].task["num_labels"], spec.get("quantisation"))
    inputs = layer_inputs(base, layers, batches, tokens=tokens)
    places = blocks_and_roles(layers)
    return pd.DataFrame(
        [row for layer in layers for row in _rows(layer, *places[layer], pairs, inputs[layer], leading)]
    )


@torch.no_grad()
def random_updates(record: RunRecord, seeds: Sequence[int]) -> list[dict[str, Update]]:
    """Return updates of a run's own family that know nothing of its task, one for each seed.

    Every trained tensor is replaced by a Gaussian one of the same norm; frozen matrices stay. So LoRA's are two
    random factors, VeRA's random vectors around the run's own pair.

    Args:
        record: a finished run of an adapter.
        seeds: of the draws.

    Returns:
        As :func:`vxlab.experiments.runs.trained.trained_updates`, in the order of ``seeds``.

    Raises:
        VxlabError: the update is no product of thin factors, so that what it trains need not scatter around 0.
    """
    model = load_trained(record)
    if seeds:
        _require_thin(record, model)
    trained = [parameter for own in adapter_parameters(model).values() for parameter in own.values()]
    kept = [parameter.clone() for parameter in trained]
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter, before in zip(trained, kept, strict=True):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * (before.norm() / noise.norm()))
        drawn.append(adapter_updates(model))
    return drawn


def require_role(spec: RunSpec, role: str) -> None:
    """Raise unless a run adapts layers of a role, before it has trained.

    Raises:
        VxlabError: it adapts none; the roles of those it adapts are named.
    """
    model = load_model(spec.model, usual_labels(spec.model), spec.quantisation)  # the head matters to no target
    roles = sorted({role for _, role in blocks_and_roles(resolve_targets(model, spec.targets)).values()})
    if role not in roles:
        raise VxlabError(
            f"role={role!r} is of none of the layers that targets={spec.targets!r} adapts in model {spec.model!r}, "
            f"which are {', '.join(roles)}; choose one of these, or other targets"
        )


def _require_thin(record: RunRecord, model: nn.Module) -> None:
    if any(isinstance(update, FullUpdate) for update in adapter_updates(model).values()):
        raise VxlabError(
            f"{describe_run(record)} adds a matrix that is no product of thin factors, and what such a method trains "
            "(a magnitude, a rotation) need not scatter around 0, so there are no random updates like it; take draws=0"
        )


class _Side(NamedTuple):
    """One of the two updates that are compared."""

    name: str
    family: str
    order: tuple[int, int]
    """of the families as the runs name them, then of the runs; the later family is named first: VeRA – LoRA"""
    settings: dict[str, Any]
    seed: int | None
    """None of an imported adapter"""
    record: RunRecord
    updates: dict[str, Update]
    random: bool = False


_MAY_DIFFER = {"seed", "method", "model", "device", "task_folder", "adapter"}
"""in one family: the method less its seed and the base are compared by themselves, the others move no update"""


class _View(NamedTuple):
    """One update in one layer: bases of the spaces that it uses, orthonormal, and what it does to the inputs."""

    update: Update
    columns: Tensor
    rows: Tensor
    outputs: Tensor
    """in the basis ``columns``, which CKA takes no notice of: ``(tokens, rank)`` and not ``(tokens, out)``"""


def _run_side(record: RunRecord, records: Sequence[RunRecord]) -> _Side:
    families = list(dict.fromkeys(family_name(each.spec["method"]) for each in records))
    family, settings = family_name(record.spec["method"]), record.spec["method"]
    seed = None if record.status == IMPORTED else int(record.spec["seed"])
    own = f" {settings['seed']}" if "seed" in settings and _several_pairs(record, records) else ""
    name = f"{family}{own}, {record.spec['adapter'] if seed is None else f'seed {seed}'}"
    order = (families.index(family), records.index(record))
    return _Side(name, family, order, settings, seed, record, trained_updates(record))


def _several_pairs(record: RunRecord, records: Sequence[RunRecord]) -> bool:
    mine = record.spec["method"]
    return any(each.spec["method"]["name"] == mine["name"] and each.spec["method"] != mine for each in records)


def _random_sides(side: _Side, draws: int) -> Iterator[_Side]:
    for draw, updates in enumerate(random_updates(side.record, [_seed_of(side, draw) for draw in range(draws)])):
        yield side._replace(name=f"random {side.family}, draw {draw}", updates=updates, random=True)


def _seed_of(side: _Side, draw: int) -> int:
    """Return a seed that no run trains with: its draws would be those that the run itself started from."""
    digest = hashlib.sha256(f"{side.settings} {side.seed} {draw}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _rows(
    layer: str, block: int, role: str, pairs: Sequence[tuple[_Side, _Side]], inputs: Tensor, leading: int
) -> Iterator[dict[str, Any]]:
    views: dict[int, _View] = {}
    for first, second in pairs:
        for side in (first, second):
            if id(side) not in views:
                views[id(side)] = _view(side.updates[layer], inputs)
        described = {
            "kind": _kind(first, second), "first": first.name, "second": second.name,
            "first_seed": first.seed, "second_seed": second.seed, "layer": layer, "block": block, "role": role,
        }  # fmt: skip
        yield (
            described
            | _measures(views[id(first)], views[id(second)], leading)
            | _chances(first.updates[layer], leading)
        )


def _view(update: Update, inputs: Tensor) -> _View:
    U, S, Vh = update.svd()
    used = update.rounding() < S  # none of them where ΔW is 0
    U, S, V = U[:, used], S[used], Vh[used].T
    return _View(update, U, V, inputs @ V * S)


def _measures(a: _View, b: _View, leading: int) -> dict[str, float]:
    if not (a.columns.shape[1] and b.columns.shape[1]):
        return dict.fromkeys(MEASURES, float("nan"))
    return {
        "cosine": a.update.cosine(b.update),
        "columns": _overlap(a.columns, b.columns),
        "rows": _overlap(a.rows, b.rows),
        "leading_columns": _overlap(a.columns[:, :leading], b.columns[:, :leading]),
        "leading_rows": _overlap(a.rows[:, :leading], b.rows[:, :leading]),
        "cka": linear_cka(a.outputs, b.outputs),
    }


def _overlap(A: Tensor, B: Tensor) -> float:
    """Return :func:`vxlab.analysis.subspaces.overlap` of bases that are orthonormal already, fifty times as fast."""
    return float((A.T @ B).square().sum()) / min(A.shape[1], B.shape[1])


def _chances(update: Update, leading: int) -> dict[str, float]:
    (out_features, in_features), rank = update.shape, update.left.shape[1]
    levels = {"cosine": chance_cosine(update.shape)}
    for name, n in (("columns", out_features), ("rows", in_features)):
        whole, few = min(rank, n), min(leading, rank, n)
        levels |= {name: chance_overlap(n, whole, whole), f"leading_{name}": chance_overlap(n, few, few)}
    return {f"{name}_chance": level for name, level in levels.items()}


def _kind(first: _Side, second: _Side) -> str:
    if second.random:
        return f"{first.family} – random {second.family}"
    seeds = "same seed" if first.seed == second.seed else "other seed"
    if first.seed is None or second.seed is None:
        seeds = "seeds unknown"
    seeded = [side.settings.get("seed") for side in (first, second)]
    frozen = ", other frozen pair" if first.family == second.family and seeded[0] != seeded[1] else ""
    return f"{first.family} – {second.family}, {seeds}{frozen}"


def _checked(records: Sequence[RunRecord | None]) -> list[RunRecord]:
    if len(records) < 2:
        raise VxlabError(f"records holds {len(records)} run(s); similarity needs two or more")
    runs = [record for record in records if record is not None]
    if len(runs) < len(records):
        raise VxlabError("records holds None: a run failed or is not in the store; the sweep's table says which")
    for record in runs:
        require_updates(record)
        require_same_base(runs[0], record)
        require_same(runs[0], record, "ranks", _ranks)
        _own_numbers(record, runs)
        trained = [each for each in runs if each.status != IMPORTED]
        if record.status == IMPORTED:
            continue  # of what it was trained with, and on, nothing is known
        require_same(trained[0], record, "tasks", lambda each: each.spec.get("task"))
        same = next(each for each in trained if each.spec["method"]["name"] == record.spec["method"]["name"])
        require_same(same, record, "settings beside the seed", _settings)
        for name in sorted({*same.spec, *record.spec} - _MAY_DIFFER):
            require_same(same, record, name, partial(_setting, name))
    return runs


def _ranks(record: RunRecord) -> str:
    method = record.spec["method"]
    return ranks_in_words(method["rank"]) if has_ranks_by_layer(method) else f"{rank_of(method)}"


def _setting(name: str, record: RunRecord) -> Any:
    return record.spec.get(name)


def _own_numbers(record: RunRecord, runs: Sequence[RunRecord]) -> None:
    """Refuse a frozen pair that was drawn from the random numbers that another run started from.

    VeRA's pair and a run's own start are drawn alike by torch: from one seed, LoRA's first A holds VeRA's A, shifted
    by what the task head took, and their row spaces are the same before any training.
    """
    method = record.spec["method"]
    others = [each for each in runs if each.spec["method"]["name"] != method["name"]]
    name, usual = {"vera": ("seed", None), "peft:vera": ("projection_prng_key", 0)}.get(method["name"], ("", None))
    if name and any(each.spec["seed"] == method.get(name, usual) for each in others):
        raise VxlabError(
            f"{describe_run(record)} draws its frozen pair from seed {method.get(name, usual)}, with which "
            f"{describe_run(others[0])} or another trains: both hold "
            f"the same random numbers; take {name}=1000, a seed that no run trains with"
        )


def _settings(record: RunRecord) -> Mapping[str, Any]:
    return {name: value for name, value in record.spec["method"].items() if name != "seed"}


def _same_layers(sides: Sequence[_Side]) -> None:
    first = sides[0]
    for side in sides[1:]:
        if side.updates.keys() != first.updates.keys():
            apart = sorted(side.updates.keys() ^ first.updates.keys())
            raise VxlabError(
                f"{side.name} and {first.name} adapt other layers, `{apart[0]}` among them; compare runs of one targets"
            )
