import os
import pty
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import toy_notebooks as toy
from places import ROOT

import vxlab
from vxlab.cli import commands as cli
from vxlab.cli import shared as cli_shared
from vxlab.errors import DataWarning
from vxlab.experiments.assets import cache as assets

CHECKOUT = ROOT
ROW = {"name": "toy", "kind": "model", "download_mb": 1.5, "here": True, "licence": "MIT", "description": "small"}


def _start(folder: Path, *arguments: str, **options: object) -> "subprocess.Popen[str]":
    """Start the command line as a user does, with every warning an error."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    environment.pop("VXLAB_REPORTS", None)
    command = [sys.executable, "-W", "error", "-m", "vxlab", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload]


def test_report_prints_the_page_alone_and_progress_on_stderr(tmp_path: Path) -> None:
    toy.write(tmp_path / "rank.ipynb", toy.code("print(type(method), learning_rate, seed)"))
    texts = ("-p", "method", "007", "-p", "learning_rate", "1e-4", "-p", "seed", "-3")
    with _start(tmp_path, "report", "rank.ipynb", *texts) as process:
        printed, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    page = Path(printed.removesuffix("\n"))
    assert page.parent == tmp_path / "reports"
    assert page.name.startswith("rank--method-007--learning_rate-0.0001--seed-")
    assert "&lt;class 'str'&gt; 0.0001 -3" in page.read_text()
    assert [line.split(" · ")[0].strip() for line in said.splitlines()] == ["1/3", "2/3", "3/3"]


def test_ctrl_c_ends_with_130_one_line_no_kernel_and_no_leftovers(tmp_path: Path) -> None:
    toy.write(
        tmp_path / "slow.ipynb", toy.code("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(99)")
    )
    # What a shell starts in the background, this suite perhaps, ignores Ctrl-C, and hands that on to what it starts.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with _start(tmp_path, "report", "slow.ipynb", **heeding) as process:
        kernel = _appears(tmp_path / "pid")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (printed, said.splitlines()[1:]) == ("", ["vxlab: stopped by Ctrl-C"])
    assert list((tmp_path / "reports").iterdir()) == []
    assert _gone(kernel)


def _appears(path: Path) -> int:
    for _ in range(400):
        if path.is_file() and (text := path.read_text()):
            return int(text)
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def _gone(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_terminal_sees_the_running_cells_last_line(tmp_path: Path) -> None:
    speak = "import time\nprint('epoch 1')\nprint('epoch 2', end='', flush=True)\ntime.sleep(2.5)"
    toy.write(tmp_path / "live.ipynb", toy.text("## Training"), toy.code(speak))
    ours, theirs = pty.openpty()
    with _start(tmp_path, "report", "live.ipynb", stderr=theirs) as process:
        os.close(theirs)
        seen = _read_all(ours)
    assert process.returncode == 0
    assert "\r\x1b[K 2/2 · Training · " in seen
    assert " s · epoch 2" in seen
    assert "epoch 1\r\x1b" not in seen


def _read_all(terminal: int) -> str:
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other side has closed
            chunk = b""
        if not chunk:
            os.close(terminal)
            return seen.decode()
        seen += chunk


@pytest.fixture
def notebook(tmp_path: Path) -> str:
    return str(toy.write(tmp_path / "rank.ipynb"))


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vxlab: ")
    return captured.err


def test_bad_input_is_one_line_and_code_2(notebook: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "parameter rank: 'x' is not of type int" in _refused(capsys, "report", notebook, "-p", "rank", "x")
    assert "did you mean 'rank'?" in _refused(capsys, "report", notebook, "-p", "rnak", "8")
    twice = ("-p", "rank", "8", "-p", "rank", "9")
    assert "parameter rank is given twice" in _refused(capsys, "report", notebook, *twice)
    assert "no notebook 'nowhere.ipynb'" in _refused(capsys, "report", "nowhere.ipynb")


@pytest.mark.parametrize(
    ("given", "rank", "learning_rate", "sizes"),
    [
        (["-p", "rank", "-3", "-p", "learning_rate", "-1e-3", "-p", "sizes", "-1,2"], -3, -1e-3, [-1, 2]),
        (["-p", "rank=-3", "-p", "learning_rate=-1e-3", "-psizes=-1,2"], -3, -1e-3, [-1, 2]),
    ],
)
def test_a_value_may_begin_with_a_minus_sign(  # type: ignore[no-untyped-def]
    given, rank, learning_rate, sizes, notebook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.views import reports

    made: list[dict[str, object]] = []
    monkeypatch.setattr(reports, "report", lambda name, values: made.append(values))
    assert cli.main(["report", notebook, *given]) == 0
    assert made == [{"rank": rank, "learning_rate": learning_rate, "sizes": sizes}]


def test_options_of_an_engine_may_begin_with_a_minus_sign(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("candidates: [{method: lora}]")
    refused = _refused(capsys, "sweep", str(tmp_path / "a.yaml"), "--engine", "ray", "-o", "gpus_per_run", "-0.5e0")
    assert "gpus_per_run=-0.5" in refused


@pytest.mark.parametrize("given", [["-p", "rank"], ["-p", "rank", "--list"], ["-p", "=8"], ["-p"]])
def test_a_name_without_a_value_is_refused(given: list[str], notebook: str, capsys) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit, match="2"):
        cli.main(["report", notebook, *given])
    assert "argument -p" in capsys.readouterr().err.splitlines()[-1]


def test_a_reader_that_leaves_ends_a_listing_quietly(tmp_path: Path) -> None:
    """As in ``vxlab report --list | head``: no traceback, and the code that a shell knows a broken pipe by."""
    with _start(tmp_path, "report", "--list") as process:
        process.stdout.close()  # type: ignore[union-attr]
        said = process.stderr.read()  # type: ignore[union-attr]
    assert (process.wait(), said) == (141, "")


def test_a_broken_pipe_of_another_kind_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise BrokenPipeError(32, "a worker's")

    monkeypatch.setattr(assets, "status", broken)
    with pytest.raises(BrokenPipeError, match="a worker's"):
        cli.main(["assets"])


def test_several_reports_end_in_the_index_and_in_1_where_one_failed(
    notebook: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.views.reports import make_report

    def made(source: Path, values: dict[str, object], **_: object) -> str:
        if values["rank"] == 9 and source.stem == "bad":
            raise vxlab.VxlabError("bad failed in cell 2")
        return f"{source.stem}.html"

    monkeypatch.setattr(make_report, "report", made)
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path / "kept"))
    bad = str(toy.write(tmp_path / "bad.ipynb"))
    assert cli.main(["report", notebook, bad, "-p", "rank", "8"]) == 0
    assert capsys.readouterr().out.splitlines() == ["rank.html", "bad.html", str(tmp_path / "kept" / "index.html")]
    assert cli.main(["report", bad, notebook, "-p", "rank", "9"]) == 1
    told = capsys.readouterr()
    assert "vxlab: bad failed in cell 2\n" in told.err
    assert told.out.splitlines()[0] == "rank.html"
    assert "--parameters lists those of one notebook" in _refused(capsys, "report", bad, notebook, "--parameters")
    assert "did you mean 'rank'?" in _refused(capsys, "report", bad, notebook, "-p", "rnak", "9")


def test_errors_that_are_not_the_users_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(assets, "status", broken)
    with pytest.raises(ValueError, match="a defect"):
        cli.main(["assets"])


def test_a_missing_package_names_the_extra(notebook: str, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cli_shared, "find_spec", lambda name: None if name == "papermill" else object())
    assert "papermill is not installed; run: pip install 'vxlab[notebooks]'" in _refused(capsys, "report", notebook)


def test_parameters_are_listed_as_the_command_line_takes_them(notebook: str, capsys) -> None:  # type: ignore[no-untyped-def]
    assert cli.main(["report", notebook, "--parameters"]) == 0
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["name", "type", "default", "help"]
    assert ["kinds", "list[str]", "query,value", "roles"] in lines
    assert ["merged", "bool", "false", "merge before scoring"] in lines


@pytest.mark.parametrize("arguments", [["report"], ["report", "--list"]])
def test_notebooks_are_listed_with_their_question(arguments: list[str], capsys, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from vxlab.views.reports import notebooks

    toy.write(tmp_path / "01_fine_tune.ipynb")
    monkeypatch.setattr(notebooks, "shipped_path", lambda *parts: tmp_path.joinpath(*parts[1:]))
    assert cli.main(arguments) == 0
    expected = "01_fine_tune\n    What does rank buy?\n    Does more rank help, and by how much?\n"
    assert capsys.readouterr().out.startswith(expected)


def test_assets_are_listed_fetched_and_verified(capsys, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(assets, "status", lambda: [ROW | {"folder": str(tmp_path)}])
    monkeypatch.setattr(assets, "fetch", lambda name: tmp_path / name)
    monkeypatch.setattr(assets, "verify", lambda name: ["model.safetensors"] if name == "broken" else [])
    assert cli.main(["assets"]) == 0
    assert capsys.readouterr().out.startswith(f"toy · model · 1.5 MB · here · MIT\n    small\n    {tmp_path}\n")
    assert cli.main(["assets", "toy", "other"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'toy'}\n{tmp_path / 'other'}\n"
    assert cli.main(["assets", "--verify"]) == 0
    assert capsys.readouterr().out == "toy: good\n"
    assert cli.main(["assets", "--verify", "broken"]) == 1
    assert capsys.readouterr().out == "broken: missing or damaged: model.safetensors\n"


def test_an_unknown_asset_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "minilm" in _refused(capsys, "assets", "minlm")


@pytest.mark.parametrize("arguments", [["report", "a", "--bad"], ["assets", "--bad"], ["nonsense"], []])
def test_only_lab_passes_other_options_on(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


def test_lab_passes_other_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from vxlab.views import reports

    passed: list[object] = []
    monkeypatch.setattr(reports, "lab", passed.append)
    assert cli.main(["lab", "--no-browser", "--port=1"]) == 0
    assert passed == [["--no-browser", "--port=1"]]


def test_what_vxlab_warns_of_is_printed_without_a_line_of_code() -> None:
    usual = warnings.formatwarning("theirs", UserWarning, "their.py", 1)
    with cli_shared.plain_warnings():
        assert warnings.formatwarning("a url://me:pass@host", DataWarning, "m.py", 1) == "vxlab: a url://me:***@host\n"
        assert warnings.formatwarning("theirs", UserWarning, "their.py", 1) == usual


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("vxlab ")
    assert vxlab.VxlabError is cli.VxlabError


def _sweep_file(model: str, task: str, folder: Path, protocol: str = "") -> str:
    path = folder / "sweep.yaml"
    path.write_text(
        f"model: {model}\ntask: {task}\nepochs: 1\nbatch_size: 8\nmax_length: 16\ndevice: cpu\n{protocol}"
        "candidates: [{method: lora, rank: [2, 4]}]\n"
    )
    return str(path)


FAIR = "learning_rates: 2\nreport_seeds: 1\nwiden: 0\n"


def test_sweep_plans_trains_and_tells(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _sweep_file(tiny_model, toy_task, tmp_path, FAIR)
    where = ["--store", str(tmp_path / "runs.db")]
    assert cli.main(["sweep", file, "--plan", *where]) == 0
    assert capsys.readouterr().out.startswith("6 runs: 4 to tune and 2 to report. About ")
    assert cli.main(["sweep", file, *where, "--export", str(tmp_path / "runs.csv")]) == 0
    told = capsys.readouterr().out
    assert "LoRA r=2" in told
    assert "the trivial answer (most frequent class: accuracy " in told
    assert "seeds" in told
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 7


def test_a_grid_ends_in_its_counts_and_fails_with_its_runs(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.sweeps import worker as worker_module

    def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(worker_module, "train_job", broken)
    file = _sweep_file(tiny_model, toy_task, tmp_path, "protocol: grid\nlearning_rates: [1e-3]\n")
    assert cli.main(["sweep", file, "--store", str(tmp_path / "runs.db")]) == 1
    assert "2 failed" in " ".join(capsys.readouterr().out.split())


def test_a_sweep_trains_nothing_where_it_may_not(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _sweep_file(tiny_model, toy_task, tmp_path, "protocol: grid\nlearning_rates: [1e-3]\n")
    assert cli.main(["sweep", file, "--store", str(tmp_path / "runs.db"), "--no-train"]) == 2
    assert "lacks 2 of 2 runs: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["sweep", file, "--fresh", "--no-train"])
    assert "--no-train: not allowed with argument --fresh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "sweep file 'nowhere.yaml' cannot be read: No such file"),
        (["FILE", "--engine", "threads"], "engine='threads' is unknown"),
        (["FILE", "--store", "mysql://host/db"], "mysql"),
        (["FILE", "--export", "runs.xlsx"], "ends in '.xlsx'; choose .parquet or .csv"),
        (["FILE", "--export", "FILE/runs.csv"], "sweep.yaml is no folder"),
        (["FILE", "--export", "TMP.csv"], "it is a folder; name a file"),
        (["FILE", "--workers", "0"], "workers=0"),
        (["FILE", "--engine", "rya"], "engine='rya' is unknown; did you mean 'ray'?"),
        (["FILE", "-o", "gpus_per_run", "0.5"], "engine='inline' has no option 'gpus_per_run'"),
        (["FILE", "-o", "a=1", "-o", "a", "2"], "a is given twice"),
        (["TMP.csv"], "cannot be read: Is a directory"),
        (["FILE", "--margin", "2"], "margin=2: a loss of score lies between 0 and 1"),
    ],
)
def test_sweep_refuses_what_it_cannot_do(
    arguments: list[str],
    message: str,
    tiny_model: str,
    toy_task: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vxlab.experiments.sweeps.compare", None)  # refused before anything trains
    file = _sweep_file(tiny_model, toy_task, tmp_path, FAIR)
    (tmp_path / "folder.csv").mkdir()
    named = [each.replace("FILE", file).replace("TMP.csv", str(tmp_path / "folder.csv")) for each in arguments]
    store = [] if "--store" in arguments else ["--store", str(tmp_path / "runs.db")]
    assert cli.main(["sweep", *named, *store]) == 2
    assert message in capsys.readouterr().err
