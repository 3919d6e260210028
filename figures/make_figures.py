"""Make the README's figures: from the small recipes of notebooks 01 and 02, found in the store or trained now, those of
the explorers among them, and from the reports of the others.

    vxlab report 04_weight_similarity && vxlab report 07_cost
    python figures/make_figures.py [NAME ...] [--store reports/runs.db] [--reports reports]

Needs Chromium or Chrome, which draws the images.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go

import vxlab
from vxlab.experiments.hardware import describe_hardware, resolve_device, versions
from vxlab.experiments.scores import score_table
from vxlab.experiments.trained import layer_updates, load_trained
from vxlab.views import figures, notebooks, parameters
from vxlab.views.sweep_figures import score_against_parameters
from vxlab.views.verdict_figures import differences

HERE = Path(__file__).parent
SCALE = 2
PLOTLY = "application/vnd.plotly.v1+json"


REPORTS = {
    "04_weight_similarity": {"cosines": 0},
    "07_cost": {"step_time": 0},
}
"""By notebook: which of its figures is shown, counted from 0, under which name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="of notebooks; all where none is given")
    parser.add_argument("--store", default="reports/runs.db", help="where finished runs are kept, and found again")
    parser.add_argument("--reports", default="reports", help="where the executed notebooks are")
    arguments = parser.parse_args()
    own = {"01_fine_tune": fine_tuning, "02_rank_sweep": rank_sweep, "explorers": explorers}
    wanted = arguments.names or [*own, *REPORTS]
    for name in wanted:
        if name in REPORTS:
            of_report(Path(arguments.reports) / f"{name}.ipynb", REPORTS[name])
        else:
            own[name](arguments.store)


def fine_tuning(store: str) -> None:
    """Draw one run's test score, and the norms that VeRA learnt."""
    spec = vxlab.recipe("vera")
    vera = vxlab.run(spec, store=store)
    head = vxlab.run(replace(spec, method=vxlab.Head(), learning_rate=spec.head_learning_rate), store=store)
    table = score_table({"VeRA r=256": vera, "head only": head})
    _write(figures.scores(table, vera.task["metrics"][0], vera.task["rows"]["test"]), "01_fine_tune_scores")
    start = spec.method.settings()["d_initial"] * 256**0.5  # type: ignore[operator]
    updates = layer_updates(load_trained(vera))
    _write(figures.layer_norms(updates, "d_norm", "‖d‖₂", start=start), "01_fine_tune_vera_d")
    made_with = {name: getattr(vera, name) for name in ("spec", "hardware", "versions", "finished_at")}
    scores = {
        "vera": vera.score(),
        "head": head.score(),
        **{f"majority_{k}": v for k, v in vera.task["majority"]["test"].items()},
    }
    text = json.dumps({"command": "python figures/make_figures.py", "test": scores, **made_with}, indent=1)
    (HERE / "01_fine_tune.json").write_text(text + "\n", encoding="utf-8")


def rank_sweep(store: str) -> None:
    """Draw score against trained parameters, and the verdicts at matched parameters, of notebook 02's small sweep."""
    fair = vxlab.fair_recipe("small", others=["head"])
    result = vxlab.compare(fair, store=store, engine="processes")
    drawn = score_against_parameters(result.summary, metric=result.metric, runs=result.runs, majority=result.trivial)
    _write(drawn, "02_rank_sweep_scores")
    _write(differences(result.pairs, "matched parameters", metric=result.metric), "02_rank_sweep_differences")
    columns = ["candidate", "backbone", "bytes_stored", "step_seconds", "median", "q1", "q3", "n", "diverged"]
    columns += ["learning_rate", "edge"]
    made_with = {
        "command": "python figures/make_figures.py",
        "settings": {**fair.settings, "targets": "query-value"},
        "rates": {name: fair.rates(candidate) for name, candidate in fair.names.items()},
        "runs": fair.runs(),
        "summary": json.loads(result.summary[columns].to_json(orient="records")),
        "verdict": result.verdict().splitlines(),
        "hardware": describe_hardware(resolve_device("auto")),
        "versions": versions(),
    }
    text = json.dumps(made_with, indent=1, ensure_ascii=False)
    (HERE / "02_rank_sweep.json").write_text(text + "\n", encoding="utf-8")


def explorers(store: str) -> None:
    """Draw each explorer's figure of the runs of notebooks 01 and 02, at a choice that shows something."""
    fair = vxlab.fair_recipe("small", others=["head"])
    result = vxlab.compare(fair, store=store, engine="processes")
    run = vxlab.run(vxlab.recipe("vera"), store=store)
    choices = {
        "rank": (vxlab.explore_rank("minilm", store=store, interactive=True), {}, 3),
        "subspaces": (vxlab.explore_subspaces(run, store=store, interactive=True), {}, 3),
        "updates": (vxlab.explore_updates(run, store=store, interactive=True), {}, 4),
        "sweep": (vxlab.explore_sweep(result, interactive=True), {}, 1),
    }
    for name, (explorer, menus, stop) in choices.items():
        for i, value in menus.items():
            explorer.menus[i].value = value
        explorer.slider.index = stop
        _write(go.Figure(explorer.figure), f"explorer_{name}")


def of_report(report: Path, figures_of: dict[str, int]) -> None:
    """Draw a report's headline figures as its small scale has them, and write down its parameters and conclusion."""
    notebook = json.loads(report.read_text(encoding="utf-8"))
    outputs = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]
    drawn = [data[PLOTLY] for data in outputs if PLOTLY in data]
    for name, which in figures_of.items():
        _write(go.Figure(data=drawn[which]["data"], layout=drawn[which]["layout"]), f"{report.stem}_{name}")
    said = [data["text/markdown"] for data in outputs if "text/markdown" in data]
    made_with = {
        "command": f"vxlab report {report.stem}",
        "parameters": {name: each.default for name, each in parameters.read(notebooks.find(report.stem)).items()},
        "conclusion": "".join(said[-1]).splitlines() if said else [],
        "hardware": describe_hardware(resolve_device("auto")),
        "versions": versions(),
    }
    text = json.dumps(made_with, indent=1, ensure_ascii=False)
    (HERE / f"{report.stem}.json").write_text(text + "\n", encoding="utf-8")


def _write(figure: go.Figure, name: str) -> None:
    figure.write_image(HERE / f"{name}.png", width=820, height=figure.layout.height, scale=SCALE)


if __name__ == "__main__":
    main()
