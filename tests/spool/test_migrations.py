"""A spool of an earlier version is brought up to date with its faxes in place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, select, text

from gateway.fax import AttemptState, TransmissionId, TransmissionState
from gateway.spool import inbounds, migrations, queries, schema, steps, transmissions
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import AT, LANE, LEASE

_TRANSMISSION = """
INSERT INTO transmission (id, submission_id, account_id, number, sub_address, carrier, caller, state, reason, document, pages,
    pages_sent, attempts, manifest, accepted_at, updated_at)
VALUES (:id, 'sub_1', 'acc_1', :number, '', 'main', '', :state, '', :sha, 2, 0, 0, '[]', :at, :at)
"""
_SUBMISSION = """
INSERT INTO submission (id, account_id, envelope, message_id, resent_message_id, content_hash, subject, from_header, thread,
    auto_submitted, document, content_type, accepted_at)
VALUES ('sub_1', 'acc_1', '{"door": "smtp", "sender": "ann@example.com"}', '', '', 'c', '', '', '', :no, 'a', 'text/plain', :at)
"""
_STEP = """
INSERT INTO step (subject, kind, lane, due_at, age, tries, token, nudged)
VALUES (:id, :kind, :lane, :at, :at, 0, NULL, :no)
"""
_ATTEMPT = """
INSERT INTO attempt (id, transmission_id, n, carrier, reference, carrier_ref, state, carrier_code, text, pages_sent, station_id,
    opened_at)
VALUES (:attempt, :id, 1, 'main', :reference, :ref, 'submitted', '', '', 0, '', :at)
"""

_LINE = """
INSERT INTO line (number, account_id, carrier, mailbox, declared) VALUES ('+14155550100', 'acc_1', 'main', '[]', :no)
"""
_INBOUND = """
INSERT INTO inbound (id, carrier, carrier_ref, line, caller, station_id, sub_address, state, pages, complete, received_at,
    announced_at, reason)
VALUES (:id, 'main', :ref, :line, '', '', '', 'mailed', 1, :yes, :at, :at, '')
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def url(request: pytest.FixtureRequest) -> str:
    """ "" = SQLite."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""


@pytest.fixture
def old(url: str, tmp_path: Path) -> Iterator[Engine]:
    """A database with the tables of the first revision."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://") or f"sqlite:///{tmp_path / 'faxgate.db'}")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "r0001")
    yield engine
    engine.dispose()


def fill(engine: Engine) -> None:
    """Fifteen faxes wait; two of another account's are being sent, both to one number, as it could happen then."""
    with engine.begin() as connection:
        moment = schema.Moment().process_bind_param(AT, connection.dialect)
        common = {"at": moment, "no": False, "sha": "a" * 64, "number": values.NUMBER, "lane": LANE}
        connection.execute(text(_SUBMISSION), {"at": moment, "no": False})
        for n in range(15):
            row = {**common, "id": f"tx_{n:02}", "state": "ready", "kind": "send"}
            row["at"] = schema.Moment().process_bind_param(AT + timedelta(seconds=n), connection.dialect)
            connection.execute(text(_TRANSMISSION), row)
            connection.execute(text(_STEP), row)
        for n in (20, 21):
            row = {
                **common,
                "id": f"tx_{n}",
                "state": "sending",
                "kind": "track",
                "attempt": f"at_{n}",
                "reference": f"at_{n}",
                "ref": f"r{n}",
            }
            for statement in (_TRANSMISSION, _STEP, _ATTEMPT):
                connection.execute(text(statement), row)


async def test_a_spool_of_the_first_revision_goes_on_where_it_was(old: Engine, url: str, tmp_path: Path, clock: Clock) -> None:
    fill(old)
    store = Store(tmp_path, url, now=clock, node="here")
    store.open()
    store.start()
    try:
        bands = await store.read(
            lambda db: {row.subject: row.band for row in db.execute(select(schema.step.c.subject, schema.step.c.band))}
        )
        assert [bands[f"tx_{n:02}"] for n in range(15)].count(1) == 10 - 2, "the two that are being sent are older"
        claims = await store.write(steps.claim, LANE, 30, LEASE, steps.uptime(), 8)
        assert [claim.subject for claim in claims[:2]] == ["tx_20", "tx_21"], "what needs no call is looked at first"
        assert [claim.account for claim in claims[:3]] == ["acc_1"] * 3
        fresh = values.attempt(TransmissionId(claims[2].subject))
        assert not await store.write(transmissions.open_attempt, claims[2], fresh, 8), "its number is being called"
        case = await store.read(queries.case, fresh.transmission)
        assert case is not None
        assert (case.transmission.state, case.attempts) == (TransmissionState.READY, ())
        tried = await values.open_attempt(store, TransmissionId(claims[0].subject))
        assert tried.state is AttemptState.SUBMITTED
    finally:
        await store.close()


async def test_faxes_that_arrived_before_belong_to_whoever_has_the_line(
    old: Engine, url: str, tmp_path: Path, clock: Clock
) -> None:
    with old.begin() as connection:
        at = schema.Moment().process_bind_param(AT, connection.dialect)
        connection.execute(text(_LINE), {"no": False})
        for n, line in enumerate(("+14155550100", "+14155550200"), 1):
            connection.execute(text(_INBOUND), {"id": f"in_{n}", "ref": str(n), "line": line, "at": at, "yes": True})
    store = Store(tmp_path, url, now=clock, node="here")
    store.open()
    store.start()
    try:
        received = await store.read(inbounds.page)
        assert {fax.line: fax.account for fax in received} == {"+14155550100": "acc_1", "+14155550200": ""}
    finally:
        await store.close()
