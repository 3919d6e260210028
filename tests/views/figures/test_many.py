"""Figures of very many adapters: marks stand where the tables say, in the units that the axes name."""

import pandas as pd
import pytest

from vxlab.views.figures import many as figures

NAN = float("nan")


def growth() -> pd.DataFrame:
    rows = [
        ("A", 1_000, True, 1e6, 0.002, 2e-5, 2e-4), ("A", 1_000_000, False, 1e9, NAN, NAN, NAN),
        ("B <i>", 1_000, True, 2e6, 0.003, 3e-5, 3e-4), ("B <i>", 1_000_000, True, 2e9, 0.004, 3e-5, 4e-4),
    ]  # fmt: skip
    columns = ["candidate", "adapters", "written", "file_bytes", "open_seconds", "row_seconds", "batch_seconds"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(copy_bytes=9e7 * table["adapters"])


def test_a_bank_that_was_not_written_is_hollow() -> None:
    figure = figures.bank_bytes(growth())
    drawn = {trace.name: trace for trace in figure.data}
    assert list(drawn["A"].marker.symbol) == ["circle", "circle-open"]
    assert list(drawn["B &lt;i&gt;"].y) == [2e6, 2e9]
    assert list(drawn["whole models, tuned in full"].y) == [9e10, 9e13]
    assert "not written, in proportion" in drawn
    assert list(figure.layout.xaxis.ticktext) == ["1k", "1M"]


def test_where_all_were_written_no_mark_is_explained_that_is_not_there() -> None:
    figure = figures.bank_bytes(growth().assign(written=True))
    assert "not written, in proportion" not in [trace.name for trace in figure.data]


def test_times_are_milliseconds_of_banks_that_were_written() -> None:
    figure = figures.bank_times(growth())
    opening = [trace for trace in figure.data if trace.name == "opening the bank"]
    assert [list(trace.x) for trace in opening] == [[1_000], [1_000, 1_000_000]]
    assert list(opening[1].y) == [3, 4]
    assert [trace.showlegend for trace in opening] == [True, False]


def throughput() -> pd.DataFrame:
    rows = [
        ("LoRA", "one pass", 16, 0.9, 0.85, 0.95, 1.0, 1.1, 10.0), ("VeRA", "decode", 1, 1.1, NAN, NAN, 1.0, 0.9, NAN),
    ]  # fmt: skip
    columns = ["candidate", "stage", "tokens", "speed", "speed_low", "speed_high", "one", "mixed", "peft"]
    return pd.DataFrame(rows, columns=columns)


def test_speeds_stand_beside_one_adapters_and_pefts_where_it_has_such_batches() -> None:
    figure = figures.mixed_speed(throughput())
    ours, theirs = figure.data[:2]
    assert list(ours.x) == [0.9, 1.1]
    assert list(ours.y) == ["LoRA, 16 tokens a row", "VeRA, decode, a token a row"]
    assert ours.error_x.array[0] == pytest.approx(0.05)
    assert (list(theirs.x), list(theirs.y)) == ([0.1], ["LoRA, 16 tokens a row"])
    assert "PEFT" not in " ".join(str(t.name) for t in figures.mixed_speed(throughput().assign(peft=NAN)).data)


def pace() -> pd.DataFrame:
    rows = [("A", 8, 24, 8, 1.4), ("A", 32, 48, 8, 0.9), ("A", 8, 24, 2, 1.2), ("B", 8, 24, 8, NAN)]
    table = pd.DataFrame(rows, columns=["candidate", "texts", "tokens", "width", "times_faster"])
    return table.assign(times_faster_low=NAN, times_faster_high=NAN)


def test_stacks_stand_at_the_tokens_of_a_runs_step_a_line_a_width() -> None:
    figure = figures.stacking_speed(pace())
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert drawn == {"2 runs in one pass": ([192], [1.2]), "8 runs in one pass": ([192, 1536], [1.4, 0.9])}
    assert list(figure.layout.xaxis.ticktext) == ["8×24", "32×48"]
