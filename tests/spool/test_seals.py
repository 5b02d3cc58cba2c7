"""What happened to faxes is sealed once, by one node, and a row that is changed afterwards is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text, update

from gateway import seal
from gateway.desk.evidence import Evidence
from gateway.desk.notary import Notary
from gateway.errors import Outcome, SpoolUnavailable
from gateway.fax import TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import events, inbounds, inspection, outbox, retention, schema, seals, steps, transmissions
from gateway.spool.documents import Documents
from gateway.spool.inspection import Fault
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.spool import values

KEY = bytes(range(32))


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


@pytest.fixture
def notary(store: Store) -> Notary:
    return Notary(store, KEY)


async def delivered(store: Store) -> TransmissionId:
    """A fax that has gone its whole way: its sender was told."""
    claim, attempt = await values.sending(store)
    await store.write(events.store, "main", values.statement(reference=attempt.reference))
    said = await store.read(events.waiting, "main", attempt.carrier_ref, attempt.reference)
    end = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED, pages_sent=2)
    assert await store.write(transmissions.end_attempt, claim, attempt, values.ending(), end, [one.id for one in said])
    for mail in await store.write(steps.claim, steps.MAIL, 9, 60.0, steps.uptime()):
        owed = await store.read(outbox.get, mail.subject)
        assert owed is not None
        assert await store.write(outbox.told, mail, owed, outbox.SENT, "250 ok", message_id="<m@x>", mail="ab" * 32)
    return attempt.transmission


async def links(store: Store, fax: str) -> list[seal.Json]:
    return [json.loads(link) for part in await store.read(seals.parts, fax) for link in part.new]


async def wrong(store: Store, documents: Documents) -> list[tuple[Fault, str]]:
    every = [one async for one in inspection.inspect(store, documents, repair=False)]
    return [(one.fault, one.detail) for one in every if one.fault in (Fault.CHANGED, Fault.UNSOUND)]


async def sql(store: Store, statement: str) -> None:
    await store.write(lambda t: t.db.execute(text(statement)) and None)


async def test_everything_that_happened_is_sealed_once(store: Store, documents: Documents, notary: Notary) -> None:
    fax = await delivered(store)
    assert await notary.seal() == 1
    found = await links(store, fax)
    assert found[0]["what"] == "accepted"
    assert {"pages", "attempt", "submitted", "carrier's statement", "attempt ended", "told", "ended"} <= {
        link["what"] for link in found
    }
    (statement,) = (link for link in found if link["what"] == "carrier's statement")
    assert statement["raw"] == seal.digest(b"\0raw")
    (told,) = (link for link in found if link["what"] == "told")
    assert (told["message_id"], told["mail"], told["answer"]) == ("<m@x>", "ab" * 32, "250 ok")
    assert await notary.seal() == 0
    assert await links(store, fax) == found
    assert await wrong(store, documents) == []


async def test_what_happens_later_comes_with_a_later_seal(store: Store, documents: Documents, notary: Notary) -> None:
    claim, attempt = await values.opening(store)
    assert await notary.seal() == 1
    before = await links(store, attempt.transmission)
    assert await store.write(transmissions.submitted, claim, attempt, "ref-1", store.now())
    other = await values.ready(store)
    assert await notary.seal() == 1
    parts = await store.read(seals.parts, attempt.transmission)
    assert [(part.seal, len(part.leaves)) for part in parts] == [(1, 1), (2, 2)]
    assert (await links(store, attempt.transmission))[: len(before)] == before
    assert [part.seal for part in await store.read(seals.parts, other)] == [2]
    assert await wrong(store, documents) == []


async def test_a_statement_that_moves_nothing_is_sealed_too(store: Store, notary: Notary) -> None:
    fax = await delivered(store)
    await notary.seal()
    await store.write(events.store, "main", values.statement(key="again"))
    assert await notary.seal() == 1
    assert [link["what"] for link in await links(store, fax)].count("carrier's statement") == 2


async def test_of_two_nodes_one_writes_the_seal(store: Store, notary: Notary) -> None:
    await delivered(store)
    (key,) = await notary.keys()
    due = await store.read(seals.due, None, store.now())
    _, private = await notary._in_use()
    made = seal.new_seal(private, "2026-11-20", due.before, [seal.leaf(one.fax, one.head, one.links) for one in due.segments])
    assert await store.write(seals.append, made, key, due)
    assert not await store.write(seals.append, made, key, due)
    assert await notary.seal() == 0
    assert await store.read(lambda db: db.scalar(select(func.count()).select_from(schema.seal))) == 1


@pytest.mark.needs("postgres")
async def test_two_nodes_seal_at_once(tmp_path: Path, postgres_url: str, documents: Documents) -> None:
    nodes = [Store(tmp_path / name, postgres_url, now=lambda: datetime.now(UTC), node=name) for name in ("one", "two")]
    for node in nodes:
        node.open()
        node.start()
    for _ in range(5):
        await values.accept(nodes[0])
        await asyncio.gather(*(Notary(node, KEY).seal() for node in nodes))
    assert await nodes[0].read(lambda db: db.scalar(select(func.count()).select_from(schema.seal))) == 5
    assert await wrong(nodes[1], documents) == []
    for node in nodes:
        await node.close()


async def test_many_faxes_are_sealed_in_several_trees(
    store: Store, documents: Documents, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "_LINES", 5)
    faxes = [await values.ready(store) for _ in range(7)]
    assert await notary.seal() >= 3
    for fax in faxes:
        assert {link["what"] for link in await links(store, fax)} == {"accepted", "noted", "pages"}
    assert await wrong(store, documents) == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE event SET raw = X'78'", "raw"),
        ("UPDATE event SET outcome = 'busy'", "outcome"),
        ("UPDATE attempt SET pages_sent = 1", "pages_sent"),
        ("UPDATE attempt SET carrier_ref = 'other'", "carrier_ref"),
        ("UPDATE transmission SET state = 'failed'", "state"),
        ("UPDATE transmission SET number = '+12125550000'", "number"),
        ("UPDATE transmission SET document = '00'", "document"),
        ("UPDATE submission SET message_id = '<other@x>'", "message_id"),
        ("UPDATE recipient SET written = 'x'", "recipients"),
        ("UPDATE outbox SET answer = '250 other'", "answer"),
        ("UPDATE history SET detail = 'x' WHERE what = 'attempt'", "detail"),
        ("DELETE FROM history WHERE what = 'submitted'", "gone"),
        ("DELETE FROM event", "gone"),
        ("DELETE FROM outbox", "gone"),
    ],
)
async def test_a_row_that_is_changed_after_sealing_is_named(
    store: Store, documents: Documents, notary: Notary, statement: str, named: str
) -> None:
    await delivered(store)
    await notary.seal()
    assert await wrong(store, documents) == []
    await sql(store, statement)
    findings = await wrong(store, documents)
    assert findings
    assert all(fault is Fault.CHANGED for fault, _ in findings)
    assert any(named in detail for _, detail in findings)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE seal SET signature = (SELECT signature FROM seal WHERE n = 2) WHERE n = 1",
        "DELETE FROM seal WHERE n = 2",
        "DELETE FROM seal WHERE n = 1",
        "UPDATE seal SET leaves = (SELECT leaves FROM seal WHERE n = 2) WHERE n = 1",
        "UPDATE sealing_key SET signature = by_previous WHERE n = 1",
        "UPDATE chain SET content = (SELECT content FROM chain WHERE seal = 2) WHERE seal = 1",
        "UPDATE chain SET content = X'00' WHERE seal = 1",
        "UPDATE seal SET statement = 'x' WHERE n = 2",
    ],
)
async def test_seals_that_were_tampered_with_are_named(
    store: Store, documents: Documents, notary: Notary, statement: str
) -> None:
    for _ in range(3):
        await values.accept(store)
        await notary.seal()
    assert await wrong(store, documents) == []
    await sql(store, statement)
    assert await wrong(store, documents)


async def test_removed_documents_leave_their_hashes(store: Store, documents: Documents, notary: Notary) -> None:
    """Also where they go before the first seal, as those of programs do."""
    fax = await delivered(store)
    case = await values.case(store, fax)
    await store.write(retention.discard, fax)
    await notary.seal()
    found = {link.get("note", link["what"]): link for link in await links(store, fax) if link.get("note") != "accepted"}
    assert found["accepted"]["mail"] == case.submission.document
    assert found["pages"]["document"] == case.transmission.document
    assert "documents removed" in found
    assert await wrong(store, documents) == []


async def test_documents_that_go_after_their_time_are_no_change(store: Store, documents: Documents, notary: Notary) -> None:
    fax = await delivered(store)
    await notary.seal()
    assert (await store.write(retention.give_up_sent, datetime.now(UTC)))[0] == 1
    assert await wrong(store, documents) == []
    await notary.seal()
    assert (await links(store, fax))[-1]["note"] == "documents removed"
    assert await wrong(store, documents) == []


async def test_a_received_fax_has_its_evidence(store: Store, documents: Documents, notary: Notary) -> None:
    await store.write(inbounds.announced, "main", values.news())
    (claim,) = await store.write(steps.claim, steps.RECEIVE, 1, 60.0, steps.uptime())
    pdf = (await documents.put(b"%PDF received")).sha256
    boxes = ["ann@example.com"]
    assert await store.write(inbounds.fetched, claim, document=pdf, original=pdf, pages=2, mailboxes=boxes)
    await notary.seal()
    found = {link["what"]: link for link in await links(store, claim.subject)}
    assert found["pages"]["document"] == pdf
    assert found["announced"]["caller"] == "+12125550000"
    assert await wrong(store, documents) == []
    await sql(store, "UPDATE inbound SET caller = '+10000000000'")
    assert [detail for _, detail in await wrong(store, documents)] == ["announced: caller"]


async def test_what_is_forgotten_leaves_the_others_provable(store: Store, documents: Documents, notary: Notary) -> None:
    gone = await delivered(store)
    kept = (await values.accept(store)).transmissions[0]
    await notary.seal()
    await store.write(retention.give_up_sent, datetime.now(UTC))
    assert await store.write(retention.forget_sent, datetime.now(UTC)) == 1
    assert await store.read(seals.parts, gone) == []
    (part,) = await store.read(seals.parts, kept)
    assert len(part.leaves) == 2
    assert await wrong(store, documents) == []
    evidence = Evidence(store, documents, notary, "fax.example.com")
    assert await evidence.of(kept, mail=True)


async def test_a_number_of_the_history_that_is_used_again_is_looked_at(store: Store, notary: Notary) -> None:
    """SQLite gives the last line's number anew once that line is gone."""
    await delivered(store)
    await notary.seal()
    await store.write(retention.give_up_sent, datetime.now(UTC))
    await store.write(retention.forget_sent, datetime.now(UTC))
    fax = (await values.accept(store)).transmissions[0]
    assert await notary.seal() == 1
    assert await links(store, fax)


async def test_a_rotated_key_seals_and_the_old_one_is_forgotten(store: Store, documents: Documents, notary: Notary) -> None:
    await values.accept(store)
    await notary.seal()
    made = await notary.rotate()
    fax = (await values.accept(store)).transmissions[0]
    await notary.seal()
    keys = await store.read(seals.keys)
    assert [bool(stored.secret) for stored in keys] == [False, True]
    assert keys[-1].key == made
    (part,) = await store.read(seals.parts, fax)
    (last,) = await store.read(seals.between, part.seal, part.seal)
    assert last.statement["key"] == made.fingerprint
    assert await wrong(store, documents) == []


async def test_a_key_of_another_spool_seals_nothing(store: Store, notary: Notary) -> None:
    await values.accept(store)
    await notary.seal()
    await values.accept(store)
    with pytest.raises(SpoolUnavailable, match="sealing key"):
        await Notary(store, bytes(32)).seal()
    assert await notary.seal() == 1


async def test_what_was_there_before_there_were_seals_is_sealed_as_it_is(
    store: Store, documents: Documents, notary: Notary
) -> None:
    fax = await delivered(store)
    await store.write(lambda t: t.db.execute(delete(schema.history)) and None)
    await store.write(lambda t: t.db.execute(update(schema.submission).values(document="")) and None)
    await notary.seal_fax(fax)
    assert {"accepted", "pages", "ended"} <= {link["what"] for link in await links(store, fax)}
    assert await wrong(store, documents) == []
