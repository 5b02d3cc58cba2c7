"""Two real nodes on one PostgreSQL database: each fax is called once, whatever happens to one of them or to the server."""

from __future__ import annotations

import signal
import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.spool import steps
from gateway.spool.store import Store
from tests.flows import picker, trapline
from tests.flows.house import REPOSITORY, addresses, as_bytes
from tests.flows.nodes import LEASE, Client, Node, Place, check
from tests.spool import postgres
from tests.spool.postgres import Server

pytestmark = pytest.mark.needs("postgres")
MAILS = 60
_databases = iter(range(1, 100))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.running() as made:
        yield made


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    made = Place(tmp_path / "place", postgres.database(server.url, f"two{next(_databases)}"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def nodes(place: Place) -> tuple[Node, Node]:
    one, two = place.node(), place.node()
    one.start()
    two.start()
    return one, two


def finish(place: Place, client: Client, node: Node, patience: float = 40.0) -> None:
    """Hand in again what was not taken, and wait for the end of everything."""
    client.repeat(node)
    node.wait(place.finished, patience, "the end of everything")
    check(place, [client])


def test_que_02_two_nodes_share_the_work_and_call_each_fax_once(place: Place, nodes: tuple[Node, Node]) -> None:
    client = Client()
    client.feed(list(nodes), MAILS)
    assert len(client.taken) == MAILS
    finish(place, client, nodes[0])
    did = {node.folder.name: {what: node.history(what) for what in ("ready", "attempt")} for node in nodes}
    sys.stdout.write(f"\n{MAILS} faxes on two nodes: {did}\n")
    assert all(count for node in did.values() for count in node.values()), did


def test_que_07_the_same_mail_at_both_nodes_at_once_is_one_fax(place: Place, nodes: tuple[Node, Node]) -> None:
    client = Client()
    numbers = [client.write() for _ in range(12)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: client.hand_in(nodes[n % 2], numbers[n // 2]), range(24)))
    assert taken == [True] * 24
    nodes[0].kill()
    nodes[0].start()
    assert client.hand_in(nodes[0], numbers[0])  # after a crash, too
    finish(place, client, nodes[1])


def test_que_02_one_node_is_killed_and_the_other_finishes_everything(place: Place, nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    client = Client()
    with client.feeding([one, two], MAILS):
        one.wait(lambda: len(place.calls()) >= 10, 30, "some calls")
        two.kill()
    while len(client.mails) < MAILS:
        assert client.hand_in(one, client.write())
    finish(place, client, one)


def test_que_02_one_node_is_frozen_past_its_leases_and_nothing_is_sent_twice(place: Place, nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    client = Client()
    with client.feeding([one, two], MAILS):
        one.wait(lambda: two.history("attempt") >= 5, 30, "some calls")
        two.sign(signal.SIGSTOP)
        frozen = time.monotonic()
    while len(client.mails) < MAILS:
        assert client.hand_in(one, client.write())
    finish(place, client, one)
    time.sleep(max(0.0, frozen + LEASE + 1 - time.monotonic()))
    two.sign(signal.SIGCONT)
    assert client.hand_in(two, client.write()), "it goes on"
    finish(place, client, two)


def test_smt_20_the_server_is_gone_for_a_while_and_nothing_is_lost(
    place: Place, nodes: tuple[Node, Node], server: Server
) -> None:
    one, two = nodes
    client = Client()
    with client.feeding([one, two], MAILS):
        one.wait(lambda: len(place.calls()) >= 5, 30, "some calls")
        server.stop()
    try:
        for node in nodes:
            with node.smtp() as smtp, pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as refused:
                smtp.sendmail("ann@example.com", addresses(number := client.write()), as_bytes(client.mails[number]))
            assert "451" in str(refused.value)
            assert node.get("/readyz")[0] == 503
            assert node.get("/healthz")[0] == 200
        time.sleep(2.0)
    finally:
        server.start()
    one.wait(lambda: all(node.get("/readyz")[0] == 200 for node in nodes), 20, "both nodes to find the server again")
    while len(client.mails) < MAILS:
        assert client.hand_in(nodes[len(client.mails) % 2], client.write())
    finish(place, client, one)
    assert [node.process is not None and node.process.poll() for node in nodes] == [None, None]


async def test_what_one_process_makes_due_another_takes_up_at_once(place: Place, tmp_path: Path) -> None:
    count = 100
    store = Store(tmp_path, place.database, now=lambda: datetime.now(UTC), node="here")
    store.open()
    store.start()
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.picker", place.database, str(count)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "ready\n"
        waited = []
        for n in range(count):
            await store.write(steps.add, f"s{n}", "tell", picker.LANE)
            waited.append(float(other.stdout.readline()))
        assert other.wait(20) == 0
    finally:
        other.kill()
        other.wait(10)
        other.stdout.close()
        await store.close()
    p99 = statistics.quantiles(waited, n=100)[98]
    sys.stdout.write(f"\npick-up across processes: median {statistics.median(waited):.1f} ms, p99 {p99:.1f} ms\n")
    assert statistics.median(waited) < 500, "woken, not polled"
