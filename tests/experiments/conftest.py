"""What the tests of experiments share: one Postgres server for all that a process tests."""

from collections.abc import Iterator

import postgres
import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A running server; who takes its database by ``emptied`` finds no store there."""
    server = postgres.start_server()
    yield server
    server.remove()
