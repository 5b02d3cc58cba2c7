"""Without credit at the carrier a fax is held: the operator is told, and decides."""

import pytest

from tests.flows.house import House, Letter, fresh, letter


def held(house: House) -> tuple[str, Letter, Letter]:
    """A held fax: its id, the sender's mail, the operator's."""
    number = fresh("22")
    mail = letter(f"Fax to {number}")
    house.send(mail, number)
    (told,) = house.reports(mail)
    fax = house.fax(number, "held")
    (alarm,) = house.wait(
        lambda: [one for one in list(house.sink.letters) if fax["id"] in one.text and one is not told], what="the alarm"
    )
    return fax["id"], told, alarm


def test_the_operator_is_alarmed_and_the_sender_told(open_house: House) -> None:
    identity, told, alarm = held(open_house)
    assert alarm.recipients == ["operator@example.com"]
    assert "a fax is held" in alarm.subject
    assert "no credit" in alarm.subject
    assert f"faxgate release {identity}" in alarm.flat
    assert told.recipients == ["ann@example.com"]
    assert "is waiting" in told.subject
    assert "credit" not in told.flat  # what concerns the operator's account is not for senders
    assert [fax["id"] for fax in open_house.ask("queue", states=["held"])].count(identity) == 1


@pytest.mark.parametrize(
    ("choice", "state", "word", "calls"),
    [("--fail", "failed", "failed", 1), ("--delivered", "delivered", "delivered", 1), ("--retry", "held", "is waiting", 2)],
)
def test_a_person_decides(open_house: House, choice: str, state: str, word: str, calls: int) -> None:
    identity, _, _ = held(open_house)
    answer = open_house.cli("release", choice, identity).stdout
    assert "released" in answer
    number = next(fax["number"] for fax in open_house.faxes() if fax["id"] == identity)
    open_house.wait(lambda: len(open_house.calls(number)) == calls, what="the calls")
    fax = open_house.fax(number, state)
    assert len(open_house.calls(number)) == calls
    assert fax["attempts"] == calls
    answers = open_house.wait(
        lambda: [one for one in list(open_house.sink.letters) if number in one.text and "ann@example.com" in one.recipients][
            1:
        ],
        what="the second mail to the sender",
    )
    assert word in answers[0].subject
