"""Hold a lease on runs while they train, so that nobody else trains them too."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from vxlab.errors import VxlabError
from vxlab.experiments.runs.inputs import Job
from vxlab.experiments.store import Store, StoreError, new_owner

POLL_SECONDS = 1.0
"""Between two looks at a run that another process trains."""


@contextlib.contextmanager
def hold_leases(store: Store) -> Iterator[str]:
    """Give an owner of leases: a thread renews them three times in a lease, and the end releases them."""
    owner, done = new_owner(), threading.Event()
    thread = threading.Thread(target=_renew, args=(store, owner, done), daemon=True, name="vxlab-lease")
    thread.start()
    try:
        yield owner
    finally:
        done.set()
        thread.join()
        # What cannot be released now ends with its lease.
        with contextlib.suppress(VxlabError):
            store.release(owner)


@contextlib.contextmanager
def lease_run(store: Store, job: Job, waiting: Callable[[], None] = lambda: None) -> Iterator[str | None]:
    """Lease one run, waiting for whoever trains it now; give the owner, or None where the run is done.

    Args:
        store: that has the leases.
        job: the run.
        waiting: called every second while another trains it; what it raises ends the wait.
    """
    store.release_dead()
    with hold_leases(store) as owner:
        asked = store.now()
        while not store.lease(job.key, job.spec.settings(), job.identity, owner, failed_before=asked):
            if store.record(job.key) is not None:
                yield None
                return
            waiting()
            asked = store.now()  # one that fails while we wait is tried here
            time.sleep(POLL_SECONDS)
        try:
            yield owner
        except StoreError:
            raise
        except VxlabError:
            store.forget(job.key, owner)  # refused: no run of this kind can be
            raise


def _renew(store: Store, owner: str, done: threading.Event) -> None:
    while not done.wait(store.lease_seconds / 3):
        with contextlib.suppress(VxlabError):  # the next turn tries again, and the driver meets the error itself
            store.renew(owner)
