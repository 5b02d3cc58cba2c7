"""What a machine does to a gateway: a full disk, a database that is gone, a clock that is set. SMTP says 451 while it
lasts; afterwards every fax that got its 250 has been called once, and so has every one that was handed in again."""

from __future__ import annotations

import contextlib
import itertools
import os
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows import house, trapline
from tests.flows.matrix import TROUBLE, Matrix
from tests.flows.nodes import Client, Node, Place, check
from tests.flows.test_f14_disk_full import fill
from tests.spool import postgres
from tests.spool.postgres import Server

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
GONE = 30.0  # seconds
_databases = itertools.count()
_needs_postgres = pytest.mark.needs("postgres")
both = pytest.mark.parametrize("column", [SQLITE, pytest.param(POSTGRESQL, marks=_needs_postgres)])
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small disk")


@pytest.fixture(autouse=True)
def _carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.running() as made:
        yield made


@contextlib.contextmanager
def at_work(folder: Path, column: str, server: Callable[[], Server]) -> Iterator[tuple[Place, Node]]:
    """One node, not started yet."""
    database = postgres.database(server().url, f"trouble{next(_databases)}") if column == POSTGRESQL else ""
    place = Place(folder / "place", database)
    try:
        yield place, place.node()
    finally:
        place.close()


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def answer(node: Node, client: Client) -> int:
    """The answer to one more mail."""
    number = client.write()
    try:
        with node.smtp(30) as smtp:
            smtp.sendmail(house.SENDER, house.addresses(number), house.as_bytes(client.mails[number]))
    except smtplib.SMTPRecipientsRefused as error:
        return next(iter(error.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    client.taken.add(number)
    return 250


def finish(place: Place, node: Node, client: Client, patience: float = 60.0) -> None:
    """Hand in again what was not taken; everything ends, in the same process."""
    client.repeat(node)
    node.wait(place.finished, patience, "the end of everything")
    assert node.process is not None
    assert node.process.poll() is None
    check(place, [client])


def full(node: Node, client: Client, disk: Path, mend: Callable[[], None] = lambda: None) -> None:
    """The disk is full for a while, with faxes in every state."""
    assert [answer(node, client) for _ in range(4)] == [250] * 4
    ballast = fill(disk)
    answers = [answer(node, client) for _ in range(3)]
    until = time.monotonic() + 15
    while not {451, 452} & set(answers) and time.monotonic() < until:
        answers.append(answer(node, client))
    assert {451, 452} & set(answers)
    assert set(answers) <= {250, 451, 452}
    assert node.get("/healthz")[0] == 200
    ballast.unlink()
    mend()


@root
def test_the_disk_of_the_sqlite_spool_is_full(tmp_path: Path, matrix: Matrix, request: pytest.FixtureRequest) -> None:
    with at_work(tmp_path, SQLITE, lambda: request.getfixturevalue("server")) as (place, node):
        far = (node.spool / "trapline").readlink()
        with small_disk(node.spool, 24_000_000) as disk:
            (disk / "trapline").symlink_to(far)
            client = Client()
            node.start()
            full(node, client, disk)
            finish(place, node, client)
            matrix.enter(TROUBLE, "database's disk full", SQLITE, place, client)
            node.close()


@root
@_needs_postgres
def test_the_disk_of_the_postgresql_server_is_full(tmp_path: Path, matrix: Matrix) -> None:
    """A server that finds no room for its log ends; somebody makes room and starts it again."""
    with postgres.running(size=150_000_000) as small, at_work(tmp_path, POSTGRESQL, lambda: small) as (place, node):
        client = Client()

        def mend() -> None:
            if not small.alive():
                small.start()

        node.start()
        full(node, client, small.folder, mend)
        finish(place, node, client)
        matrix.enter(TROUBLE, "database's disk full", POSTGRESQL, place, client)


@root
@both
def test_the_disk_of_the_documents_is_full(column: str, tmp_path: Path, matrix: Matrix, request: pytest.FixtureRequest) -> None:
    with (
        at_work(tmp_path, column, lambda: request.getfixturevalue("server")) as (place, node),
        small_disk(tmp_path / "small", 8_000_000) as disk,
    ):
        node.settings["documents"] = str(disk)
        client = Client()
        node.start()
        full(node, client, disk)
        finish(place, node, client)
        matrix.enter(TROUBLE, "documents' disk full", column, place, client)


def test_smt_20_the_database_is_gone_for_half_a_minute(tmp_path: Path, matrix: Matrix, server: Server) -> None:
    with at_work(tmp_path, POSTGRESQL, lambda: server) as (place, node):
        client = Client()
        node.start()
        assert [answer(node, client) for _ in range(4)] == [250] * 4
        server.stop()
        try:
            back = time.monotonic() + GONE
            while time.monotonic() < back:
                assert answer(node, client) == 451
                assert node.get("/readyz")[0] == 503
                assert node.get("/healthz")[0] == 200
                time.sleep(2)
        finally:
            server.start()
        node.wait(lambda: node.get("/readyz")[0] == 200, 20, "the node to find the server again")
        finish(place, node, client)
        matrix.enter(TROUBLE, "database gone for 30 s", POSTGRESQL, place, client)


def test_the_postgresql_server_crashes_and_starts_again_in_the_middle_of_the_work(
    tmp_path: Path, matrix: Matrix, server: Server
) -> None:
    with at_work(tmp_path, POSTGRESQL, lambda: server) as (place, node):
        client = Client()
        node.start()
        with client.feeding([node], 40):
            for calls in (3, 6, 9):
                node.wait(lambda calls=calls: len(place.calls()) >= calls, 20, "some calls")  # type: ignore[misc]
                server.crash()
                server.start()
                client.repeat(node)
        finish(place, node, client)
        matrix.enter(TROUBLE, "database crashes thrice", POSTGRESQL, place, client)


@both
def test_a_stop_under_load_is_not_a_failed_attempt(
    column: str, tmp_path: Path, matrix: Matrix, request: pytest.FixtureRequest
) -> None:
    with at_work(tmp_path, column, lambda: request.getfixturevalue("server")) as (place, node):
        client = Client()
        for calls in (5, 15):
            node.start()
            client.stop.clear()
            with client.feeding([node], 100):
                node.wait(lambda calls=calls: len(place.calls()) >= calls, 30, "some calls")  # type: ignore[misc]
                assert node.stop() == 0
            assert place.sql("SELECT state FROM attempt WHERE state NOT IN ('submitted', 'delivered')") == []
            assert place.sql("SELECT subject FROM step WHERE token IS NOT NULL") == []
        node.start()
        finish(place, node, client)
        assert place.sql("SELECT count(*) FROM attempt WHERE n > 1") == [(0,)]
        matrix.enter(TROUBLE, "stopped and started under load", column, place, client)
