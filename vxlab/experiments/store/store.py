"""The results store: one row a run, leased by one driver at a time, in an SQLite file or on a Postgres server."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, case, delete, func, literal, not_, or_, select

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments import ENDED_EARLY, PREDICTIONS_FILE, RunRecord, predictions_in, settings_key
from vxlab.experiments.store import run_folder
from vxlab.experiments.store.database import Database, storable
from vxlab.experiments.store.ended_run import EndedRun
from vxlab.experiments.store.errors import StoreError
from vxlab.experiments.store.evaluations import KeptEvaluations
from vxlab.experiments.store.imports import ImportedAdapters
from vxlab.experiments.store.leases import LEASE_SECONDS, is_dead, new_owner, place_of
from vxlab.experiments.store.replies import KeptReplies
from vxlab.experiments.store.schema import clock, runs
from vxlab.experiments.store.table import frame, write

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Store", "StoreError", "Where", "new_owner", "open_store"]

Where: TypeAlias = "str | Path | Store | None"

ENDED = ("finished", "diverged", ENDED_EARLY)
_AT_ONCE = 100
"""Runs whose predictions are in memory together."""


@contextlib.contextmanager
def open_store(where: Where) -> Iterator["Store"]:
    """Give a store: the caller's own, which stays open, or one opened here and closed at the end."""
    if isinstance(where, Store):
        yield where
        return
    with Store(where) as store:
        yield store


class Store:
    """A table of runs that several drivers may share.

    An SQLite file must be on a disk of this machine: its write-ahead log shares memory, which a network file system
    does not, and drivers on several machines would damage it. Give those a Postgres server.

    Every method waits for a database that is locked, restarting or out of reach, and raises :class:`StoreError` when
    ``patience`` is over, or at once where waiting cannot help.

    Args:
        where: the path of an SQLite file, or of a folder that holds ``runs.db``; or an SQLAlchemy URL such as
            ``postgresql+psycopg://user@host/database``. None: ``runs.db`` in the folder of
            reports: ``VXLAB_REPORTS``, a checkout's ``reports``, or ``./reports``.
        folder: where the runs' adapters, predictions and checkpoints lie, a folder a run. None: beside the SQLite
            file, by its name without its suffix, or with ``.runs`` where it has none; for a server, ``runs`` in the
            folder of reports.
        lease_seconds: so long a lease holds unless renewed.
        patience: seconds to wait for the database.
        read_only: refuse whatever would train into it, or keep or delete anything.

    Raises:
        VxlabError: ``where`` is neither a path nor the URL of SQLite or Postgres.
        StoreError: the database cannot be opened, is something else's, or was written by a newer vxlab.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
    ...     len(store.table())
    0
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        folder: str | Path | None = None,
        lease_seconds: float = LEASE_SECONDS,
        patience: float = 60.0,
        read_only: bool = False,
    ) -> None:
        self.lease_seconds = _seconds("lease_seconds", lease_seconds)
        self._database = Database(where, folder, _seconds("patience", patience), settle("read_only", read_only, bool))
        self.name = self._database.name
        """where it is, without password"""
        self.folder = self._database.folder
        """where the runs' folders are"""
        self.evaluations = KeptEvaluations(self._database)
        """on outside tasks, of runs and of models as they are"""
        self.replies = KeptReplies(self._database)
        """of models to what they were asked, and of judges on these"""
        self.imports = ImportedAdapters(self.folder)
        """adapters that were trained elsewhere, which no table of runs has"""

    @property
    def read_only(self) -> bool:
        """Whether nothing is trained into it, kept or deleted."""
        return self._database.read_only

    def require_writable(self) -> None:
        """Raise StoreError where the store is only read."""
        self._database.require_writable()

    def folder_of(self, key: str) -> Path:
        """Return the folder of a run's files."""
        return self.folder / key[:16]

    def now(self) -> float:
        """Return the database's time in epoch seconds; the clocks of several drivers differ."""
        return self._database.do(lambda connection: float(connection.execute(select(clock())).scalar_one()))

    def lease(
        self, key: str, spec: dict[str, Any], identity: dict[str, str], owner: str, *, failed_before: float | None
    ) -> bool:
        """Take a run for ``owner`` to train, and say whether it was to be had.

        It is where nobody has it, its lease is over or ``owner`` has it already, or where it failed long enough ago.
        Of several that ask at once, one gets it.

        Args:
            key: the run's.
            spec: the RunSpec's settings.
            identity: what the key holds beside the spec.
            owner: from :func:`new_owner`.
            failed_before: epoch seconds by :meth:`now`: a run that failed before then may be tried again. None: never.
        """
        if self.read_only and self.record(key) is not None:
            return False
        values = _row(key, spec, identity, owner, status="running", lease=clock() + self.lease_seconds)
        free = and_(runs.c.status == "running", or_(runs.c.lease < clock(), runs.c.owner == owner))
        if failed_before is not None:
            free = or_(free, and_(runs.c.status == "failed", runs.c.at < failed_before))
        return self._database.put(values, free, attempts=runs.c.attempts + 1)

    def renew(self, owner: str) -> None:
        """Let an owner's leases hold for another ``lease_seconds`` from now."""
        self._database.change(_held_by(owner), lease=clock() + self.lease_seconds)

    def release(self, owner: str, key: str | None = None) -> None:
        """Give up an owner's lease on a run, by default all its leases: anyone may take them."""
        self._database.change(_held_by(owner, key), lease=0.0, owner=None)

    def release_dead(self) -> None:
        """Give up the leases of this machine's processes that no longer live, without waiting for their end."""
        query = select(runs.c.owner).where(runs.c.status == "running", runs.c.owner.is_not(None)).distinct()
        for owner in self._database.do(lambda connection: list(connection.execute(query).scalars())):
            if is_dead(owner):
                self.release(owner)

    def finish(self, record: RunRecord, owner: str) -> None:
        """Keep a run's record and its predictions, which are read from its folder.

        The first that comes is kept: a driver that was thought dead writes nothing over another's row. The run need
        not have been leased: a record from an earlier store's folder may be put in.
        """
        file = record.folder / PREDICTIONS_FILE
        predictions = record.kept or (file.read_bytes() if file.is_file() else None)
        kept = {"record": record.fields(), "predictions": predictions if record.status == "finished" else None}
        values = _row(record.key, record.spec, record.identity, owner, status=record.status, at=clock())
        self._database.put(values | kept, runs.c.status.not_in(ENDED), attempts=runs.c.attempts)

    def ended(self, keys: Iterable[str] | None = None) -> Iterator[EndedRun]:
        """Yield runs that ended as the store has them, by their keys; of others with these keys there are none.

        Args:
            keys: of the runs wanted; None takes all.
        """
        found = self._database.rows([runs.c.key, runs.c.status], keys)
        known = sorted({row.key for row in found if row.status in ENDED})
        columns = [runs.c[name] for name in EndedRun._fields]
        for start in range(0, len(known), _AT_ONCE):
            rows = self._database.rows(columns, known[start : start + _AT_ONCE])
            yield from (EndedRun._make(row) for row in sorted(rows, key=lambda row: row.key))

    def take_in(self, found: Iterable[EndedRun]) -> None:
        """Keep runs that ended elsewhere, without their adapters; one that ended here stays as it is."""
        waiting, unended = iter(found), and_(*(runs.c.status != status for status in ENDED))
        while some := list(itertools.islice(waiting, _AT_ONCE)):
            rows = [
                {**_row(run.key, run.spec, run.identity, "", status=run.status), "owner": None, "at": run.at,
                 "record": run.record, "predictions": run.predictions}
                for run in some
            ]  # fmt: skip
            self._database.put_all(rows, unended)

    def fail(self, key: str, owner: str, error: str, traceback: str) -> None:
        """Keep why a leased run failed; nothing changes where ``owner`` no longer holds it."""
        told = {"error": storable(error), "traceback": storable(traceback)}
        self._database.change(_held_by(owner, key), status="failed", at=clock(), lease=None, **told)

    def remove(self, key: str) -> None:
        """Delete a run: its row, its folder and its evaluations. What is trained with its spec after that is new.

        Raises:
            VxlabError: a process trains it now, or its folder holds what no run writes; then nothing is deleted.
        """
        self.require_writable()
        self.require_idle(key)
        untaken = not_(and_(runs.c.status == "running", runs.c.lease >= clock()))
        with run_folder.discard(self.folder_of(key)):
            self._database.write(lambda connection: connection.execute(delete(runs).where(runs.c.key == key, untaken)))
            self.evaluations.remove(key)

    def require_idle(self, key: str) -> None:
        """Raise VxlabError where a process trains a run now."""
        self.release_dead()
        row, now = self.status([key]).get(key), self.now()
        if row is not None and row.status == "running" and row.owner and row.lease >= now:
            raise VxlabError(
                f"run {key[:12]} is being trained by {place_of(row.owner)}; wait until it ends, or end that process "
                f"(without a sign of life its lease ends in {row.lease - now:.0f} s)"
            )

    def forget(self, key: str, owner: str | None = None) -> None:
        """Delete a run's row, with ``owner`` only where that holds its lease.

        Its folder stays, and a finished run that lies there is taken up again by whoever asks for it next:
        :meth:`remove` deletes both.
        """
        wanted = runs.c.key == key if owner is None else _held_by(owner, key)
        self._database.write(lambda connection: connection.execute(delete(runs).where(wanted)))

    def status(self, keys: Iterable[str]) -> dict[str, Row[Any]]:
        """Return by key, of the runs that have a row: ``status, owner, lease, attempts, error, traceback, at``.

        ``lease`` and ``at`` (when it ended) are epoch seconds by :meth:`now`.
        """
        columns = [runs.c[name] for name in ("status", "owner", "lease", "attempts", "error", "traceback", "at")]
        return {row.key: row for row in self._database.rows([runs.c.key, *columns], keys)}

    def record(self, key: str) -> RunRecord | None:
        """Return the record of a finished or diverged run, or of an imported adapter, None of any other.

        Its predictions are the store's own where its folder is gone or elsewhere; its adapter is then told to be lost
        by whatever needs it.

        Raises:
            VxlabError: it is no record that this version of vxlab reads.
        """
        size = func.length(runs.c.predictions).label("size")
        row = next(iter(self._database.rows([runs.c.record, size], [key])), None)
        if not row or not row.record:
            return self.imports.record(key)
        folder = self.folder_of(key)
        there = row.size is None or run_folder.size(folder / PREDICTIONS_FILE) == row.size
        record = RunRecord.read(row.record, folder, None if there else self.predictions_file(key))
        if record is None:
            raise VxlabError(
                f"run {key[:12]}: its record in {self.name} cannot be read, by another version of vxlab perhaps; take "
                f"it out with `vxlab runs rm {key[:12]}`, and train it again"
            )
        return record

    def predictions(self, key: str, split: str = "test") -> "tuple[torch.Tensor, torch.Tensor]":
        """Return a run's logits ``(rows, num_labels)`` and labels ``(rows,)`` of a split, from the database.

        Raises:
            VxlabError: the run diverged or has not ended, or has no such split.
        """
        from safetensors.torch import load

        kept, row = self.predictions_file(key), self.status([key]).get(key)
        return predictions_in(load(kept) if kept else {}, split, key, row.status if row else "not in the store")

    def predictions_file(self, key: str) -> bytes | None:
        """Return a finished run's predictions as the bytes of their safetensors file, None where there are none."""
        row = next(iter(self._database.rows([runs.c.predictions], [key])), None)
        return bytes(row.predictions) if row and row.predictions else None

    def same_spec_elsewhere(self, key: str, spec: dict[str, Any]) -> dict[str, str] | None:
        """Return what the latest finished run with this spec but another key was made of, None where there is none.

        Held against the new run's identity it tells what has changed: the data, the model, the precision, the version.
        """
        others = and_(runs.c.spec_key == settings_key(spec), runs.c.key != key, runs.c.status.in_(ENDED))
        query = select(runs.c.identity).where(others).order_by(runs.c.at.desc()).limit(1)
        return self._database.do(lambda connection: connection.execute(query).scalar())

    def table(self, keys: Iterable[str] | None = None) -> "pd.DataFrame":
        """Return one row a run, sorted by task, model, method, rank, targets, rates, draw and seed.

        Imported adapters are no runs: ``imports.table()`` has them.

        Columns: ``key, status, model, quantisation, task, method, label, rank, targets, learning_rate,
        head_learning_rate, seed, epochs, ends_after, batch_size, train_examples, shots, draw, precision, weights, data,
        versions, metric, validation, validation_loss, test, backbone, head, bytes_stored, steps, step_seconds,
        train_seconds, peak_memory, attempts, error, finished_at, folder``. ``quantisation`` is the scheme by which the
        model was quantised as it was loaded, missing where it was loaded as it is. ``shots`` and ``draw`` are missing
        where all rows are trained on. ``weights`` and ``data`` are the first digits of fingerprints of what ``model``
        and ``task`` stood for: group by these three, too, for a name may stand for several. ``validation`` and ``test``
        are of the task's first metric at the chosen epoch, as fractions; ``validation_loss`` is of the same epoch.
        ``status`` is ``finished``, ``ended early`` (after ``ends_after`` of its steps, as it was asked to),
        ``diverged``, ``failed``, ``running``, or ``stopped``: leased, and given up or left by its driver.

        Args:
            keys: of the runs wanted; None takes all.
        """
        stopped = and_(runs.c.status == "running", runs.c.lease < clock())
        status = case((stopped, literal("stopped")), else_=runs.c.status).label("status")
        columns = [runs.c[name] for name in ("key", "spec", "identity", "record", "attempts", "error", "at")]
        rows = [dict(row._mapping) for row in self._database.rows([*columns, status], keys)]
        for row in rows:
            row["folder"] = self.folder_of(row["key"])
            row["record"] = row["record"] and RunRecord.read(row["record"], row["folder"])
        return frame(rows)

    def export(self, path: str | Path, keys: Iterable[str] | None = None) -> Path:
        """Write :meth:`table` as ``.parquet`` or ``.csv``, whole or not at all.

        Raises:
            VxlabError: the suffix is another, or the file cannot be written.
        """
        return write(self.table(keys), Path(path).expanduser().absolute())

    def close(self) -> None:
        """Close the connections; a closed store opens them again when used."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.name!r})"


def _seconds(name: str, value: float) -> float:
    seconds: float = settle(name, value, float)
    if seconds < 0:
        raise VxlabError(f"{name}={value!r} is no time to wait; choose 0 seconds or more")
    return seconds


def _held_by(owner: str, key: str | None = None) -> ColumnElement[bool]:
    held = and_(runs.c.status == "running", runs.c.owner == owner)
    return held if key is None else and_(held, runs.c.key == key)


def _row(key: str, spec: dict[str, Any], identity: dict[str, str], owner: str, **state: Any) -> dict[str, Any]:
    """Return a run's row, in a state of which nothing is known but what is given."""
    run = {"key": key, "spec_key": settings_key(spec), "spec": spec, "identity": identity, "owner": owner}
    return run | {"at": None, "lease": None, "attempts": 1, "error": None, "traceback": None} | state
