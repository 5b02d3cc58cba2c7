"""A real PostgreSQL server on a free port of this machine, in a folder of its own, for as long as it is wanted."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

#: Debian's folder; the newest version.
PROGRAMS = "/usr/lib/postgresql/*/bin/postgres"


def _user() -> str | None:
    """The server refuses to be run by root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def server(*, fsync: bool = False) -> Iterator[str]:
    """URL of the server, without a database's name."""
    program, user = Path(max(glob.glob(PROGRAMS))), _user()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    data = str(folder / "data")
    try:
        made = subprocess.run(
            [program.with_name("initdb"), "-D", data, "-U", "faxgate", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=user, env=environment, cwd=folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [program, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder),
                 "-c", f"fsync={'on' if fsync else 'off'}", "-c", "deadlock_timeout=100ms"],
                user=user, env=environment, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            url = f"postgresql://faxgate@127.0.0.1:{port}"
            _wait(url, folder / "log")
            yield url
        finally:
            running.terminate()  # smart shutdown waits for clients; ours are gone, or it is stopped harder
            try:
                running.wait(5)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"{url}/postgres").close()
            return
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")


def database(url: str, name: str) -> str:
    """A new, empty database; its URL."""
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url}/{name}"
