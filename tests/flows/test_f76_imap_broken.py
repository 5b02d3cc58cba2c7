"""A mailbox whose network is cut, whose server is killed, whose gateway is killed, at each step: every mail is faxed once."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import psutil
import pytest

from gateway.certificate import self_signed
from tests.flows import cutter, dovecot
from tests.flows.cutter import Cutter
from tests.flows.dovecot import CLINIC, OFFICE, Dovecot
from tests.flows.house import SENDER, House, fresh
from tests.flows.test_f75_imap import HOST, deliver, filed, mail, mailbox, plus, ready, states

pytestmark = pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing())
FETCH, STORE, MOVE = b"BODY.PEEK", b"UID STORE", b"UID MOVE"
OLD = 10_000
LEFT = "+19075550123"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot.running() as made:
        yield made


@pytest.fixture
def proxy(server: Dovecot) -> Iterator[Cutter]:
    with cutter.before(server.tls, server.certificate) as made:
        yield made


def test_imp_01_whatever_breaks_at_whatever_step_each_mail_is_faxed_once(house: House, server: Dovecot, proxy: Cutter) -> None:
    house.settings["imap"] = [mailbox(server, port=proxy.port, done_folder="Faxed")]
    house.settings["account"][0]["dmarc"] = True
    house.start()
    ready(house, "office")
    numbers = []
    cuts = [(step, late, "network") for step in (FETCH, STORE, MOVE) for late in (False, True)]
    cuts += [(step, True, "server") for step in (FETCH, STORE, MOVE)]
    cuts += [(FETCH, True, "gateway"), (STORE, False, "gateway"), (MOVE, True, "gateway")]
    for step, late, what in cuts:
        number = fresh()
        numbers.append(number)
        then = {"network": proxy.cut_now, "server": server.kill, "gateway": house.kill}[what]
        proxy.cut(step, late=late, then=then)
        deliver(server, number)
        house.wait(proxy.done.is_set, 30, f"the {what} to break at {step!r}")
        if what == "server":
            server.start()
        if what == "gateway":
            house.start()
        house.wait(partial(filed, server, OFFICE, "Faxed", number), 30, f"{number}, after {step!r} {late} {what}")
    for number in numbers:
        assert house.fax(number)["state"] == "delivered"
    assert Counter(call.number for call in house.calls()) == dict.fromkeys(numbers, 1)
    assert server.mails(OFFICE) == []
    contents = server.mails(OFFICE, "Faxed")
    assert len(contents) == len(numbers)  # a MOVE whose answer was lost is not made again
    assert states(house)["office"]["mails"]["taken"] == len(numbers)
    assert house.faults() == ""


def _fill(server: Dovecot, user: str, mails: Sequence[bytes]) -> None:
    """Mails as they lie on disk; only while the server is stopped."""
    folder = server.folder / "mail" / user / "Maildir"
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for n, content in enumerate(mails):
        (folder / "cur" / f"{1_700_000_000 + n}.M{n}P1.old:2,").write_bytes(content)
    owner = pwd.getpwnam("mail")
    for path in [folder.parent, folder, *folder.rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid)


@dataclass(frozen=True, slots=True)
class Crowd:
    """A gateway, its mail server, and what is in front of that for each of two mailboxes."""

    house: House
    server: Dovecot
    office: Cutter
    clinic: Cutter


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """One gateway that reads 10,000 old mails, 500 to be taken, and three mailboxes that fail."""
    house = House(tmp_path_factory.mktemp("crowd"))
    # Not dialled today: what counts here is what is accepted.
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() + 5 * 86400))
    top = f"Received: from a.example by {HOST} with LMTP; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    mails = []
    for number in (fresh() for _ in range(500)):
        content = mail(number, CLINIC, subject=f"[at={at}] For {number}")
        mails.append(f"Delivered-To: {plus(CLINIC, number)}\r\n{top}".encode() + content)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(dovecot.running())
        server.stop()
        _fill(server, CLINIC, mails)
        _fill(server, OFFICE, [mail(LEFT, OFFICE)] * OLD)
        server.start()
        office, clinic = (stack.enter_context(cutter.before(server.tls, server.certificate)) for _ in range(2))
        stack.callback(house.close)
        (house.folder / "other").mkdir()
        authority, _ = self_signed(house.folder / "other")
        house.settings["imap"] = [
            mailbox(server, OFFICE, port=office.port),
            mailbox(server, CLINIC, port=clinic.port, existing="take", max_size="9MB"),
            mailbox(server, CLINIC, name="broken", password="wrong", alarm="0.5s"),
            mailbox(server, CLINIC, name="nowhere", port=9, alarm="0.5s"),
            mailbox(server, CLINIC, name="stranger", folders=["Other"], tls_ca=str(authority), alarm="1h"),
        ]
        house.settings["smtp"]["hold_quota"] = 1000
        house.settings["account"][0] |= {"dmarc": True, "options": ["at"]}
        house.start()
        yield Crowd(house, server, office, clinic)


def test_ten_thousand_old_mails_cost_nothing_and_are_left_alone(crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    house, server, proxy = crowd.house, crowd.server, crowd.office
    began = time.monotonic()
    ready(house, "office")
    took, asked, heard = time.monotonic() - began, len(proxy.commands), proxy.octets
    # Whatever lies there: sign in, folders, one folder opened, one search. Figures of what was said, not of seconds: what was
    # not said is not in memory either.
    assert asked <= 12
    assert heard < 8_000
    assert house.process is not None
    before = psutil.Process(house.process.pid).memory_info().rss
    number = fresh()
    deliver(server, number)
    house.wait(lambda: house.faxes(number), 30, "the new mail to be found")
    assert house.fax(number)["state"] == "delivered"
    assert proxy.octets - heard < 20_000
    assert not any(b"BODY.PEEK" in one for one in proxy.commands[:asked])
    assert house.faxes(LEFT) == []
    after = psutil.Process(house.process.pid).memory_info().rss
    with capsys.disabled():
        said = f"looked at {took:.1f} s after the start, {asked} commands, {heard} octets"
        print(f"\n{OLD} old mails: {said}; memory {before >> 20} MB, then {after >> 20} MB")


def test_a_mailbox_that_fails_does_not_disturb_another_and_the_operator_is_told_once(crowd: Crowd) -> None:
    house = crowd.house
    number = fresh()
    deliver(crowd.server, number)
    house.wait(lambda: house.faxes(number), 30, "the mail to be found")

    def alarms(name: str) -> int:
        return sum(
            "a mailbox cannot be read" in one.subject and f"mailbox {name}" in one.flat for one in list(house.sink.letters)
        )

    def tried(name: str) -> bool:
        return house.log.read_text().count(f"the mailbox {name} cannot be read") >= 3

    for name in ("broken", "nowhere"):
        house.wait(partial(alarms, name), 30, "the alarm")
        house.wait(partial(tried, name), 60, "three tries")
        assert alarms(name) == 1
    found = states(house)
    assert {name: found[name]["state"] for name in ("broken", "nowhere", "stranger")} == dict.fromkeys(
        ("broken", "nowhere", "stranger"), "failing"
    )
    assert "certificate" in found["stranger"]["detail"]


def test_imp_02_five_hundred_mails_in_a_folder_that_is_numbered_anew_are_not_faxed_again(crowd: Crowd) -> None:
    house, server = crowd.house, crowd.server

    def dealt(result: str) -> int:
        time.sleep(0.2)  # each look costs the program something
        return int(states(house)["clinic"]["mails"].get(result, 0))

    scheduled = "SELECT count(*), count(DISTINCT number) FROM transmission WHERE state NOT IN ('delivered', 'failed')"
    house.wait(lambda: dealt("taken") == 500, 60, "500 mails to be taken")
    assert house.sql(scheduled) == [(500, 500)]
    server.kill()
    server.renumber(CLINIC)
    server.start()
    house.wait(lambda: dealt("again") == 500, 60, "500 mails to be looked at again")
    late = fresh()
    deliver(server, late, CLINIC)
    house.wait(lambda: house.faxes(late), 30, "a new mail to be taken")
    assert house.fax(late)["state"] == "delivered"
    assert dealt("taken") == 501
    assert house.sql(scheduled) == [(500, 500)]
    house.wait(lambda: states(house)["clinic"]["to_mark"] == 0, 30, "all marks")
    assert sum("$Faxed" in marks for _, marks in server.filed(CLINIC)) == 501


def test_a_mail_of_many_megabytes_is_not_held_in_memory(crowd: Crowd) -> None:
    """Its pieces are asked for one after the other."""
    house, server = crowd.house, crowd.server
    house.wait(lambda: states(house)["clinic"]["state"] == "reading", 60, "the mailbox to be read")

    def pieces() -> int:
        return sum(b"BODY.PEEK" in one for one in crowd.clinic.commands)

    before, number = pieces(), fresh()
    line = b"x" * 74 + b"\r\n"
    large = mail(number, CLINIC) + line * (4_000_000 // len(line))
    server.deliver(plus(CLINIC, number), large, SENDER)
    house.wait(lambda: house.faxes(number), 60, "the mail to be taken")
    fetched = pieces() - before
    assert fetched == len(large) // (256 * 1024) + 1
    too_large = fresh()
    server.deliver(plus(CLINIC, too_large), mail(too_large, CLINIC) + line * (9_100_000 // len(line)), SENDER)
    house.wait(lambda: server.mails(CLINIC, "Not faxed"), 60, "the other one to be refused")
    assert pieces() - before == fetched  # not even asked for
    assert house.faxes(too_large) == []
    assert house.faults() == ""
