"""The Ray engine on a real Ray: killed workers and lost nodes cost no job, and the local Ray is private."""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import toy_jobs
import toy_runs
from places import SUPPORT
from toy_jobs import drained, gone, marks, outcomes

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.engines import Engine, make_engine

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vxlab[ray]'")


pytestmark = pytest.mark.alone
TESTS = SUPPORT


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return an engine on a local Ray, two jobs of one core at once, started as in a fresh home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)  # Ray's workers find the jobs there
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.setenv(name, "")  # so that what Ray sets here is undone
            patch.delenv(name)
        try:
            started = make_engine("ray", workers=2, cpus_per_run=1).__enter__()
        except VxlabError as error:  # Ray gives its helpers 15 s to start, which a busy machine may not hold
            pytest.skip(str(error))
        with contextlib.ExitStack() as ends:
            ends.push(started.__exit__)
            yield started
        assert not ray.is_initialized()


@pytest.fixture(scope="module", autouse=True)
def second_node(engine: Engine) -> Iterator[psutil.Process]:
    """Start a node before the tests that need it: it takes seconds to join."""
    started = start_node("127.0.0.3")
    yield started
    kill_tree(started)


def start_node(address: str) -> psutil.Popen:
    """Start a node of one core as a user would, on a loopback address of its own."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--num-gpus=0"]
    where = [f"--address={ray.get_runtime_context().gcs_address}", f"--node-ip-address={address}"]
    # Where these are given, a node need not wait for its helpers, which on a busy machine would be too late for it.
    helpers = ("metrics-export", "dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
    ports = [f"--{name}-port={port}" for name, port in zip(helpers, free_ports(len(helpers)), strict=True)]
    return psutil.Popen([*command, *where, *ports], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens at."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def kill_tree(process: psutil.Process) -> None:
    """End a node as a power cut does: all of its processes at once."""
    if process.is_running():
        for each in [process, *process.children(recursive=True)]:
            each.kill()
    process.wait()


def until_joined(node: psutil.Popen) -> None:
    deadline = time.monotonic() + 60
    while len([each for each in ray.nodes() if each["Alive"]]) < 2:
        assert node.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_jobs_give_values_and_failures(engine: Engine) -> None:
    jobs = [(str(number), toy_jobs.double, number) for number in range(4)]
    got = outcomes(engine, *jobs, ("bad", toy_jobs.fail, "no"), ("stubborn", toy_jobs.fail_stubbornly))
    assert [got[str(number)].value for number in range(4)] == [0, 2, 4, 6]
    assert got["bad"].error == "ValueError: no"
    assert "toy_jobs.py" in got["bad"].traceback.splitlines()[1]
    assert got["stubborn"].error == "StubbornError: two words in two lines"
    assert engine.finished(timeout=60) == []


def test_what_cannot_be_carried_is_a_failure_of_its_job(engine: Engine) -> None:
    lock = threading.Lock()
    got = outcomes(
        engine, ("in", toy_jobs.double, lock), ("out", toy_jobs.return_a_lambda), ("exit", toy_jobs.leave, 3)
    )
    assert got["in"].error.startswith("TypeError: the job cannot be sent to a worker: ")
    assert got["out"].error.startswith("TypeError: what the job returned cannot be pickled: ")
    assert got["exit"].error == "SystemExit: 3"
    assert not any(outcome.lost for outcome in got.values())


def test_a_job_whose_code_no_node_has_says_so(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def job():\n    return 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    got = outcomes(engine, ("far", importlib.import_module("only_here").job))["far"]
    where = "the job cannot be loaded in a worker, where its code must be installed"
    assert got.error == f"RuntimeError: {where}: ModuleNotFoundError: No module named 'only_here'"
    assert not got.lost


def test_workers_stay_with_their_threads_and_see_no_gpu(engine: Engine) -> None:
    got = [outcomes(engine, (str(turn), toy_jobs.who))[str(turn)].value for turn in range(4)]
    assert len({seen["pid"] for seen in got}) < 4
    for seen in got:
        assert (seen["threads"], seen["OMP_NUM_THREADS"], seen["CUDA_VISIBLE_DEVICES"]) == (1, "1", "")
    assert engine.slots == 2
    assert engine.shared_files


def test_the_local_ray_is_private(engine: Engine) -> None:
    token = Path.home() / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert ray.nodes()[0]["NodeManagerAddress"].startswith("127.")


def test_a_killed_worker_is_tried_again_and_a_deadly_job_is_given_up(engine: Engine, tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    got = outcomes(
        engine,
        ("once", toy_jobs.be_killed_once, str(marker)),
        ("other", toy_jobs.double, 1, 1.0),
        ("always", toy_jobs.be_killed),
    )
    assert got["once"].error == ""
    assert got["once"].value != int(marker.read_text())  # another process ended what the killed one had begun
    assert got["other"].value == 2
    assert got["always"].lost
    assert got["always"].error.startswith("worker lost in each of 4 attempts: WorkerCrashedError: ")


def test_jobs_of_a_node_that_dies_are_done_elsewhere(
    engine: Engine, second_node: psutil.Process, tmp_path: Path
) -> None:
    until_joined(second_node)
    names = [f"job{number}" for number in range(6)]
    for name in names:
        engine.submit(name, toy_jobs.mark_and_wait, str(tmp_path), name, 2.0)
    on_node = set()
    while not on_node:  # until the second node is at a job
        on_node = marks(tmp_path, 1) & {each.pid for each in second_node.children(recursive=True)}
    kill_tree(second_node)
    got = drained(engine, 6)
    assert {name: got[name].value for name in names} == {name: name for name in names}
    begun = sorted(path.stem for path in tmp_path.iterdir())
    assert len(begun) > 6  # some job was begun twice, so the node was at it
    gone(on_node)


@pytest.mark.slow  # half a minute; the tests above kill a worker and a node of plain jobs
def test_a_sweep_completes_though_a_worker_and_a_node_are_killed(
    engine: Engine, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    node = start_node("127.0.0.4")
    until_joined(node)
    deaths: list[str] = []

    def at_work(there: bool) -> list[psutil.Process]:
        """Return the workers of the second node that are at a job, or those of the first."""
        of_node = {each.pid for each in node.children(recursive=True)}
        busy = [each for each in psutil.process_iter(["name"]) if each.info["name"].startswith("ray::_perf")]
        return [each for each in busy if (each.pid in of_node) == there]

    def kill() -> None:
        while not (workers := at_work(there=False)):
            time.sleep(0.05)
        workers[0].kill()
        deaths.append("worker")
        while not at_work(there=True):
            time.sleep(0.05)
        kill_tree(node)
        deaths.append("node")

    threading.Thread(target=kill, daemon=True).start()
    specs = [toy_runs.spec(tiny_model, toy_task, seed=seed) for seed in range(8)]
    three = make_engine("ray", workers=3, cpus_per_run=1)
    table = vxlab.sweep(specs, store=tmp_path / "ray", engine=three, progress=False)
    assert deaths == ["worker", "node"]
    assert table["status"].tolist() == ["finished"] * 8
    assert table["key"].nunique() == 8
    here = vxlab.sweep(specs[:1], store=tmp_path / "here", progress=False)
    assert table["test"][0] == here["test"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gpus_per_run": 99},
            r"gpus_per_run=99: no node of the Ray cluster has as much; its nodes have \d+ CPUs and 0 ",
        ),
        ({"cpus_per_run": 999}, r"cpus_per_run=999, gpus_per_run=0: no node of the Ray cluster has as much"),
        ({"cpus_per_run": 0}, r"cpus_per_run=0 is not what a run can occupy; choose 1 or more"),
        ({"gpus_per_run": -1}, r"gpus_per_run=-1 is not what a run can occupy; choose 0 or more"),
        ({"gpu_per_run": 1}, r"engine='ray' has no option 'gpu_per_run'; did you mean 'gpus_per_run'\?"),
    ],
)
def test_what_no_node_has_is_refused_at_once(engine: Engine, options: dict[str, float], message: str) -> None:
    with pytest.raises(VxlabError, match=message), make_engine("ray", **options):
        pass
    assert ray.is_initialized()  # a Ray that ran before is left alone


def test_a_cluster_that_does_not_answer_is_named() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    program = "from vxlab.experiments.engines import make_engine\nwith make_engine('ray'): pass"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"VxlabError: RAY_ADDRESS='{address}': no Ray cluster could be joined there" in ran.stderr
