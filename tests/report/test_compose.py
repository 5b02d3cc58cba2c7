"""Results, alarms and forwarded mail: who is told, in which header, in which words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Outcome
from gateway.fax import AttemptState, Door, Recipient, Transmission, TransmissionState
from gateway.report.audience import wanted
from gateway.report.compose import Composer
from gateway.report.words import english_words
from gateway.templates import Templates
from tests.report.report_values import (
    ASKED,
    BUSY_TO_THE_END,
    COMPOSER,
    ONE_CALL,
    OUTBOX,
    RECIPIENT,
    SENDER,
    START,
    TEMPLATES,
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

FAILED, DELIVERED, CANCELLED = transmission(), delivered(), transmission(TransmissionState.CANCELLED, Outcome.CANCELLED)
HELD = transmission(TransmissionState.HELD, Outcome.UNKNOWN, finished_at=None)


def notify(*words: str) -> Recipient:
    return dataclasses.replace(RECIPIENT, notify=words)


@pytest.mark.parametrize(
    ("words", "failed", "good", "waiting"),
    [
        ((), True, True, True),
        (("NEVER",), False, False, False),
        (("SUCCESS",), False, True, False),
        (("FAILURE",), True, False, False),
        (("DELAY",), False, False, True),
        (("SUCCESS", "FAILURE", "DELAY"), True, True, True),
    ],
)
def test_dsn_01_to_03_notify_decides_who_is_told(words: tuple[str, ...], failed: bool, good: bool, waiting: bool) -> None:
    recipient = notify(*words)
    for fax, told in ((FAILED, failed), (CANCELLED, failed), (DELIVERED, good), (HELD, waiting)):
        assert wanted(submission(), fax, [recipient]) == ([recipient] if told else [])


def test_dsn_09_and_aur_02_an_empty_return_path_is_never_answered() -> None:
    for fax in (FAILED, CANCELLED, DELIVERED, HELD):
        assert wanted(submission(sender=""), fax, [RECIPIENT, ASKED]) == []


def test_aur_01_a_program_is_told_of_failures_and_of_what_it_asked_for() -> None:
    program = submission(auto_submitted=True)
    assert wanted(program, FAILED, [RECIPIENT]) == [RECIPIENT]
    assert wanted(program, CANCELLED, [RECIPIENT]) == [RECIPIENT]
    assert wanted(program, DELIVERED, [RECIPIENT]) == []
    assert wanted(program, HELD, [RECIPIENT]) == []
    assert wanted(program, DELIVERED, [ASKED]) == [ASKED]


def test_aur_01_a_program_gets_notifications_only() -> None:
    mail = result(CANCELLED, of=submission(auto_submitted=True))
    assert parsed(mail).get_content_type() == "multipart/report"


def test_dsn_07_a_delay_is_told_where_notify_is_absent_or_lists_it() -> None:
    for state in (TransmissionState.ACCEPTED, TransmissionState.SENDING, TransmissionState.DEFERRED):
        late = transmission(state, None, finished_at=None)
        assert wanted(submission(), late, [RECIPIENT]) == [RECIPIENT]
        assert wanted(submission(), late, [notify("DELAY")]) == [notify("DELAY")]
        assert wanted(submission(), late, [notify("FAILURE", "SUCCESS")]) == []
        assert wanted(submission(auto_submitted=True), late, [RECIPIENT]) == []


def test_good_news_is_kept_back_where_the_account_wants_none_unless_notify_asks() -> None:
    assert wanted(submission(), DELIVERED, [RECIPIENT], good_news=False) == []
    assert wanted(submission(), DELIVERED, [ASKED], good_news=False) == [ASKED]
    assert wanted(submission(), FAILED, [RECIPIENT], good_news=False) == [RECIPIENT]
    assert wanted(submission(), HELD, [RECIPIENT], good_news=False) == [RECIPIENT]


def test_aur_09_one_mail_answers_the_spelling_that_asked() -> None:
    assert wanted(submission(), DELIVERED, [RECIPIENT, ASKED]) == [ASKED]


def test_dsn_06_an_unasked_confirmation_is_an_ordinary_reply() -> None:
    for fax in (DELIVERED, CANCELLED, HELD):
        assert parsed(result(fax)).get_content_type() == "multipart/alternative"


@pytest.mark.parametrize("door", [Door.IMAP, Door.COMMAND, Door.WEB, Door.HELLOFAX])
def test_mdn_09_only_mail_by_a_transport_gets_a_notification(door: Door) -> None:
    mail = result(FAILED, [ASKED], BUSY_TO_THE_END, of=submission(door=door))
    assert parsed(mail).get_content_type() == "multipart/alternative"
    assert parsed(result(FAILED, [ASKED], of=submission(door=Door.LMTP))).get_content_type() == "multipart/report"


def test_dsn_08_and_aur_03_the_header_of_a_reply() -> None:
    mail = result(DELIVERED, attempts=ONE_CALL)
    assert (mail.envelope_from, mail.to, mail.kind) == ("", ("ann@corp.example",), "delivered")
    message = parsed(mail)
    assert {name: str(value) for name, value in message.items() if not name.startswith("Content-")} == {
        "From": "Faxgate <fax-operator@fax.example>",
        "To": "ann@corp.example",
        "Subject": "Fax to +1 415-555-0123 delivered (Contract)",
        "Date": "Mon, 02 Mar 2026 11:41:04 +0100",
        "Message-ID": "<ob_01jnaaaaaaaaaaaaaaaaaaaaaa@fax.example>",
        "Auto-Submitted": "auto-replied",
        "X-Faxgate-Loop": "fax.example",
        "In-Reply-To": "<abc@corp.example>",
        "References": "<first@corp.example> <second@corp.example> <abc@corp.example>",
        "MIME-Version": "1.0",
    }


def test_a_mail_made_twice_is_the_same_mail() -> None:
    assert result(FAILED, attempts=BUSY_TO_THE_END) == result(FAILED, attempts=BUSY_TO_THE_END)


def test_aur_03_threading_leaves_out_what_is_no_message_id() -> None:
    odd = submission(message_id="", references="<good@x> <bad\u00fc@x> junk <" + "l" * 600 + "@x>")
    message = parsed(result(FAILED, of=odd))
    assert message["In-Reply-To"] is None
    assert message["References"] == "<good@x>"


def test_aur_03_a_long_thread_is_bounded_and_keeps_its_root() -> None:
    message = parsed(result(FAILED, of=submission(references=" ".join(f"<{n}@x>" for n in range(500)))))
    ids = message["References"].split()
    assert len(ids) == 20
    assert (ids[0], ids[-2], ids[-1]) == ("<0@x>", "<499@x>", "<abc@corp.example>")


@pytest.mark.parametrize(
    "subject",
    [
        "Vertrag für die Ölmühle, endgültige Fassung mit allen Anlagen und unterschriebenem Übergabeprotokoll",
        "契約書の最終版をお送りいたしますのでご確認のほどよろしくお願い申し上げます。" * 2,
        "emoji 😀" * 12,
        "plain words that are together much longer than one line of a header may be, so it is folded",
        "x" * 99,
        "=?utf-8?q?not_an_encoded_word?=",
    ],
)
def test_aur_10_encoded_words_are_whole_and_short(subject: str) -> None:
    mail = result(FAILED, of=submission(subject=subject))
    header = mail.content.split(b"\r\n\r\n")[0].split(b"\r\nSubject: ")[1].split(b"\r\nDate:")[0]
    assert max(map(len, (b"Subject: " + header).split(b"\r\n"))) <= 76
    assert parsed(mail)["Subject"] == f"Fax to +1 415-555-0123 failed: line busy ({subject})"


def test_a_subject_without_end_is_cut_in_the_header_and_longer_in_the_text() -> None:
    message = parsed(result(FAILED, of=submission(subject="Übergabe " * 1000)))
    assert message["Subject"].endswith("Übergabe…)")
    assert len(message["Subject"]) < 150
    assert "Übergabe " * 30 in " ".join(text_of(message).split())


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.DELIVERED])
def test_dsn_27_every_outcome_is_plain_to_people(outcome: Outcome) -> None:
    mail = result(transmission(outcome=outcome), attempts=[attempt(1, outcome)])
    message = parsed(mail)
    text, html = " ".join(text_of(message).split()), html_of(message)
    assert message["Subject"].startswith("Fax to +1 415-555-0123 failed: ")
    assert text.startswith(
        ("Your fax to +1 415-555-0123 failed: ", "Nobody can say whether", "Only a part of your fax to +1 415-555-0123")
    )
    sentence = english_words().sentence(outcome)
    assert sentence in text
    assert sentence in html
    assert "Contract" in text
    assert "tx_01jnbbbbbbbbbbbbbbbbbbbbbb" in text


def test_the_text_of_a_failure_as_the_sender_reads_it() -> None:
    manifest = [
        {"position": "", "title": "cover page", "content_type": "", "first_page": 1, "last_page": 1, "note": ""},
        {"position": "2", "title": "Contract.pdf", "content_type": "application/pdf", "first_page": 2, "last_page": 4},
        {"position": "3", "title": "logo.png", "content_type": "image/png", "first_page": None, "note": "in the signature"},
    ]
    fax = transmission(manifest=json.dumps(manifest), sub_address="42")
    assert text_of(parsed(result(fax, [dataclasses.replace(RECIPIENT, tag="5678")], BUSY_TO_THE_END))).replace(
        "\r\n", "\n"
    ) == (
        "Your fax to +1 415-555-0123 failed: line busy. The line was busy each\n"
        "time. Send the fax again later.\n"
        "\n"
        "  Fax to      +1 415-555-0123 (+14155550123)\n"
        "  Sub-address 42\n"
        "  Reference   5678\n"
        "  Subject     Contract\n"
        "  Pages       none of 4 pages sent\n"
        "  Accepted    Mon 2 Mar 2026, 10:00 CET\n"
        "  Call began  Mon 2 Mar 2026, 10:30 CET\n"
        "  Finished    Mon 2 Mar 2026, 11:40 CET\n"
        "  Carrier     main\n"
        "  Fax id      tx_01jnbbbbbbbbbbbbbbbbbbbbbb\n"
        "\n"
        "Attempts\n"
        "  1           Mon 2 Mar 2026, 10:10 CET: line busy\n"
        "  2           Mon 2 Mar 2026, 10:20 CET: line busy\n"
        "  3           Mon 2 Mar 2026, 10:30 CET: line busy\n"
        "\n"
        "What became of your mail\n"
        "  page 1      cover page\n"
        "  pages 2–4   Contract.pdf\n"
        "  not faxed   logo.png (in the signature)\n"
        "\n"
        "Times are in the zone Europe/Rome.\n"
        "Questions? Answer this mail: it reaches the people who run the fax\n"
        "service at fax.example.\n"
    )


def test_the_part_that_could_not_become_pages_is_named() -> None:
    fax = transmission(outcome=Outcome.DOCUMENT_REFUSED, reason='"prices.xlsx" is protected with a password.', pages=0)
    message = parsed(result(fax))
    assert '\n"prices.xlsx" is protected with a password.' in text_of(message)
    assert "&#34;prices.xlsx&#34; is protected with a password." in html_of(message)
    assert "no pages were made" in text_of(message)


@pytest.mark.parametrize(
    ("fax", "words"),
    [
        (delivered(), "4 pages, all confirmed"),
        (delivered(pages=1, pages_sent=1), "1 page, confirmed"),
        (delivered(pages_sent=0), "4 pages, all confirmed"),
        (transmission(outcome=Outcome.PARTLY_SENT, pages_sent=1), "1 of 4 pages confirmed"),
        (transmission(pages=1), "1 page, not sent"),
        (transmission(outcome=Outcome.UNKNOWN), "4 pages; none confirmed"),
        (transmission(TransmissionState.HELD, Outcome.NO_CREDIT), "4 pages"),
    ],
)
def test_pages_are_counted_in_words(fax: Transmission, words: str) -> None:
    assert f"  Pages       {words}\n" in text_of(parsed(result(fax))).replace("\r\n", "\n")


def test_a_fax_cancelled_in_the_call_says_so() -> None:
    fax = dataclasses.replace(CANCELLED, pages_sent=2)
    assert "stopped while it was being sent" in " ".join(text_of(parsed(result(fax))).split())
    assert "stopped before it was sent" in " ".join(text_of(parsed(result(CANCELLED))).split())


def test_a_held_fax_warns_of_sending_twice_and_hides_the_operators_reason() -> None:
    fax = dataclasses.replace(HELD, reason="account 4711 at the carrier is closed")
    open_attempt = attempt(1, None, state=AttemptState.UNCERTAIN)
    mail = COMPOSER.result(
        outbox=OUTBOX, submission=submission(), transmission=fax, recipients=[RECIPIENT], attempts=[open_attempt],
        original=b"", made_at=START,
    )  # fmt: skip
    text = text_of(parsed(mail))
    assert mail.kind == "held"
    assert "it may arrive twice" in text
    assert "10:10 CET: result unknown" in text
    assert b"4711" not in mail.content


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (submission(sender=""), "this fax has no return path"),
        (submission(), "ann@corp.example asked not to be told"),
    ],
)
def test_where_nobody_may_be_told_the_operator_is(of: object, words: str) -> None:
    mail = result(FAILED, [notify("NEVER")], BUSY_TO_THE_END, of=of)  # type: ignore[arg-type]  # parametrized
    message = parsed(mail)
    assert (mail.envelope_from, mail.to) == ("", ("fax-admin@corp.example",))
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["In-Reply-To"] is None
    assert message.get_content_type() == "multipart/alternative"
    assert words in text_of(message)
    assert words in html_of(message)


def test_times_follow_the_zone_through_the_change_of_clocks() -> None:
    fax = transmission(accepted_at=START.replace(month=7), finished_at=START.replace(month=12))
    text = text_of(parsed(result(fax)))
    assert "Thu 2 Jul 2026, 11:00 CEST" in text
    assert "Wed 2 Dec 2026, 10:00 CET" in text


@pytest.mark.parametrize("manifest", ["", "{", "3", '{"a": 1}', "[1, null]", '[{"first_page": "x", "title": null}]'])
def test_an_unreadable_manifest_stops_no_report(manifest: str) -> None:
    assert "Fax to" in text_of(parsed(result(transmission(manifest=manifest))))


def test_html_is_escaped() -> None:
    message = parsed(result(FAILED, of=submission(subject="<script>alert(1)</script>")))
    assert "<script>" not in html_of(message)
    assert "&lt;script&gt;" in html_of(message)
    assert "<script>" in text_of(message)


def test_an_alarm_says_what_to_type() -> None:
    mail = COMPOSER.alarm(
        outbox=OUTBOX,
        what="a fax may have been sent\r\nBcc: all@corp.example",
        text="The answer was lost.\n\nSay what happened:\nfaxgate release tx_1 --delivered|--retry|--fail",
        made_at=START,
    )
    message = parsed(mail)
    assert (mail.envelope_from, mail.to, mail.kind) == ("", ("fax-admin@corp.example",), "alarm")
    assert message["Subject"] == "Faxgate: a fax may have been sent Bcc: all@corp.example"
    assert message["Bcc"] is None
    assert message["Auto-Submitted"] == "auto-generated"
    assert "    faxgate release tx_1 --delivered|--retry|--fail\n" in text_of(message).replace("\r\n", "\n")
    assert "faxgate release tx_1 --delivered|--retry|--fail</p>" in html_of(message)


def test_adr_25_a_mail_for_postmaster_comes_attached() -> None:
    original = b"From: Bob <bob@other.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nhello\n"
    mail = COMPOSER.forwarded(
        outbox=OUTBOX, original=original, to="postmaster@fax.example", sender="bob@other.example", made_at=START
    )
    message = parsed(mail)
    words, attached = message.iter_parts()
    assert attached.get_content_type() == "message/rfc822"
    assert attached.get_content()["From"] == "Bob <bob@other.example>"
    assert attached.get_content().get_content() == "hello\r\n"
    assert message["Reply-To"] == "bob@other.example"
    assert message["Subject"] == "Faxgate: mail for the operator (Grüße)"
    assert "Mail to postmaster@fax.example from bob@other.example." in text_of(words)
    assert "Bob <bob@other.example>" in text_of(words)


@pytest.mark.parametrize("original", ["Subject: x\r\n\r\nGrüße".encode(), b"Subject: " + b"x" * 1200, b"a\x00b", b"a\rb"])
def test_a_mail_that_is_not_clean_is_attached_byte_by_byte(original: bytes) -> None:
    message = parsed(COMPOSER.forwarded(outbox=OUTBOX, original=original, to="abuse@fax.example", sender="", made_at=START))
    attached = list(message.iter_parts())[1]
    assert attached.get_filename() == "original.eml"
    assert attached.get_payload(decode=True) == original


def test_what_an_account_writes_is_mailed_as_it_is_and_forges_no_header() -> None:
    mail = COMPOSER.message(
        outbox=OUTBOX,
        to="ann@example.com",
        subject="A word\r\nBcc: x@example.org",
        text="Dear <b>Ann</b>,\nhello.",
        made_at=START,
    )
    message = parsed(mail)
    assert (mail.to, message["Bcc"]) == (("ann@example.com",), None)
    assert message["Auto-Submitted"] == "auto-generated"
    assert text_of(message).split()[:4] == ["Dear", "<b>Ann</b>,", "hello.", "Written"]
    assert "Dear &lt;b&gt;Ann&lt;/b&gt;," in html_of(message)


def test_every_mail_template_is_complete_and_used() -> None:
    names = {name.removeprefix("mail/") for name in TEMPLATES.names("mail/") if not name.startswith("mail/words/")}
    kinds = {name.removesuffix("-subject.txt") for name in names if name.endswith("-subject.txt")}
    assert kinds == {
        "delayed",
        "digest",
        "partly",
        "relayed",
        "delivered",
        "failed",
        "cancelled",
        "held",
        "approval",
        "received",
        "alarm",
        "forwarded",
        "message",
        "proof",
        "answer",
        "not_taken",
    }
    shared = {
        "base.html",
        "base.txt",
        "outgoing.html",
        "outgoing.txt",
        "outgoing-rows.txt",
        "received-rows.txt",
        "approval-rows.txt",
        "proof-rows.txt",
        "digest-rows.txt",
    }
    assert names - shared == {f"{kind}-{part}" for kind in kinds for part in ("subject.txt", "body.txt", "body.html")}


def test_an_operators_template_wins_and_cannot_add_a_header_field(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "alarm-subject.txt").write_text("{{ what }}\nBcc: all@corp.example\n")
    own = Composer(Templates(tmp_path), SENDER)
    message = parsed(own.alarm(outbox=OUTBOX, what="disk full", text="Make room.", made_at=START))
    assert message["Subject"] == "disk full Bcc: all@corp.example"
    assert message["Bcc"] is None
    assert "Make room." in text_of(message)


def test_a_wrong_address_of_ours_is_refused_not_written() -> None:
    wrong = Composer(TEMPLATES, dataclasses.replace(SENDER, address="a@b\r\nBcc: x@y"))
    with pytest.raises(ValueError, match="not one header field"):
        wrong.alarm(outbox=OUTBOX, what="x", text="y", made_at=START)


_HOSTILE = st.text(st.characters(codec=None) | st.sampled_from("\r\n\0\u2028\u202e=?<>\"'%{}\\, ;:"), max_size=300)
_KNOWN = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Faxgate-Loop", "In-Reply-To", "References",
    "MIME-Version", "Content-Type",
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(subject=_HOSTILE, reason=_HOSTILE, station=_HOSTILE, written=_HOSTILE, title=_HOSTILE, sender=_HOSTILE, ids=_HOSTILE)
def test_hostile_text_makes_a_mail_that_can_be_read(
    subject: str, reason: str, station: str, written: str, title: str, sender: str, ids: str
) -> None:
    manifest = json.dumps([{"title": title, "first_page": 1, "last_page": 1, "note": reason}])
    of = submission(subject=subject, sender="x" + sender, message_id=ids, references=ids, envelope_id=station)
    fax = transmission(outcome=Outcome.DOCUMENT_REFUSED, reason=reason, manifest=manifest)
    recipient = dataclasses.replace(RECIPIENT, written=written, tag=title, original_recipient=station)
    mail = result(fax, [recipient], [attempt(1, station_id=station, carrier_code=reason)], of=of)
    message = parsed(mail)
    assert set(message.keys()) <= _KNOWN
    assert len(message.keys()) == len(set(message.keys()))
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["multipart/alternative", "message/delivery-status", "text/rfc822-headers"]
    machine = machine_part(mail)
    assert machine.count("\n\n") == 1
    assert [line.split(": ")[0] for line in machine.splitlines() if line.startswith(("Action", "Status"))] == [
        "Action",
        "Status",
    ]


def test_what_was_stopped_before_any_call_is_told_with_what_to_do() -> None:
    reason = "Not approved by boss@example.com. Ask there before you send it again."
    fax = transmission(TransmissionState.FAILED, Outcome.NOT_AUTHORISED, reason=reason, attempts=0)
    words = " ".join(text_of(parsed(result(fax))).split())
    assert f"Nothing was sent. Why, and what you can do: {reason}" in words
    assert "Ask the operator" not in words


@pytest.mark.parametrize(
    ("fax", "said"),
    [
        (dataclasses.replace(HELD, outcome=None), "STOP on the first line"),
        (transmission(TransmissionState.DEFERRED, None, finished_at=None), "STOP on the first line"),
        (HELD, ""),
        (DELIVERED, "RESEND on the first line"),
        (FAILED, "FORWARD +14155550123"),
        (transmission(outcome=Outcome.DOCUMENT_REFUSED, pages=0), ""),
    ],
)
def test_a_report_says_what_can_be_asked_by_answering_it(fax: Transmission, said: str) -> None:
    message = parsed(result(fax, reply_to="reply+s@fax.example"))
    for kind in ("plain", "html"):
        body = message.get_body((kind,))
        assert body is not None
        shown = " ".join(body.get_content().split())
        assert bool(said) == ("on the first line" in shown)
        assert said in shown
    assert "on the first line" not in result(fax).content.decode()
