"""The one hole that no program can close, and that it is found.

A node is frozen after its last look at the lease and before the write to the far end, for longer than lease and listing lag.
The other node asks the carrier, hears that nothing was sent, and sends. Then the first one wakes: the far end has the fax
twice, and the comparison with its listing tells the operator, once.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import trapline
from tests.flows.house import Letter
from tests.flows.nodes import Client, Node, Place, until
from tests.flows.test_f31_crash_matrix import trapped
from tests.spool import postgres

pytestmark = pytest.mark.needs("postgres")
_ALARM = "perhaps sent more than once"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    with postgres.server() as url:
        made = Place(tmp_path / "place", postgres.database(url, "double"))
        try:
            yield made
        finally:
            made.close()


def alarms(place: Place) -> list[Letter]:
    return [one for one in list(place.sink.letters) if _ALARM in one.subject]


def start_anew(node: Node) -> None:
    """A start is when the daily comparison is due."""
    assert node.stop() == 0
    node.start()


def test_a_fax_sent_twice_through_the_hole_is_found_and_told_once(place: Place) -> None:
    frozen, other = place.node(), place.node()
    client = Client()
    number = client.write()
    frozen.settings["carrier"]["main"] |= {"trap": "between", "trap_number": number, "sign": "SIGSTOP"}
    for node in place.nodes:
        node.settings["carrier"]["main"]["callbacks"] = False  # it has to be found without the far end's help
    frozen.start()
    assert client.hand_in(frozen, number)
    until(trapped(frozen), 20, "the node to stop in its hand-over")
    assert place.calls() == []
    other.start()
    other.wait(place.finished, 60, "the other node to send it")
    assert len(place.calls()) == 1
    frozen.sign(signal.SIGCONT)
    other.wait(lambda: len(place.calls()) == 2, 20, "the second call")
    assert {call.number for call in place.calls()} == {number}
    ((fax, state),) = place.sql("SELECT id, state FROM transmission")
    assert state == "delivered"

    start_anew(other)
    other.wait(lambda: alarms(place), 20, "the alarm")
    start_anew(other)
    start_anew(frozen)
    other.wait(place.finished, 20, "the end of everything")
    (alarm,) = alarms(place)
    assert alarm.recipients == ["operator@example.com"]
    assert fax in alarm.text
    assert number not in alarm.text, "numbers are masked"
