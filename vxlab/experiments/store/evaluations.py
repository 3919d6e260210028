"""Evaluations on outside tasks, kept beside the runs: a table that comes into a store with its first row."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, inspect, select, true
from sqlalchemy.dialects import postgresql, sqlite

from vxlab.experiments import Evaluation
from vxlab.experiments.store.database import Database
from vxlab.experiments.store.schema import create_later, evaluations


class KeptEvaluations:
    """The evaluations of a store, each under the key of all that decided its numbers.

    A store from before there were any is read as one that has none, and written to as any other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> Evaluation | None:
        """Return the evaluation with a key, None where there is none."""
        return next(iter(self._found(evaluations.c.key == key)), None)

    def find(self, *, run: str | None = None, model: str | None = None, task: str | None = None) -> list[Evaluation]:
        """Return evaluations, the oldest first.

        Args:
            run: of the run with this key alone; "" of models as they are.
            model: of this model, or of runs on it, by its fingerprint.
            task: on this task alone.
        """
        asked = {"run": run, "fingerprint": model, "task": task}
        return self._found(*(evaluations.c[name] == value for name, value in asked.items() if value is not None))

    def keep(self, evaluation: Evaluation, *, replace: bool = False) -> None:
        """Keep an evaluation; the first that comes with a key stays, unless it is to be replaced.

        Args:
            evaluation: a finished one.
            replace: put it in the place of one with its key.
        """
        names = ("key", "run", "fingerprint", "task")
        values = {name: getattr(evaluation, name) for name in names}
        values |= {"fields": evaluation.fields(), "items": evaluation.packed(), "at": evaluation.finished_at}

        def put(connection: Connection) -> None:
            create_later(connection, evaluations)
            kind = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert: Any = kind.insert(evaluations).values(**values)
            key = [evaluations.c.key]
            first = insert.on_conflict_do_nothing(index_elements=key)
            last = insert.on_conflict_do_update(index_elements=key, set_=values)
            connection.execute(last if replace else first)

        self._database.write(put)

    def remove(self, run: str) -> None:
        """Delete the evaluations of a run."""
        self._where_there_are_any(
            lambda connection: connection.execute(delete(evaluations).where(evaluations.c.run == run))
        )

    def _found(self, *conditions: ColumnElement[bool]) -> list[Evaluation]:
        query = select(evaluations.c.fields, evaluations.c["items"]).where(and_(true(), *conditions))
        query = query.order_by(evaluations.c.at, evaluations.c.key)
        rows: Sequence[Any] = self._where_there_are_any(lambda connection: list(connection.execute(query))) or []
        return [Evaluation.unpack(row[0], bytes(row[1])) for row in rows]

    def _where_there_are_any(self, work: Callable[[Connection], Any]) -> Any:
        return self._database.do(
            lambda connection: work(connection) if inspect(connection).has_table(evaluations.name) else None
        )
