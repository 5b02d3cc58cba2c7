"""A carrier that cannot be reached has sent nothing: the fax is deferred, and in the end reported."""

import time

from tests.flows.house import House, fresh, letter


def test_a_carrier_out_of_reach_is_tried_again_and_then_reported(house: House) -> None:
    house.settings["carrier"]["main"] |= {"outage": True}
    house.settings["retry"] = {"carrier_trouble": ["0.5s", "0.2s"]}
    house.start()
    mail, number = letter(), fresh()
    house.send(mail, number)
    deferred = house.fax(number, "deferred")
    assert deferred["due_at"] is not None
    (report,) = house.reports(mail)
    assert "failed: fault at the telephone carrier" in report.subject
    fax = house.fax(number)
    assert (fax["outcome"], fax["attempts"]) == ("carrier_trouble", 3)
    assert house.calls() == []


def test_a_deferred_fax_is_left_alone_until_its_time(house: House) -> None:
    house.settings["carrier"]["main"] |= {"outage": True}
    house.settings["retry"] = {"carrier_trouble": ["1h"]}
    house.start()
    number = fresh()
    house.send(letter(), number)
    fax = house.fax(number, "deferred")
    time.sleep(1.0)
    ((kind, tries, due_at),) = house.sql(f"SELECT kind, tries, due_at FROM step WHERE subject = '{fax['id']}'")
    assert (kind, tries) == ("send", 1)  # the one that found the carrier out of reach
    assert due_at.endswith("Z")
    assert len(house.sql("SELECT id FROM attempt")) == 1


def test_what_waited_for_the_carrier_is_sent_when_it_is_back(house: House) -> None:
    house.settings["carrier"]["main"] |= {"outage": True}
    house.settings["retry"] = {"carrier_trouble": ["1h"]}
    house.start()
    mail, number = letter(), fresh()
    house.send(mail, number)
    fax = house.fax(number, "deferred")
    house.stop()
    house.settings["carrier"]["main"] |= {"outage": False}
    house.start()
    assert house.fax(number, "deferred")["due_at"] == fax["due_at"]
    assert "dialled now" in house.cli("retry", fax["id"]).stdout
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    assert len(house.calls(number)) == 1
