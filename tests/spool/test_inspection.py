"""fsck: what it finds, what it repairs, and that it leaves alone what is in order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from gateway.fax import AccountId, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import inspection, ledger, outbox, queries, schema, steering, steps, transmissions
from gateway.spool.documents import Documents
from gateway.spool.inspection import Fault
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.spool import values


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    made = Store(tmp_path, url, now=lambda: datetime.now(UTC), node="here")
    made.open()
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    made = Documents(tmp_path / "documents")
    made.open()
    yield made
    made.close()


async def found(store: Store, documents: Documents, *, repair: bool = False) -> list[tuple[Fault, str, str]]:
    every = [finding async for finding in inspection.inspect(store, documents, repair=repair)]
    return sorted((one.fault, one.subject, one.repaired) for one in every)


async def ready(store: Store, documents: Documents, content: bytes = b"pages") -> tuple[TransmissionId, Sha256]:
    """A fax whose documents are really there."""
    mail, pages = await documents.put(b"mail of " + content), await documents.put(content)
    fax = await values.ready(store)
    case = await values.case(store, fax)
    at = update(schema.submission).where(schema.submission.c.id == case.submission.id).values(document=mail.sha256)
    await store.write(lambda t: t.db.execute(at) and None)
    at = update(schema.transmission).where(schema.transmission.c.id == fax).values(document=pages.sha256)
    await store.write(lambda t: t.db.execute(at) and None)
    return fax, pages.sha256


def aged(documents: Documents, sha256: Sha256) -> Path:
    path = documents.root / sha256[:2] / sha256
    then = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(path, (then, then))
    return path


async def test_a_spool_in_order_has_no_findings(store: Store, documents: Documents) -> None:
    await ready(store, documents)
    await documents.put(b"of a mail that is being accepted just now")
    assert await found(store, documents, repair=True) == []


async def test_an_orphan_is_found_and_removed_on_demand(store: Store, documents: Documents) -> None:
    _, pages = await ready(store, documents)
    orphan = (await documents.put(b"nobody's")).sha256
    path = aged(documents, orphan)
    aged(documents, pages)
    assert await found(store, documents) == [(Fault.ORPHANED, orphan, "")]
    assert path.exists()
    assert await found(store, documents, repair=True) == [(Fault.ORPHANED, orphan, "removed")]
    assert not path.exists()
    assert await found(store, documents) == []


@pytest.mark.parametrize("fault", [Fault.MISSING, Fault.DAMAGED])
async def test_a_fax_without_its_document_is_held_and_never_failed(store: Store, documents: Documents, fault: Fault) -> None:
    fax, pages = await ready(store, documents)
    path = documents.root / pages[:2] / pages
    if fault is Fault.MISSING:
        path.unlink()
    else:
        path.write_bytes(b"pagez")
    assert await found(store, documents) == [(fault, fax, "")]
    for _ in range(2):  # asked once, however often it is looked at
        assert await found(store, documents, repair=True) == [(fault, fax, "held")]
    (wish,) = await store.read(steering.pending, fax)
    assert (wish.verb, wish.asked_by) == ("hold", f"fsck: {fault}")
    assert (await values.case(store, fax)).transmission.state is T.READY


async def test_a_finished_fax_without_its_document_is_only_reported(store: Store, documents: Documents) -> None:
    fax, pages = await ready(store, documents)
    settled = Next(state=T.CANCELLED)
    assert await store.write(transmissions.settle, await values.claim(store), settled)
    (documents.root / pages[:2] / pages).unlink()
    assert await found(store, documents, repair=True) == [(Fault.MISSING, fax, "")]
    assert await store.read(steering.pending, fax) == []


@pytest.mark.parametrize(
    ("state", "kind"), [("accepted", "prepare"), ("ready", "send"), ("deferred", "send"), ("held", "held")]
)
async def test_a_fax_that_lost_its_step_gets_one(store: Store, documents: Documents, state: str, kind: str) -> None:
    fax, _ = await ready(store, documents)
    await store.write(values.force, fax, state)
    await store.write(lambda t: t.db.execute(delete(schema.step)) and None)
    assert await found(store, documents) == [(Fault.NO_STEP, fax, "")]
    assert await found(store, documents, repair=True) == [(Fault.NO_STEP, fax, "step added")]
    claim = await values.claim(store, steps.CONVERT if kind == "prepare" else values.LANE)
    assert (claim.subject, claim.kind) == (fax, kind)
    assert "repaired" in [entry.what for entry in await store.read(queries.history, fax)]
    assert await found(store, documents) == []


async def test_mails_and_received_faxes_that_lost_their_steps_get_them(store: Store, documents: Documents) -> None:
    from gateway.spool import inbounds

    await store.write(inbounds.announced, "main", values.news())
    await store.write(outbox.alarm, about="x", what="look", text="now")
    await store.write(lambda t: t.db.execute(delete(schema.step)) and None)
    assert [fault for fault, _, _ in await found(store, documents)] == sorted((Fault.NOT_FETCHED, Fault.UNSENT))
    await found(store, documents, repair=True)
    assert (await values.claim(store, steps.RECEIVE)).kind == "receive"
    assert (await values.claim(store, steps.MAIL)).kind == "tell"
    assert await found(store, documents) == []


async def test_a_step_about_nothing_is_removed(store: Store, documents: Documents) -> None:
    await store.write(lambda t: steps.add(t, "tx_gone", "send", values.LANE))
    assert await found(store, documents, repair=True) == [(Fault.NO_SUBJECT, "tx_gone", "removed")]
    assert await values.claim_or_none(store) is None


async def test_an_open_attempt_of_a_finished_fax_is_ended_as_the_fax_was(store: Store, documents: Documents) -> None:
    claim, attempt = await values.sending(store)
    await store.write(values.force, attempt.transmission, "delivered")
    await store.write(steps.done, claim)
    stored = [(Fault.MISSING, claim.subject, "")]  # the documents of these values are nowhere
    assert await found(store, documents) == sorted([*stored, (Fault.OPEN_ATTEMPT, attempt.id, "")])
    done = await found(store, documents, repair=True)
    assert (Fault.OPEN_ATTEMPT, attempt.id, "ended as delivered") in done
    assert (await values.case(store, attempt.transmission)).open_attempt is None
    slots = await store.read(lambda db: list(db.scalars(select(schema.attempt.c.slot))))
    assert slots == [None]


async def test_what_is_put_right_meanwhile_is_left_alone(store: Store, documents: Documents) -> None:
    fax, _ = await ready(store, documents)
    assert await store.write(inspection.mend, Fault.NO_STEP, fax) == ""
    assert len(await store.read(lambda db: db.execute(select(schema.step)).all())) == 1


async def test_money_that_does_not_add_up_is_found_and_never_put_right(store: Store, documents: Documents) -> None:
    account = AccountId("acc_1")
    assert await store.write(ledger.credit, account, 5_000_000, "p1")
    assert await found(store, documents) == []
    off = update(schema.purse).values(available=6_000_000, held=1)
    await store.write(lambda t: t.db.execute(off) and None)
    for repair in (False, True):
        assert await found(store, documents, repair=repair) == [(Fault.MONEY, account, "")] * 2
    details = [finding.detail async for finding in inspection.inspect(store, documents, repair=True)]
    assert details == ["6.00 EUR available, 5.00 EUR booked", "0.000001 EUR held, 0.00 EUR for unfinished faxes"]


async def test_a_report_that_is_gone_is_told_with_its_attempt(store: Store, documents: Documents) -> None:
    fax, _ = await ready(store, documents)
    mine, tried = await values.claim(store), values.attempt(fax)
    assert await store.write(transmissions.open_attempt, mine, tried, None)
    kept = await documents.put(b"%PDF-1.4 a report")
    named = update(schema.attempt).values(report=kept.sha256)
    await store.write(lambda t: t.db.execute(named) and None)
    aged(documents, kept.sha256)
    assert (Fault.ORPHANED, kept.sha256, "") not in await found(store, documents)
    (documents.root / kept.sha256[:2] / kept.sha256).unlink()
    assert (Fault.MISSING, tried.id, "") in await found(store, documents)
