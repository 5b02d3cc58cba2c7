"""What the far end of the loopback network wrote down: an append-only file, one JSON line an entry, fsynced.

Promises: an entry is on disk when `append` returns; entries added at the same time share one fsync; every process that
has the journal open applies the same entries in the same order (a file lock orders the writers, readers take whole lines
only). A torn last line, left by a process that was killed in the middle of a write, was never acknowledged: it is
overlooked when reading and cut off by the next write. A damaged line anywhere else stops the start.

Limits: everything is kept for ever and held in memory; this is a simulated network, not an archive.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

from gateway.errors import CarrierUnavailable, CarrierUncertain, GatewayError, SpoolUnavailable

NAME = "journal.jsonl"


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Call(_Written):
    """One call that the network took. Its end is decided when it is taken and shows when `ends_at` has come."""

    what: Literal["call"] = "call"
    carrier_ref: str
    reference: str
    """The gateway's. Two calls with one reference are two calls."""
    n: int
    """1 for the first call of this journal."""
    number: str
    caller: str
    sub_address: str
    fine: bool | None = None
    """The resolution that the sender chose."""
    pages: int
    sha256: str
    """Of the document."""
    submitted_at: AwareDatetime
    ends_at: AwareDatetime
    status: str
    """A word of `loopback.STATUSES`."""
    pages_sent: NonNegativeInt
    station_id: str
    """What the machine that answers calls itself."""
    seconds: float
    arrives: str = ""
    """The `carrier_ref` under which it arrives at one of our own lines."""
    cancelled_at: datetime | None = Field(default=None, exclude=True)
    """Filled in from the `Cancel` entry when the journal is read."""


class Cancel(_Written):
    """A call was stopped before its end."""

    what: Literal["cancel"] = "cancel"
    carrier_ref: str
    at: AwareDatetime


class Received(_Written):
    """A fax arrived for one of our lines. Its document lies beside the journal."""

    what: Literal["received"] = "received"
    carrier_ref: str
    line: str
    caller: str
    station_id: str
    sub_address: str
    pages: NonNegativeInt
    received_at: AwareDatetime
    seconds: float | None = None
    complete: bool = True
    """False: the caller hung up, or the line broke."""
    printed: bool = False
    """The document is what the sender handed over: it is rasterised when it is fetched."""


class Forgotten(_Written):
    """The gateway has a received fax safely; the copy here is gone."""

    what: Literal["forgotten"] = "forgotten"
    carrier_ref: str
    at: AwareDatetime


class Announced(_Written):
    """The callback about a call or a received fax was sent, or given up."""

    what: Literal["announced"] = "announced"
    carrier_ref: str
    at: AwareDatetime


class Bought(_Written):
    """A number was bought."""

    what: Literal["bought"] = "bought"
    number: str
    at: AwareDatetime


class Released(_Written):
    """A number was given back."""

    what: Literal["released"] = "released"
    number: str
    at: AwareDatetime


Entry = Call | Cancel | Received | Forgotten | Announced | Bought | Released
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="what")])


def calls(folder: Path) -> list[Call]:
    """Every call in the journal of `folder`, oldest first, read from outside: what was really sent is counted here.

    Cancelled calls are among them, with `cancelled_at`. Raises SpoolUnavailable when the journal is damaged.
    """
    with contextlib.closing(_Reader(folder / NAME, os.O_RDONLY)) as reader:
        fcntl.flock(reader.fd, fcntl.LOCK_SH)  # closing the file lets it go
        entries = reader.fresh()
    cancelled = {entry.carrier_ref: entry.at for entry in entries if isinstance(entry, Cancel)}
    found = [entry for entry in entries if isinstance(entry, Call)]
    return [call.model_copy(update={"cancelled_at": cancelled.get(call.carrier_ref)}) for call in found]


class _Reader:
    """The file, and how far it has been read. Blocking: called in threads."""

    def __init__(self, path: Path, flags: int) -> None:
        self.fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self.offset = 0
        """Behind the last whole line that was read."""

    def close(self) -> None:
        os.close(self.fd)

    def fresh(self) -> list[Entry]:
        """Entries behind `offset`, without a torn last line. The caller holds the lock."""
        data = bytearray()
        while piece := os.pread(self.fd, 1 << 20, self.offset + len(data)):
            data += piece
        whole = bytes(data[: data.rfind(b"\n") + 1])
        entries, at = list[Entry](), self.offset
        for line in whole.splitlines(keepends=True):
            try:
                entries.append(_ENTRY.validate_json(line))
            except ValidationError as error:
                raise SpoolUnavailable(f"The journal of the loopback network is damaged at byte {at}.") from error
            at += len(line)
        self.offset = at
        return entries

    def add(self, lines: bytes) -> None:
        """Append and fsync. Raises CarrierUnavailable: certainly not added; CarrierUncertain: perhaps."""
        try:
            os.ftruncate(self.fd, self.offset)  # a torn line of a killed process
            view = memoryview(lines)
            while view:
                view = view[os.write(self.fd, view) :]
            os.fsync(self.fd)
        except OSError as error:
            try:
                os.ftruncate(self.fd, self.offset)
                os.fsync(self.fd)
            except OSError as worse:
                raise CarrierUncertain("The network may or may not have written the call down.") from worse
            raise CarrierUnavailable("The network cannot write its journal.") from error
        self.offset += len(lines)


InTime = Callable[[], bool]
"""Whether something may still be written."""


class Journal:
    """The journal, opened for writing. `apply` sees every entry once, in the order of the file, in the event loop."""

    def __init__(self, folder: Path, apply: Callable[[Entry], None]) -> None:
        self.folder = folder
        self.fsyncs = 0
        """How many there were since it was opened; fewer than entries when entries came together."""
        self._apply = apply
        self._file: _Reader | None = None
        self._waiting: list[tuple[Entry | None, InTime, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make or read the file. Raises SpoolUnavailable."""
        try:
            self._file = await asyncio.to_thread(self._opened)
        except OSError as error:
            raise SpoolUnavailable("The journal of the loopback network cannot be opened.") from error
        await self.catch_up()

    async def close(self) -> None:
        """Wait for what is being written, and close the file."""
        if self._writer is not None:
            await self._writer
        if self._file is not None:
            self._file.close()
            self._file = None

    async def append(self, entry: Entry, in_time: InTime = lambda: True) -> None:
        """Add one entry; it is on disk and applied on return. It is added even if the caller is cancelled meanwhile.

        `in_time` is asked in the writing thread, right before the write; what comes too late is not added.
        Raises CarrierUnavailable (certainly not added), CarrierUncertain (perhaps added), SpoolUnavailable (damaged).
        """
        await self._through(entry, in_time)

    async def catch_up(self) -> None:
        """Apply what other processes have added, and wait for everything of our own. Raises SpoolUnavailable."""
        await self._through(None, lambda: True)

    async def _through(self, entry: Entry | None, in_time: InTime) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, in_time, waiter))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="loopback journal")
        await waiter

    async def _write(self) -> None:
        """Group commit: what gathers while one batch is written is the next batch."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: GatewayError | None = CarrierUncertain()
            late: list[Entry] = []
            try:
                offered = [(entry, in_time) for entry, in_time, _ in batch if entry is not None]
                added, late = await asyncio.to_thread(self._commit, offered)
                for entry in added:
                    self._apply(entry)
                failure = None
            except (CarrierUnavailable, CarrierUncertain, SpoolUnavailable) as error:
                failure = error
            finally:
                for wanted, _, waiter in batch:
                    too_late = any(wanted is entry for entry in late)
                    _answer(waiter, CarrierUnavailable("The time for this call had run out.") if too_late else failure)

    def _opened(self) -> _Reader:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = _Reader(self.folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        sync_folder(self.folder)
        return file

    def _commit(self, offered: Sequence[tuple[Entry, InTime]]) -> tuple[list[Entry], list[Entry]]:
        """Read what is new, then add what is offered in time with one fsync.

        Returns what is new and what was added, in the order of the file; and what came too late.
        """
        if self._file is None:
            raise CarrierUnavailable("The loopback network is not running.")
        try:
            try:
                fcntl.flock(self._file.fd, fcntl.LOCK_EX if offered else fcntl.LOCK_SH)
                fresh = self._file.fresh()
            except OSError as error:  # before anything was added
                raise CarrierUnavailable("The network cannot read its journal.") from error
            late = [entry for entry, in_time in offered if not in_time()]
            entries = [entry for entry, _ in offered if not any(entry is other for other in late)]
            lines = b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)
            if lines:
                self._file.add(lines)
                self.fsyncs += 1
        finally:
            with contextlib.suppress(OSError):  # what was added stays added
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)
        return [*fresh, *entries], late


def _answer(waiter: asyncio.Future[None], failure: GatewayError | None) -> None:
    """Tell whoever waits; nobody does if it was cancelled."""
    if waiter.done():
        return
    if failure is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(failure)


def store(path: Path, content: bytes) -> None:
    """Write a file so that it is whole and on disk, or not there. Blocking. Raises OSError."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable. Blocking."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
