"""Backup: everything is in it, from a spool at work, and it comes back on either database; nothing else is taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Update, select, update

from gateway.desk.steer import steer
from gateway.errors import NotAdmitted, Outcome, Refused
from gateway.fax import AccountId, Sha256, TransmissionState
from gateway.report import facts
from gateway.spool import (
    approvals,
    backup,
    events,
    inbounds,
    ledger,
    migrations,
    queries,
    schema,
    steering,
    steps,
    transmissions,
)
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.spool import values
from tests.spool.earlier.make import HERE

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))]


def _run(t: Transaction, statement: Update) -> None:
    t.db.execute(statement)


class Spool:
    """One spool."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.store = Store(folder, url, now=lambda: datetime.now(UTC), node="here")
        self.documents = Documents(folder / "documents")
        folder.mkdir(exist_ok=True)
        self.store.open()
        self.store.start()
        self.documents.open()

    async def close(self) -> None:
        self.documents.close()
        await self.store.close()

    async def rows(self) -> dict[str, list[tuple[object, ...]]]:
        def every(db: Connection) -> dict[str, list[tuple[object, ...]]]:
            return {
                t.name: [tuple(r) for r in db.execute(select(t).order_by(*t.primary_key))]
                for t in schema.metadata.sorted_tables
            }

        return await self.store.read(every)

    async def fill(self) -> Sha256:
        """One of everything; a document that is named."""
        document = (await self.documents.put(b"%PDF the pages")).sha256
        await values.sending(self.store)
        await self.store.write(events.store, "main", values.statement(key="k"))
        await self.store.write(inbounds.announced, "main", values.news())
        await values.ready(self.store)
        for column in schema.DOCUMENTS[:2]:
            named = update(schema.metadata.tables[column.table.name]).values({column.name: document})
            await self.store.write(_run, named)
        return document


@pytest.fixture(params=KINDS)
async def spool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Spool]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    made = Spool(tmp_path / "old", url)
    yield made
    await made.close()


@pytest.fixture(params=KINDS)
async def empty(request: pytest.FixtureRequest, tmp_path: Path, spool: Spool) -> AsyncIterator[Spool]:
    url = ""
    if request.param == "postgresql":
        from tests.spool import postgres

        url = postgres.database(request.getfixturevalue("postgres_server"), f"new{abs(hash(tmp_path))}")
    made = Spool(tmp_path / "new", url)
    yield made
    await made.close()


async def exported(spool: Spool) -> io.BytesIO:
    """A backup that another process would make."""
    (spool.folder / "key").write_bytes(b"k" * 32)
    other = Store(spool.folder, "" if spool.store.embedded else spool.store._url, now=lambda: datetime.now(UTC))
    with (spool.folder / "backup.tar").open("w+b") as file:
        await backup.export(other, spool.documents, {"key": spool.folder / "key"}, file)
        file.seek(0)
        content = file.read()
    other.release()
    return io.BytesIO(content)


async def test_everything_comes_back_on_either_database(spool: Spool, empty: Spool) -> None:
    document = await spool.fill()
    before = await spool.rows()
    tar = await exported(spool)
    await backup.restore(empty.store, empty.documents, empty.folder, tar, resume=True)
    after = await empty.rows()
    assert after.keys() == before.keys()
    for name in before.keys() - {"step"}:  # claims are freed
        assert after[name] == before[name], name
    assert [row[:3] for row in after["step"]] == [row[:3] for row in before["step"]]
    assert await empty.documents.get(document) == b"%PDF the pages"
    assert (empty.folder / "key").read_bytes() == b"k" * 32
    assert (empty.folder / "key").stat().st_mode & 0o777 == 0o600
    await values.accept(empty.store)  # the history goes on counting where it was


async def test_what_waits_to_be_sent_is_held_after_an_import(spool: Spool, tmp_path: Path) -> None:
    fax = await values.ready(spool.store)
    tar = await exported(spool)
    new = Spool(tmp_path / "new")
    await backup.restore(new.store, new.documents, new.folder, tar, resume=False)
    (wish,) = await new.store.read(steering.pending, fax)
    assert wish.verb == "hold"
    await new.close()


@pytest.mark.parametrize("resume", [False, True])
async def test_what_was_held_is_let_go_by_nothing_but_a_person_after_an_import(
    spool: Spool, empty: Spool, resume: bool
) -> None:
    """What its approver agreed to since, or credit let go, has been sent: a click on the old link sends nothing again."""
    wait = timedelta(days=3)
    asks = approvals.Toll(reasons=("2 pages",), approver="boss@example.com", wait=wait)
    fax = (await values.accept(spool.store)).transmissions[0]
    claim = await values.claim(spool.store, steps.CONVERT)
    await spool.store.write(transmissions.prepared, claim, document=values.SHA, pages=2, manifest="[]", toll=asks)
    unpaid = await values.ready(spool.store)
    no_credit = Next(state=TransmissionState.HELD, outcome=Outcome.NO_CREDIT, reason="No credit.")
    await spool.store.write(transmissions.settle, await values.claim(spool.store), no_credit)
    await spool.store.write(_run, update(schema.transmission).where(schema.transmission.c.id == unpaid).values(price=1))
    await spool.store.write(steering.ask, unpaid, "release", "", "ann")
    tar = await exported(spool)
    await backup.restore(empty.store, empty.documents, empty.folder, tar, resume=resume)
    approval = await empty.store.read(approvals.of, fax)
    assert approval is not None
    assert (approval.decided_at is None, approval.verdict) == ((True, "") if resume else (False, "void"))
    waits = [facts.waits_for_approval((await values.case(empty.store, one)).transmission) for one in (fax, unpaid)]
    assert waits == [resume, False]
    assert bool(await empty.store.read(ledger.unpaid, AccountId("acc_1"))) is resume
    assert bool(await empty.store.read(steering.pending, unpaid)) is resume
    due = await empty.store.read(lambda db: {row.subject: row.due_at for row in db.execute(select(schema.step))})
    assert (due[fax] == due[unpaid] == schema.PARKED) is not resume
    if not resume:
        with pytest.raises(NotAdmitted, match="decided already"):
            await steer(empty.store, fax, "approve", by="boss@example.com", patience=0)
        assert "Before: approval: 2 pages" in (await values.case(empty.store, fax)).transmission.reason


async def test_a_backup_of_a_spool_at_work_is_of_one_moment(spool: Spool) -> None:
    """Every fax in it has its history, its recipient and its step, while others are accepted all the time."""
    stop = asyncio.Event()

    async def work() -> int:
        n = 0
        while not stop.is_set():
            await values.accept(spool.store)
            n += 1
        return n

    working = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    tar = await exported(spool)
    stop.set()
    assert await working > 0
    with tarfile.open(fileobj=tar) as members:

        def ids(table: str, column: str) -> list[str]:
            content = members.extractfile(f"tables/{table}.jsonl")
            assert content is not None
            return sorted(json.loads(line)[column] for line in content)

        faxes = ids("transmission", "id")
        assert faxes
        for table, column in (("recipient", "transmission_id"), ("step", "subject"), ("history", "subject")):
            assert ids(table, column) == faxes


async def test_only_an_empty_spool_is_filled(spool: Spool) -> None:
    await spool.fill()
    tar = await exported(spool)
    before = await spool.rows()
    with pytest.raises(Refused, match="not empty"):
        await backup.restore(spool.store, spool.documents, spool.folder, tar, resume=False)
    assert await spool.rows() == before


async def test_missing_and_damaged_documents_are_named_and_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "old")
    document = await spool.fill()
    (spool.documents.root / document[:2] / document).write_bytes(b"damaged")
    manifest = backup.check(await exported(spool))
    assert manifest.lost == (document,)
    assert not [name for name in manifest.members if name.startswith("documents/")]
    await spool.close()


def changed(tar: io.BytesIO, change: Callable[[str, bytes], bytes | None], **more: bytes) -> io.BytesIO:
    """The same archive with other contents, or without some."""
    out = io.BytesIO()
    with tarfile.open(fileobj=tar) as old, tarfile.open(fileobj=out, mode="w") as new:
        every = {member.name: (old.extractfile(member) or io.BytesIO()).read() for member in old}
        for name, content in ({**more, **every} if more else every).items():
            if (written := change(name, content)) is not None:
                info = tarfile.TarInfo(name)
                info.size = len(written)
                new.addfile(info, io.BytesIO(written))
    out.seek(0)
    return out


@pytest.fixture
async def good(tmp_path: Path) -> AsyncIterator[io.BytesIO]:
    spool = Spool(tmp_path / "old")
    await spool.fill()
    yield await exported(spool)
    await spool.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda name, content: content + b"x" if name.startswith("documents/") else content, "damaged: documents/"),
        (lambda name, content: content[:-2] if name == "tables/history.jsonl" else content, "damaged: tables/history"),
        (lambda name, content: None if name == "tables/step.jsonl" else content, "damaged: tables/step"),
        (lambda name, content: None if name == "manifest.json" else content, "manifest is missing"),
        (lambda name, content: b"{}" if name == "manifest.json" else content, "no backup"),
        (
            lambda name, content: content.replace(b'"r0', b'"r9') if name == "manifest.json" else content,
            "made by a newer faxgate",
        ),
    ],
)
async def test_a_backup_that_is_not_whole_is_refused(
    good: io.BytesIO, change: Callable[[str, bytes], bytes | None], why: str, tmp_path: Path
) -> None:
    new = Spool(tmp_path / "new")
    with pytest.raises(Refused, match=why):
        await backup.restore(new.store, new.documents, new.folder, changed(good, change), resume=True)
    assert (await new.rows())["transmission"] == []
    assert not (new.folder / "key").exists()
    await new.close()


@pytest.mark.parametrize(
    "name", ["../key", "files/../../x", "/etc/passwd", "files/a/b/../c", "documents/x", "tables/nowhere.jsonl"]
)
async def test_a_backup_writes_nowhere_else(good: io.BytesIO, name: str) -> None:
    with pytest.raises(Refused, match="it holds"):
        backup.check(changed(good, lambda _, content: content, **{name: b"x"}))


def test_what_is_no_archive_is_no_backup() -> None:
    with pytest.raises(Refused, match="no backup"):
        backup.check(io.BytesIO(b"hello" * 1000))


async def test_claims_do_not_survive_an_import(good: io.BytesIO, tmp_path: Path) -> None:
    new = Spool(tmp_path / "new")
    await backup.restore(new.store, new.documents, new.folder, good, resume=True)
    assert set(await new.store.read(lambda db: list(db.scalars(select(schema.step.c.token))))) == {None}
    assert await new.store.write(steps.claim, steps.RECEIVE, 1, 60.0, steps.uptime()) != []
    assert len(await new.store.read(queries.page)) == 2
    await new.close()


def earlier(dump: Path) -> io.BytesIO:
    """What `export` of the first revision's program would have written, of a spool that it left."""
    with tarfile.open(dump) as kept:
        script = kept.extractfile("dump.sql")
        assert script is not None
        database = sqlite3.connect(":memory:")
        database.executescript(script.read().decode())
    database.row_factory = sqlite3.Row
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    members = dict[str, bytes]()
    for name in set(names) & schema.metadata.tables.keys():
        lines = [dict(row) for row in database.execute(f"SELECT * FROM {name}")]
        members[f"tables/{name}.jsonl"] = b"".join(json.dumps(line, default=_coded).encode() + b"\n" for line in lines)
    database.close()
    told = {name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in members.items()}
    manifest = backup.Manifest(
        format=1, version="0.0.9", revision="r0001", made_at=datetime.now(UTC), members=told, lost=()
    )  # fmt: skip
    return archive({**members, "manifest.json": manifest.model_dump_json().encode()})


def _coded(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def archive(members: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backup_of_an_earlier_revision_is_brought_up_to_date(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    new = Spool(tmp_path / "new", request.getfixturevalue("postgres_url") if kind == "postgresql" else "")
    try:
        tar = earlier(HERE / "r0001-sqlite-killed.tar.xz")
        await backup.restore(new.store, new.documents, new.folder, tar, resume=True)
        assert await new.store.read(migrations.revision) == migrations.newest()
        faxes = await new.store.read(lambda db: db.execute(select(schema.transmission)).all())
        assert {fax.state for fax in faxes} == {"accepted", "ready", "sending", "deferred", "held", "delivered"}
        waiting = await new.store.read(lambda db: db.execute(select(schema.step)).all())
        accounts = {fax.id: fax.account_id for fax in faxes}
        assert {step.account_id for step in waiting if step.subject in accounts} == set(accounts.values())
        assert all(step.token is None for step in waiting)
        open_now = [a for a in await new.store.read(lambda db: db.execute(select(schema.attempt)).all()) if a.slot]
        assert {attempt.state for attempt in open_now} == {"opening", "submitted"}
        assert await new.store.write(steps.claim, steps.CONVERT, 9, 60.0, steps.uptime())
        await values.accept(new.store)
    finally:
        await new.close()
