import io
import re
import time

import toy_notebooks as toy
from nbformat.v4 import new_notebook

from vxlab.views.reports.terminal import CellLines, last_line

GOOD = {"content": {"status": "ok"}}
BAD = {"content": {"status": "error"}}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(lines: CellLines, said: str, reply: dict[str, dict[str, str]], seconds: float = 0.0) -> None:
    """Drive the hooks as nbclient does, for a notebook of a heading and one cell."""
    cells = [toy.text("## Learning curves"), toy.code("train()"), toy.code("  ")]
    hooks = lines.hooks()
    hooks["on_notebook_start"](notebook=new_notebook(cells=cells))
    for index, cell in enumerate(cells[:2]):
        hooks["on_cell_start"](cell=cell, cell_index=index)
    hooks["stdout_file"].write(said)
    time.sleep(seconds)
    hooks["on_cell_executed"](cell=cells[1], cell_index=1, execute_reply=reply)


def test_a_log_gets_one_line_for_each_finished_cell() -> None:
    stream = io.StringIO()
    with CellLines(stream) as lines:
        _run(lines, "epoch 1\n", GOOD)
    assert re.fullmatch(r" 1/1 · Learning curves · \d\.\d s\n", stream.getvalue())


def test_a_long_cell_shows_signs_of_life_with_its_last_line() -> None:
    for stream, end in ((io.StringIO(), "\n"), (Terminal(), "")):
        with CellLines(stream, pause=0.05) as lines:
            _run(lines, " 10 %|#   |\r 50 %|##  |", GOOD, seconds=0.4)
        assert re.search(rf" 1/1 · Learning curves · 0\.\d s · 50 %\|##  \|{end}", stream.getvalue())
        assert "10 %" not in stream.getvalue()


def test_a_terminals_line_is_rewritten_and_never_wraps(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with CellLines(stream, pause=0.05) as lines:
        _run(lines, "x" * 500, GOOD, seconds=0.2)
    drawn = stream.getvalue().split("\r\x1b[K")
    assert len(drawn) > 3
    assert max(len(line.rstrip("\n")) for line in drawn) <= 39
    assert stream.getvalue().count("\n") == 1


def test_a_failed_cell_is_said_to_have_failed() -> None:
    stream = io.StringIO()
    with CellLines(stream) as lines:
        _run(lines, "", BAD)
        assert lines.where() == "cell 1 of 1 (Learning curves)"
    assert stream.getvalue().endswith("· failed\n")


def test_last_line_joins_chunks_and_drops_colours() -> None:
    assert last_line("") == ""
    assert last_line("\n\n  \n") == ""
    assert last_line("first\nsec" + "ond") == "second"
    assert last_line("\x1b[31mred\x1b[0m\r\n") == "red"
