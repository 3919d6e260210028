"""Engines: every job ends in one outcome, and a job that raises or dies takes no other with it."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import toy_jobs
from places import SUPPORT
from toy_jobs import drained, gone, marks, outcomes

from vxlab.errors import VxlabError
from vxlab.experiments.engines import ENGINES, Engine, make_engine
from vxlab.experiments.engines.base import perform, unpack_outcome
from vxlab.experiments.engines.failures import death, describe_failure

pytestmark = pytest.mark.alone
TESTS = SUPPORT


@pytest.fixture(scope="module")
def processes() -> Iterator[Engine]:
    """Return an engine of two workers that these tests share, as the jobs of a sweep do."""
    with make_engine("processes", workers=2) as engine:
        yield engine


@pytest.fixture(params=["inline", "processes"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "processes":
        yield request.getfixturevalue("processes")
    else:
        with make_engine("inline") as made:
            yield made


def test_every_job_gives_its_value_once(engine: Engine) -> None:
    jobs = [(f"job {number}", toy_jobs.double, number) for number in range(7)]
    got = outcomes(engine, *jobs)
    assert {key: outcome.value for key, outcome in got.items()} == {f"job {n}": 2 * n for n in range(7)}
    assert not any(outcome.error or outcome.traceback or outcome.lost for outcome in got.values())


def test_a_key_may_be_empty(engine: Engine) -> None:
    assert outcomes(engine, ("", toy_jobs.double, 4))[""].value == 8


def test_a_job_that_raises_comes_back_with_its_traceback_and_stops_no_other(engine: Engine) -> None:
    got = outcomes(engine, ("bad", toy_jobs.fail, "rank=0\nis too low"), ("good", toy_jobs.double, 1))
    assert got["good"].value == 2
    assert got["bad"].error == "ValueError: rank=0 is too low"
    assert not got["bad"].lost
    lines = got["bad"].traceback.splitlines()
    assert "toy_jobs.py" in lines[1]  # the first frame is the job's, not the engine's
    assert "raise ValueError" in got["bad"].traceback


def test_an_exception_that_cannot_be_pickled_comes_back_all_the_same(engine: Engine) -> None:
    got = outcomes(engine, ("bad", toy_jobs.fail_stubbornly))["bad"]
    assert got.error == "StubbornError: two words in two lines"
    assert "fail_stubbornly" in got.traceback


def test_memory_that_ran_out_is_said_with_advice(engine: Engine) -> None:
    got = outcomes(engine, ("big", toy_jobs.exhaust_memory))["big"]
    assert got.error.startswith("RuntimeError: out of memory; use a smaller batch_size, max_length or resolution")
    assert ("fewer workers" in got.error) == (engine.slots > 1)
    assert not got.lost


def test_nothing_submitted_is_no_wait(engine: Engine) -> None:
    started = time.monotonic()
    assert engine.finished(timeout=30) == []
    assert time.monotonic() - started < 5


def test_files_are_shared_on_one_machine(engine: Engine) -> None:
    assert engine.shared_files
    assert outcomes(engine, ("who", toy_jobs.who))["who"].value["files_of_driver"]


# Inline


def test_inline_runs_here_in_the_order_of_submission_and_when_asked() -> None:
    ran: list[int] = []
    with make_engine("inline") as engine:
        for number in range(3):
            engine.submit(str(number), ran.append, number)
        assert ran == []
        assert [outcome.key for outcome in engine.finished(timeout=0)] == ["0"]
        assert ran == [0]
    assert engine.finished(timeout=0) == []  # leaving drops what is left
    assert ran == [0]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_inline_lets_an_interrupt_pass(kind: type[BaseException]) -> None:
    def interrupted() -> None:
        raise kind

    with make_engine("inline") as engine:
        engine.submit("job", interrupted)
        with pytest.raises(kind):
            engine.finished(timeout=0)


# Processes


def test_a_worker_stays_for_the_next_job(processes: Engine) -> None:
    first = {o.value["pid"] for o in outcomes(processes, ("a", toy_jobs.who), ("b", toy_jobs.who)).values()}
    again = {o.value["pid"] for o in outcomes(processes, ("a", toy_jobs.who), ("b", toy_jobs.who)).values()}
    assert first == again
    assert os.getpid() not in first


def test_jobs_run_at_once_and_come_in_the_order_of_their_ends(processes: Engine) -> None:
    outcomes(processes, ("a", toy_jobs.double, 1), ("b", toy_jobs.double, 1))  # both workers are up
    processes.submit("slow", toy_jobs.double, 1, 1.0)
    processes.submit("fast", toy_jobs.double, 2, 0.0)
    assert [outcome.key for outcome in processes.finished(timeout=10)] == ["fast"]
    assert [outcome.key for outcome in processes.finished(timeout=10)] == ["slow"]


def test_waiting_ends_with_the_timeout(processes: Engine) -> None:
    processes.submit("slow", toy_jobs.double, 1, 2.0)
    started = time.monotonic()
    assert processes.finished(timeout=0.2) == []
    assert 0.15 < time.monotonic() - started < 1.5
    assert drained(processes, 1)["slow"].value == 2


def test_the_workers_share_the_cores(processes: Engine) -> None:
    cores = len(os.sched_getaffinity(0))
    seen = outcomes(processes, ("who", toy_jobs.who))["who"].value
    assert seen["threads"] == max(1, cores // 2)
    assert seen["OMP_NUM_THREADS"] == str(seen["threads"])


def test_starting_workers_leaves_this_process_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with make_engine("processes", workers=1) as engine:
        outcomes(engine, ("who", toy_jobs.who))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_each_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with make_engine("processes") as engine:
        assert engine.slots == 2
        got = outcomes(engine, ("a", toy_jobs.who), ("b", toy_jobs.who))
    assert {outcome.value["CUDA_VISIBLE_DEVICES"] for outcome in got.values()} == {"3", "5"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"


def test_a_killed_worker_is_lost_with_its_own_job_alone_and_replaced(processes: Engine) -> None:
    before = outcomes(processes, ("a", toy_jobs.double, 1), ("b", toy_jobs.double, 1))
    assert len(before) == 2
    got = outcomes(processes, ("dies", toy_jobs.be_killed), ("lives", toy_jobs.double, 3, 1.0))
    assert got["lives"].value == 6
    assert got["dies"].lost
    assert got["dies"].error.startswith("worker killed (SIGKILL): often the system out of memory; use a smaller")
    after = outcomes(processes, *((str(n), toy_jobs.double, n, 0.2) for n in range(4)))
    assert {outcome.value for outcome in after.values()} == {0, 2, 4, 6}


def test_a_worker_killed_while_idle_is_replaced(processes: Engine) -> None:
    pids = {o.value["pid"] for o in outcomes(processes, ("a", toy_jobs.who), ("b", toy_jobs.who)).values()}
    for pid in pids:
        psutil.Process(pid).kill()
    gone(pids)
    got = outcomes(processes, ("a", toy_jobs.who), ("b", toy_jobs.who))
    assert not {outcome.value["pid"] for outcome in got.values()} & pids


def test_a_worker_that_exits_is_lost_but_one_that_asks_to_is_not(processes: Engine) -> None:
    got = outcomes(processes, ("vanishes", toy_jobs.vanish, 3), ("leaves", toy_jobs.leave, 4))
    assert got["vanishes"].lost
    assert got["vanishes"].error == "worker ended (exit code 3)"
    assert not got["leaves"].lost
    assert got["leaves"].error == "SystemExit: 4"


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda: 0, (), "TypeError: the job cannot be sent to a worker: .*"),
        (toy_jobs.return_a_lambda, (), "TypeError: what the job returned cannot be pickled: .*"),
    ],
)
def test_what_cannot_be_pickled_is_a_failure_of_its_job(
    processes: Engine, function: Callable[..., Any], args: tuple[Any, ...], message: str
) -> None:
    got = outcomes(processes, ("bad", function, *args), ("good", toy_jobs.double, 1))
    assert got["good"].value == 2
    assert not got["bad"].lost
    assert re.fullmatch(message, got["bad"].error)


def test_tensors_come_back_by_value(processes: Engine) -> None:
    got = outcomes(processes, ("ones", torch.ones, 3), ("dies", toy_jobs.be_killed))
    assert torch.equal(got["ones"].value, torch.ones(3))


def test_leaving_ends_the_workers_whatever_they_are_at(tmp_path: Path) -> None:
    with make_engine("processes", workers=2) as engine:
        pids = {outcome.value["pid"] for outcome in outcomes(engine, ("a", toy_jobs.who)).values()}
        engine.submit("long", toy_jobs.mark_and_wait, str(tmp_path), "long", 600)
        pids |= marks(tmp_path, 1)
        started = time.monotonic()
    assert time.monotonic() - started < 15
    gone(pids, seconds=0)


DRIVER = """
import sys
import toy_jobs
from toy_jobs import drained, gone, marks, outcomes
from vxlab.experiments.engines import make_engine

if __name__ == "__main__":
    try:
        with make_engine("processes", workers=2) as engine:
            for name in ("one", "two"):
                engine.submit(name, toy_jobs.mark_and_wait, sys.argv[1], name, 600)
            while True:
                engine.finished(timeout=600)
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a driver with two workers in a process group of its own, as a terminal does; its jobs mark ``jobs``."""
    (tmp_path / "jobs").mkdir()
    started = started_script(tmp_path, DRIVER, str(tmp_path / "jobs"))
    yield started
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)
    started.communicate()


def started_script(folder: Path, source: str, *args: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    path = os.pathsep.join((str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")))
    return subprocess.Popen(
        [sys.executable, str(script), *args],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what it puts in the background deaf to Ctrl-C, and a test suite may be there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_workers_die_with_a_driver_that_is_killed(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    pids = marks(tmp_path / "jobs", 2)
    driver.kill()
    driver.wait()
    gone(pids, seconds=5)


def test_ctrl_c_leaves_no_process_and_no_noise(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    pids = marks(tmp_path / "jobs", 2)
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=20)
    assert (out, err, driver.returncode) == ("stopped\n", "", 0)
    gone(pids, seconds=0)


def test_ctrl_c_while_the_workers_start_leaves_no_noise_either(driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while (
        len(workers := [each for each in psutil.Process(driver.pid).children() if "spawn_main" in str(each.cmdline())])
        < 2
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=20)
    assert (out, err, driver.returncode) == ("stopped\n", "", 0)
    gone({each.pid for each in workers}, seconds=0)


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    source = """
import toy_jobs
from toy_jobs import drained, gone, marks, outcomes
from vxlab.experiments.engines import make_engine
with make_engine("processes", workers=1) as engine:
    engine.submit("job", toy_jobs.double, 1)
    print(engine.finished(timeout=60)[0].error)
"""
    out, err = started_script(tmp_path, source).communicate(timeout=60)
    assert "worker ended (exit code 1) as it started" in out
    assert "if __name__ == '__main__':" in out
    assert "VxlabError: engine='processes' was started while a worker imports this script" in err


# Choosing


@pytest.mark.parametrize(
    ("name", "workers", "options", "message"),
    [
        ("procesess", None, {}, r"engine='procesess' is unknown; did you mean 'processes'\? \(known: inline, "),
        ("dask", None, {}, r"engine='dask' is unknown; known: inline, processes, ray"),
        ("inline", 2, {}, r"workers=2: engine='inline' runs one job at a time; choose engine='processes'"),
        ("processes", 0, {}, r"workers=0 is not a number of workers; choose 1 or more"),
        ("processes", 1.5, {}, r"workers=1.5 is a float; it must be a whole number"),
        ("processes", True, {}, r"workers=True is a bool; it must be a whole number"),
        ("processes", 1, {"gpus_per_run": 1}, r"engine='processes' has no option 'gpus_per_run'; its options: none"),
    ],
)
def test_a_wrong_choice_says_what_to_choose(name: str, workers: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VxlabError, match=message):
        make_engine(name, workers, **options)


def test_an_engine_passes_through_and_takes_no_more_settings() -> None:
    engine = make_engine("inline")
    assert make_engine(engine) is engine
    with pytest.raises(VxlabError, match="workers: the engine is made already; give these to InlineEngine itself"):
        make_engine(engine, workers=2)


def test_ray_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VxlabError, match=r"engine='ray' needs Ray, which is not installed: pip install 'vxlab\[ray\]'"):
        make_engine("ray")


def test_choosing_an_engine_without_ray_loads_no_ray() -> None:
    program = (
        "import sys; from vxlab.experiments.engines import make_engine; "
        "make_engine('inline'); make_engine('processes'); print('ray' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
    assert "ray" in ENGINES


# Failures


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (ValueError("out of memory is only spoken of"), False),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_out_of_memory_is_known_in_its_many_forms(error: BaseException, memory: bool) -> None:
    assert ("out of memory; use a smaller batch_size" in describe_failure(error)) == memory
    assert "\n" not in describe_failure(error)


def test_an_endless_message_is_cut() -> None:
    assert len(describe_failure(RuntimeError("frame\n" * 1000))) < 600


@pytest.mark.parametrize(
    ("exit_code", "born", "message"),
    [(-9, True, "worker killed \\(SIGKILL\\)"), (-15, False, "worker killed \\(SIGTERM\\)"), (None, True, "None")],
)
def test_a_death_is_named_by_its_signal(exit_code: int | None, born: bool, message: str) -> None:
    assert re.search(message, death(exit_code, born))


def test_a_worker_does_not_say_again_what_the_driver_said_of_the_data() -> None:
    assert (
        unpack_outcome("key", perform("key", toy_jobs.warn_of_data, (), workers=1)).error == ""
    )  # a warning is an error here
