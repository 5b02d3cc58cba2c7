"""A call that a person answered, or that can never succeed, is not repeated."""

import time

import pytest

from tests.flows.house import House, fresh, letter


@pytest.mark.parametrize(
    ("ending", "outcome", "word"),
    [
        ("13", "not_a_fax", "a person or a voice system answered"),
        ("14", "disconnected", "no longer in service"),
        ("15", "bad_number", "does not exist"),
        ("20", "document_refused", "cannot be faxed"),
        ("21", "recipient_blocked", "blocked"),
    ],
)
def test_one_call_and_a_failed_report(open_house: House, ending: str, outcome: str, word: str) -> None:
    mail, number = letter(), fresh(ending)
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "failed" in report.subject
    assert word in report.flat
    assert report.mail.get_content_type() == "multipart/report"
    fax = open_house.fax(number)
    assert (fax["state"], fax["outcome"], fax["attempts"]) == ("failed", outcome, 1)
    time.sleep(0.5)  # longer than any wait that is configured for a repetition
    assert len(open_house.calls(number)) == 1
