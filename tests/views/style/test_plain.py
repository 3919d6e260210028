"""What comes from data is text: names with markup in them, planted in stores and tables, act nowhere."""

import inspect
import json
import re
from pathlib import Path

import gallery
import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_records
import toy_tables
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored import SweepTables, stored_sweeps
from vxlab.views.explorers.explorer import View
from vxlab.views.explorers.faces import explore
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.explorers.sweep.faces import explore_sweep
from vxlab.views.explorers.sweep.widget import SweepWidget
from vxlab.views.reports.index import write_index
from vxlab.views.reports.page import to_html
from vxlab.views.style.markdown import Markdown
from vxlab.views.style.plain import escape, escape_all
from vxlab.views.style.theme import apply_style

IMAGE, LINK = "<img src=x onerror=alert(1)>", '<a href="javascript:alert(1)">a</a>'
EVIL = IMAGE + LINK
ACTS = re.compile(r"<img|<a\b[^>]*javascript|\]\(javascript", re.IGNORECASE)
FREE = {"candidate", "targets", "role", "label", "answer", "sentence", "a", "b", "kind", "variant", "part", "setting",
        "lora", "vera", "update", "of", "name"}  # fmt: skip
"""Columns of the figures' tables whose texts a user, or a user's data, chooses."""
MODULES = (gallery.advisor_figures, gallery.capture_figures, gallery.cost_figures, gallery.curve_figures,
           gallery.expressivity_figures, gallery.figures, gallery.parts_figures, gallery.similarity_figures,
           gallery.subspace_figures, gallery.sweep_figures, gallery.tuning_figures,
           gallery.verdict_figures)  # fmt: skip


def poisoned(value):
    """Return a value with markup behind every name in it."""
    if isinstance(value, pd.DataFrame):
        own = {name: value[name].map(poisoned) for name in FREE & set(value.columns)}
        return value.assign(**own)
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    if isinstance(value, dict):
        return {poisoned(name): each for name, each in value.items()}
    return value + EVIL if isinstance(value, str) and value not in KEPT else value


KEPT = {"", "W"}


@pytest.fixture(scope="module")
def figures():
    """Return the gallery's figures, drawn of poisoned tables."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            for name, draw in inspect.getmembers(module, inspect.isfunction):
                if hasattr(draw, "__wrapped__") and draw.__module__ == module.__name__:
                    patch.setattr(module, name, _of_poison(draw))
        patch.setattr(gallery, "_of_explorers", lambda folder: {})  # their names are poisoned below
        return gallery.every_figure.__wrapped__()


def _of_poison(draw):
    plain = ("metric", "title", "column", "axis", "side")

    def drawing(*args, **kwargs):
        given = inspect.signature(draw).bind(*args, **kwargs)
        for name, value in given.arguments.items():
            given.arguments[name] = value if name in plain else poisoned(value)
        return draw(*given.args, **given.kwargs)

    return drawing


def texts(value):
    """Yield every text in a figure's JSON that a page draws."""
    if isinstance(value, str):
        yield value
    if isinstance(value, dict):
        value = [each for name, each in value.items() if name != "legendgroup"]  # drawn nowhere
    for each in value if isinstance(value, list) else ():
        yield from texts(each)


def test_every_figure_shows_names_as_text(figures):
    drawn = {name: list(texts(json.loads(figure.to_json()))) for name, figure in figures.items()}
    assert [(name, text) for name, said in drawn.items() for text in said if ACTS.search(text)] == []
    named = [name for name, said in drawn.items() if any("&lt;img" in text for text in said)]
    assert len(named) > 0.75 * len(drawn), set(drawn) - set(named)


def hostile_sweep():
    names = {"candidate": lambda text: text + EVIL, "targets": lambda text: text + EVIL}
    own = [table.assign(**{name: table[name].map(change) for name, change in names.items() if name in table})
           for table in (toy_tables.runs(), toy_tables.tuning(), toy_tables.summary())]  # fmt: skip
    pairs = toy_tables.pairs()
    pairs = pairs.assign(**{name: pairs[name] + EVIL for name in ("a", "b", "sentence")})
    own = [table.assign(method=table["method"] + EVIL) if "method" in table else table for table in own]
    return SweepTables(
        f"rte{EVIL}, minilm", "rte", "accuracy", HeldOut(200, 0.5), *own, pairs, {}, notes=(f"Not alike: {EVIL}",)
    )


def test_the_sweep_explorer_shows_names_as_text_in_both_faces():
    other = hostile_sweep()._replace(name="other")
    explorer = SweepExplorer([hostile_sweep(), other], {})
    still = list(texts(json.loads(explore(SweepExplorer([hostile_sweep()], {}), interactive=False).to_json())))
    assert [text for text in still if ACTS.search(text)] == []
    assert any("&lt;img" in text for text in still)
    live = SweepWidget(explorer)
    shown = [live.words.value, live.table.value, *texts(live.figure.to_dict())]
    assert [text for text in shown if ACTS.search(text)] == []
    assert "&lt;img" in live.words.value
    assert "&lt;img" in live.table.value
    assert live.slider.value.endswith(EVIL)  # a menu's own texts are no markup


class Named:
    """An explorer of one hostile choice."""

    menus, slider = ("method",), "rank"

    def offered(self):
        return {(name,): [(name, name), ("r=2", "r=2")] for name in (f"{EVIL} one", f"{EVIL} two")}

    def canvas(self):
        return apply_style(go.Figure(go.Scatter(y=[1])), height=300)

    def view(self, choice, stop):
        return View([{}], [escape(stop)], {}, pd.DataFrame({EVIL: [stop]}))


@pytest.mark.parametrize("interactive", [True, False])
def test_an_explorers_menus_stops_and_tables_are_text(interactive):
    face = explore(Named(), interactive=interactive)
    shown = [face.words.value, face.table.value] if interactive else list(texts(json.loads(face.to_json())))
    assert [text for text in shown if ACTS.search(text)] == []
    assert sum("&lt;img" in text for text in shown) >= 2


@pytest.fixture
def hostile_store(tmp_path):
    """A store as somebody else may have filled it."""
    record_of = toy_records.stored_record
    with Store(tmp_path / "shared") as store:
        for number, (rank, seed) in enumerate([(4, 0), (4, 1), (8, 0)]):
            method = {"name": f"own{EVIL}", "rank": rank}
            spec = toy_records.toy_spec() | {"method": method, "seed": seed, "targets": f".*query{IMAGE}"}
            spec |= {"task": f"task{EVIL}", "model": f"model{EVIL}"}
            store.finish(record_of(store.folder, toy_records.key_of(number), spec=spec), "host:1:0.0:me")
        yield store


def test_a_hostile_store_is_text_in_explorers(hostile_store):
    assert IMAGE in str(hostile_store.table()["targets"].iloc[0])
    assert len(stored_sweeps(hostile_store)) == 1
    still = list(texts(json.loads(explore_sweep(hostile_store, interactive=False).to_json())))
    live = explore_sweep(hostile_store, interactive=True)
    shown = [*still, live.words.value, live.table.value]
    assert [text for text in shown if ACTS.search(text)] == []
    assert any("&lt;img" in text for text in shown)


def test_sentences_make_no_html_and_no_link():
    said = Markdown(
        f"**{EVIL}** [a](javascript:alert(1)) <javascript:alert(1)> `{EVIL}`\n\n[b]: javascript:alert(2)\n\n[a][b]"
    ).data
    assert not ACTS.search(said)
    assert "[b]:" not in said
    assert "](" not in said
    assert Markdown("> **a** `b[0]` p < 0.05, 3 <4\n- c").data == "> **a** `b[0]` p < 0.05, 3 <4\n- c"


def test_a_table_is_escaped_whole_and_keeps_its_numbers():
    table = pd.DataFrame({EVIL: ["a", EVIL], "n": [1, 2], "x": [0.5, None]}, index=["r", EVIL])
    shown = escape_all(table)
    assert not ACTS.search(shown.style.format(precision=1).to_html())
    assert list(shown.dtypes[1:]) == list(table.dtypes[1:])
    assert table.columns[0] == EVIL
    nested = table.set_index([EVIL, "n"]).T
    assert not ACTS.search(escape_all(nested).style.to_html())


def _report(*outputs):
    cells = [new_markdown_cell("# What?\n\nDoes it act?"), new_markdown_cell("## Conclusion")]
    executed = new_notebook(cells=[*cells, new_code_cell("1", outputs=list(outputs))])
    executed.metadata["papermill"] = {"parameters": {}}
    executed.metadata["vxlab"] = {
        "parameters": [{"name": "task", "value": EVIL, "default": "none", "help": "x"}], "failure": EVIL,
    }  # fmt: skip
    return executed


def _display(**data):
    return new_output("display_data", data={kind.replace("_", "/"): content for kind, content in data.items()})


def _acted(browser, page):
    """Return what a page asked for beside itself, the dialogs it opened, and its title."""
    tab, asked, dialogs = browser.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    tab.goto(page.as_uri())
    tab.wait_for_timeout(500)
    for link in tab.locator("a[href^=javascript]").all():
        link.dispatch_event("click")
    title = tab.title()
    tab.close()
    return [url for url in asked if url != page.as_uri()], dialogs, title


def test_a_report_and_the_index_of_hostile_names_do_nothing_in_a_browser(browser, hostile_store, tmp_path, figures):
    table = escape_all(hostile_store.table()[["model", "task", "targets"]])
    outputs = [
        _display(text_html=table.style.hide(axis="index").to_html()),
        _display(text_markdown=Markdown(f"- {EVIL}").data),
        new_output("stream", text=EVIL), new_output("error", ename="ValueError", evalue=EVIL, traceback=[EVIL]),
    ]  # fmt: skip
    drawn = (explore_sweep(hostile_store, interactive=False), figures["differences"], figures["scores"])
    outputs += [_display(**{"application_vnd.plotly.v1+json": json.loads(figure.to_json())}) for figure in drawn]
    executed = _report(*outputs)
    (tmp_path / "made").mkdir()
    nbformat.write(executed, tmp_path / "made" / "a.ipynb")
    page = tmp_path / "made" / "a.html"
    page.write_text(to_html(executed, f"title {EVIL}", failure=EVIL), encoding="utf-8")
    for path in (page, write_index(tmp_path / "made")):
        assert not re.search(r"<img[^>]*onerror|<a\b[^>]*javascript", path.read_text(encoding="utf-8"))
        asked, dialogs, _ = _acted(browser, path)
        assert (asked, dialogs) == ([], []), path


def test_what_slips_in_raw_is_stopped_by_the_pages_own_policy(browser, tmp_path):
    raw = "<img src='data:,' onerror=\"document.title='ran'\"><a href=\"javascript:document.title='ran'\">a</a>"
    executed = _report(_display(text_html=raw + "<script>document.title = 'a script of the notebook'</script>"))
    executed.metadata["vxlab"] = {}
    nbformat.write(executed, tmp_path / "a.ipynb")
    page = tmp_path / "a.html"
    page.write_text(to_html(executed, "title"), encoding="utf-8")
    assert _acted(browser, page)[1:] == ([], "a script of the notebook")
    index = write_index(tmp_path)
    assert not re.search("onerror|javascript:", index.read_text(encoding="utf-8"))
    assert _acted(browser, index)[2] == "What the notebooks found"


def test_every_figure_that_takes_tables_takes_them_as_text():
    loose = [
        f"{path.name}: {name}"
        for path in sorted(Path(gallery.figures.__file__).parent.glob("*.py"))
        for mark, name in re.findall(
            r"(@draws_text\n)?def ([a-z]\w*)\([^)]*pd\.DataFrame[^)]*\) -> go\.Figure", path.read_text(encoding="utf-8")
        )
        if not mark
    ]
    assert loose == []
