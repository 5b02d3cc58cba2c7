"""The mail server is away, or refuses: reports wait, and what cannot be told is told to the operator."""

from tests.flows.house import House, fresh, letter


def test_que_17_a_report_waits_until_the_mail_server_is_back(house: House) -> None:
    house.settings["mail"]["retry"] = ["0.3s", "0.5s"]
    house.start()
    house.sink.stop()
    mail, number = letter(), fresh()
    house.send(mail, number)
    assert house.fax(number)["outcome"] == "delivered"
    house.wait(lambda: house.sql("SELECT answer FROM outbox WHERE answer <> ''"), what="the first try")
    (answer,) = house.sql("SELECT answer FROM outbox")[0]
    assert "connect" in answer.lower()
    house.sink.start()
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    assert len(house.calls(number)) == 1


def test_a_report_that_waits_survives_a_restart(house: House) -> None:
    house.start()
    house.sink.stop()
    mail, number = letter(), fresh()
    house.send(mail, number)
    house.wait(lambda: house.sql("SELECT answer FROM outbox WHERE answer <> ''"), what="the first try")
    house.settings["mail"]["retry"] = ["0.2s"]
    assert house.stop() == 0
    house.sink.start()
    house.start()
    assert house.sql("SELECT state FROM outbox") == [("waiting",)]  # the first wait is a minute, and it is kept


def test_a_temporary_refusal_is_tried_again(house: House) -> None:
    house.settings["mail"]["retry"] = ["0.3s"]
    house.start()
    house.sink.answer = "451 4.3.0 later"
    mail = letter()
    house.send(mail, fresh())
    house.wait(lambda: house.sql("SELECT 1 FROM outbox WHERE answer LIKE '451%'"), what="the first try")
    house.sink.answer = "250 2.0.0 kept"
    assert len(house.reports(mail)) == 1


def test_a_report_that_is_refused_for_good_is_told_to_the_operator(house: House) -> None:
    house.settings["mail"]["retry"] = ["0.3s"]
    house.sink.refused_recipients.add("ann@example.com")
    house.start()
    mail, number = letter(), fresh()
    house.send(mail, number)
    (alarm,) = house.letters(1)
    assert alarm.recipients == ["operator@example.com"]
    assert alarm.sender == ""
    assert "report cannot be mailed" in alarm.subject
    fax = house.fax(number)
    assert fax["id"] in alarm.flat
    assert "550" in alarm.flat
    assert fax["state"] == "delivered"


def test_an_alarm_that_is_refused_causes_no_other_alarm(house: House) -> None:
    house.sink.refused_recipients |= {"ann@example.com", "operator@example.com"}
    house.start()
    house.send(letter(), fresh())
    house.wait(lambda: house.sql("SELECT count(*) FROM outbox WHERE state = 'given up'") == [(2,)], what="two given up")
    assert house.sql("SELECT count(*) FROM outbox") == [(2,)]
    assert house.sink.letters == []


def test_a_fax_held_and_decided_while_the_mail_server_was_away_is_reported_once(house: House) -> None:
    house.settings["mail"]["retry"] = ["0.5s"]
    house.start()
    house.sink.stop()
    mail, number = letter(), fresh("22")
    house.send(mail, number)
    fax = house.fax(number, "held")
    house.cli("release", "--fail", fax["id"])
    house.fax(number, "failed")
    house.sink.start()
    house.wait(lambda: house.sql("SELECT count(*) FROM outbox WHERE state = 'waiting'") == [(0,)], what="an empty outbox")
    (report,) = house.reports(mail)
    assert "failed" in report.subject
