"""The engine of GPUs and clusters: Ray Core places each job, and tries again where a worker or a node is lost."""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.engines.base import Outcome, fail, perform, require_workers, unpack_outcome
from vxlab.experiments.engines.failures import memory_advice, one_line
from vxlab.experiments.engines.processes import cores, default_workers

_RETRIES = 3  # by Ray, of a job whose worker or node died
_STARTS = 2  # Ray gives its own helpers 15 s to come up, which a busy machine or a cold disk exceeds
_OBJECT_STORE = 256 * 1024**2  # bytes; outcomes are small, and Ray would reserve a third of the memory
# Ray takes 127.0.0.1 for a request to find the machine's own address. macOS has no other loopback address.
_LOOPBACK = "127.0.0.2" if sys.platform == "linux" else None


class RayEngine:
    """Run jobs as Ray tasks: on the cluster that ``RAY_ADDRESS`` names, or else on a Ray of this machine alone.

    A worker or node that dies costs nothing but time: Ray performs its jobs again elsewhere, at most 3 times each;
    then they come back as lost. A job that raises is not tried again. Ray in this process, if it runs already, is used
    and left as it is; what this engine starts ends with it.

    Args:
        workers: the most jobs at once; None means as many as the cores and GPUs of the nodes take.
        cpus_per_run: cores that each job occupies, and its number of threads; None means 1 on a cluster, and on this
            machine the cores divided by the workers.
        gpus_per_run: GPUs that each job occupies, 0.5 for two jobs on one; None means 1 where there are GPUs, else 0.
            With 0 a job sees no GPU.
        shared_files: whether every node sees this machine's files under the same paths; None means that only
            nodes which are this machine do.

    Raises:
        VxlabError: a number is not positive, the cluster does not answer, or none of its nodes can hold a job.
    """

    retries = True

    def __init__(
        self,
        workers: int | None = None,
        cpus_per_run: int | None = None,
        gpus_per_run: float | None = None,
        shared_files: bool | None = None,
    ) -> None:
        import ray

        self._ray: Any = ray
        self._workers = require_workers(workers)
        self._cpus = _share("cpus_per_run", cpus_per_run, int, at_least=1)
        self._gpus = _share("gpus_per_run", gpus_per_run, float, at_least=0)
        self._shared_files: bool | None = settle("shared_files", shared_files, bool | None)
        self._jobs: dict[Any, str] = {}
        self._unsent: list[Outcome] = []
        self._ours = False

    @property
    def slots(self) -> int:
        """Return how many jobs the living nodes can hold, at least 1."""
        room = sum(min(self._room(node)) for node in self._nodes())
        return max(1, min(room, self._workers or room))

    @property
    def shared_files(self) -> bool:
        """Say whether all nodes are this machine, unless the user has said what they see."""
        if self._shared_files is not None:
            return self._shared_files
        return all(node["NodeManagerHostname"] == socket.gethostname() for node in self._nodes())

    @property
    def device(self) -> str:
        """Return ``cuda`` where each job has a GPU, or a share of one."""
        return "cuda" if self._gpus else "cpu"

    def __enter__(self) -> Self:
        self._ours = not self._ray.is_initialized()
        try:
            if self._ours:
                address = os.environ.get("RAY_ADDRESS") or "local"
                self._start() if address == "local" else self._join(address)
            self._settle()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs:
            self._ray.cancel(job, force=True)
        self._jobs.clear()
        self._leave()

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        """Hand the job to Ray, which starts it where there is room."""
        try:
            self._jobs[self._task.remote(key, function, args, self._cpus, self._gpus)] = key
        except TypeError as error:  # Ray's word for what it cannot pickle
            self._unsent.append(fail(key, TypeError(f"the job cannot be sent to a worker: {error}")))

    def finished(self, timeout: float) -> list[Outcome]:
        """Return the outcomes there are, waiting up to ``timeout`` seconds for the first."""
        outcomes, self._unsent = self._unsent, []
        if not self._jobs or outcomes:
            return outcomes
        ready, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=timeout)
        if not ready:
            self._require_node()
        else:
            ready, _ = self._ray.wait(list(self._jobs), num_returns=len(self._jobs), timeout=0)
        return [self._outcome(self._jobs.pop(job), job) for job in ready]

    def _join(self, address: str) -> None:
        try:
            _require_answer(address)
            self._ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise VxlabError(
                f"RAY_ADDRESS={address!r}: no Ray cluster could be joined there ({one_line(str(error))}); "
                "check that its head runs (ray status), or unset RAY_ADDRESS to run on this machine"
            ) from error

    def _start(self) -> None:
        _keep_token_private()
        workers = self._workers or default_workers()
        self._cpus = self._cpus or max(1, cores() // workers)
        for attempt in range(1, _STARTS + 1):
            try:
                self._ray.init(
                    "local",  # never a cluster that happens to run here
                    num_cpus=max(cores(), workers * self._cpus),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=_OBJECT_STORE,
                    _node_ip_address=_LOOPBACK,
                    # Without end by default: a run that needs more memory than there is would be tried for ever.
                    _system_config={"task_oom_retries": _RETRIES},
                )
            except Exception as error:  # Ray raises nothing narrower
                self._ray.shutdown()
                if attempt == _STARTS:
                    raise VxlabError(
                        f"engine='ray': Ray did not start on this machine ({one_line(str(error))}); "
                        "try again when it is less busy, or choose engine='processes'"
                    ) from error
            else:
                return

    def _settle(self) -> None:
        """Decide what each job occupies, and make sure that some node has it."""
        resources = [node["Resources"] for node in self._nodes()]
        self._cpus = self._cpus or 1
        if self._gpus is None:
            self._gpus = 1 if any(each.get("GPU") for each in resources) else 0
        if not any(min(self._room(node)) for node in self._nodes()):
            most = ", ".join(f"{each.get('CPU', 0):g} CPUs and {each.get('GPU', 0):g} GPUs" for each in resources)
            raise VxlabError(
                f"cpus_per_run={self._cpus}, gpus_per_run={self._gpus:g}: no node of the Ray cluster has as much; "
                f"its nodes have {most}"
            )
        # max_calls=0: a worker keeps its process, and the model in it, for the next job, on a GPU also.
        self._task = self._ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, max_calls=0, max_retries=_RETRIES, retry_exceptions=False
        )(_perform)

    def _room(self, node: dict[str, Any]) -> list[int]:
        """Return how many jobs the node's CPUs can hold, and its GPUs where jobs need one."""
        needs = {"CPU": self._cpus or 1, "GPU": self._gpus or 0}
        return [int(node["Resources"].get(name, 0) / need) for name, need in needs.items() if need]

    def _outcome(self, key: str, job: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            return unpack_outcome(key, self._ray.get(job))
        except errors.RayTaskError as error:  # the job itself cannot raise, so it could not even be loaded
            reason = str(error).strip().splitlines()[-1]
            missing = f"the job cannot be loaded in a worker, where its code must be installed: {reason}"
            return Outcome(key, error=f"RuntimeError: {missing}", traceback=str(error))
        except errors.OutOfMemoryError as error:
            reason = f"out of memory; {memory_advice(workers=2)} ({one_line(str(error))})"
        except errors.RayError as error:
            reason = f"{type(error).__name__}: {one_line(str(error))}"
        return Outcome(key, error=f"worker lost in each of {1 + _RETRIES} attempts: {reason}", lost=True)

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _require_node(self) -> None:
        """Raise where the Ray node of this process is dead: no outcome would ever come."""
        here = self._ray.get_runtime_context().get_node_id()
        if here not in {node["NodeID"] for node in self._nodes()}:
            raise VxlabError(
                "engine='ray': the Ray node of this machine died (its logs are in /tmp/ray/session_latest/logs); "
                "what is finished is kept: run the same again to go on"
            )

    def _leave(self) -> None:
        if self._ours:
            self._ray.shutdown()
            self._ours = False


def _perform(key: str, function: Callable[..., Any], args: tuple[Any, ...], cpus: int, gpus: float) -> bytes:
    """Perform a job in a Ray worker."""
    import torch

    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves every GPU visible to a task that was given none
    os.environ["OMP_NUM_THREADS"] = str(cpus)  # for what loads its threads later; Ray keeps the driver's number
    torch.set_num_threads(cpus)
    return perform(key, function, args, workers=2)


def _require_answer(address: str) -> None:
    """Raise at once where nothing listens at ``host:port``: Ray itself goes on asking for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _share(name: str, value: Any, kind: type, at_least: int) -> Any:
    number = settle(name, value, kind | None)
    if number is not None and (number < at_least or (number > 1 and number != int(number))):
        raise VxlabError(
            f"{name}={value!r} is not what a run can occupy; choose {at_least} or more, and above 1 a whole number"
        )
    return number


def _keep_token_private() -> None:
    """Make the file with the token that opens the local Ray readable by its user alone; Ray writes it for everyone."""
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    token = Path.home() / ".ray" / "auth_token"
    token.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        token.chmod(0o600)
