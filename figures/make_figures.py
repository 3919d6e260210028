"""Make what the README shows: a page with figures for each report, and an image of each explorer.

    vxlab report all
    python figures/make_figures.py [NAME ...] [--reports reports]

Needs Chromium or Chrome, which draws the images. The explorers show runs of notebooks 01 and 02, from the store.
"""

import argparse
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from nbformat import NotebookNode

import vxlab
from vxlab.views.export import draw_image
from vxlab.views.reports import PLOTLY, notebooks, provenance

HERE = Path(__file__).parent
WIDTH, SCALE = 900, 2
FIGURES = {
    "01_fine_tune": ("scores accuracy", "d_norm by block"),
    "02_rank_sweep": ("scores by parameters", "differences matched parameters"),
    "03_subspaces": ("kept by role", "captured gradient"),
    "04_weight_similarity": ("cosines by block",),
    "05_expressivity": ("mean squared error of the best fit by parameters",),
    "06_start_and_parts": ("changed parts",),
    "07_cost": ("step time",),
    "08_many_adapters": ("bank bytes", "mixed batches", "stacked training"),
    "09_rank_advice": ("regret by allocation", "ranks by layer", "score by rank kept"),
    "10_generation": ("scores by parameters", "gains by metric"),
    "11_instructions": ("gain against loss", "gains by metric"),
    "12_reasoning": ("scores by set", "likelihoods by set"),
    "13_images": ("scores by shots", "changes by block"),
    "14_quantised": ("scores by base", "turned bases input", "update lost"),
    "15_atlas": ("differences by parameters", "differences by task", "mean ranks", "differences over tasks"),
}
"""By report: the names of the figures that are shown, the headline first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*FIGURES, 'explorers'])}; all where none is given")
    parser.add_argument(
        "--reports", default="reports", type=Path, help="where the executed notebooks and their runs are"
    )
    arguments = parser.parse_args()
    for name in arguments.names or [*FIGURES, "explorers"]:
        if name == "explorers":
            explorers(str(arguments.reports / "runs.db"))
        else:
            page(notebooks.load(arguments.reports / f"{name}.ipynb"), name)


def page(report: NotebookNode, name: str) -> None:
    """Write a report's question, figures, answer, parameters and environment as Markdown beside its images."""
    outputs = [
        output for cell in report.cells for output in cell.get("outputs", []) if PLOTLY in output.get("data", {})
    ]
    figures = {output.data[PLOTLY]["layout"].get("meta", {}).get("name"): output.data[PLOTLY] for output in outputs}
    images = []
    for shown in FIGURES[name]:
        images.append(f"{name}_{shown.replace(' ', '_')}.png")
        _draw({"data": figures[shown]["data"], "layout": figures[shown]["layout"]}, images[-1])
    parameters = [[f"`{row['name']}`", row["value"], row["help"]] for row in provenance.parameter_rows(report)]
    parts = [
        f"# {notebooks.heading(report)}",
        notebooks.question(report),
        *(f"![{shown}]({image})" for shown, image in zip(FIGURES[name], images, strict=True)),
        "## Conclusion",
        *_conclusion(report),
        f"## What `vxlab report {name}` made it with",
        _table([["parameter", "value", "meaning"], *parameters]),
        _table([["", ""], *provenance.describe_environment(report).items()]),
    ]
    (HERE / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _conclusion(report: NotebookNode) -> list[str]:
    found = [
        output.get("data", {}) for cell in notebooks.section(report, "Conclusion") for output in cell.get("outputs", [])
    ]
    texts = ["".join(data["text/markdown"]) for data in found if "text/markdown" in data]
    tables = [BeautifulSoup("".join(data["text/html"]), "html.parser") for data in found if "text/html" in data]
    rows = [[[cell.get_text(" ", strip=True) for cell in row(["th", "td"])] for row in table("tr")] for table in tables]
    return texts + [_table(each) for each in rows if each]


def _table(rows: list[Any]) -> str:
    lines = [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def explorers(store: str) -> None:
    """Draw each explorer, as a page without a kernel shows it, of the runs of notebooks 01 and 02."""
    sweep = vxlab.compare(vxlab.fair_recipe("small", others=["head", "probe"]), store=store, engine="processes")
    run = vxlab.run(vxlab.recipe("vera"), store=store)
    still = {"store": store, "interactive": False}
    shown = {
        "rank": vxlab.explore_rank("minilm", **still),
        "subspaces": vxlab.explore_subspaces(run, **still),
        "updates": vxlab.explore_updates(run, **still),
        "sweep": vxlab.explore_sweep(sweep, interactive=False),
        "live_run": vxlab.live_run(vxlab.recipe("vera"), **still),
    }
    for name, figure in shown.items():
        _draw(figure.to_dict(), f"explorer_{name}.png")


def _draw(figure: dict[str, Any], image: str) -> None:
    (HERE / image).write_bytes(draw_image(figure, "png", WIDTH, SCALE))


if __name__ == "__main__":
    main()
