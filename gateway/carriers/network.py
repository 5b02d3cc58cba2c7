"""The far end of the loopback carrier: a simulated phone network that keeps a journal. It dials nobody.

The last two digits of the called number decide how a call ends, unless it is one of our own lines: then the fax arrives
there. The end is decided when the call is taken and shows when `Call.ends_at` has come. Our reference is only noted: a
fax submitted twice is two calls, and that is how doubles are found. All state is the journal, replayed; what is between
a decision and the journal is kept apart. Several processes may share the folder: each catches up before it answers.

It speaks its own words (`Call.status`); what they mean to the gateway is said in `loopback.STATUSES`.
Source of the numbers: DESIGN section 8.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gateway.carriers.base import Order
from gateway.carriers.journal import Announced, Bought, Call, Cancel, Entry, Forgotten, Journal, Received, Released, store
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, Outcome, SpoolUnavailable
from gateway.fax import new_id

#: Last two digits of the called number -> status; 16 to 19 are treated by name.
BY_DIGITS: Mapping[str, str] = {
    "11": "busy",
    "12": "no answer",
    "13": "person answered",
    "14": "disconnected",
    "15": "unallocated",
    "20": "conversion error",
    "21": "blocked",
    "22": "on hold, no credit",
}
BREAKS_OFF, BUSY_TWICE, SLOW, ANSWER_LOST = "16", "17", "18", "19"
RANDOM_ERRORS = ("busy", "no answer", "line dropped", "partly sent")
#: Numbers on sale: +1, one of these area codes, 555-0100 to 555-0199 (set aside for fiction).
AREAS: Mapping[str, tuple[str, ...]] = {
    "CA": ("213", "310", "415", "510", "619"),
    "FL": ("305", "407", "813"),
    "IL": ("217", "312"),
    "MA": ("413", "617"),
    "NY": ("212", "315", "716"),
    "TX": ("214", "512", "713"),
    "WA": ("206", "509"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the network behaves; see `LoopbackConfig`."""

    call_time: timedelta
    page_time: timedelta
    slow_time: timedelta
    error_rate: float
    seed: int
    limit: int | None


class Network:
    """The network. `announce(ref, at)` is called for each new call and received fax of this process."""

    def __init__(
        self, folder: Path, now: Callable[[], datetime], rules: Rules, announce: Callable[[str, datetime], None]
    ) -> None:
        self.journal = Journal(folder, self._apply)
        self.calls: dict[str, Call] = {}
        self.inbound: dict[str, Received] = {}
        """Received faxes, forgotten ones too."""
        self.bought: set[str] = set()
        self.announced: set[str] = set()
        self._folder, self._now, self._rules, self._announce = folder, now, rules, announce
        self._by_reference: dict[str, str] = {}
        self._forgotten: set[str] = set()
        self._active: dict[str, Call] = {}
        """Calls that may still be going on; looked through where there is a limit."""
        self._called = Counter[str]()
        """Calls to each number."""
        self._engaged: dict[str, int] = {}
        """Number ending in 17 -> busy signals since the last delivery."""
        self._dialling: dict[str, Call] = {}
        """Taken, not yet in the journal."""
        self._cancelling: set[str] = set()
        """Their end does not show while the cancel is being written."""
        self._market = asyncio.Lock()

    async def catch_up(self) -> None:
        """See what other processes have done, and everything of our own. Raises CarrierUnavailable."""
        try:
            await self.journal.catch_up()
        except (SpoolUnavailable, CarrierUncertain) as error:
            raise CarrierUnavailable("The network cannot read its journal.") from error

    # Calls

    async def take(self, order: Order, document: bytes, *, ours: bool) -> Call:
        """Take a call; it is in the journal on return. Raises CarrierUnavailable, CarrierUncertain."""
        call = self._dial(order, hashlib.sha256(document).hexdigest(), ours)
        try:
            if call.arrives:
                await self._keep(call.arrives, document)
        except (CarrierUnavailable, asyncio.CancelledError):
            self._hang_up(call)
            raise
        try:
            await self.journal.append(call, order.in_time)  # goes on even if the caller is cancelled, hence two parts
        except CarrierUnavailable:
            self._hang_up(call)
            raise
        except SpoolUnavailable as error:
            self._hang_up(call)
            raise CarrierUnavailable("The network cannot write its journal.") from error
        return call

    def _hang_up(self, call: Call) -> None:
        """A call that was never written down never was."""
        if self._dialling.pop(call.carrier_ref, None):
            self._count(call, -1)

    def _dial(self, order: Order, sha256: str, ours: bool) -> Call:
        """Decide everything about a call; no await, so that calls taken at the same time see each other."""
        now, rules = self._now(), self._rules
        self._require_free_line(now)
        status, pages_sent = self._fate(order.number, order.pages, ours)
        slow = order.number.endswith(SLOW) and not ours
        length = rules.slow_time if slow else rules.call_time + pages_sent * rules.page_time
        call = Call(
            carrier_ref=new_id("call"),
            reference=order.reference,
            n=len(self.calls) + len(self._dialling) + 1,
            number=order.number,
            caller=order.caller,
            sub_address=order.sub_address,
            fine=order.fine,
            pages=order.pages,
            sha256=sha256,
            submitted_at=now,
            ends_at=now + length,
            status=status,
            pages_sent=pages_sent,
            station_id=order.number if pages_sent else "",
            seconds=length.total_seconds(),
            arrives=new_id("fax") if ours and status == "delivered" else "",
        )
        self._dialling[call.carrier_ref] = call
        self._count(call, 1)
        return call

    def _require_free_line(self, now: datetime) -> None:
        if self._rules.limit is None:
            return
        self._active = {ref: call for ref, call in self._active.items() if call.ends_at > now}
        busy = [*self._active.values(), *self._dialling.values()]
        if len(busy) >= self._rules.limit:
            wait = (min(call.ends_at for call in busy) - now).total_seconds()
            raise CarrierUnavailable("All lines of the network are in use.", retry_after=max(wait, 0.0))

    def _fate(self, number: str, pages: int, ours: bool) -> tuple[str, int]:
        """Status and pages sent of the next call to a number. Chance looks at the number and how often it was called, so that
        calls to others, in whatever order, change nothing."""
        digits = "" if ours else number[-2:]
        if digits in BY_DIGITS:
            return BY_DIGITS[digits], 0
        if digits == BREAKS_OFF:
            return _broken_off(pages)
        if digits == BUSY_TWICE and self._engaged.get(number, 0) < 2:
            return "busy", 0
        if digits not in (BUSY_TWICE, SLOW, ANSWER_LOST):
            dice = random.Random(f"{self._rules.seed}:{number}:{self._called[number]}")
            if dice.random() < self._rules.error_rate:
                status = dice.choice(RANDOM_ERRORS)
                return _broken_off(pages) if status == "partly sent" else (status, 0)
        return "delivered", pages

    def _count(self, call: Call, by: int) -> None:
        self._called[call.number] += by
        if call.number.endswith(BUSY_TWICE):
            self._engaged[call.number] = (self._engaged.get(call.number, 0) + by) % 3

    def call(self, ref: str) -> Call:
        """Raises CarrierRefused where there is none."""
        if ref not in self.calls:
            raise CarrierRefused("The network knows no such call.", carrier_code="not found")
        return self.calls[ref]

    def find(self, reference: str) -> Call | None:
        """The first call with this reference."""
        ref = self._by_reference.get(reference)
        return self.calls[ref] if ref else None

    def status(self, call: Call) -> tuple[str, datetime]:
        """What the network says about a call now, and since when."""
        if call.cancelled_at is not None:
            return "cancelled", call.cancelled_at
        if call.carrier_ref in self._cancelling or self._now() < call.ends_at:
            return "sending", call.submitted_at
        return call.status, call.ends_at

    async def cancel(self, ref: str) -> bool:
        """Stop a call; False when it has ended. Raises CarrierRefused, CarrierUnavailable."""
        call = self.call(ref)
        if call.cancelled_at is not None:
            return True
        if self._now() >= call.ends_at:
            return False
        self._cancelling.add(ref)
        try:
            await self._write(Cancel(carrier_ref=ref, at=self._now()))
        except CarrierUnavailable:
            self._cancelling.discard(ref)
            raise
        finally:
            self._announce(ref, self._now())
        return True

    # Received faxes

    async def receive(self, fax: Received, document: bytes) -> None:
        """A fax from outside arrives. Raises CarrierUnavailable."""
        await self._keep(fax.carrier_ref, document)
        await self._write(fax)
        self._announce(fax.carrier_ref, fax.received_at)

    def held(self) -> list[Received]:
        """Received faxes that are complete and not forgotten."""
        return [fax for fax in self.inbound.values() if self._is_here(fax)]

    async def document(self, ref: str) -> tuple[Received, bytes]:
        """A received fax. Raises CarrierRefused where it is not held, CarrierUnavailable."""
        fax = self.inbound.get(ref)
        if fax is None or not self._is_here(fax):
            raise CarrierRefused("The network holds no such fax.", carrier_code="not found")
        try:
            return fax, await asyncio.to_thread(self._path(ref).read_bytes)
        except OSError as error:
            raise CarrierUnavailable("The network cannot read the document.") from error

    async def forget(self, ref: str) -> None:
        """Throw a received fax away; none there is no error. Raises CarrierUnavailable."""
        if ref in self.inbound and ref not in self._forgotten:
            await self._write(Forgotten(carrier_ref=ref, at=self._now()))
            await asyncio.to_thread(self._path(ref).unlink, missing_ok=True)

    def _is_here(self, fax: Received) -> bool:
        return fax.received_at <= self._now() and fax.carrier_ref not in self._forgotten

    def _path(self, ref: str) -> Path:
        return self._folder / f"{ref}.document"

    async def _keep(self, ref: str, document: bytes) -> None:
        try:
            await asyncio.to_thread(store, self._path(ref), document)
        except OSError as error:
            raise CarrierUnavailable("The network cannot keep the document.") from error

    # Callbacks

    def unannounced(self, since: datetime) -> dict[str, datetime]:
        """What ended or arrived after `since`, or will, and was not announced: ref -> when."""
        moments = {ref: call.cancelled_at or call.ends_at for ref, call in self.calls.items()}
        moments |= {ref: fax.received_at for ref, fax in self.inbound.items() if ref not in self._forgotten}
        return {ref: at for ref, at in moments.items() if at > since and ref not in self.announced}

    async def note_announced(self, ref: str) -> None:
        """Raises CarrierUnavailable; then it may be announced again after a restart."""
        await self._write(Announced(carrier_ref=ref, at=self._now()))

    # Numbers

    async def buy(self, area: str, taken: Sequence[str]) -> str:
        """The first free number of an area. Raises CarrierRefused, CarrierUnavailable."""
        if not any(area in codes for codes in AREAS.values()):
            raise CarrierRefused("No numbers are on sale in this area.", carrier_code="no such area")
        async with self._market:
            await self.catch_up()
            numbers = (f"+1{area}55501{n:02d}" for n in range(100))
            number = next((number for number in numbers if number not in self.bought and number not in taken), "")
            if not number:
                raise CarrierRefused("The numbers of this area are sold out.", carrier_code="sold out")
            await self._write(Bought(number=number, at=self._now()))
        return number

    async def release(self, number: str) -> None:
        """Raises CarrierRefused where it was not bought, CarrierUnavailable."""
        if number not in self.bought:
            raise CarrierRefused("This number was not bought here.", outcome=Outcome.BAD_NUMBER)
        await self._write(Released(number=number, at=self._now()))

    async def _write(self, entry: Entry) -> None:
        """Anything but a call: writing it twice does no harm, so a doubt is only a failure."""
        try:
            await self.journal.append(entry)
        except (SpoolUnavailable, CarrierUncertain) as error:
            raise CarrierUnavailable("The network cannot write its journal.") from error

    def _apply(self, entry: Entry) -> None:
        """One entry of the journal, at the start or right after it was written, by us or by another process."""
        match entry:
            case Call():
                self._apply_call(entry)
            case Cancel(carrier_ref=ref):
                self._cancelling.discard(ref)
                self.calls[ref] = self.calls[ref].model_copy(update={"cancelled_at": entry.at})
                self.inbound.pop(self.calls[ref].arrives, None)
                self._active.pop(ref, None)
            case Received(carrier_ref=ref):
                self.inbound[ref] = entry
            case Forgotten(carrier_ref=ref):
                self._forgotten.add(ref)
            case Announced(carrier_ref=ref):
                self.announced.add(ref)
            case Bought(number=number):
                self.bought.add(number)
            case Released(number=number):
                self.bought.discard(number)

    def _apply_call(self, call: Call) -> None:
        ref = call.carrier_ref
        self.calls[ref] = self._active[ref] = call
        self._by_reference.setdefault(call.reference, ref)
        if call.arrives:
            self.inbound[call.arrives] = _arrival(call)
        if self._dialling.pop(ref, None) is None:
            self._count(call, 1)  # ours was counted when it was dialled
            return
        self._announce(ref, call.ends_at)
        if call.arrives:
            self._announce(call.arrives, call.ends_at)


def _broken_off(pages: int) -> tuple[str, int]:
    """The call ends after the first page; it is confirmed only if another one was to follow."""
    return ("partly sent", 1) if pages > 1 else ("line dropped", 0)


def _arrival(call: Call) -> Received:
    """The called side of a call to one of our lines."""
    return Received(
        carrier_ref=call.arrives,
        line=call.number,
        caller=call.caller,
        station_id=call.caller,
        sub_address=call.sub_address,
        pages=call.pages,
        received_at=call.ends_at,
        seconds=call.seconds,
        printed=True,
    )
