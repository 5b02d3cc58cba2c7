"""Backup of a spool, also of one at work: one tar file, the same for both databases.

    tables/NAME.jsonl     every row of a table, as one transaction saw them all
    documents/SHA256      what those rows name
    files/…               the key, and what carriers keep in the spool; read after the tables
    manifest.json         last: size and SHA-256 of everything before it, and what was missing

It holds addresses, password hashes, the key and the faxes themselves: whoever writes it makes it readable by its owner only.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from sqlalchemy import Column, Connection, LargeBinary, Table, func, insert, literal, select, text, update
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from gateway import __version__
from gateway.errors import Refused, SpoolUnavailable
from gateway.fax import Sha256, TransmissionId, TransmissionState
from gateway.lifecycle import OPEN_ATTEMPT
from gateway.spool import approvals, migrations, schema, steering, steps
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.schema import Moment, attempt, transmission
from gateway.spool.store import Store

_FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 1 << 30  # bytes
_CHUNK = 1 << 20
_ROWS = 500
_TABLE, _DOCUMENT = re.compile(r"tables/([a-z_]+)\.jsonl"), re.compile(r"documents/([0-9a-f]{64})")
_FILE = re.compile(r"files/(key|[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/[A-Za-z0-9_-][A-Za-z0-9._-]*)")
_WAITING = (TransmissionState.ACCEPTED, TransmissionState.READY, TransmissionState.DEFERRED)


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    """Of the program that made it."""
    revision: str
    """Of the tables."""
    made_at: AwareDatetime
    members: dict[str, tuple[str, int]]
    """Name -> SHA-256 and bytes."""
    lost: tuple[str, ...]
    """Documents that rows name but that were missing or damaged."""


@dataclass(slots=True)
class _Written:
    tar: tarfile.TarFile
    members: dict[str, tuple[str, int]]

    def add(self, name: str, content: IO[bytes]) -> None:
        self.members[name] = _digest(content)
        content.seek(0)
        info = tarfile.TarInfo(name)
        info.size, info.mode = self.members[name][1], 0o600
        self.tar.addfile(info, content)


async def export(store: Store, documents: Documents, files: Mapping[str, Path], out: IO[bytes]) -> Manifest:
    """Write a backup; `files` are those of the spool by the name they have there. On disk when this returns.

    Nothing of the store but reading is used: another process may own the spool. Raises SpoolUnavailable, OSError.
    """
    lost: list[str] = []
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        written = _Written(tar, {})
        made_at = store.now()
        named = await store.read(_tables, written)
        for sha256 in sorted(named):
            if not await documents.intact(sha256):
                lost.append(sha256)
                continue
            async with documents.local(sha256) as path:
                with path.open("rb") as content:
                    written.add(f"documents/{sha256}", content)
        for name, path in files.items():
            written.add(f"files/{name}", io.BytesIO(path.read_bytes()))  # at once: a journal grows meanwhile
        manifest = Manifest(
            format=_FORMAT,
            version=__version__,
            revision=migrations.newest(),
            made_at=made_at,
            members=written.members,
            lost=tuple(lost),
        )
        written.add(_MANIFEST, io.BytesIO(manifest.model_dump_json().encode()))
    out.flush()
    os.fsync(out.fileno())
    return manifest


def check(source: IO[bytes]) -> Manifest:
    """Read a whole backup and compare it with its manifest. Raises Refused with what is wrong."""
    found: dict[str, tuple[str, int]] = {}
    try:
        with tarfile.open(fileobj=source, mode="r:") as tar:
            for member in tar:
                if member.name in found or _MANIFEST in found or not member.isreg() or not _known(member.name):
                    raise Refused(f"This is no backup of a spool: it holds “{member.name[:80]!a}”.")
                found[member.name] = _digest(_content(tar, member))
            if _MANIFEST not in found or found[_MANIFEST][1] > _MANIFEST_LIMIT:
                raise Refused("The backup is not complete: its manifest is missing.")
            manifest = Manifest.model_validate_json(_content(tar, _MANIFEST).read())
    except (tarfile.TarError, ValidationError, EOFError) as error:
        raise Refused(f"This is no backup of a spool ({type(error).__name__}).") from error
    del found[_MANIFEST]
    if wrong := sorted(
        name for name in found.keys() | manifest.members.keys() if found.get(name) != manifest.members.get(name)
    ):
        raise Refused(f"The backup is damaged: {wrong[0]}" + (f" and {len(wrong) - 1} more." if len(wrong) > 1 else "."))
    if manifest.format != _FORMAT or not migrations.known(manifest.revision):
        raise Refused(
            f"The backup was made by a newer faxgate, {manifest.version} (tables {manifest.revision}); this is {__version__} "
            f"({migrations.newest()}): upgrade this one."
        )
    return manifest


async def restore(store: Store, documents: Documents, spool: Path, source: IO[bytes], *, resume: bool) -> Manifest:
    """Fill an empty spool from a backup that was checked. Raises Refused, SpoolUnavailable, OSError.

    What was sent after the backup was made is not in it. Hence faxes that wait to be sent are asked to be held for a
    person, and those that are held wait for one whatever they waited for, unless `resume` says that nothing was at work
    any more.
    """
    source.seek(0)
    manifest = check(source)
    await store.read(_must_be_empty)
    source.seek(0)
    with tarfile.open(fileobj=source, mode="r:") as tar:
        for member in tar:
            if match := _DOCUMENT.fullmatch(member.name):
                stored = await documents.put(_content(tar, member).read())
                if stored.sha256 != match[1]:
                    raise Refused(f"The backup is damaged: {member.name}.")
            elif match := _FILE.fullmatch(member.name):
                _write(spool / match[1], _content(tar, member).read())
        await store.write(_load, tar, manifest, resume=resume)
    return manifest


def _tables(db: Connection, written: _Written) -> set[Sha256]:
    """Write every table; the documents they name."""
    if db.dialect.name == "postgresql":
        db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    if (revision := migrations.revision(db)) != migrations.newest():
        raise SpoolUnavailable(f"The spool has the tables of {revision}, not {migrations.newest()}: start this faxgate once.")
    for table in schema.metadata.sorted_tables:
        with tempfile.TemporaryFile() as lines:
            rows = db.execution_options(yield_per=_ROWS).execute(select(table).order_by(*table.primary_key))
            for row in rows:
                lines.write(json.dumps({name: _plain(value) for name, value in row._mapping.items()}).encode() + b"\n")
            lines.seek(0)
            written.add(f"tables/{table.name}.jsonl", lines)
    return {Sha256(name) for column in schema.DOCUMENTS for name in db.scalars(select(column).distinct()) if name}


def _must_be_empty(db: Connection) -> None:
    for table in schema.metadata.sorted_tables:
        if db.execute(select(literal(1)).select_from(table).limit(1)).first() is not None:
            raise Refused("The spool is not empty: a backup is imported into a new spool, before its first start.")


def _load(t: Transaction, tar: tarfile.TarFile, manifest: Manifest, *, resume: bool) -> None:
    """All rows in one transaction. Those of an earlier revision go into the tables that they were in, which then go on to
    today's."""
    _must_be_empty(t.db)
    earlier = manifest.revision != migrations.newest()
    if earlier:
        migrations.begin_anew(t.db, manifest.revision)
    for table in schema.metadata.sorted_tables:
        if earlier and f"tables/{table.name}.jsonl" not in manifest.members:
            continue  # there was none yet
        for rows in _batches(tar, table):
            known = [column for column in table.columns if column.name in rows[0]]
            t.db.execute(insert(sql_table(table.name, *(sql_column(c.name, c.type) for c in known))), rows)
    if earlier:
        migrations.to(t.db, "head")
    if t.db.dialect.name == "postgresql":
        last = select(func.setval(func.pg_get_serial_sequence("history", "id"), func.max(schema.history.c.id)))
        t.db.execute(last.where(schema.history.c.id.is_not(None)))
    steps.free_all(t)
    if resume:
        return
    waiting = select(transmission.c.id).where(transmission.c.state.in_([state.value for state in _WAITING]))
    for fax in t.db.scalars(waiting).all():
        steering.ask(t, TransmissionId(fax), "hold", "", "import: it may have been sent after the backup was made")
    _keep_back(t)


def _keep_back(t: Transaction) -> None:
    """What was held may have been let go since, by an approver, by credit, by a person: now only a person lets it go. Faxes
    with an open attempt stay as they are: nothing but their own end is waited for."""
    words = "It may have been let go and sent after the backup was made that was imported here."
    is_open = attempt.c.state.in_([state.value for state in OPEN_ATTEMPT])
    idle = transmission.c.id.not_in(select(attempt.c.transmission_id).where(is_open))
    held = idle & (transmission.c.state == TransmissionState.HELD.value)
    times = approvals.void(t, words)
    for row in t.db.execute(select(transmission.c.id, transmission.c.reason, transmission.c.due_at).where(held)).all():
        steering.forget(t, row.id, "not done: asked before the backup was made")
        values = {"outcome": None, "due_at": times.get(row.id, row.due_at), "reason": f"{words} Before: {row.reason}"}
        t.db.execute(update(transmission).where(transmission.c.id == row.id).values(**values))
        t.db.execute(update(schema.step).where(schema.step.c.subject == row.id).values(due_at=schema.PARKED))
        t.note(TransmissionId(row.id), "imported", words)


def _batches(tar: tarfile.TarFile, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Rows of a table; Any: whatever its columns take."""
    rows: list[dict[str, Any]] = []
    for line in _content(tar, f"tables/{table.name}.jsonl"):
        values = json.loads(line)
        rows.append({column.name: _stored(column, values[column.name]) for column in table.columns if column.name in values})
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _stored(column: Column[Any], value: Any) -> Any:
    """Any: what JSON holds, and what a column takes."""
    if value is None:
        return None
    if isinstance(column.type, Moment):
        return datetime.fromisoformat(value)
    return base64.b64decode(value) if isinstance(column.type, LargeBinary) else value


def _known(name: str) -> bool:
    if match := _TABLE.fullmatch(name):
        return match[1] in schema.metadata.tables
    return name == _MANIFEST or bool(_DOCUMENT.fullmatch(name) or _FILE.fullmatch(name))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | str) -> IO[bytes]:
    try:
        content = tar.extractfile(member)
    except KeyError as error:
        raise Refused(f"The backup is not complete: {member} is missing.") from error
    assert content is not None  # it is a regular file: `check` has seen to that
    return content


def _digest(content: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _write(path: Path, content: bytes) -> None:
    """A file of the spool; one that is there already must be the same. Readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.read_bytes() != content:
            raise Refused(f"The spool is not empty: there is another {path}.") from None
        return
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
