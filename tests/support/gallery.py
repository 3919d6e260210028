"""Every kind of figure on plausible tables, and what a browser says of how one is drawn."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import toy_costs
import toy_records
import toy_runs
import toy_tables
from notebook_cells import notebook_variants
from toy_advice import toy_advice, toy_trial
from toy_explorer import Toy
from toy_updates import moved_run
from transformers import BertConfig, BertModel

import vxlab
from vxlab.analysis.update import FullUpdate
from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.candidates.run_scores import score_table
from vxlab.experiments.sweeps.stored import SweepTables
from vxlab.experiments.sweeps.stored_scores import MEASURED_COLUMNS, Measured
from vxlab.studies.advisor.regret import cell_scores, regret_table
from vxlab.studies.published import published_table
from vxlab.studies.start_and_parts.claims import published_differences
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights, spectra_table
from vxlab.studies.subspaces.truncation import REMOVED, UNTOUCHED
from vxlab.studies.weight_similarity.table import MEASURES
from vxlab.views.explorers.advisor.explorer import AdviceExplorer
from vxlab.views.explorers.faces import explore
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.figures import advisor as advisor_figures
from vxlab.views.figures import capture as capture_figures
from vxlab.views.figures import cost as cost_figures
from vxlab.views.figures import curves as curve_figures
from vxlab.views.figures import expressivity as expressivity_figures
from vxlab.views.figures import runs as figures
from vxlab.views.figures import start_and_parts as parts_figures
from vxlab.views.figures import subspaces as subspace_figures
from vxlab.views.figures import sweep as sweep_figures
from vxlab.views.figures import tuning as tuning_figures
from vxlab.views.figures import verdict as verdict_figures
from vxlab.views.figures import weight_similarity as similarity_figures

LABELS = np.arange(200) % 2
ROLES = ("query", "key", "value", "attention-output", "up", "down")
COSTS = pd.DataFrame(
    [("this: vera", 7_680), ("LoRA r=8", 73_728), ("head only", 0), ("full fine-tuning", 22_565_376)],
    columns=["method", "backbone"],
).assign(head=770, share=0.1, bytes=100)


@cache
def every_figure() -> dict[str, go.Figure]:
    """Return figures by what they show."""
    with TemporaryDirectory() as folder:
        of_runs = _of_runs(Path(folder)) | _of_explorers(Path(folder))
    return {
        **of_runs,
        "norms": figures.layer_norms(updates(6, ROLES[:2]), "d_norm", "‖d‖₂", start=1.6),
        "norms of one layer": figures.layer_norms(updates(1, ROLES[:1]), "relative_norm", "‖ΔW‖ / ‖W‖"),
        "norms of 24 blocks": figures.layer_norms(updates(24, (*ROLES, "gate", "other")), "b_norm", "‖b‖₂"),
        "parameters": figures.costs(COSTS),
        "parameters of the head alone": figures.costs(COSTS[COSTS["method"] == "head only"]),
        "time by rank": cost_figures.step_time_by_rank(toy_costs.costs()),
        "memory": cost_figures.memory_by_category(toy_costs.costs()),
        "storage": cost_figures.storage_against_time(toy_costs.costs()),
        "capture": capture_figures.capture_against_parameters(_captured()),
        "capture by role": capture_figures.capture_against_parameters(_captured(), by_role=True),
        "errors of fits": expressivity_figures.error_against(_errors(("768×768",)), title="error"),
        "errors by shape": expressivity_figures.error_against(_errors(("64×64", "32×64", "64×32")), title="error"),
        "ratios": expressivity_figures.equal_parameter_ratios(_ratios()),
        "changed parts": parts_figures.parts_against_unchanged(_parts(), published_differences(), metric="accuracy"),
        **_of_advice(),
        **_of_similarity(),
        **_of_subspaces(),
        **_of_sweeps(),
        "explorer": explore(Toy(), interactive=False),
    }


def updates(blocks: int, roles: tuple[str, ...]) -> pd.DataFrame:
    """Return norms of updates by block and role."""
    rows = [
        (block, role, 0.01 * (block + 1) * (i + 2) ** 0.5, 1.6 + 0.1 * i, 0.1 * (i + 1))
        for block in range(blocks)
        for i, role in enumerate(roles)
    ]
    return pd.DataFrame(rows, columns=["block", "role", "relative_norm", "d_norm", "b_norm"])


def run(folder: Path, accuracy: float = 0.8, **changed: Any) -> Any:
    """Return a run's record."""
    return toy_records.run_record(
        folder, toy_records.logits_with(np.arange(200) < 200 * accuracy, LABELS), LABELS, **changed
    )


def regression(folder: Path, slope: float) -> Any:
    """Return a record of a run whose answers follow the targets by a slope."""
    random = np.random.default_rng(0)
    targets = random.normal(size=300).astype(np.float32)
    outputs = slope * targets + random.normal(size=300)
    return toy_records.run_record(folder, outputs.astype(np.float32)[:, None], targets)


def _of_runs(folder: Path) -> dict[str, go.Figure]:
    runs = {"vera": run(folder / "vera"), "head only": run(folder / "head", 0.7)}
    one_epoch = run(folder / "one", metrics=toy_records.metric_rows({"accuracy": 0.8}, (0.6,)), best_epoch=1)
    diverged = {"vera": toy_records.diverged_record(folder / "d", runs["vera"]), "head only": runs["head only"]}
    return {
        "curves": curve_figures.learning_curves(runs),
        "curves of a diverged run": curve_figures.learning_curves(diverged),
        "curves of one epoch": curve_figures.learning_curves({"vera": one_epoch}),
        "curves of nine runs": curve_figures.learning_curves({f"vera r={i}": run(folder / str(i)) for i in range(9)}),
        "scores": figures.scores(score_table(runs), "accuracy", "200 test items"),
        "scores of a diverged run": figures.scores(score_table(diverged), "accuracy", "200 test items"),
        "negative scores": figures.scores(
            score_table({"vera": regression(folder / "n", -1.0)}), "pearson", "300 test items"
        ),
    }


def _of_explorers(folder: Path) -> dict[str, go.Figure]:
    model = toy_runs.write_model(folder / "model")
    one, other = (moved_run(folder / method.name, model, method) for method in (vxlab.LoRA(rank=3), vxlab.VeRA(rank=5)))
    wide = BertConfig(vocab_size=8, hidden_size=256, num_hidden_layers=3, num_attention_heads=4, intermediate_size=512)
    plain = {"store": folder / "store", "interactive": False}
    sweep = [toy_tables.runs(), toy_tables.tuning(), toy_tables.summary(), toy_tables.pairs()]
    tables = SweepTables("rte, minilm", "rte", "accuracy", HeldOut(200, 0.5), *sweep, {})
    return {
        "advice explorer": explore(AdviceExplorer(toy_advice(), _measured()), interactive=False),
        "rank explorer": vxlab.explore_rank(BertModel(wide), **plain),
        "rank explorer of a tiny model": vxlab.explore_rank(model, **plain),
        "subspace explorer": vxlab.explore_subspaces(one, **plain),
        "update explorer": vxlab.explore_updates(one, **plain),
        "explorer of two updates": vxlab.explore_updates(one, other, **plain),
        "sweep explorer": explore(SweepExplorer([tables], {}), interactive=False),
    }


def _measured() -> Measured:
    """Return a run of each of the toy advice's budgets with one rank."""
    rows = [
        {"family": "LoRA", "rank": rank, "label": f"LoRA r={rank}", "targets": "all-linear", "backbone": 288 * rank,
         "n": 1, "diverged": 0, "mean": 0.7 + 0.02 * rank, "scores": (0.7 + 0.02 * rank,), "draws": 0}
        for rank in (1, 2, 4)
    ]  # fmt: skip
    return Measured(pd.DataFrame(rows, columns=MEASURED_COLUMNS), "accuracy", "toy (all training examples, 1 epoch)", 0)


def _of_advice() -> dict[str, go.Figure]:
    advice, trial = toy_advice(), toy_trial()
    deep = pd.concat([advice.layers.query("block == 1").assign(block=block) for block in range(24)])
    shares = (0.5, 0.9, 0.99, 1.0)
    kept = pd.DataFrame(
        [(f"LoRA r={rank}", seed, share, rank * share**2, 0.7 + 0.1 * share + 0.01 * seed)
         for rank in (4, 16) for seed in (1, 2) for share in shares],
        columns=["candidate", "seed", "share", "rank", "score"],
    )  # fmt: skip
    return {
        "ranks by layer": advisor_figures.ranks_by_layer(advice.layers),
        "ranks of 24 blocks": advisor_figures.ranks_by_layer(deep),
        "energy by budget": advisor_figures.energy_by_budget(advice.budgets, advice.budget),
        "regret": advisor_figures.regret_by_allocation(regret_table(trial)),
        "differences from uniform": advisor_figures.differences_from_uniform(regret_table(trial)),
        "differences by cell": advisor_figures.differences_by_cell(cell_scores(trial)),
        "score by rank kept": advisor_figures.score_by_rank_kept(kept, metric="accuracy"),
    }


def _captured() -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    sizes = {
        "LoRA": {r: 768 * r for r in (1, 4, 16, 64)}, "VeRA": {r: 384 + r for r in (4, 64, 1024)},
        "LoRA-XS basis=top": {r: r * r for r in (4, 16, 64)},
    }  # fmt: skip
    for i, (family, ranks) in enumerate(sizes.items()):
        for rank, parameters in ranks.items():
            for j, role in enumerate(ROLES):
                share = min(0.9, 0.004 * parameters**0.5 * (1 + 0.2 * j) / (1 + i))
                described = (f"0.{role}", 0, role, f"{family} r={rank}", family, rank, parameters)
                chance = min(0.5, parameters / 400_000)
                rows.append((*described, share, 0.8 * share, 1.2 * share, min(1, 2 * share), chance))
    columns = ["layer", "block", "role", "method", "family", "rank", "parameters"]
    return pd.DataFrame(rows, columns=[*columns, "share", "low", "high", "best", "chance"])


def _errors(shapes: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for shape in shapes:
        entries = int(np.prod([int(side) for side in shape.split("×")]))
        for i, family in enumerate(("LoRA", "VeRA", "LoRA-XS", "LiDB, rank 1", "full")):
            for share in (1.0,) if family == "full" else (0.01, 0.05, 0.2, 0.6):
                error = (1 - share) ** (1 + 0.2 * i)
                rows.append(
                    {"shape": shape, "entries": entries, "family": family, "parameters": int(share * entries),
                     "freedom": int(share * entries), "mean": error, "low": error - 0.02, "high": error + 0.02, "n": 5,
                     "setting": "r"}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _ratios() -> pd.DataFrame:
    rows = [
        (shape, parameters, 0.9 + 0.1 * i + 0.03 * j, "r=4", "r=64", 5)
        for i, shape in enumerate(("64×64", "32×64", "64×32"))
        for j, parameters in enumerate((128, 256, 1024))
    ]
    table = pd.DataFrame(rows, columns=["shape", "parameters", "ratio", "lora", "vera", "n"])
    return table.assign(low=table["ratio"] - 0.03, high=table["ratio"] + 0.03)


def _parts() -> pd.DataFrame:
    of = notebook_variants(vera_rank=4, lora_xs_rank=4)
    rows = [
        (each.name, "VeRA" if i < 8 else "LoRA-XS", each.part, each.name, 0.02 * (i % 5) - 0.05, i % 3 == 0)
        for i, each in enumerate(of)
        if i not in (0, 8)
    ]
    table = pd.DataFrame(rows, columns=["candidate", "method", "part", "variant", "difference", "seen"])
    return table.assign(
        low=table["difference"] - 0.02, high=table["difference"] + 0.02, mean=0.7, scores=[(0.69, 0.71)] * len(table)
    )


def _of_similarity() -> dict[str, go.Figure]:
    kinds = ["LoRA, another seed", "VeRA and LoRA, same seed", "VeRA and LoRA, another seed", "random LoRA"]
    random, rows = np.random.default_rng(0), []
    for i, kind in enumerate(kinds):
        for a, b, block in np.ndindex(3, 3, 6):
            value = (0.02, 0.0006 * block, 0.0003 * block, 0.0)[i] + 1e-3 * random.normal()
            others = dict.fromkeys(MEASURES, abs(value) + 0.3) | {f"{name}_chance": 0.2 for name in MEASURES}
            rows.append(
                {"kind": kind, "first": f"a{a}", "second": f"b{b}", "first_seed": a, "second_seed": b,
                 "layer": f"layer.{block}.query", "block": block, "role": "query", **others,
                 "cosine": value, "cosine_chance": 1 / 1024}
            )  # fmt: skip
    table = pd.DataFrame(rows).drop(columns="cka_chance")
    return {
        "cosines": similarity_figures.cosine_by_layer(table, [kinds[1:], kinds[:2]], published=2e-3),
        "map of cosines": similarity_figures.cosine_map(table, kinds),
        "measures": similarity_figures.similarity_by_kind(table, kinds),
    }


def _of_subspaces() -> dict[str, go.Figure]:
    shapes = {"attention.self.query": (16, 16), "output.dense": (16, 40), "intermediate.dense": (40, 16)}
    layers = {f"encoder.layer.{i}.{name}": shape for i in range(6) for name, shape in shapes.items()}
    draw = torch.Generator().manual_seed(0)
    triplets = decompose_weights({layer: torch.randn(*shape, generator=draw) for layer, shape in layers.items()})
    changed = {
        "LoRA r=8": {
            layer: FullUpdate(torch.randn(shape[0], 4, generator=draw) @ torch.randn(4, shape[1], generator=draw))
            for layer, shape in layers.items()
        }
    }
    energies = band_energies(triplets, changed, fractions=(0.0625, 0.25, 0.5))
    return {
        "truncation": subspace_figures.truncation_by_role(_truncated(), metric="accuracy", trivial=0.5),
        "kept": subspace_figures.kept_by_role(_kept(), 0.25),
        "spectra": subspace_figures.energy_spectra(spectra_table({"W": triplets, **changed})),
        "map of bands": subspace_figures.band_heat(energies, "LoRA r=8", 0.25),
        "angles": subspace_figures.angles_to_bands(band_angles(triplets, changed, directions=4), "LoRA r=8"),
    }


def _truncated() -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [("", UNTOUCHED, 1.0, 0.9)]
    for i, role in enumerate(ROLES):
        rows += [(role, REMOVED, 0.0, 0.5)]
        levels = (("top", 0.4), ("middle", 0.2), ("bottom", 0.1), ("random", 0.15 + 0.02 * i))
        rows += [(role, band, f, 0.5 + f**0.5 * k) for band, k in levels for f in (0.01, 0.0625, 0.25, 0.5)]
    table = pd.DataFrame(rows, columns=["role", "band", "fraction", "score"])
    return table.assign(what="weight", low=table["score"] - 0.03, high=table["score"] + 0.03)


def _kept() -> pd.DataFrame:
    bands = {"top": 0.9, "middle": 0.5, "bottom": 0.3, "random": 0.4, REMOVED: -0.1}
    rows = [("weight", role, band, share) for role in ROLES for band, share in bands.items()]
    table = pd.DataFrame(rows, columns=["what", "role", "band", "share"])
    return table.assign(low=table["share"] - 0.1, high=table["share"] + 0.1)


def _of_sweeps() -> dict[str, go.Figure]:
    summary, pairs = toy_tables.summary(), toy_tables.pairs()
    known = published_table("glue").query("task == 'rte' and model == 'RoBERTa-large'")
    near = summary.copy()
    near["mean"] = 0.54 + 0.05 * (near["mean"] - 0.7)
    return {
        "nearly equal scores": sweep_figures.score_against_parameters(near, metric="accuracy"),
        "fronts of nearly equal scores": verdict_figures.pareto_figures(near, metric="accuracy"),
        "scores by parameters": sweep_figures.score_against_parameters(
            summary, metric="accuracy", runs=toy_tables.runs(), held_out=HeldOut(200, 0.5)
        ),
        "scores beside papers": sweep_figures.score_against_parameters(summary, known, metric="accuracy"),
        "gain": sweep_figures.gain_per_parameter(summary, 0.6, metric="accuracy"),
        "tuning": tuning_figures.tuning_curves(toy_tables.tuning(), metric="accuracy"),
        "fronts": verdict_figures.pareto_figures(summary, metric="accuracy"),
        "differences": verdict_figures.differences(pairs, "equal rank", metric="accuracy"),
    }


def overlapping(texts: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of texts of which one lies over the other."""
    for i, a in enumerate(texts):
        for b in texts[i + 1 :]:
            across = min(a["right"], b["right"]) - max(a["left"], b["left"])
            down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
            if across > 1 and down > 3:
                yield a["text"], b["text"]
