"""Make the README's figures: from the small recipes of notebooks 01 and 02, found in the store or trained now, and
07's report.

    vxlab report 07_cost
    python figures/make_figures.py [--store reports/runs.db] [--costs reports/07_cost.ipynb]

Needs Chromium or Chrome, which draws the images.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import plotly.graph_objects as go

import vxlab
from vxlab.experiments.cost_settings import cost_settings
from vxlab.experiments.hardware import describe_hardware, resolve_device, versions
from vxlab.experiments.scores import score_table
from vxlab.experiments.trained import layer_updates, load_trained
from vxlab.views import figures
from vxlab.views.sweep_figures import score_against_parameters
from vxlab.views.verdict_figures import differences

HERE = Path(__file__).parent
SCALE = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="reports/runs.db", help="where finished runs are kept, and found again")
    parser.add_argument("--costs", default="reports/07_cost.ipynb", help="notebook 07, executed")
    arguments = parser.parse_args()
    fine_tuning(arguments.store)
    rank_sweep(arguments.store)
    costs(Path(arguments.costs))


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


def costs(report: Path) -> None:
    """Draw step time against rank, as the report of the small scale has it."""
    cells = json.loads(report.read_text(encoding="utf-8"))["cells"]
    outputs = [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]
    drawn = next(data["application/vnd.plotly.v1+json"] for data in outputs if "application/vnd.plotly.v1+json" in data)
    _write(go.Figure(data=drawn["data"], layout=drawn["layout"]), "07_cost_step_time")
    settings = cost_settings("small")
    made_with = {
        "command": "vxlab report 07_cost",
        "settings": asdict(settings),
        "hardware": describe_hardware(resolve_device("auto")),
        "versions": versions(),
    }
    (HERE / "07_cost.json").write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")


def _write(figure: go.Figure, name: str) -> None:
    figure.write_image(HERE / f"{name}.png", width=820, height=figure.layout.height, scale=SCALE)


if __name__ == "__main__":
    main()
