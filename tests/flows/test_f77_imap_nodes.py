"""Two real nodes on one PostgreSQL database and one mailbox of a real Dovecot, which does not know IDLE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.flows import cutter, dovecot, trapline
from tests.flows.dovecot import CLINIC, Dovecot
from tests.flows.house import fresh
from tests.flows.nodes import Node, Place
from tests.flows.test_f75_imap import deliver, flags, mailbox, ready, states
from tests.spool import postgres

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing())]


@pytest.fixture
def server() -> Iterator[Dovecot]:
    with dovecot.running("imap_capability = IMAP4rev1 SASL-IR UIDPLUS MOVE LITERAL+ AUTH=XOAUTH2") as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    with postgres.running() as database:
        made = Place(tmp_path / "place", postgres.database(database.url, "mailboxes"))
        try:
            yield made
        finally:
            made.close()


def test_imp_12_one_node_reads_and_when_it_dies_between_commit_and_mark_the_other_goes_on(
    place: Place, server: Dovecot, tmp_path: Path
) -> None:
    token, runs = tmp_path / "token", tmp_path / "runs"
    token.write_text(server.tokens.issue(CLINIC))
    command = ["/bin/sh", "-c", f"echo >> {runs}; cat {token}"]
    with cutter.before(server.tls, server.certificate) as proxy:
        one, two = (_node(place, server, port, command) for port in (proxy.port, server.tls))
        one.start()
        ready(one, "clinic")
        two.start()
        first, second, third = fresh(), fresh(), fresh()
        deliver(server, first, CLINIC)
        two.wait(lambda: two.faxes(first), 30, "the first mail to be taken")
        two.wait(partial(marked, server, first), 30, "its mark")
        assert one.process is not None
        assert two.process is not None
        assert states(two)["clinic"]["read_by"].endswith(f":{one.process.pid}")
        assert not any(b"IDLE" in line for line in proxy.commands)
        assert runs.read_text() == "\n"  # one has signed in, once
        proxy.cut(b"UID STORE", late=False, then=one.kill)
        deliver(server, second, CLINIC)
        two.wait(proxy.done.is_set, 30, "the first node to die")
        deliver(server, third, CLINIC)
        two.wait(lambda: two.faxes(third), 60, "the other node to take over")
        assert states(two)["clinic"]["read_by"].endswith(f":{two.process.pid}")
        for number in (first, second, third):
            assert two.fax(number, patience=60)["state"] == "delivered"
            two.wait(partial(marked, server, number), 30, "its mark")
        assert Counter(call.number for call in place.calls()) == dict.fromkeys((first, second, third), 1)
        assert states(two)["clinic"]["mails"] == {"taken": 3}
        assert token.read_text() not in one.log.read_text() + two.log.read_text()


def marked(server: Dovecot, number: str) -> bool:
    return flags(server, CLINIC, number) == {"$Faxed"}


def _node(place: Place, server: Dovecot, port: int, command: list[str]) -> Node:
    made = place.node()
    section = mailbox(server, CLINIC, port=port, token_command=command)
    del section["password"]
    made.settings["imap"] = [section]
    made.settings["account"][0]["dmarc"] = True
    return made
