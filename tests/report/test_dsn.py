"""The machine part of reports, against reference/internet-fax-standards.md sections 8, 17 and 18."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from gateway.errors import Outcome
from gateway.fax import TransmissionState
from gateway.lifecycle import TRAITS
from gateway.report import dsn, facts
from tests.report.report_values import (
    ASKED,
    BUSY_TO_THE_END,
    ONE_CALL,
    ORIGINAL,
    RECIPIENT,
    attempt,
    delivered,
    machine_part,
    parsed,
    result,
    submission,
    text_of,
    transmission,
)

#: RFC 3463 and the registry of RFC 5248, as far as a fax may need them.
REGISTERED = re.compile(
    r"2\.(1\.[59]|6\.4)\Z"
    r"|4\.(0\.0|2\.2|3\.[25]|4\.[12457]|6\.5|7\.0)\Z"
    r"|5\.(0\.0|1\.[1236]|3\.[34]|4\.7|5\.5|6\.[135]|7\.([015]|13))\Z"
)
#: Codes that RFC 3463 defines for persistent transient failures only.
ONLY_TRANSIENT = re.compile(r"[25]\.(4\.[1235]|2\.2)\Z")


def test_dsn_11_busy_to_the_end_is_the_worked_report() -> None:
    mail = result(transmission(), [ASKED], BUSY_TO_THE_END, of=submission(envelope_id="QQ314159"))
    assert machine_part(mail) == (
        "Reporting-MTA: dns; gw.fax.example\n"
        "Original-Envelope-Id: QQ314159\n"
        "Arrival-Date: Mon, 02 Mar 2026 10:00:04 +0100\n"
        "\n"
        "Original-Recipient: rfc822;FAX=+1-415-555-0123@fax.example\n"
        "Final-Recipient: rfc822;FAX=+1-415-555-0123@fax.example\n"
        "Action: failed\n"
        "Status: 4.4.1\n"
        "Diagnostic-Code: x-fax; user_busy (attempt 3 of 3)\n"
        "Last-Attempt-Date: Mon, 02 Mar 2026 10:30:34 +0100\n"
        "Final-Log-ID: tx_01jnbbbbbbbbbbbbbbbbbbbbbb\n"
        "X-Faxgate-Outcome: busy\n"
        "X-Faxgate-Pages: 0/4\n"
    )


def test_dsn_04_a_requested_confirmation_is_the_worked_report() -> None:
    assert machine_part(result(delivered(), [ASKED], ONE_CALL)) == (
        "Reporting-MTA: dns; gw.fax.example\n"
        "Arrival-Date: Mon, 02 Mar 2026 10:00:04 +0100\n"
        "\n"
        "Original-Recipient: rfc822;FAX=+1-415-555-0123@fax.example\n"
        "Final-Recipient: rfc822;FAX=+1-415-555-0123@fax.example\n"
        "Action: delivered\n"
        "Status: 2.1.5\n"
        "Remote-MTA: x-gstn; +14155550123\n"
        "Last-Attempt-Date: Mon, 02 Mar 2026 10:10:34 +0100\n"
        "Final-Log-ID: tx_01jnbbbbbbbbbbbbbbbbbbbbbb\n"
        "X-Faxgate-Outcome: delivered\n"
        "X-Faxgate-Pages: 4/4\n"
        "X-Faxgate-Remote-Id: ACME LTD\n"
        "X-Faxgate-Duration: 131\n"
        'Media-Accept-Features: (| (& (type="image/tiff") (color=Binary)\n'
        "   (image-file-structure=TIFF-minimal) (image-coding=MH)\n"
        "   (dpi=204) (dpi-xyratio=[204/98,204/196]))\n"
        ' (& (type=["application/pdf","text/plain"]) (paper-size=[A4,letter])))\n'
    )


def test_dsn_11_the_frame_has_three_parts() -> None:
    message = parsed(result(transmission(), attempts=BUSY_TO_THE_END))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    people, status, returned = message.iter_parts()
    assert people.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in people.iter_parts()] == ["text/plain", "text/html"]
    assert status["Content-Transfer-Encoding"] == "7bit"
    assert returned.get_content_type() == "text/rfc822-headers"


WHOLE = facts.Beside(whole=True)
BODY = b"\r\nthe secret contract\r\n"


def test_dsn_12_the_whole_mail_goes_back_where_it_was_asked_for_and_something_failed() -> None:
    returned = list(
        parsed(result(transmission(), of=submission(ret="FULL"), original=ORIGINAL + BODY, beside=WHOLE)).iter_parts()
    )[2]
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content().get_content() == "the secret contract\r\n"
    good = result(delivered(), [ASKED], of=submission(ret="FULL"), original=ORIGINAL + BODY, beside=WHOLE)
    assert list(parsed(good).iter_parts())[2].get_content_type() == "text/rfc822-headers"


def test_dsn_12_a_mail_that_is_not_seven_bit_goes_back_as_its_header() -> None:
    eight = ORIGINAL + "\r\nGrüße\r\n".encode()
    returned = list(parsed(result(transmission(), of=submission(ret="FULL"), original=eight, beside=WHOLE)).iter_parts())[2]
    assert returned.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize("ret", ["", "HDRS", "FULL"])
def test_dsn_12_only_the_header_goes_back(ret: str) -> None:
    mail = result(transmission(), of=submission(ret=ret), original=ORIGINAL + BODY)
    returned = list(parsed(mail).iter_parts())[2].get_content()
    assert returned.encode() == ORIGINAL
    assert b"secret" not in mail.content


def test_dsn_11_a_mail_without_known_header_still_gets_a_report() -> None:
    assert len(list(parsed(result(transmission(), original=b"")).iter_parts())) == 2


def test_returned_header_survives_long_lines_and_eight_bit_bytes() -> None:
    original = b"Subject: " + "Grüße".encode() + b"\nX-Long: " + b"x" * 3000 + b"\n\nbody"
    returned = list(parsed(result(transmission(), original=original)).iter_parts())[2]
    assert returned.get_payload(decode=True) == original[: -len(b"\nbody")].replace(b"\n", b"\r\n")


def test_aur_05_of_a_huge_header_whole_fields_go_back() -> None:
    original = b"Subject: Contract\r\n" + b"X-Fill: " + b"y" * 100 + b"\r\n" + b"X-Cut: " + b"z \r\n " * 20_000
    block = dsn.header_block(original)
    assert block == b"Subject: Contract\r\n" + b"X-Fill: " + b"y" * 100 + b"\r\n"


def test_dsn_14_and_15_original_fields_only_where_they_were_given() -> None:
    given = machine_part(result(transmission(), [ASKED], of=submission(envelope_id="Qq=1")))
    absent = machine_part(result(transmission(), [RECIPIENT]))
    assert "Original-Envelope-Id: Qq=1\n" in given
    assert "Original-Recipient: rfc822;FAX=" in given
    assert "Original-" not in absent


def test_dsn_15_an_original_recipient_without_type_is_left_out() -> None:
    assert "Original-Recipient" not in machine_part(
        result(transmission(), [dataclasses.replace(ASKED, original_recipient="no type here")])
    )


def test_dsn_16_the_spelling_of_the_sender_is_kept() -> None:
    written = "FAX=+1.415.555.0123/T33S=7@fax.example"
    assert f"Final-Recipient: rfc822;{written}\n" in machine_part(
        result(transmission(), [dataclasses.replace(RECIPIENT, written=written)])
    )


def test_adr_28_two_spellings_get_two_groups() -> None:
    other = dataclasses.replace(RECIPIENT, written="14155550123@fax.example")
    groups = machine_part(result(transmission(), [RECIPIENT, other], BUSY_TO_THE_END)).split("\n\n")
    assert len(groups) == 3
    assert "rfc822;FAX=+1-415-555-0123@fax.example" in groups[1]
    assert "rfc822;14155550123@fax.example" in groups[2]


def test_dsn_17_only_recipients_that_deserve_a_report_appear() -> None:
    never = dataclasses.replace(RECIPIENT, written="14155550123@fax.example", notify=("NEVER",))
    machine = machine_part(result(transmission(), [never, RECIPIENT], BUSY_TO_THE_END))
    assert machine.count("Final-Recipient") == 1
    assert "14155550123@fax.example" not in machine


def test_dsn_06_a_spelling_that_did_not_ask_is_not_confirmed_by_a_notification() -> None:
    other = dataclasses.replace(RECIPIENT, written="14155550123@fax.example")
    assert machine_part(result(delivered(), [other, ASKED], ONE_CALL)).count("Final-Recipient") == 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_dsn_20_every_status_is_registered(outcome: Outcome) -> None:
    assert REGISTERED.match(TRAITS[outcome].status)
    assert dsn.status_code(dsn.Action.DELAYED, outcome)[0] == "4" or outcome is Outcome.DELIVERED


@pytest.mark.parametrize("outcome", list(Outcome))
def test_dsn_19_transient_codes_are_never_class_five(outcome: Outcome) -> None:
    assert not ONLY_TRANSIENT.match(TRAITS[outcome].status)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.DELIVERED])
def test_every_outcome_of_a_failed_fax_makes_a_report(outcome: Outcome) -> None:
    mail = result(transmission(outcome=outcome), attempts=[attempt(1, outcome)])
    machine = machine_part(mail)
    assert "Action: failed\n" in machine
    assert re.search(r"^Status: [45]\.[0-9]\.[0-9]$", machine, re.MULTILINE)


@pytest.mark.parametrize(("loss", "code"), [(True, "2.6.4"), (False, "2.1.5")])
def test_cnt_10_a_part_left_out_makes_a_delivery_with_loss_and_stands_in_the_notice(loss: bool, code: str) -> None:
    parts = [
        {"title": "text", "first_page": 1, "last_page": 1, "note": ""},
        {"title": "invite.ics", "first_page": 0, "last_page": 0, "note": "a calendar entry, not a document", "loss": loss},
    ]
    mail = result(delivered(manifest=json.dumps(parts)), [ASKED])
    assert f"Status: {code}\n" in machine_part(mail)
    assert "invite.ics" in text_of(parsed(mail))
    assert "a calendar entry, not a document" in text_of(parsed(mail))


@pytest.mark.parametrize(("status", "written"), [("5.6.5", "5.6.5"), ("", "5.6.1")])
def test_cnt_06_a_document_that_cannot_become_pages_has_a_status_of_its_own(status: str, written: str) -> None:
    fax = transmission(outcome=Outcome.DOCUMENT_REFUSED, attempts=0, pages=0, status=status)
    assert f"Status: {written}\n" in machine_part(result(fax))


def test_dsn_21_our_word_stands_where_the_carrier_gave_none() -> None:
    machine = machine_part(result(transmission(attempts=1), attempts=[attempt(1, carrier_code="")]))
    assert "Diagnostic-Code: x-fax; busy (attempt 1 of 1)\n" in machine


def test_dsn_21_the_bad_part_is_named_where_there_was_no_call() -> None:
    fax = transmission(outcome=Outcome.DOCUMENT_REFUSED, reason="prices.xlsx is protected with a password.", pages=0)
    machine = machine_part(result(fax))
    assert "Diagnostic-Code: x-fax; document_refused (prices.xlsx is protected with a password.)\n" in machine
    assert "Last-Attempt-Date" not in machine  # DSN-24
    assert "Pages" not in machine


@pytest.mark.parametrize(
    ("outcome", "changes", "named"),
    [
        (Outcome.BUSY, {}, False),
        (Outcome.NO_ANSWER, {}, False),
        (Outcome.BAD_NUMBER, {}, False),
        (Outcome.UNKNOWN, {}, False),
        (Outcome.LINE_TROUBLE, {}, False),
        (Outcome.LINE_TROUBLE, {"station_id": "ACME"}, True),
        (Outcome.LINE_TROUBLE, {"pages_sent": 1}, True),
        (Outcome.NOT_A_FAX, {}, True),
        (Outcome.PARTLY_SENT, {"pages_sent": 2}, True),
    ],
)
def test_dsn_22_the_far_end_is_named_only_if_it_took_part(outcome: Outcome, changes: dict[str, object], named: bool) -> None:
    machine = machine_part(result(transmission(outcome=outcome), attempts=[attempt(1, outcome, **changes)]))
    assert ("Remote-MTA: x-gstn; +14155550123\n" in machine) is named


def test_dsn_25_pages_are_counted() -> None:
    fax = transmission(outcome=Outcome.PARTLY_SENT, pages=7, pages_sent=3)
    assert "X-Faxgate-Pages: 3/7\n" in machine_part(result(fax, attempts=[attempt(1, Outcome.PARTLY_SENT, pages_sent=3)]))


def test_dsn_26_the_features_are_balanced() -> None:
    features = machine_part(result(delivered(), [ASKED], ONE_CALL)).split("Media-Accept-Features: ")[1]
    depth = 0
    for position, c in enumerate(features.strip()):
        depth += {"(": 1, ")": -1}.get(c, 0)
        assert depth > 0 or position == len(features.strip()) - 1


def test_dsn_30_a_hostile_station_id_stays_on_its_line() -> None:
    call = attempt(1, Outcome.PARTLY_SENT, station_id="A\r\nAction: delivered\x00ü", carrier_code="x\r\n\r\nStatus: 2.1.5")
    machine = machine_part(result(transmission(outcome=Outcome.PARTLY_SENT), attempts=[call]))
    assert "X-Faxgate-Remote-Id: A??Action: delivered??\n" in machine
    assert re.findall(r"^(?:Action|Status): .*$", machine, re.MULTILINE) == ["Action: failed", "Status: 4.4.2"]


def test_a_fax_out_of_time_reports_its_last_real_reason() -> None:
    fax = transmission(outcome=Outcome.GAVE_UP)
    assert "Status: 4.4.1\n" in machine_part(result(fax, attempts=[attempt(1), attempt(2, Outcome.GAVE_UP)]))
    assert "Status: 4.4.7\n" in machine_part(result(fax))


def test_money_at_the_carrier_is_not_the_senders_business() -> None:
    fax = transmission(outcome=Outcome.NO_CREDIT, reason="account 4711 has no credit")
    mail = result(fax, attempts=[attempt(1, Outcome.NO_CREDIT, carrier_code="out_of_credit")])
    assert "Diagnostic-Code: x-fax; carrier_trouble (attempt 1 of 3)\n" in machine_part(mail)
    assert b"credit" not in mail.content


def test_dsn_07_a_wait_is_notified_only_where_delay_was_asked_for() -> None:
    fax = transmission(TransmissionState.HELD, Outcome.UNKNOWN, finished_at=None)
    machine = machine_part(result(fax, [dataclasses.replace(RECIPIENT, notify=("DELAY",))]))
    assert "Action: delayed\nStatus: 4.4.2\n" in machine
    assert "Will-Retry-Until" not in machine  # a person decides, at no known time
    assert parsed(result(fax)).get_content_type() == "multipart/alternative"


def test_a_cancelled_fax_is_notified_where_the_sender_asked_for_failures() -> None:
    machine = machine_part(result(transmission(TransmissionState.CANCELLED, None), [ASKED]))
    assert "Action: failed\nStatus: 5.0.0\n" in machine


def test_only_a_fax_that_was_handed_over_may_have_arrived() -> None:
    fax = transmission(outcome=None)
    assert "X-Faxgate-Outcome: unknown\n" in machine_part(result(fax, attempts=[attempt(1, None)]))
    assert "X-Faxgate-Outcome: gave_up\n" in machine_part(result(fax))
