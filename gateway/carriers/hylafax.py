"""The carrier hylafax: fax lines of one's own, through the server of HylaFAX or HylaFAX+ (hfaxd).

What the protocol does not say is decided here:

- `open` makes the whole job and sends nothing: JNEW tells its number, which is on disk before `submit`, and `submit` is
  JSUBM and nothing else. A job that was not submitted goes with its session, so one that is not open any more was not sent.
- After a lost answer the job says what it is. One that is not there was never submitted, if it is asked for soon: a
  finished one stays for fifteen minutes at least (faxqclean(8)). Later nobody can say, and it is held. One that is
  suspended has a session that did not end yet, and in which JSUBM may still arrive: it is asked for again. To delete it
  would not do, because hfaxd 6.0.7 writes a deleted job anew at JSUBM.
- One job is one call (`redials = "ours"`): MAXDIALS and MAXTRIES are 1. Else HylaFAX redials, and we do not.
- A job that was aborted counts as cancelled if no page was confirmed, else as partly sent; while its last page was on its way,
  as unknown, for HylaFAX goes on sending for a while.
- A page whose confirmation was lost makes a fax unknown only if it was the last one. The record of calls counts the pages that
  were confirmed before it; a job whose call broke off may not.
- Speed, station and seconds are only in the record of all calls, which an administrator may read. Without one the result does
  not tell them, and a fax whose call broke off between two pages is unknown.
- A received fax is known by file and time; it is listed until it is safe here, and removed there where that is wished.

Sources: hfaxd(8c), sendq(5), recvq(5), xferfaxlog(5), and hfaxd 6.0.7 as it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from gateway import number
from gateway.carriers.base import (
    Announcement,
    Capabilities,
    Carrier,
    CarrierConfig,
    Changes,
    Event,
    Listed,
    Order,
    Receipt,
    Tools,
    meaning,
)
from gateway.carriers.hylafax_calls import Call, recorded
from gateway.carriers.hylafax_codes import STATUSES, reason
from gateway.carriers.hylafax_config import SUBMIT_LIMIT, HylaFaxConfig
from gateway.carriers.hylafax_events import Events
from gateway.carriers.hylafax_job import FORMAT, Entry, Name, Told, entries, made, not_a_document, paper, parameters, unknown
from gateway.carriers.hylafax_received import Received, Recvq, call_id
from gateway.carriers.hylafax_server import Server
from gateway.carriers.hylafax_wire import Broken, Wire, text_of
from gateway.errors import BadAddress, CarrierRefused, CarrierUnavailable, CarrierUncertain, NotAdmitted, Outcome
from gateway.fax import AttemptState
from gateway.log import printable
from gateway.number import FaxNumber

__all__ = ["STATUSES", "HylaFax", "HylaFaxConfig"]

_log = logging.getLogger(__name__)
_LONGEST_LIST = 20_000_000  # bytes
_FORGOTTEN = 300.0  # seconds after which an open job that nobody submits is let go
_CERTAIN = 600.0  # seconds after which a job that is not there may have been sent, and cleaned up
_LOOKS = 20  # at a job that is being aborted, half a second apart
_MOST_NEW = 200  # received faxes that are fetched in one round, for the number they were sent to
_LEAST = 3  # digits of a called number that say which line of ours it is
_USED_UP = frozenset({"E325", "E333", "E334"})


@dataclass(frozen=True, slots=True)
class _Open:
    """A job that was made and not submitted, and the session that keeps it."""

    wire: Wire
    at: float


class HylaFax(Carrier):
    """The adapter."""

    Config: ClassVar[type[CarrierConfig]] = HylaFaxConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cancels=True,
        finds=True,
        absence_proves_unsent=True,
        listing_lag=10.0,
        lists=True,
        receives=True,
        sub_addresses=True,
        resolutions=True,
        document="tiff",
        submit_limit=SUBMIT_LIMIT,
    )
    config: HylaFaxConfig

    def __init__(self, tools: Tools, config: HylaFaxConfig) -> None:
        super().__init__(tools, config)
        self.capabilities = self.able(config)  # type: ignore[misc]  # it varies
        self._server = Server(tools.name, config)
        self._events = Events(self._server)
        self._recvq = Recvq(self._server, delete=config.forget == "delete")
        self._open: dict[str, _Open] = {}
        self._safe: set[str] = set()
        self._called: dict[str, str] = {}

    @classmethod
    def able(cls, config: CarrierConfig) -> Capabilities:
        assert isinstance(config, HylaFaxConfig)
        theirs, delays = config.header == "theirs", config.delayed == "hylafax"
        return replace(cls.capabilities, writes_header=theirs, delays=delays, redials=config.redials == "hylafax")

    async def stop(self) -> None:
        await self._events.stop()
        await self._recvq.stop()
        for job in self._open.values():
            await job.wire.ended()

    # Faxes going out

    async def open(self, order: Order) -> str:
        """The whole job, ready to be submitted; its name. Nothing goes out."""
        try:
            content = await asyncio.to_thread(order.document.read_bytes)
        except OSError as error:
            raise CarrierUnavailable("The document cannot be read.") from error
        if order.content_type != "image/tiff":
            raise not_a_document()
        sheet = paper(content)
        wire = await self._server.signed_in()
        try:
            document = await self._uploaded(wire, content)
            job = made(self._server.check(await wire.ask("JNEW")))
            if job is None:
                raise Broken("a new job without a number")
            name = Name(job, int(self.tools.now().timestamp()), order.reference)
            for key, value in parameters(self.config, order, name, sheet):
                self._server.check(await wire.ask(f"JPARM {key} {value}"))
            self._server.check(await wire.ask(f"JPARM DOCUMENT {document}"))
        except Broken as error:
            raise self._server.gone(error) from error
        except BaseException:
            wire.close()
            raise
        self._keep(name, wire)
        return str(name)

    async def _uploaded(self, wire: Wire, content: bytes) -> str:
        """The document, in the server's folder for such; what it is called there."""
        for command in ("FORM TIFF", "TYPE I", "MODE S"):
            self._server.check(await wire.ask(command))
        before, after = await wire.upload("STOT", content)
        self._server.check(after)
        words = before.text.removeprefix("FILE: ").split()
        if not words or not words[0].startswith("/tmp/"):  # noqa: S108  # a folder of the server's
            raise Broken("a document without a name")
        return words[0]

    def _keep(self, name: Name, wire: Wire) -> None:
        now = time.monotonic()
        for ref in [ref for ref, job in self._open.items() if now - job.at > _FORGOTTEN]:
            self._open.pop(ref).wire.close()
        self._open[str(name)] = _Open(wire, now)

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        carrier_ref = carrier_ref or await self.open(order)
        job = self._open.pop(carrier_ref, None)
        if job is None:
            raise CarrierUnavailable("This job is not open any more.")
        if job.wire.closed or not order.in_time():
            job.wire.close()
            raise CarrierUnavailable
        name = Name.of(carrier_ref)
        try:
            reply = await job.wire.ask("JSUBM")
            if not reply.good:
                await self._take_back(job.wire, name)
                self._server.check(reply)
            with contextlib.suppress(Broken):
                await job.wire.ask("QUIT")
        except Broken as error:
            raise CarrierUncertain from error
        finally:
            await job.wire.ended()
        self._events.expect(name)
        return Receipt(carrier_ref=carrier_ref)

    async def _take_back(self, wire: Wire, name: Name) -> None:
        """What was refused must not be sent after all: the scheduler may have heard of it. Raises CarrierUncertain."""
        if not (await wire.ask(f"JDELE {name.job}")).good:
            raise CarrierUncertain("The fax server refused the job, and does not remove it.")

    def delays(self, until: datetime) -> bool:
        return self.capabilities.delays and until > self.tools.now()

    # What became of it

    async def _told(self, wire: Wire, name: Name, *, new: bool = False) -> Told:
        """Raises CarrierRefused where there is no such job: the number may be another one's by now. One that is still made
        (`new`) has no tag yet for other sessions than its own."""
        reply = await wire.ask(f"JOB {name.job}")
        if reply.code == 500:
            if new and "does not exist" not in reply.text:  # "invalid or corrupted": nothing is in it before JSUBM
                raise CarrierUnavailable("The session that made this job has not ended there yet.")
            raise unknown()
        reply = await wire.ask("JPARM")
        if reply.code == 500:
            raise unknown()
        told = Told.of(self._server.check(reply))
        if told.job == "default":  # it went from one queue to the other in this moment
            raise CarrierUnavailable("The job is being moved there.")
        blank = new and not told.tag and told.state == "SUSPENDED"
        if told.job != str(name.job) or (told.tag != name.tag and not blank):
            raise unknown()
        return told

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        async with self._server.session(admin=bool(self.config.admin)) as wire:
            name = Name.of(carrier_ref)
            told = await self._told(wire, name)
            call = await self._call(wire, name) if told.over and self.config.admin else Call()
        if told.over:
            self._events.ended(name)
        else:
            self._events.expect(name)
        return [event(name, told, call, self.tools.now())]

    async def _call(self, wire: Wire, name: Name) -> Call:
        """The last one of a job; nothing where there is no record of it."""
        mine = [one for one in await recorded(wire) if (one.kind, one.about, one.tag) == ("SEND", str(name.job), name.tag)]
        return mine[-1] if mine else Call()

    async def went_out(self, carrier_ref: str) -> bool:
        """True: it was submitted. False: it never was, and never will be."""
        name = Name.of(carrier_ref)
        if mine := self._open.pop(carrier_ref, None):
            mine.wire.close()
        young = 0 <= (self.tools.now() - name.made_at).total_seconds() < _CERTAIN
        async with self._server.session() as wire:
            try:
                told = await self._told(wire, name, new=True)
            except CarrierRefused:
                if young:
                    return False
                raise
        if told.state != "SUSPENDED" or told.dials:
            return True
        if young:
            raise CarrierUnavailable("The session that made this job has not ended there yet.")
        raise CarrierRefused("The job waits there, and nobody can say for what.", carrier_code="SUSPENDED")

    async def find(self, reference: str) -> Receipt | None:
        found = [one for one in await self._jobs() if one.name.reference == reference and not one.waits]
        return Receipt(carrier_ref=str(found[-1].name)) if found else None

    async def listing(self, since: datetime) -> Sequence[Listed]:
        return [
            Listed(
                carrier_ref=str(one.name),
                reference=one.name.reference,
                number=one.number,
                pages=one.pages,
                submitted_at=one.name.made_at,
            )
            for one in await self._jobs()
            if one.name.made >= int(since.timestamp()) and not one.waits
        ]

    async def _jobs(self) -> Sequence[Entry]:
        """Ours, of both queues: first where a job begins, for it may move meanwhile."""
        found: dict[str, Entry] = {}
        async with self._server.session() as wire:
            self._server.check(await wire.ask(f'JOBFMT "{FORMAT}"'))
            self._server.check(await wire.ask("TYPE A"))
            for queue in ("sendq", "doneq"):
                reply, content = await wire.download(f"LIST {queue}", _LONGEST_LIST)
                self._server.check(reply)
                found |= {str(one.name): one for one in entries(text_of(content))}
        return list(found.values())

    async def cancel(self, carrier_ref: str) -> bool:
        """Asked for, and then looked whether it has happened: a call that is on takes its time to end."""
        name = Name.of(carrier_ref)
        async with self._server.session() as wire:
            await self._told(wire, name)
            reply = await wire.ask(f"JKILL {name.job}")
            if not reply.good:
                _log.info("%s does not cancel: %s", self.tools.name, printable(reply.text, 120))
        for _ in range(_LOOKS):
            last = (await self.poll(carrier_ref))[-1]
            if last.state is not AttemptState.SUBMITTED:
                return last.state is AttemptState.CANCELLED
            await asyncio.sleep(0.5)
        return False

    @property
    def listens(self) -> float:
        return self.config.listen_every.total_seconds() if self.config.events else 0.0

    @property
    def hears(self) -> bool:
        return self._events.works

    async def changes(self) -> Changes:
        return await self._events.changes()

    # Faxes coming in

    async def list_inbound(self) -> Sequence[Announcement]:
        lines = await self.tools.lines()
        found = await self._recvq.list()
        refs = {one.carrier_ref for one in found}
        self._safe &= refs
        self._called = {ref: called for ref, called in self._called.items() if ref in refs}
        new = [one for one in found if one.carrier_ref not in self._safe]
        if len(lines) != 1:
            new = await self._with_number_called(new)
        return [self._announcement(one, lines) for one in new]

    async def _with_number_called(self, found: Sequence[Received]) -> list[Received]:
        """Those of which it is known on which number they came in, or that nobody says so; a bounded number of new ones."""
        new = [one for one in found if one.carrier_ref not in self._called]
        if self.config.called:
            for one in new[:_MOST_NEW]:
                document = await self._recvq.fetch(one.carrier_ref)
                self._called[one.carrier_ref] = call_id(document, self.config.called)
        elif new:
            by_file = await self._modems_numbers()
            self._called |= {one.carrier_ref: by_file.get(one.file, "") for one in new}
        return [one for one in found if one.carrier_ref in self._called]

    async def _modems_numbers(self) -> Mapping[str, str]:
        """Received file -> the number of the modem that received it."""
        if not self.config.admin:
            return {}
        async with self._server.session(admin=True) as wire:
            return {call.about: call.number for call in await recorded(wire) if call.kind == "RECV"}

    def _announcement(self, one: Received, lines: Sequence[str]) -> Announcement:
        line = lines[0] if len(lines) == 1 else _ours(self._called[one.carrier_ref], lines)
        return Announcement(
            carrier_ref=one.carrier_ref,
            line=line,
            caller=_caller(one.caller, line),
            station_id=printable(one.station, 40),
            pages=one.pages,
            seconds=one.seconds,
            received_at=one.at,
            raw=one.raw,
        )

    async def fetch_inbound(self, carrier_ref: str) -> bytes:
        return await self._recvq.fetch(carrier_ref)

    async def forget_inbound(self, carrier_ref: str) -> None:
        """It is not listed any more, and removed there where that is wished."""
        if carrier_ref not in self._safe:
            await self._recvq.forget(carrier_ref)
            self._safe.add(carrier_ref)

    # The modems

    async def equipment(self) -> Sequence[str]:
        async with self._server.session() as wire:
            self._server.check(await wire.ask('MDMFMT "%m: %s"'))
            self._server.check(await wire.ask("TYPE A"))
            reply, content = await wire.download("LIST status", _LONGEST_LIST)
            self._server.check(reply)
        return [printable(line, 120) for line in text_of(content).splitlines() if line.strip()]


def event(name: Name, told: Told, call: Call, now: datetime) -> Event:
    """What a job says of itself, in our words."""
    state, outcome = meaning(STATUSES, told.word)
    if told.word in _USED_UP:
        outcome = reason(told.status) or outcome
    pages = max(told.pages, call.pages)
    behind = told.total - pages > 1  # the page in hand
    if state is AttemptState.CANCELLED and (pages or call.speed):
        if not behind:  # the call goes on for seconds after it was to end: the last page may have arrived
            state, outcome = AttemptState.FAILED, Outcome.UNKNOWN
        elif pages:
            state, outcome = AttemptState.FAILED, Outcome.PARTLY_SENT
    elif outcome is Outcome.UNKNOWN and call.kind and told.dials == 1 and pages and behind:
        outcome = Outcome.PARTLY_SENT  # whatever became of the page in hand, those behind it were never sent
    delivered = state is AttemptState.DELIVERED
    return Event(
        key=f"{name}:{printable(told.word, 80)}",
        carrier_ref=str(name),
        reference=name.reference,
        state=state,
        outcome=outcome,
        carrier_code=printable(told.word, 80),
        text=call.words if delivered else printable(told.status, 200),
        pages_sent=pages if told.over else 0,
        station_id=printable(call.station, 40),
        seconds=call.seconds,
        speed=call.speed,
        resolution=call.resolution,
        at=now,
        raw=told.raw + (b"\n" + call.raw if call.raw else b""),
    )


def _ours(called: str, lines: Sequence[str]) -> str:
    """The line that a called number is the end of, "" where it is none or several."""
    digits = "".join(char for char in called if char in "0123456789")
    fits = [line for line in lines if len(digits) >= _LEAST and line.endswith(digits)]
    return fits[0] if len(fits) == 1 else ""


def _caller(written: str, line: str) -> str:
    """A caller's number, as it is written where our line is; "" where it is none."""
    if not line and not written.startswith("+"):
        return ""
    try:
        return number.parse(written, FaxNumber(line).country if line else "").e164
    except (BadAddress, NotAdmitted):
        return ""
