"""The manual: it builds without a warning, its links hold, every public name is in it, and it can be read."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup
from manual import DOCS, ROOT, name_of, pages
from pages import weakest_contrast
from sphinx.util.inventory import InventoryFile

from vxlab.views.reports import notebooks

LOOKED_AT = ("index.html", "start.html", "cost.html", "how_many_seeds.html", "images.html", "glossary.html",
             "notebooks/02_rank_sweep.html", "api/vxlab.html", "api/vxlab.analysis.html", "search.html")  # fmt: skip
NARROW = 400


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built manual, as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "read"), str(DOCS)]
    done = subprocess.run([*command, str(folder / "site")], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "site"


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, BeautifulSoup]:
    """Every page, parsed, by its name."""
    found = sorted({*site.rglob("*.html")} - {*site.rglob("_static/*.html")})
    return {path.relative_to(site).as_posix(): BeautifulSoup(path.read_text("utf-8"), "lxml") for path in found}


def test_make_docs_builds_it_so() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build" in makefile


def test_every_link_and_anchor_holds(site: Path, read: dict[str, BeautifulSoup]) -> None:
    anchors = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in read.items()}
    lost, counted = [], 0
    for name, page in read.items():
        for tag in page.find_all(["a", "img", "link", "script"]):
            address = tag.get("href") or tag.get("src") or ""
            if not address or urlsplit(address).scheme:
                continue
            address, anchor = urldefrag(unquote(address))
            place = urlsplit(urljoin(name, address)).path
            counted += 1
            if not (site / place).is_file() or (anchor and place in anchors and anchor not in anchors[place]):
                lost.append(f"{name}: {address}#{anchor}")
    assert counted > 5000
    assert lost == []


def test_no_page_asks_the_network_for_anything(read: dict[str, BeautifulSoup]) -> None:
    asked = [
        (name, address)
        for name, page in read.items()
        for tag in page.find_all(["img", "link", "script", "iframe"])
        if urlsplit(address := tag.get("src") or tag.get("href") or "").scheme not in ("", "data")
    ]
    assert asked == []


def test_every_public_name_has_its_place(site: Path) -> None:
    known = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    described = {name for entries in known.data.values() for name in entries}
    places = [path.parent for path in (ROOT / "vxlab").rglob("__init__.py")]
    for place in places:
        package = ".".join(place.relative_to(ROOT).parts)
        page = BeautifulSoup((site / "api" / f"{package}.html").read_text("utf-8"), "lxml").find("article")
        assert page is not None
        there = page.get_text() + " ".join(tag["id"] for tag in page.find_all(id=True))
        lost = [name for name in importlib.import_module(package).__all__ if name not in there]
        inner = {path.parent.name for path in place.glob("*/__init__.py")}
        assert set(lost) <= inner, package
    assert {"vxlab.LoRA", "vxlab.RunSpec.schedule", "vxlab.analysis.cosines", "vxlab.adapters.Family"} <= described


def test_every_notebook_has_its_page_with_its_figures(read: dict[str, BeautifulSoup]) -> None:
    for name in notebooks.names():
        page = read[f"notebooks/{name}.html"]
        committed = ROOT / "figures" / f"{name}.md"
        shown = re.findall(r"\((\w+\.png)\)", committed.read_text("utf-8")) if committed.is_file() else []
        assert [Path(tag["src"]).name for tag in page.find("article").find_all("img")] == shown, name


def test_the_readme_fits_two_screens_and_links_what_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "docs/index.md" in text


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in pages()])
def test_links_hold_where_a_page_is_read_as_it_is(page: Path) -> None:
    """On a hub, or in an editor: but for what only the manual has, pages made of docstrings and of notebooks."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    near = [link.partition("#")[0] for link in links if not urlsplit(link).scheme and not link.startswith("#")]
    made = {link for link in near if re.search(r"(^|/)(api|notebooks)/index\.(rst|md)$", link)}
    assert [link for link in near if link not in made and not (page.parent / link).exists()] == []


def test_the_table_of_seeds_is_the_study_s() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "verdicts.json").read_text(encoding="utf-8"))
    text = (DOCS / "how_many_seeds.md").read_text(encoding="utf-8")
    told = [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
            for line in text.splitlines() if re.match(r"\| [\d,]+ \|", line)]  # fmt: skip
    equal = [row for row in rows if row["kind"].startswith("equal methods") and row["candidates"] == 2]
    worse = [row for row in rows if row["kind"] == "one 8 points worse"]
    widths = {(row["items"], row["seed_sd_points"][0], row["seeds"]): row["half_width_points"] for row in equal}
    power = {(row["candidates"], row["seed_sd_points"][0], row["seeds"]): 100 * row["power"] for row in worse}
    found = {
        (int(first), float(sd), seeds): float(value)
        for first, sd, *values in told
        for seeds, value in zip((2, 3, 5), values, strict=True)
    }
    assert len(found) == len(widths) + len(power) == 36
    assert all(abs(found[key] - value) <= 0.051 for key, value in (widths | power).items())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_can_be_read_on_a_narrow_screen(site: Path, browser: Any, name: str, scheme: str) -> None:
    tab = browser.new_page(viewport={"width": NARROW, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((site / name).as_uri())
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW
    weakest = weakest_contrast(tab)
    tab.close()
    assert weakest["ratio"] >= 4.5, weakest
    assert errors == []
    assert all(url.startswith("file:") for url in asked)
