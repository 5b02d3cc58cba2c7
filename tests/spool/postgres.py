"""A real PostgreSQL server on a free port of this machine, in a folder of its own, for as long as it is wanted."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.ports import free_port

#: Debian's folder; the newest version.
PROGRAMS = "/usr/lib/postgresql/*/bin/postgres"


def _user() -> str | None:
    """The server refuses to be run by root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """A server in `folder`, with its data there."""

    def __init__(self, folder: Path, fsync: bool) -> None:
        self._program, self._user, self._fsync = Path(max(glob.glob(PROGRAMS))), _user(), fsync
        self.folder = folder
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._port = free_port()
        self._running: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://faxgate@127.0.0.1:{self._port}"
        """Without a database's name."""

    def make(self) -> None:
        """The data folder."""
        made = subprocess.run(
            [self._program.with_name("initdb"), "-D", str(self.folder / "data"), "-U", "faxgate", "-A", "trust",
             "-E", "UTF8", "--no-sync"],
            user=self._user, env=self._environment, cwd=self.folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """It may have been stopped before."""
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                [self._program, "-D", str(self.folder / "data"), "-p", str(self._port), "-h", "127.0.0.1",
                 "-k", str(self.folder), "-c", f"fsync={'on' if self._fsync else 'off'}", "-c", "deadlock_timeout=100ms"],
                user=self._user, env=self._environment, cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        _wait(self.url, self.folder / "log")

    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._running is not None and self._running.poll() is None

    def crash(self) -> None:
        """As if the power had failed; it may be started again."""
        assert self._running is not None
        self._running.send_signal(signal.SIGQUIT)  # immediate shutdown: no checkpoint, its log is replayed at the start
        self._running.wait(10)
        self._running = None

    def stop(self) -> None:
        """Its clients are cut off."""
        if self._running is None:
            return
        self._running.send_signal(signal.SIGINT)  # fast shutdown
        try:
            self._running.wait(10)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait(10)
        self._running = None


@contextlib.contextmanager
def running(*, fsync: bool = False, size: int = 0) -> Iterator[Server]:
    """A server that can be stopped and started; with a `size` on a disk of so many bytes, which only root can make."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if size:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        made = Server(folder, fsync)
        made.make()
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        if size:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def server(*, fsync: bool = False) -> Iterator[str]:
    """URL of a server, without a database's name."""
    with running(fsync=fsync) as made:
        yield made.url


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
