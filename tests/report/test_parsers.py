"""Every report as others read it: the library of the language, a parser of another make, and one that knows bounces.

`golden/` has the worked reports of reference/internet-fax-standards.md section 18.
"""

from __future__ import annotations

import dataclasses
import email
import email.policy
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path

import fast_mail_parser
import pytest
from flufl.bounce import all_failures

from gateway.errors import Outcome
from gateway.fax import Door, Envelope, Recipient, Submission, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import RELAYED
from gateway.report import dsn, facts, samples
from gateway.report.compose import Composer, Mail, Told
from gateway.templates import Templates
from tests.report.report_values import (
    ASKED,
    BUSY_TO_THE_END,
    COMPOSER,
    ONE_CALL,
    ORIGINAL,
    OUTBOX,
    RECIPIENT,
    SENDER,
    START,
    attempt,
    delivered,
    html_of,
    machine_part,
    parsed,
    result,
    submission,
    text_of,
    transmission,
)

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = Templates()


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="ascii")


def ours(machine: str) -> str:
    """The machine part without the fields that only we have and the reference does not name."""
    return "".join(line + "\n" for line in machine.splitlines() if not line.startswith("X-Faxgate-"))


def receipt_part(mail: Mail) -> str:
    """The part about the disposition as it stands on the wire, lines ended by LF."""
    wire = mail.content.split(b"Content-Type: message/disposition-notification\r\n")[1].split(b"\r\n\r\n", 1)[1]
    return wire.split(b"\r\n--=_")[0].replace(b"\r\n", b"\n").decode("ascii")


def test_dsn_11_busy_to_the_end_is_the_worked_report_of_the_reference() -> None:
    east = timezone(timedelta(hours=2))
    began = datetime(2026, 3, 2, 10, 0, 4, tzinfo=east)
    calls = [attempt(n, opened_at=began, finished_at=began + timedelta(minutes=20 * n, seconds=6)) for n in range(1, 6)]
    mail = Composer(TEMPLATES, dataclasses.replace(SENDER, zone="Etc/GMT-2")).result(
        outbox=OUTBOX,
        submission=submission(envelope_id="QQ314159"),
        transmission=transmission(id=TransmissionId("j17"), accepted_at=began, attempts=5),
        recipients=[ASKED],
        attempts=calls,
        original=ORIGINAL,
        made_at=began + timedelta(hours=2),
    )
    assert ours(machine_part(mail)) == golden("18_1_busy_to_the_end")
    message = parsed(mail)
    assert (mail.envelope_from, message["To"], message["Auto-Submitted"]) == ("", "ann@corp.example", "auto-replied")


def test_dsn_04_a_confirmation_has_what_the_reference_wants() -> None:
    call = dataclasses.replace(ONE_CALL[0], speed=14400, resolution="fine")
    group = machine_part(result(delivered(), [ASKED], [call])).split("\n\n")[1]
    wanted = email.message_from_string(golden("18_2_confirmed"), policy=email.policy.compat32)
    said = email.message_from_string(group, policy=email.policy.compat32)
    assert {name: said[name] for name in wanted} == dict(wanted.items())
    assert said["X-Faxgate-Resolution"] == "fine"


def by_imap(*, to: str = "ann@corp.example") -> tuple[Submission, bytes]:
    """A mail that came by IMAP and is answered by a notification to an address, and its header."""
    envelope = Envelope(door=Door.IMAP, sender="ann@corp.example", disposition_to=to)
    of = dataclasses.replace(submission(), envelope=envelope, message_id="<abc@corp.example>")
    return of, b"Disposition-Notification-To: ann@corp.example\r\n" + ORIGINAL


def told(
    fax: Transmission, of: Submission, original: bytes, recipient: Recipient = RECIPIENT, *, account: Told | None = None
) -> Mail:
    return COMPOSER.result(
        outbox=OUTBOX,
        submission=of,
        transmission=fax,
        recipients=[recipient],
        attempts=BUSY_TO_THE_END,
        original=original,
        made_at=START,
        account=account or Told(),
    )


PLAIN = dataclasses.replace(RECIPIENT, written="FAX=+14155550123@fax.example")


def test_mdn_04_to_06_a_failure_of_a_mail_from_a_mailbox_is_the_worked_report() -> None:
    of, original = by_imap()
    mail = told(transmission(attempts=5), of, original, PLAIN)
    assert receipt_part(mail) == golden("18_4_receipt_of_a_failure")
    message = parsed(mail)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "disposition-notification"
    assert "FAX=+14155550123@fax.example" in message["From"]
    assert (message["Reply-To"], message["To"], mail.envelope_from) == (SENDER.address, "ann@corp.example", "")
    assert "Disposition-Notification-To" not in message
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["multipart/alternative", "message/disposition-notification", "text/rfc822-headers"]
    assert b"delivery-status" not in mail.content, "MDN-09"


def test_mdn_04_a_fax_that_is_through_is_dispatched() -> None:
    of, original = by_imap()
    machine = receipt_part(told(delivered(), of, original, PLAIN))
    assert "Disposition: automatic-action/MDN-sent-automatically; dispatched\n" in machine
    assert "Error" not in machine


@pytest.mark.parametrize(("to", "notified"), [("ann@corp.example", True), ("", False)])
def test_mdn_02_only_whom_the_door_found_is_notified(to: str, notified: bool) -> None:
    of, original = by_imap(to=to)
    for fax in (transmission(), delivered()):
        kind = parsed(told(fax, of, original)).get_content_type()
        assert kind == ("multipart/report" if notified else "multipart/alternative")


def test_mdn_01_and_07_none_is_sent_where_it_must_not_be() -> None:
    of, original = by_imap()
    assert (
        parsed(told(transmission(), of, original, account=Told(receipts=False))).get_content_type() == "multipart/alternative"
    )
    held = transmission(TransmissionState.HELD, Outcome.UNKNOWN, finished_at=None)
    assert parsed(told(held, of, original)).get_content_type() == "multipart/alternative"


def test_aur_09_mail_by_a_transport_gets_no_receipt_though_it_asks_for_one() -> None:
    _, original = by_imap()
    mail = told(transmission(), submission(), original)
    assert parsed(mail).get_param("report-type") == "delivery-status"
    assert b"disposition-notification;" not in mail.content


def test_dsn_05_what_nobody_confirms_is_relayed_where_it_was_asked_for() -> None:
    fax = dataclasses.replace(delivered(pages_sent=0), outcome=Outcome.UNKNOWN, status=RELAYED)
    machine = machine_part(result(fax, [ASKED], [attempt(1, Outcome.UNKNOWN)]))
    assert "Action: relayed\nStatus: 2.1.9\n" in machine
    assert "X-Faxgate-Pages: 0/4\n" in machine
    assert not any(field in machine for field in ("Remote-MTA", "Diagnostic-Code", "Media-Accept"))
    unasked = result(fax, [RECIPIENT], [attempt(1, Outcome.UNKNOWN)])
    assert parsed(unasked).get_content_type() == "multipart/alternative"
    assert "was handed over to the telephone carrier. This carrier does not say" in " ".join(text_of(parsed(unasked)).split())


def late(**changes: object) -> Transmission:
    return transmission(TransmissionState.DEFERRED, Outcome.BUSY, finished_at=None, **changes)


def delayed(recipient: Recipient, fax: Transmission | None = None) -> Mail:
    return COMPOSER.result(
        outbox=OUTBOX,
        submission=submission(),
        transmission=fax or late(),
        recipients=[recipient],
        attempts=BUSY_TO_THE_END,
        original=ORIGINAL,
        made_at=START,
        beside=facts.Beside(until=START + timedelta(hours=4)),
    )


def test_dsn_23_a_delayed_report_says_till_when_it_is_tried_and_that_nothing_needs_to_be_resent() -> None:
    mail = delayed(dataclasses.replace(RECIPIENT, notify=("DELAY",)))
    machine = machine_part(mail)
    assert "Action: delayed\nStatus: 4.4.1\n" in machine
    assert "Will-Retry-Until: Mon, 02 Mar 2026 14:00:04 +0100\n" in machine
    assert "nothing needs to be resent" in " ".join(text_of(parsed(mail)).split())
    assert "Tried until Mon 2 Mar 2026, 14:00 CET" in text_of(parsed(mail))
    assert parsed(delayed(RECIPIENT)).get_content_type() == "multipart/alternative", "unasked, it is a plain mail"
    assert "Will-Retry-Until" not in machine_part(result(transmission(), [ASKED], BUSY_TO_THE_END))


def test_a_fax_that_is_late_for_no_known_reason_claims_none() -> None:
    asked = dataclasses.replace(RECIPIENT, notify=("DELAY",))
    sending = transmission(TransmissionState.SENDING, None, finished_at=None)
    machine = machine_part(result(sending, [asked], [attempt(1, None)]))
    assert "Action: delayed\nStatus: 4.0.0\n" in machine
    assert not any(field in machine for field in ("Diagnostic-Code", "X-Faxgate-Outcome"))


def several() -> list[dsn.Group]:
    """Four faxes: one delivered (asked for), one busy, one on its way (delays wanted), one delivered and not asked."""

    def one(number: str, fax: Transmission, *notify: str) -> dsn.Group:
        recipient = dataclasses.replace(RECIPIENT, number=number, written=f"{number}@fax.example", notify=notify)
        fax = dataclasses.replace(fax, id=TransmissionId(f"tx_{number[-4:]}"), number=number)
        calls = ONE_CALL if fax.state is TransmissionState.DELIVERED else BUSY_TO_THE_END
        return dsn.Group(transmission=fax, recipients=[recipient], attempts=calls, until=START + timedelta(hours=4))

    return [
        one("+14155550101", delivered(), "SUCCESS"),
        one("+14155550111", transmission()),
        one("+14155550112", late(), "DELAY"),
        one("+14155550102", delivered()),
    ]


def test_que_13_a_digest_has_a_group_for_each_recipient_that_is_due_one_and_words_for_all() -> None:
    mail = COMPOSER.digest(outbox=OUTBOX, submission=submission(), groups=several(), original=ORIGINAL, made_at=START)
    groups = machine_part(mail).split("\n\n")
    assert [group.split("Action: ")[1].split("\n")[0] for group in groups[1:]] == ["delivered", "failed", "delayed"]
    text = " ".join(text_of(parsed(mail)).split())
    assert parsed(mail)["Subject"] == "2 of 4 faxes delivered (Contract)"
    assert text.startswith("Of your 4 faxes, 2 arrived. Look at those that failed")
    assert all(
        f"415-555-{digits}" in text and f"415-555-{digits}" in html_of(parsed(mail)) for digits in ("0101", "0111", "0112")
    )
    later, failed = all_failures(email.message_from_bytes(mail.content))
    assert (later, failed) == (frozenset({b"+14155550112@fax.example"}), frozenset({b"+14155550111@fax.example"}))


def test_dsn_06_a_digest_of_unasked_good_news_is_a_plain_mail() -> None:
    groups = [several()[3]]
    mail = COMPOSER.digest(outbox=OUTBOX, submission=submission(), groups=groups, original=ORIGINAL, made_at=START)
    assert parsed(mail).get_content_type() == "multipart/alternative"


REPORTS = [name for name in samples.SAMPLES if name.split("-")[0] in
           ("delivered", "relayed", "partly", "delayed", "held", "cancelled", "failed", "digest")]  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_dsn_11_every_report_is_the_same_mail_to_every_parser(name: str) -> None:
    content = samples.mail(name, TEMPLATES, samples.SENDER, "en").content
    library = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(library, EmailMessage)
    other = fast_mail_parser.parse_email(content)
    assert other.subject == library["Subject"]
    assert [one.address for one in other.to] == [library["To"]]
    assert [text.replace("\r\n", "\n") for text in other.text_plain] == [text_of(library).replace("\r\n", "\n")]
    assert [text.replace("\r\n", "\n") for text in other.text_html] == [html_of(library).replace("\r\n", "\n")]
    leaves = [
        part.get_content_type() for part in library.walk() if not part.is_multipart() or "message" in part["Content-Type"]
    ]
    attached = [kind for kind in leaves if kind not in ("text/plain", "text/html")]
    assert [part.mimetype for part in other.attachments] == [kind for kind in attached if kind.count("/") == 1]


@pytest.mark.parametrize(
    ("fax", "later", "failed"),
    [
        (transmission(), False, True),
        (transmission(outcome=Outcome.PARTLY_SENT, pages_sent=2), False, True),
        (transmission(TransmissionState.CANCELLED, Outcome.CANCELLED), False, True),
        (delivered(), False, False),
        (transmission(TransmissionState.DEFERRED, Outcome.BUSY, finished_at=None), True, False),
    ],
)
def test_dsn_11_a_program_that_looks_for_bounces_finds_what_failed_and_nothing_else(
    fax: Transmission, later: bool, failed: bool
) -> None:
    # It takes what is before a "=" in a Final-Recipient for the name of a parameter: hence the plain spelling.
    plain = dataclasses.replace(RECIPIENT, written="+14155550123@fax.example", notify=("SUCCESS", "FAILURE", "DELAY"))
    mail = result(fax, [plain], BUSY_TO_THE_END)
    found = frozenset({b"+14155550123@fax.example"})
    assert all_failures(email.message_from_bytes(mail.content)) == (
        found if later else frozenset(),
        found if failed else frozenset(),
    )


def test_content_is_shown_and_attached_where_the_account_wants_it() -> None:
    message = parsed(samples.mail("delivered-content", TEMPLATES, samples.SENDER, "en"))
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
                     "application/pdf"]  # fmt: skip
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert f'src="cid:{picture["Content-ID"][1:-1]}"' in html_of(message)


def test_a_private_report_has_a_link_and_nothing_of_the_fax() -> None:
    message = parsed(samples.mail("delivered-private", TEMPLATES, samples.SENDER, "en"))
    kinds = {part.get_content_type() for part in message.walk()}
    assert kinds == {"multipart/alternative", "text/plain", "text/html"}
    assert "/view/tx_01j" in text_of(message)
    assert 'href="https://fax.example.com/view/tx_01j' in html_of(message)


def test_partly_sent_has_words_of_its_own() -> None:
    fax = transmission(outcome=Outcome.PARTLY_SENT, pages=7, pages_sent=3)
    message = parsed(result(fax, attempts=[attempt(1, Outcome.PARTLY_SENT, pages_sent=3)]))
    assert message["Subject"] == "Fax to +1 415-555-0123 failed: 3 of 7 pages confirmed (Contract)"
    assert " ".join(text_of(message).split()).startswith(
        "Only 3 of 7 pages of your fax to +1 415-555-0123 were confirmed. Ask the receiver which pages arrived"
    )
    assert "Action: failed\nStatus: 4.4.2\n" in machine_part(result(fax))


def test_what_the_carrier_did_not_say_is_left_out() -> None:
    silent = text_of(parsed(result(delivered(), attempts=[attempt(1, Outcome.DELIVERED)])))
    said = dataclasses.replace(ONE_CALL[0], speed=9600, resolution="204x98", carrier_ref="58213")
    full = text_of(parsed(result(delivered(), attempts=[said])))
    for label in ("Speed", "Resolution", "Station id", "Last call", "Cost"):
        assert label not in silent
    for line in ("Speed       9600 bit/s", "Resolution  204x98", "Last call   2 min 11 s", "Carrier     main, reference 58213"):
        assert line in full
    assert "“ACME LTD” (the machine’s own claim)" in full
