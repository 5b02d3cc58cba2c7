"""A spool that an earlier program wrote, with faxes in every unfinished state: today's program ends each of them once.

The spools were made by `tests/spool/earlier/make.py`.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.flows.house import OWN_LINE, House
from tests.spool.earlier.make import HERE

SPOOLS = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))


class Inherited(House):
    """A house with an earlier spool."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        super().__init__(folder)
        self.url = url
        with tarfile.open(HERE / f"{name}.tar.xz") as tar:
            tar.extractall(self.spool, filter="data")
        dump = (self.spool / "dump.sql").read_text()
        self.mails: list[tuple[str, str]] = json.loads((self.spool / "mails.json").read_text())
        self.settings["retry"] = {"busy": ["0.1s", "0.1s", "0.1s"], "give_up": "30000d"}
        self.settings["reports"] = {"delayed": "never"}  # they are years late
        if url:
            self.settings["database"] = url
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(dump.encode())
        else:
            database = sqlite3.connect(self.spool / "faxgate.db")
            database.executescript(dump)
            database.close()

    def sql(self, query: str) -> list[tuple[object, ...]]:
        if not self.url:
            return super().sql(query)
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(params=[pytest.param(s, marks=pytest.mark.needs("postgres") if "postgres" in s else ()) for s in SPOOLS])
def inherited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inherited]:
    url = request.getfixturevalue("postgres_url") if "postgres" in request.param else ""
    made = Inherited(tmp_path, request.param, url)
    try:
        yield made
    finally:
        made.close()


def left(house: Inherited) -> list[tuple[object, ...]]:
    return house.sql("SELECT kind FROM step")


def test_every_fax_of_an_earlier_spool_ends_once(inherited: Inherited) -> None:
    assert inherited.sql("SELECT version_num FROM alembic_version") == [("r0001",)]
    ((held,),) = inherited.sql("SELECT id FROM transmission WHERE state = 'held'")
    before = Counter(call.number for call in inherited.calls())
    inherited.start()
    assert inherited.sql("SELECT version_num FROM alembic_version") != [("r0001",)]
    inherited.wait(lambda: left(inherited) == [("held",)], 60, "everything but what waits for a person to end")
    inherited.cli("release", str(held))
    inherited.wait(lambda: left(inherited) == [], 30, "the end of everything")

    called = Counter(call.number for call in inherited.calls())
    assert before - called == Counter(), "the far end forgets nothing"
    mails = Counter(number for number, _ in inherited.mails)
    # One call for each mail; a number that is busy twice has its third call now.
    assert called == {number: 3 if number.endswith("17") else times for number, times in mails.items()}
    assert inherited.sql("SELECT DISTINCT state FROM transmission") == [("delivered",)]
    assert inherited.sql("SELECT count(*) FROM transmission") == [(len(inherited.mails),)]
    told: dict[str, set[str]] = {}
    for one in list(inherited.sink.letters):
        if " is waiting" in one.subject:
            continue  # the held one
        told.setdefault(str(one.mail["In-Reply-To"]), set()).add(str(one.mail["Message-ID"]))
    first = inherited.mails[0]  # it was told by the earlier program
    assert {mail: len(told.get(mail, ())) for _, mail in inherited.mails} == {
        mail: mail != first[1] for _, mail in inherited.mails
    }
    received = [one for one in inherited.sink.letters if one.recipients == ["office@example.com"]]
    assert len({str(one.mail["Message-ID"]) for one in received}) == mails[OWN_LINE]
    assert inherited.sql("SELECT DISTINCT state FROM inbound") == [("mailed",)]
