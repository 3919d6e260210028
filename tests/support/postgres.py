"""A Postgres server for tests: Debian's package, started on loopback with its data in a temporary folder."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

USER, SECRET = "tester", "s3cret"


class Server:
    """Start and stop a server of its own; a stopped one starts again with the same data on the same port."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # Not pytest's own folder: the server may not run as root, and other users may not enter that.
        self.folder = Path(tempfile.mkdtemp(prefix="vxlab-pg-"))
        self.user = _unprivileged()
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = self.folder / "password"
        password.write_text(SECRET)
        password.chmod(0o644)
        settings = ["--username", USER, "--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        self._run("initdb", "--no-sync", "--no-locale", *settings)
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database: str = "postgres", secret: str = SECRET) -> str:
        return f"postgresql+psycopg://{USER}:{secret}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(statement)

    def emptied(self) -> str:
        """Return the URL of the database, now without a store."""
        self.execute("drop table if exists runs, meta, evaluations, replies")
        return self.url()

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        # Not captured: the server would keep the pipe open.
        with (self.folder / "output").open("w") as output:
            subprocess.run(
                command, user=self.user, cwd=self.folder, check=True, timeout=60, stdout=output, stderr=output
            )


def start_server() -> Server:
    """Start a server, or skip the test where there is no Postgres or no driver for it."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs Postgres's initdb (Debian: apt install postgresql) and psycopg")
    return Server(folders[-1])


def _unprivileged() -> str | None:
    """Return a user to run the server as, None where that is the one who runs the tests."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
