"""One mail to several numbers, and calls that have to be repeated."""

from tests.flows.house import House, fresh, letter, pdf


def test_three_recipients_have_three_outcomes_and_three_reports(open_house: House) -> None:
    good, busy, person = fresh(), fresh("11"), fresh("13")
    mail = letter("To three", files=[("a.pdf", "application/pdf", pdf("one"))])
    assert open_house.send(mail, good, busy, person) == {}
    reports = open_house.reports(mail, 3)
    assert len(reports) == 3
    by_number = {number: text for number in (good, busy, person) for text in (r.flat for r in reports) if number in text}
    assert "was delivered" in by_number[good]
    assert "line busy" in by_number[busy]
    assert "A person or a voice system answered" in by_number[person]
    assert all(report.recipients == ["ann@example.com"] for report in reports)
    outcomes = [(open_house.fax(number)["outcome"], open_house.fax(number)["attempts"]) for number in (good, busy, person)]
    assert outcomes == [("delivered", 1), ("busy", 4), ("not_a_fax", 1)]
    # Three waits are configured for busy: four calls. A person is called once.
    assert [len(open_house.calls(number)) for number in (good, busy, person)] == [1, 4, 1]


def test_busy_twice_then_delivered_is_three_calls_and_one_report(open_house: House) -> None:
    mail, number = letter(), fresh("17")
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    assert report.text.count("line busy") == 2
    assert [call.status for call in open_house.calls(number)] == ["busy", "busy", "delivered"]
    references = {call.reference for call in open_house.calls(number)}
    assert len(references) == 3
    assert {call.sha256 for call in open_house.calls(number)} == {open_house.fax(number)["document"]}


def test_no_answer_is_called_again_and_then_reported(open_house: House) -> None:
    mail, number = letter(), fresh("12")
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "failed: no answer" in report.subject
    assert [call.status for call in open_house.calls(number)] == ["no answer"] * 2  # one wait is configured
    assert "Action: failed" in report.content.decode()
    assert "Status: 4.4.1" in report.content.decode()


def test_a_call_that_breaks_off_after_a_page_is_not_repeated(open_house: House) -> None:
    mail, number = letter(files=[("a.pdf", "application/pdf", pdf("one", "two"))]), fresh("16")
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "1 of 3 pages confirmed" in report.flat
    assert len(open_house.calls(number)) == 1
