"""The clock of the machine is set by a day while faxes are on their way, and set right again.

Only the wall clock: libfaketime changes what it says to the one process, as settimeofday would. The far end's clock
and, on PostgreSQL, the database's are right all the time.
"""

from __future__ import annotations

import glob
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import house, trapline
from tests.flows.matrix import TROUBLE, Matrix
from tests.flows.nodes import Client, Node, Place, check
from tests.spool import postgres

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
COLUMNS = {"SQLite": "", "PostgreSQL": "postgresql"}
ROWS = {"clock a day ahead, then right": "+1d", "clock a day behind, then right": "-1d"}
#: Under libfaketime a deadline of clock_nanosleep has always passed, so that Python's sleep, and with it the wait for another
#: process that has not ended yet, raises OSError (EINVAL).
SLEEP = """
import select, time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
pytestmark = pytest.mark.needs("faketime", "postgres")


class Clock:
    """What a process is told of the time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")
        (library,) = glob.glob(LIBRARY)
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, by: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(by)
        new.rename(self._file)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


def hand_in(node: Node, number: str) -> None:
    """A fax that is under way for longer than it takes to set a clock."""
    node.send(house.letter(f"Fax to {number}"), number)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("column", COLUMNS)
def test_the_clock_is_set_with_faxes_under_way(
    column: str, row: str, matrix: Matrix, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = trapline.install(tmp_path / "site")
    (site / "sitecustomize.py").write_text(SLEEP)
    monkeypatch.setenv("PYTHONPATH", str(site))
    name = f"clock{list(ROWS).index(row)}"
    place = Place(tmp_path / "place", postgres.database(server, name) if COLUMNS[column] else "")
    clock = Clock(tmp_path / "time")
    try:
        node, client = place.node(), Client()
        node.environment = clock.environment
        node.settings["carrier"]["main"] |= {"own_clock": True, "slow_time": "8s", "lose_callbacks": 0.5}
        node.settings["retry"] = {"busy": ["3s", "3s", "3s"]}
        node.start()
        slow, redialled = [house.fresh("18") for _ in range(2)], [house.fresh("17") for _ in range(2)]
        for number in (*slow, *redialled):
            hand_in(node, number)
        node.wait(lambda: len(place.calls()) >= 4, 20, "the first calls")
        began = time.monotonic()
        with client.feeding([node], 60):
            for by in (ROWS[row], "+0"):
                time.sleep(2.0)
                clock.set(by)
            time.sleep(2.0)
        client.repeat(node)
        node.wait(place.finished, 60, "the end of everything")
        assert time.monotonic() - began > 6, "two redials, three seconds each"
        matrix.enter(TROUBLE, row, column, place, client)
        check(place, [client])
        called = Counter(call.number for call in place.calls())
        assert [called[number] for number in (*slow, *redialled)] == [1, 1, 3, 3]
        assert place.sql("SELECT DISTINCT state FROM transmission") == [("delivered",)]
        assert place.sql("SELECT detail FROM history WHERE what = 'held'") == []
        log = node.log.read_text()
        assert log.count("the clock was set") == (0 if column == "PostgreSQL" else 2)
        assert "its claim was lost" not in log, "no lease was over early"
        node.stop()
    finally:
        place.close()
