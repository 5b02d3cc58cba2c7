"""What is over is removed by age and by reference count; what is not finished stays, however old."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway.errors import NotAdmitted
from gateway.fax import InboundId, InboundState, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import approvals, events, inbounds, outbox, queries, retention, schema, steps, submissions, transmissions
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.carriers.tools import Clock
from tests.spool import values

MONTH, YEAR = timedelta(days=30), timedelta(days=365)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    made = Store(tmp_path, url, now=clock, node="here")
    made.open()
    made.start()
    yield made
    await made.close()


async def count(store: Store, table: str) -> int:
    return int(
        await store.read(lambda db: db.execute(select(func.count()).select_from(schema.metadata.tables[table])).scalar_one())
    )


async def mailed(store: Store) -> None:
    """Every mail that is owed is sent."""
    for claim in await store.write(steps.claim, steps.MAIL, 50, 60.0, steps.uptime()):
        assert await store.write(outbox.settled, claim, outbox.SENT, "250")


async def delivered(store: Store, ref: str = "ref-1") -> TransmissionId:
    """A fax that is over, and told."""
    claim, attempt = await values.sending(store, ref)
    await store.write(events.store, "main", values.statement(key=ref, carrier_ref=ref))
    done = Next(state=T.DELIVERED, pages_sent=2)
    assert await store.write(transmissions.end_attempt, claim, attempt, values.ending(), done, ())
    await mailed(store)
    return attempt.transmission


async def test_a_finished_fax_gives_up_its_documents_and_keeps_its_records(store: Store) -> None:
    fax = await delivered(store)
    after = store.now() + timedelta(seconds=1)
    assert await store.write(retention.give_up_sent, after - MONTH) == (0, set())
    assert await store.write(retention.give_up_sent, after) == (1, {values.SHA})
    assert await store.write(retention.give_up_sent, after) == (0, set())
    assert await store.read(retention.needed, {values.SHA}) == set()
    case = await values.case(store, fax)
    assert (case.transmission.state, case.transmission.document, case.submission.document) == (T.DELIVERED, None, "")
    assert case.transmission.pages == 2
    assert len(await store.read(queries.history, fax)) > 3
    with pytest.raises(NotAdmitted, match="removed"):
        await store.write(submissions.again, case.submission, values.call())


async def test_a_document_stays_while_one_fax_needs_it(store: Store) -> None:
    await delivered(store)
    await values.accept(store, values.call("+14155550188"))  # the same document, and nothing has become of it yet
    assert await store.write(retention.give_up_sent, store.now() + MONTH) == (1, {values.SHA})
    assert await store.read(retention.needed, {values.SHA}) == {values.SHA}


async def test_a_mail_stays_while_one_of_its_faxes_is_unfinished(store: Store) -> None:
    first, second = (await values.accept(store, values.call(), values.call("+14155550188"))).transmissions
    for claim in await store.write(steps.claim, steps.CONVERT, 2, 60.0, steps.uptime()):
        if claim.subject == first:
            assert await store.write(transmissions.settle, claim, Next(state=T.FAILED, reason="broken"))
    await mailed(store)
    assert await store.write(retention.give_up_sent, store.now() + MONTH) == (1, set())
    assert (await values.case(store, second)).submission.document == values.SHA


async def test_a_fax_whose_report_is_still_owed_is_not_touched(store: Store) -> None:
    claim, attempt = await values.sending(store)
    done = Next(state=T.DELIVERED, pages_sent=2)
    assert await store.write(transmissions.end_attempt, claim, attempt, values.ending(), done, ())
    assert await store.write(retention.give_up_sent, store.now() + YEAR) == (0, set())
    await mailed(store)
    assert await store.write(retention.give_up_sent, store.now() + YEAR) == (1, {values.SHA})


async def test_records_go_with_everything_about_the_fax_and_only_after_its_documents(store: Store) -> None:
    over = await delivered(store)
    await store.write(approvals.ask, over, "boss@example.com", "2 pages")
    kept = await values.ready(store)
    later = store.now() + YEAR
    assert await store.write(retention.forget_sent, later) == 0
    await store.write(retention.give_up_sent, later)
    assert await store.write(retention.forget_sent, later) == 1
    counts = {
        name: await count(store, name) for name in ("transmission", "submission", "recipient", "attempt", "event", "outbox")
    }
    assert counts == {"transmission": 1, "submission": 1, "recipient": 1, "attempt": 0, "event": 0, "outbox": 0}
    assert {entry.what for entry in await store.read(queries.history, kept)} == {"accepted", "ready"}
    assert await count(store, "history") == 2
    assert await count(store, "approval") == 0


async def test_a_held_fax_stays_for_years(store: Store) -> None:
    fax = await values.ready(store)
    held = Next(state=T.HELD, reason="somebody should look", alarm="look")
    assert await store.write(transmissions.settle, await values.claim(store), held)
    await mailed(store)
    later = store.now() + 5 * YEAR
    assert await store.write(retention.give_up_sent, later) == (0, set())
    assert await store.write(retention.forget_mails, later) == 0
    case = await values.case(store, fax)
    assert (case.transmission.document, case.submission.document) == (values.SHA, values.SHA)


async def test_a_received_fax_goes_after_it_was_mailed(store: Store) -> None:
    await store.write(inbounds.announced, "main", values.news())
    claim = await values.claim(store, steps.RECEIVE)
    between, later = store.now(), store.now() + YEAR
    made = inbounds.Fetched(document=values.SHA, original=values.SHA, pages=2)
    assert await store.write(inbounds.fetched, claim, made, mailboxes=["a@example.com"])
    assert await store.write(retention.give_up_received, later) == (0, set())
    await mailed(store)
    assert await store.write(inbounds.mailed, InboundId(claim.subject))
    assert await store.write(retention.give_up_received, between) == (0, set())  # mailed after that
    assert await store.write(retention.give_up_received, later) == (1, {values.SHA})
    assert await store.write(retention.forget_received, later) == 1
    assert [await count(store, name) for name in ("inbound", "outbox", "history")] == [0, 0, 0]


async def test_a_received_fax_that_waits_for_a_person_stays(store: Store) -> None:
    await store.write(inbounds.announced, "main", values.news())
    claim = await values.claim(store, steps.RECEIVE)
    await store.write(inbounds.original_stored, claim, values.SHA)
    assert await store.write(inbounds.ended, claim, InboundState.HELD, "unreadable", "look")
    await mailed(store)
    assert await store.write(retention.give_up_received, store.now() + YEAR) == (0, set())
    assert await store.write(retention.forget_received, store.now() + YEAR) == 0


async def test_forwarded_mail_and_strangers_statements_go_too(store: Store) -> None:
    await store.write(lambda t: outbox.owe(t, kind=outbox.FORWARD, about="mail_1", document=values.SHA))
    await store.write(events.store, "main", values.statement(carrier_ref="nobody's"))
    claim, _ = await values.sending(store)
    await store.write(events.store, "main", values.statement(key="k2"))
    later = store.now() + YEAR
    assert await store.write(retention.give_up_forwarded, later) == (0, set())  # still owed
    await mailed(store)
    assert await store.write(retention.give_up_forwarded, later) == (1, {values.SHA})
    assert await store.write(retention.forget_mails, later) == 1
    assert await store.write(retention.forget_events, later) == 1  # the other one is about an open attempt
    assert len(await store.read(events.waiting, "main", "ref-1", claim.subject)) == 1


def test_what_is_over_is_found_by_index(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path, now=clock)
    store.open()
    plans = []
    with store._writer.connect() as db:
        for where in (
            "transmission WHERE shredded_at IS NULL AND finished_at < '2026' ORDER BY finished_at",
            "transmission WHERE shredded_at IS NOT NULL AND finished_at < '2026' ORDER BY finished_at",
            "inbound WHERE original IS NOT NULL AND announced_at < '2026' ORDER BY announced_at",
            "outbox WHERE document IS NOT NULL AND created_at < '2026' ORDER BY created_at",
            "outbox WHERE substr(about, 1, 29) = 'tx_1' AND state = 'waiting'",
            *(f"{column.table.name} WHERE {column.name} IN ('a', 'b')" for column in schema.DOCUMENTS),
        ):
            rows = db.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT 1 FROM {where} LIMIT 1").all()
            plans.append(" ".join(str(row[3]) for row in rows))
    store.release()
    assert [plan for plan in plans if "USING" not in plan or "SCAN" in plan or "TEMP" in plan] == []
