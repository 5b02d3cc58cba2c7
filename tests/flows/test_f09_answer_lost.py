"""The carrier takes a fax, and its answer is lost: it is looked up, not sent again."""

from tests.flows.house import House, fresh, letter


def test_a_lost_answer_does_not_cause_a_second_call(open_house: House) -> None:
    mail, number = letter(), fresh("19")
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    fax = open_house.fax(number)
    assert (fax["outcome"], fax["attempts"]) == ("delivered", 1)
    assert len(open_house.calls(number)) == 1
    history = [entry["what"] for entry in open_house.ask("show", id=fax["id"])["history"]]
    assert history.index("uncertain") < history.index("submitted") < history.index("delivered")


def test_a_lost_answer_and_lost_callbacks_do_not_cause_a_second_call(house: House) -> None:
    house.settings["carrier"]["main"] |= {"lose_callbacks": 1.0}
    house.settings["work"]["poll"] = "0.2s"
    house.start()
    mail, number = letter(), fresh("19")
    house.send(mail, number)
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    assert len(house.calls(number)) == 1
