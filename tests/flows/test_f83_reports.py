"""Reports through a real Postfix into a real mailbox: who asked by NOTIFY, ENVID and ORCPT reads the answer there."""

from __future__ import annotations

import email
import email.policy
import re
import smtplib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from email.message import EmailMessage

import pytest

from tests.flows import dovecot, postfix
from tests.flows.dovecot import CLINIC, OFFICE, Dovecot
from tests.flows.house import DOMAIN, House, as_bytes, fresh, letter
from tests.flows.postfix import Postfix

WHY_NOT = postfix.missing() or dovecot.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
#: A number and what is asked about it.
Asked = tuple[str, Sequence[str]]


class Office:
    """A gateway behind a mail server, which also has the mailboxes of its senders."""

    def __init__(self, house: House, server: Postfix, mailboxes: Dovecot) -> None:
        self.house, self.server, self.mailboxes = house, server, mailboxes

    def send(self, sender: str, subject: str, *asked: Asked, mail: Sequence[str] = ()) -> str:
        """A mail to numbers, each with its own parameters; its Message-ID."""
        said = letter(subject, To=", ".join(f"{number}@{DOMAIN}" for number, _ in asked))
        said.replace_header("From", sender)
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=60) as client:
            client.ehlo("laptop.example.com")
            assert client.mail(sender, list(mail))[0] == 250
            for number, options in asked:
                assert client.rcpt(f"{number}@{DOMAIN}", list(options))[0] == 250
            assert client.data(as_bytes(said))[0] == 250
        return str(said["Message-ID"])

    def reports(self, user: str, about: str) -> list[EmailMessage]:
        """What lies in a mailbox in answer to a mail, oldest first."""
        found = [email.message_from_bytes(content, policy=email.policy.default) for content in self.mailboxes.mails(user)]
        return [one for one in found if isinstance(one, EmailMessage) and one["In-Reply-To"] == about]

    def wait(self, user: str, about: str, n: int) -> list[EmailMessage]:
        """The same, once there are n."""
        return self.house.wait(
            lambda: found if len(found := self.reports(user, about)) >= n else None, 60, f"{n} reports"
        ) or []  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    house = House(tmp_path_factory.mktemp("reports"))
    try:
        with dovecot.running() as mailboxes:
            ways = {DOMAIN: f"smtp:[127.0.0.1]:{house.smtp_port}", "example.com": f"lmtp:inet:127.0.0.1:{mailboxes.lmtp}"}
            with postfix.running(ways) as server:
                house.settings["mail"] |= {"smarthost": f"smtp://127.0.0.1:{server.port}", "operator": CLINIC}
                house.settings["http"]["public_url"] = f"http://127.0.0.1:{house.http_port}"
                house.settings["carrier"]["main"]["slow_time"] = "6s"
                house.settings["account"] = [
                    {"name": "office", "senders": [OFFICE], "networks": ["127.0.0.0/8"], "countries": ["US"],
                     "reports": {"delayed": "1s"}},
                    {"name": "clinic", "senders": [CLINIC], "networks": ["127.0.0.0/8"], "countries": ["US"],
                     "private": True, "reports": {"digest": "10m"}},
                ]  # fmt: skip
                house.settings["line"] = []
                house.start()
                yield Office(house, server, mailboxes)
    finally:
        house.close()


def groups(report: EmailMessage) -> list[dict[str, str]]:
    """The blocks of the machine part."""
    part = next(one for one in report.walk() if one.get_content_type() == "message/delivery-status")
    return [dict(block.items()) for block in part.get_payload()]  # type: ignore[union-attr]  # blocks are messages


def test_dsn_04_08_14_15_and_17_the_sender_reads_what_was_asked_for_and_nothing_else(office: Office) -> None:
    good, busy, silent = fresh(), fresh("14"), fresh("14")
    about = office.send(
        OFFICE,
        "Contract",
        (good, ["NOTIFY=SUCCESS,FAILURE"]),
        (busy, ["NOTIFY=FAILURE", f"ORCPT=rfc822;Law.Office+2B{busy[1:]}@example.com"]),
        (silent, ["NOTIFY=NEVER"]),
        mail=["RET=HDRS", "ENVID=QQ+2B314159"],
    )
    found = office.wait(OFFICE, about, 2)
    office.house.fax(silent)
    office.house.wait(lambda: office.server.queue() == 0, 30, "Postfix's queue to be empty")
    assert len(office.reports(OFFICE, about)) == 2, "neither we nor Postfix said more"
    by_action = {groups(one)[1]["Action"]: one for one in found}
    assert set(by_action) == {"delivered", "failed"}
    for report in found:
        assert report["Return-Path"] == "<>"
        assert groups(report)[0]["Original-Envelope-Id"] == "QQ+314159"
        assert report.get_content_type() == "multipart/report"
        returned = list(report.iter_parts())[2]
        assert (returned.get_content_type(), about in returned.as_string()) == ("text/rfc822-headers", True)
    delivered, failed = groups(by_action["delivered"])[1], groups(by_action["failed"])[1]
    assert (delivered["Status"], delivered["Remote-MTA"]) == ("2.1.5", f"x-gstn; {good}")
    assert (delivered["X-Faxgate-Bit-Rate"], delivered["X-Faxgate-Resolution"]) == ("14400", "fine")
    assert failed["Status"] == "5.1.1"
    assert failed["Original-Recipient"] == f"rfc822;Law.Office+{busy[1:]}@example.com"
    assert failed["Final-Recipient"] == f"rfc822;{busy}@{DOMAIN}"


def test_dsn_07_a_delay_is_told_once_where_it_was_asked_for(office: Office) -> None:
    slow = fresh("18")
    about = office.send(OFFICE, "Slow", (slow, ["NOTIFY=SUCCESS,FAILURE,DELAY"]))
    first, last = office.wait(OFFICE, about, 2)
    assert [groups(one)[1]["Action"] for one in (first, last)] == ["delayed", "delivered"]
    assert "Will-Retry-Until" in groups(first)[1]
    assert "nothing needs to be resent" in " ".join(str(first.get_body(("plain",))).split())


def test_private_faxes_are_told_in_one_mail_or_by_a_link_that_nobody_keeps(office: Office) -> None:
    one, other, bad = fresh(), fresh(), fresh("14")
    about = office.send(CLINIC, "Findings", (one, []), (other, []), (bad, []))
    (digest,) = office.wait(CLINIC, about, 1)
    assert digest["Subject"] == "2 of 3 faxes delivered (Findings)"
    assert [group["Action"] for group in groups(digest)[1:]] == ["failed"]
    about = office.send(CLINIC, "Finding", (fresh(), []))
    (report,) = office.wait(CLINIC, about, 1)
    assert "application/pdf" not in [part.get_content_type() for part in report.walk()]
    body = report.get_body(("plain",))
    assert body is not None
    (link,) = re.findall(r"http://127\.0\.0\.1:\S+/view/\S+", body.get_content())
    with urllib.request.urlopen(link, timeout=20) as answer:
        assert answer.read().startswith(b"%PDF")
        assert (answer.headers["Cache-Control"], answer.headers["Content-Type"]) == ("no-store", "application/pdf")
    for wrong in (link[:-1] + ("0" if link[-1] != "0" else "1"), re.sub(r"/([0-9]+)/(?=[^/]+$)", r"/9\1/", link)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(wrong, timeout=20)
        with refused.value:
            assert refused.value.code == 404
    assert len(office.reports(CLINIC, about)) == 1
