import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import toy_notebooks as toy
from pages import shown
from places import SUPPORT

from vxlab import VxlabError, __version__
from vxlab.views.reports import make_report as module
from vxlab.views.reports import notebooks
from vxlab.views.reports.make_report import file_stem, report, report_each

TRAIN = """\
import os, sys
from tqdm import tqdm
for step in tqdm(range(50), file=sys.stdout): pass
print("rank", rank, "seed", seed)
print(os.getcwd())
print(os.environ["VXLAB_REPORTS"])"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a notebook that succeeds and one that fails."""
    folder = tmp_path_factory.mktemp("work")
    toy.write(folder / "rank.ipynb", toy.text("## Learning curves"), toy.code(TRAIN), toy.code(toy.FIGURE))
    sometimes = f"if rank > 8:\n    {toy.FAILING}"
    toy.write(folder / "bad.ipynb", toy.text("## Conclusion"), toy.code(sometimes), toy.code("print('not reached')"))
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def good(workplace: Path) -> tuple[Path, str]:
    """The page of a run with parameters, and what was shown meanwhile."""
    shown, usual = io.StringIO(), sys.stderr
    sys.stderr = shown
    try:
        page = report("rank.ipynb", {"rank": 64, "seed": None}, folder="kept")
    finally:
        sys.stderr = usual
    return page, shown.getvalue()


def _printed(page: Path) -> str:
    notebook = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_a_report_is_an_executed_notebook_and_a_page_named_after_what_changed(
    good: tuple[Path, str], workplace: Path
) -> None:
    page, _ = good
    assert page == workplace / "kept" / "rank--rank-64.html"
    files = ["index.html", "rank--rank-64.html", "rank--rank-64.ipynb"]
    assert sorted(path.name for path in page.parent.iterdir()) == files
    html = page.read_text()
    assert "<title>What does rank buy?</title>" in html
    assert 'id="figure-1"' in html
    assert 'id="figure-2"' not in html


def test_the_kernel_gets_the_parameters_the_callers_folder_and_the_reports_folder(
    good: tuple[Path, str], workplace: Path
) -> None:
    printed = _printed(good[0])
    assert "rank 64 seed None" in printed
    assert f"\n{workplace}\n{workplace / 'kept'}\n" in printed


def test_progress_bars_leave_their_last_state_only(good: tuple[Path, str]) -> None:
    assert _printed(good[0]).count("it/s") <= 1
    assert "50/50" in _printed(good[0])


def test_progress_is_one_line_a_cell_and_nothing_else(good: tuple[Path, str]) -> None:
    lines = good[1].splitlines()
    assert [line.split(" · ")[0] for line in lines[:4]] == [" 1/4", " 2/4", " 3/4", " 4/4"]
    assert "Learning curves" in lines[2]
    # Where there is no browser that could draw it.
    assert [line for line in lines[4:] if not line.startswith("no picture of the headline figure: ")] == []


def test_the_callers_environment_is_left_as_it_was(good: tuple[Path, str]) -> None:
    assert "PYDEVD_DISABLE_FILE_VALIDATION" not in os.environ
    assert os.environ.get("VXLAB_REPORTS") != str(good[0].parent)


def test_no_path_of_this_machine_is_noted_in_the_notebook(good: tuple[Path, str]) -> None:
    noted = nbformat.read(good[0].with_suffix(".ipynb"), as_version=4).metadata["papermill"]
    assert (noted["input_path"], noted["output_path"]) == ("rank.ipynb", "rank--rank-64.ipynb")


def test_files_of_the_reports_and_of_your_home_are_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    looks = "import os\nprint(os.environ['VXLAB_REPORTS'] + '/runs.db', task, os.path.expanduser('~/x'))"
    source = toy.write(tmp_path / "where.ipynb", toy.code(looks), parameters='task: str = "toy"\nseed: int = 0')
    page = report(source, {"task": str(tmp_path / "me" / "data" / "glue")}, folder=tmp_path / "made")
    assert _printed(page) == "runs.db ~/data/glue ~/x\n"
    assert re.fullmatch(r"where--task-glue--[0-9a-f]{10}\.html", page.name)
    assert [path.name for path in page.parent.iterdir() if str(tmp_path) in path.read_text(encoding="utf-8")] == []
    assert "<strong>glue</strong>" in page.read_text(encoding="utf-8")


def test_parameters_are_refused_before_anything_runs(workplace: Path) -> None:
    with pytest.raises(VxlabError, match=r"no parameter 'rnak'; did you mean 'rank'\?"):
        report("rank.ipynb", {"rnak": 8}, folder="refused")
    assert not (workplace / "refused").exists()


def test_a_failing_cell_is_named_kept_and_harms_no_earlier_report(workplace: Path) -> None:
    folder = workplace / "failing"
    folder.mkdir()
    earlier = folder / "bad--rank-9.html"
    earlier.write_text("an earlier good report")
    with pytest.raises(VxlabError) as caught:
        report("bad.ipynb", {"rank": 9}, folder=folder)
    failed = folder / "bad--rank-9.failed.html"
    said = "bad failed in cell 3 of 4 (Conclusion): ValueError: no such column"
    assert str(caught.value).splitlines() == [said, f"what it had reached is in {failed}"]
    assert earlier.read_text() == "an earlier good report"
    assert "This run failed." in failed.read_text()
    assert "no such column" in failed.read_text()
    assert "not reached" not in _printed(failed)
    kept = {earlier.name, "bad--rank-9.failed.html", "bad--rank-9.failed.ipynb", "index.html"}
    assert {path.name for path in folder.iterdir()} == kept


def test_a_good_run_clears_the_failed_one_away(workplace: Path) -> None:
    folder = workplace / "mended"
    folder.mkdir()
    (folder / "bad.failed.html").touch()
    (folder / "bad.failed.ipynb").touch()
    report("bad.ipynb", folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["bad.html", "bad.ipynb", "index.html"]


def test_what_made_a_report_is_noted_and_shown(good: tuple[Path, str]) -> None:
    noted = nbformat.read(good[0].with_suffix(".ipynb"), as_version=4).metadata["vxlab"]
    assert {row["name"]: row["value"] for row in noted["parameters"]}["rank"] == "64"
    assert noted["versions"]["vxlab"] == __version__
    assert noted["hardware"]["threads"] > 0
    assert (noted["store"], noted["failure"]) == ("", "")
    assert f"vxlab {__version__} · Python" in good[0].read_text()
    index = (good[0].parent / "index.html").read_text()
    assert 'href="rank--rank-64.html"' in index
    assert "<code>rank = 64</code>" in index


def test_several_reports_share_parameters_and_a_failure_stops_none(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(workplace / "plain.ipynb", toy.code("print(label)"), parameters='label: str = "a"  # a name')
    failed = report_each(["bad.ipynb", "plain.ipynb", "bad.ipynb"], {"rank": "9", "label": "b"}, folder="both")
    told = capsys.readouterr()
    assert failed == ["bad"]
    both = workplace / "both"
    assert told.out.splitlines() == [str(both / "plain--label-b.html"), str(both / "index.html")]
    lines = [line for line in told.err.splitlines() if not line.startswith((" 1/", " 2/", " 3/", " 4/"))]
    assert lines[0] == "1 of 2 · bad · What does rank buy?"
    assert lines[1] == "vxlab: bad failed in cell 3 of 4 (Conclusion): ValueError: no such column"
    assert lines[3] == "2 of 2 · plain · What does rank buy?"
    assert re.fullmatch(r"1 of 2 reports made in \d.* s; failed: bad\. The index of all that lie there:", lines[-1])
    index = (both / "index.html").read_text()
    assert index.count("<article") == 2
    assert "cell 3 of 4 (Conclusion): ValueError: no such column" in index


def test_several_reports_are_refused_before_any_runs(workplace: Path) -> None:
    toy.write(workplace / "other.ipynb", parameters="depth: int = 3  # of blocks")
    names = ["rank.ipynb", "other.ipynb"]
    with pytest.raises(VxlabError, match=r"rank\.ipynb, other\.ipynb has no parameter 'rnak'; did you mean 'rank'\?"):
        report_each(names, {"rnak": "8"}, folder="none")
    with pytest.raises(VxlabError, match="parameter depth: 'deep' is not of type int"):
        report_each(names, {"depth": "deep"}, folder="none")
    with pytest.raises(VxlabError, match=r"no notebook 'nowhere\.ipynb'"):
        report_each(["rank.ipynb", "nowhere.ipynb"], {}, folder="none")
    assert not (workplace / "none").exists()


def test_all_is_every_shipped_notebook_in_order_once(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(module, "report", lambda source, values, folder: made.append(source.stem) or source)
    assert report_each(["02_rank_sweep", "all"], {}, folder="all") == []
    others = [name for name in notebooks.names() if name != "02_rank_sweep"]
    assert made == ["02_rank_sweep", *others]
    with pytest.raises(VxlabError, match=r"has no parameter 'scael'; did you mean 'scale'\?"):
        report_each(["all"], {"scael": "smoke"}, folder="all")


EXPLORER = """\
import sys
sys.path.insert(0, {tests!r})
from toy_explorer import Toy
from vxlab.views.explorers.faces import explore
class Drawn(Toy):
    def canvas(self):
        # Beside numbers: a browser cannot place "a" and "b".
        return super().canvas().update_traces(x=[0, 1], selector=1)
"""


def test_an_explorers_slider_works_in_the_page_without_kernel_or_network(
    browser: Any, workplace: Path, request: pytest.FixtureRequest
) -> None:
    cells = [EXPLORER.format(tests=str(SUPPORT)), "explore(Drawn(), interactive=True)", "explore(Drawn())"]
    toy.write(workplace / "explore.ipynb", *map(toy.code, cells))
    page = report("explore.ipynb", folder="explored")
    assert page.stat().st_size < 8_000_000
    with shown(browser, page, 1000) as tab:
        tab.wait_for_selector("#figure-1 .slider-rail-touch-rect")
        assert tab.get_by_text("An interactive control").count() == 1
        assert _state(tab) == ([1, 1, 1], "LoRA, query at 1")
        rail = tab.locator("#figure-1 .slider-rail-touch-rect").first.bounding_box()
        tab.mouse.click(rail["x"] + rail["width"] - 2, rail["y"] + rail["height"] / 2)
        tab.wait_for_function("document.querySelector('#figure-1').data[0].y[1] === 4")
        assert _state(tab) == ([1, 4, 16], "LoRA, query at 4")


def _state(tab: Any) -> tuple[list[int], str]:
    """Return what the figure draws, and its words."""
    line = tab.evaluate("[...document.querySelector('#figure-1').data[0].y]")
    return line, tab.locator("#figure-1 .annotation-text").last.text_content()


def test_a_kernel_that_dies_is_a_failed_run(workplace: Path) -> None:
    toy.write(workplace / "dies.ipynb", toy.code("import os\nos._exit(9)"))
    with pytest.raises(VxlabError, match=r"dies failed in cell 2 of 2 .*: the kernel died, most often for want of mem"):
        report("dies.ipynb", folder="dead")
    assert (workplace / "dead" / "dies.failed.html").is_file()


@pytest.mark.parametrize("name", ["mine.ipynb", "rank.ipynb", "index.html"])
def test_files_of_ones_own_are_not_written_over(name: str, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    source = toy.write(tmp_path / "reports" / name if name == "mine.ipynb" else tmp_path / "rank.ipynb")
    if name != "mine.ipynb":
        (tmp_path / "reports" / name).write_text("my own")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(VxlabError, match=rf"would be written over {name} in .*; give another folder"):
        report(source, folder=tmp_path / "reports")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_written_is_named(workplace: Path) -> None:
    (workplace / "a file").touch()
    with pytest.raises(VxlabError, match=r"cannot write the report rank into .*a file.*; free some space, or set VXL"):
        report("rank.ipynb", folder=workplace / "a file" / "reports")


def test_a_full_disk_leaves_nothing_half_written(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = nbformat.read(toy.write(workplace / "x.ipynb"), as_version=4)
    executed.metadata["papermill"] = {}
    monkeypatch.setattr(module, "execute_notebook", lambda *_: (executed, ""))
    monkeypatch.setattr(module, "to_html", _no_space)
    with pytest.raises(VxlabError, match="No space left on device; free some space"):
        report("x.ipynb", folder="full")
    assert list((workplace / "full").iterdir()) == []


def _no_space(*_: object, **__: object) -> str:
    raise OSError(28, os.strerror(28))


def test_file_names_show_plain_values_and_keep_others_apart(workplace: Path) -> None:
    source = workplace / "rank.ipynb"

    def stem(**values: object) -> str:
        return file_stem(source, values)

    assert stem() == stem(rank=8, kinds=["query", "value"]) == "rank"
    assert stem(method="lora_xs", rank=64) == "rank--method-lora_xs--rank-64"
    assert stem(learning_rate=1e-4, merged=True) == "rank--learning_rate-0.0001--merged-true"
    odd = [stem(method=text) for text in ("a/b", "a-b", "a b", "../b", "a--b", "é", "x" * 300, "x" * 301, "")]
    assert len(set(odd)) == len(odd)
    assert all(name.isascii() and "/" not in name and " " not in name and len(name) < 120 for name in odd)
