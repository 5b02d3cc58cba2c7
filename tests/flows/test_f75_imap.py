"""Mailboxes of a real Dovecot that fax: two of them, one by password and one by OAuth, over TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.answers import answer
from tests.flows import dovecot
from tests.flows.dovecot import CLINIC, OFFICE, PASSWORD, Dovecot, Tokens
from tests.flows.house import SENDER, House, as_bytes, fresh, letter

pytestmark = pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing())
HOST = "mx.example.com"
PROOF = f"Authentication-Results: {HOST}; dmarc=pass header.from=example.com\r\n"


def mailbox(server: Dovecot, user: str = OFFICE, **more: Any) -> dict[str, Any]:
    """A section `[[imap]]` for one of its users."""
    return {
        "name": user.partition("@")[0],
        "host": "localhost",
        "port": server.tls,
        "tls_ca": str(server.certificate),
        "username": user,
        "password": PASSWORD,
        "servers": [HOST],
        "authserv_ids": [HOST],
        "poll": "1s",
        **more,
    }


def plus(user: str, number: str) -> str:
    """The mailbox's own address, with a fax number."""
    return user.replace("@", f"+{number.strip('+')}@")


def mail(number: str, user: str = OFFICE, proof: str = PROOF, **fields: str) -> bytes:
    """What a mail server in front of the mailbox hands over."""
    made = letter(fields.pop("subject", f"For {number}"))
    for name, value in {"To": plus(user, number), **fields}.items():
        made[name.replace("_", "-")] = value
    return proof.encode() + as_bytes(made)


def deliver(server: Dovecot, number: str, user: str = OFFICE, proof: str = PROOF, sender: str = SENDER, **fields: str) -> None:
    server.deliver(plus(user, number), mail(number, user, proof, **fields), sender)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot.running() as made:
        yield made


@pytest.fixture(scope="module")
def shared(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Reads both users; the second one by client credentials, by STARTTLS, and with a folder for what is done."""
    made = House(tmp_path_factory.mktemp("imap"))
    secret = made.folder / "client.secret"
    secret.write_text(Tokens.SECRET)
    server.tokens.user = CLINIC
    oauth = {"token_url": server.tokens.url, "client_id": Tokens.CLIENT, "client_secret_file": str(secret)}
    clinic = mailbox(server, CLINIC, tls="starttls", port=server.port, oauth=oauth, done_folder="Faxed/é & more")
    del clinic["password"]
    made.settings["imap"] = [mailbox(server), clinic]
    made.settings["account"][0]["dmarc"] = True
    try:
        made.start()
        ready(made, "office", "clinic")
        yield made
    finally:
        made.close()


def states(house: House) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in house.ask("mailboxes")}


def ready(house: House, *names: str) -> None:
    """Wait until these are read, and every folder has been found."""
    house.wait(
        lambda: all((one := states(house)[name])["state"] == "reading" and one["folders"] for name in names), 30, "mailboxes"
    )


def test_imp_06_a_mail_is_faxed_reported_and_gets_the_keyword(server: Dovecot, shared: House) -> None:
    number = fresh()
    deliver(server, number)
    shared.wait(lambda: shared.faxes(number), 30, "the mail to be found")
    assert shared.fax(number)["state"] == "delivered"
    assert len(shared.calls(number)) == 1
    shared.wait(lambda: flags(server, OFFICE, number) == {"$Faxed"}, 30, "the mark")  # and not \Seen (IMP-05, IMP-09)
    shared.wait(lambda: [one for one in shared.sink.letters if f"For {number}" in one.text], 30, "the report")


def test_an_answer_to_a_report_steers_once_though_it_is_found_twice(server: Dovecot, shared: House) -> None:
    number = fresh()
    deliver(server, number)
    (report,) = shared.wait(lambda: [one for one in shared.sink.letters if f"For {number}" in one.text], 30, "the report")
    assert "RESEND on the first line" in report.flat
    local = str(report.mail["Reply-To"]).partition("@")[0]
    made = PROOF.encode() + answer("outlook-base64-de", to=plus(OFFICE, local), report=str(report.mail["Message-ID"]))
    for _ in range(2):
        server.deliver(plus(OFFICE, local), made, SENDER)

    def done() -> bool:
        mine = [marks for content, marks in server.filed(OFFICE) if plus(OFFICE, local).encode() in content]
        return [marks - {"\\Recent"} for marks in mine] == [{"$Faxed"}] * 2

    shared.wait(done, 30, "both to be marked")
    shared.wait(lambda: [one["state"] for one in shared.faxes(number)] == ["delivered"] * 2, 30, "the second fax")
    said = [one for one in list(shared.sink.letters) if str(one.mail["Subject"]).startswith("RESEND")]
    assert len(said) == 1


def flags(server: Dovecot, user: str, number: str) -> set[str]:
    (found,) = [marks for content, marks in server.filed(user) if f"For {number}".encode() in content]
    return found - {"\\Recent"}


def filed(server: Dovecot, user: str, folder: str, number: str) -> bool:
    """Whether a folder has the mail for a number."""
    return any(f"For {number}".encode() in content for content in server.mails(user, folder))


def told(house: House, number: str) -> list[str]:
    """What mails say about the mail for a number."""
    return [one.flat for one in list(house.sink.letters) if f"For {number}" in one.text]


def test_by_oauth_and_starttls_a_mail_is_faxed_and_moved(server: Dovecot, shared: House) -> None:
    first, second = fresh(), fresh()
    deliver(server, first, CLINIC)
    shared.wait(lambda: filed(server, CLINIC, "Faxed/&AOk- &- more", first), 30, "the first mail to be moved")
    assert server.mails(CLINIC) == []
    asked = len(server.tokens.asked)
    assert asked >= 1
    server.tokens.revoke()  # a token that has ended is found out when it is used, and a new one is asked for
    server.restart()
    deliver(server, second, CLINIC)
    shared.wait(lambda: filed(server, CLINIC, "Faxed/&AOk- &- more", second), 60, "the second mail to be moved")
    assert len(server.tokens.asked) > asked
    assert [shared.fax(number)["state"] for number in (first, second)] == ["delivered"] * 2
    assert [len(shared.calls(number)) for number in (first, second)] == [1, 1]


def test_imp_10_only_the_delivery_field_of_the_mailboxs_own_server_counts(server: Dovecot, shared: House) -> None:
    number, forged = fresh(), fresh()
    deliver(server, number, proof=f"Delivered-To: {plus(OFFICE, forged)}\r\n{PROOF}")
    shared.wait(lambda: shared.faxes(number), 30, "the mail to be found")
    # Filed by a mail program: its fields are whatever somebody wrote.
    server.append(OFFICE, f"Delivered-To: {plus(OFFICE, forged)}\r\n".encode() + mail(forged))
    shared.wait(lambda: filed(server, OFFICE, "Not faxed", forged), 30, "the other mail to be refused")
    assert shared.fax(number)["state"] == "delivered"
    assert shared.faxes(forged) == []


def test_imp_14_a_mail_that_proves_nothing_is_put_aside_and_nobody_is_told(server: Dovecot, shared: House) -> None:
    forged, stranger = fresh(), fresh()
    below = f"Received: from x by y\r\n{PROOF}"  # a proof that whoever sent it has written
    deliver(server, forged, proof=below)
    deliver(server, stranger, proof=PROOF.replace("example.com\r", "example.net\r"), sender="eve@example.net")
    for number in (forged, stranger):
        shared.wait(partial(filed, server, OFFICE, "Not faxed", number), 30, "the mail to be put aside")
        assert shared.faxes(number) == []
        assert told(shared, number) == []


def test_a_proven_sender_is_told_why_a_mail_is_not_faxed(server: Dovecot, shared: House) -> None:
    abroad = "+442079460123"
    deliver(server, abroad)
    shared.wait(lambda: filed(server, OFFICE, "Not faxed", abroad), 30, "the mail to be put aside")
    (letter,) = shared.wait(lambda: [one for one in shared.sink.letters if f"For {abroad}" in one.text], 30, "the notice")
    assert letter.sender == ""
    assert letter.recipients == [SENDER]
    assert letter.mail["Auto-Submitted"] == "auto-replied"
    assert letter.mail["In-Reply-To"]
    assert len(letter.content) < 10_000
    assert "was not faxed" in letter.flat
    assert shared.faxes(abroad) == []


def test_imap_check_says_what_would_be_taken_and_changes_nothing(server: Dovecot, shared: House, tmp_path: Any) -> None:
    number = fresh()
    other = House(tmp_path)  # the same mailbox, before it is served here
    try:
        other.settings["imap"] = [mailbox(server, existing="take", folders=["INBOX", "Nowhere"], done_keyword="$Other")]
        other.settings["account"][0]["dmarc"] = True
        other.write_settings()
        before = server.filed(OFFICE)
        deliver(server, number)
        shared.wait(lambda: shared.faxes(number), 30, "the mail to be found")
        shared.wait(lambda: flags(server, OFFICE, number), 30, "the mark")
        (said,) = json.loads(other.cli("imap", "check", "--json", check=False).stdout)
        assert said["missing"] == ["Nowhere"]
        assert "INBOX" in said["folders"]
        (folder,) = said["read"]
        (found,) = [one for one in folder["looked_at"] if f"For {number}" in one["subject"]]
        assert found["taken"] is True
        assert found["account"] == "office"
        assert [one["number"] for one in found["recipients"]] == [number]
        assert found["results"] == ["dmarc=pass"]
        assert f"would be faxed to {number}" in other.cli("imap", "check", "office", check=False).stdout
        assert "There is no mailbox clinic" in other.cli("imap", "check", "clinic", check=False).stderr
        assert [marks - {"\\Recent"} for _, marks in server.filed(OFFICE)][: len(before)] == [
            marks - {"\\Recent"} for _, marks in before
        ]
        assert len(server.mails(OFFICE)) == len(before) + 1
    finally:
        other.close()


def test_the_state_is_shown_and_counted(server: Dovecot, shared: House) -> None:
    number = fresh()
    deliver(server, number)
    shared.wait(lambda: shared.faxes(number), 30, "the mail to be found")
    shown = {one["name"]: one for one in json.loads(shared.cli("show", "imap", "--json").stdout)}
    assert shown["office"]["state"] == "reading"
    assert shown["office"]["mails"]["taken"] >= 1
    assert "office" in shared.cli("show", "imap").stdout
    metrics = shared.get("/metrics")[1]
    assert 'faxgate_imap_reading{mailbox="office"} 1.0' in metrics
    assert 'faxgate_imap_mails_total{mailbox="office",result="taken"}' in metrics
    assert 'faxgate_accepted_total{door="imap"}' in metrics
    assert PASSWORD not in shared.log.read_text()
    assert Tokens.SECRET not in shared.log.read_text()
    assert shared.faults() == ""


def test_mdn_11_a_mail_that_asks_for_a_notification_says_where_and_gets_the_keyword(server: Dovecot, shared: House) -> None:
    number, other = fresh(), fresh()
    deliver(server, number, Disposition_Notification_To=SENDER)
    deliver(server, other, Disposition_Notification_To="eve@example.com")  # not the return path (MDN-02)
    for one, to, keywords in ((number, SENDER, {"$Faxed", "$MDNSent"}), (other, "", {"$Faxed"})):
        shared.wait(partial(shared.faxes, one), 30, "the mail to be found")
        (fax,) = shared.faxes(one)
        assert shared.ask("show", id=fax["id"])["submission"]["envelope"]["disposition_to"] == to
        shared.wait(partial(marked, server, one, keywords), 30, "the marks")


def marked(server: Dovecot, number: str, keywords: set[str]) -> bool:
    return flags(server, OFFICE, number) == keywords
