"""Callbacks may be lost, come twice, or in the wrong order."""

import pytest

from tests.flows.house import House, fresh, letter


def settled(house: House, n: int) -> None:
    """n faxes are delivered, each by one call and with one report."""
    mails, numbers = [letter(f"Fax {i}") for i in range(n)], [fresh() for _ in range(n)]
    for mail, number in zip(mails, numbers, strict=True):
        house.send(mail, number)
    for mail, number in zip(mails, numbers, strict=True):
        house.reports(mail)
        assert house.fax(number)["outcome"] == "delivered"
    house.wait(lambda: house.ask("status")["unfinished"] == {}, what="an empty queue")
    assert [len(house.calls(number)) for number in numbers] == [1] * n
    assert len(house.sink.letters) == n
    assert house.sql("SELECT count(*) FROM event WHERE late") == [(0,)]


def test_a_lost_callback_is_found_by_asking(house: House) -> None:
    house.settings["carrier"]["main"] |= {"lose_callbacks": 1.0}
    house.settings["work"]["poll"] = "0.2s"
    house.start()
    settled(house, 3)
    assert 'faxgate_callbacks_total{carrier="main"' not in house.get("/metrics")[1]


@pytest.mark.parametrize(
    "behaviour",
    [{"repeat_callbacks": 3}, {"shuffle_callbacks": True}, {"repeat_callbacks": 3, "shuffle_callbacks": True}],
    ids=["repeated", "out of order", "both"],
)
def test_repeated_and_shuffled_callbacks_change_nothing(house: House, behaviour: dict[str, object]) -> None:
    house.settings["carrier"]["main"] |= {"call_time": "0s", **behaviour}  # the callback may come before submit returns
    house.settings["work"]["poll"] = "20s"
    house.start()
    settled(house, 3)
