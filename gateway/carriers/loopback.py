"""The loopback carrier: a real adapter to a simulated phone network (`network`), the default carrier.

    11 busy · 12 no answer · 13 a person answers · 14 disconnected · 15 unallocated · 16 fails after the first page
    17 busy twice, then delivered · 18 slow · 19 accepted, but the answer to the submit is lost (uncertain)
    20 conversion error · 21 blocked · 22 on hold, no credit · anything else delivered

by the last two digits of the called number, unless it is one of our own lines: then the fax arrives there, rasterised as
a fax machine would print it. `error_rate` and `seed` add random delivery errors where a fax would be delivered at once;
the numbers in the table stay as they are.

The far end writes every call into its journal, fsynced, before `submit` answers; `calls` reads it from outside. Callbacks
are signed (`announcer`) and posted over HTTP when a call ends; the network can be told to lose, repeat or shuffle them.
After a restart unfinished calls go on. Source: DESIGN section 8; the wire format is this module's own.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, SecretStr, TypeAdapter, ValidationError

from gateway.carriers.announcer import Announcer, verify
from gateway.carriers.base import (
    Announcement,
    CallbackAnswer,
    CallbackRequest,
    Capabilities,
    Carrier,
    CarrierConfig,
    Event,
    Listed,
    Order,
    Receipt,
    Statuses,
    Tools,
    meaning,
)
from gateway.carriers.journal import Call, Received, calls, store
from gateway.carriers.network import ANSWER_LOST, AREAS, Network, Rules
from gateway.errors import (
    CallbackRejected,
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    Outcome,
    Refused,
    SpoolUnavailable,
    Unavailable,
)
from gateway.fax import AttemptState, new_id
from gateway.log import printable
from gateway.units import Duration

__all__ = ["STATUSES", "Call", "Loopback", "LoopbackConfig", "calls"]

#: Every word of the far end. Source: this network; nobody else defines it.
STATUSES: Statuses = {
    "sending": (AttemptState.SUBMITTED, None),
    "delivered": (AttemptState.DELIVERED, Outcome.DELIVERED),
    "busy": (AttemptState.FAILED, Outcome.BUSY),
    "no answer": (AttemptState.FAILED, Outcome.NO_ANSWER),
    "person answered": (AttemptState.FAILED, Outcome.NOT_A_FAX),
    "disconnected": (AttemptState.FAILED, Outcome.DISCONNECTED),
    "unallocated": (AttemptState.FAILED, Outcome.BAD_NUMBER),
    "line dropped": (AttemptState.FAILED, Outcome.LINE_TROUBLE),
    "partly sent": (AttemptState.FAILED, Outcome.PARTLY_SENT),
    "conversion error": (AttemptState.FAILED, Outcome.DOCUMENT_REFUSED),
    "blocked": (AttemptState.FAILED, Outcome.RECIPIENT_BLOCKED),
    "on hold, no credit": (AttemptState.FAILED, Outcome.NO_CREDIT),
    "cancelled": (AttemptState.CANCELLED, Outcome.CANCELLED),
}
#: Calls that ended longer ago than this are not announced any more after a restart.
_STALE = timedelta(days=1)


class LoopbackConfig(CarrierConfig):
    """`[carrier.NAME]` with `kind = "loopback"`."""

    call_time: Duration = timedelta(seconds=0.2)
    """How long a call takes before its first page."""
    page_time: Duration = timedelta(0)
    """How long each page takes."""
    slow_time: Duration = timedelta(seconds=30)
    """How long a call to a number ending in 18 takes."""
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of calls that fail at random: busy, no answer, broken off."""
    seed: int | None = None
    """Same seed, same random errors at the same calls, counted for each number from the first in the journal. Default: 0."""
    callbacks: bool = True
    """Whether results are called back; they can always be polled."""
    lose_callbacks: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of callbacks that are never sent."""
    repeat_callbacks: Annotated[int, Field(ge=0, le=20)] = 0
    """Further copies of each callback."""
    shuffle_callbacks: bool = False
    """Send the "sending" callback of a call after its result."""
    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Signs callbacks. Default: made once and kept in the carrier's folder."""
    old_secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Still taken on callbacks while `secret` is being changed."""
    outage: bool = False
    """The network cannot be reached; callbacks of running calls still come."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Most calls at once; further ones are sent away with a time to wait. Default: no limit."""
    page_price: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """EUR a page."""


_SPEED = 14_400  # bits a second of every machine in this network


class Statement(BaseModel):
    """What a callback says about a call; a received fax is announced as the journal's `Received`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    what: Literal["status"] = "status"
    carrier_ref: str
    reference: str
    status: str
    pages_sent: NonNegativeInt = 0
    station_id: str = ""
    seconds: float | None = None
    speed: int | None = None
    resolution: str = ""
    at: AwareDatetime


_CALLBACK: TypeAdapter[Statement | Received] = TypeAdapter(Annotated[Statement | Received, Field(discriminator="what")])


class Loopback(Carrier):
    """The adapter. `outage` may be switched while it runs."""

    Config: ClassVar[type[CarrierConfig]] = LoopbackConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cancels=True,
        finds=True,
        absence_proves_unsent=True,  # a call that is not in the fsynced journal was never dialled
        listing_lag=0.0,
        signs_callbacks=True,
        polls=True,
        lists=True,
        receives=True,
        sells=True,
        sub_addresses=True,
        resolutions=True,
    )
    config: LoopbackConfig

    def __init__(self, tools: Tools, config: LoopbackConfig) -> None:
        super().__init__(tools, config)
        self.outage = config.outage
        seed = next((seed for seed in (config.seed, tools.seed) if seed is not None), 0)
        rules = Rules(
            call_time=config.call_time,
            page_time=config.page_time,
            slow_time=config.slow_time,
            error_rate=config.error_rate,
            seed=seed,
            limit=config.limit,
        )
        self.network = Network(tools.folder, tools.now, rules, self._announce)
        self._announcer = Announcer(tools)
        self._secrets: list[bytes] = []
        self._dice = random.Random(f"{seed}:callbacks")

    async def start(self) -> None:
        """Read the journal, go on with what was unfinished. Raises SpoolUnavailable."""
        await self.network.journal.open()
        given = [secret for secret in (self.config.secret, self.config.old_secret) if secret]
        self._secrets = [secret.get_secret_value().encode() for secret in given]
        if self.config.secret is None:
            self._secrets.insert(0, await asyncio.to_thread(_own_secret, self.tools.folder / "secret"))
        for ref, at in self.network.unannounced(self.tools.now() - _STALE).items():
            self._announce(ref, at)

    async def stop(self) -> None:
        await self._announcer.stop()
        await self.network.journal.close()

    async def _reached(self) -> Network:
        """The network as it is now. Raises CarrierUnavailable."""
        if self.outage:
            raise CarrierUnavailable
        await self.network.catch_up()
        return self.network

    # Faxes going out

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        network, lines = await self._reached(), await self.tools.lines()
        try:
            document = await asyncio.to_thread(order.document.read_bytes)
        except OSError as error:
            raise CarrierUnavailable("The document cannot be read.") from error
        if not (_is_tiff(document) or b"%PDF-" in document[:1024]) or order.pages < 1:
            text = "The network takes PDF and TIFF only."
            raise CarrierRefused(text, outcome=Outcome.DOCUMENT_REFUSED, carrier_code="no document")
        call = await network.take(order, document, ours=order.number in lines)
        if order.number.endswith(ANSWER_LOST) and not call.arrives:
            raise CarrierUncertain
        return Receipt(carrier_ref=call.carrier_ref)

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        network = await self._reached()
        return [_event(self._statement(network.call(carrier_ref)))]

    async def find(self, reference: str) -> Receipt | None:
        call = (await self._reached()).find(reference)
        return Receipt(carrier_ref=call.carrier_ref) if call else None

    async def listing(self, since: datetime) -> Sequence[Listed]:
        network = await self._reached()
        return [
            Listed(
                carrier_ref=call.carrier_ref,
                reference=call.reference,
                number=call.number,
                pages=call.pages,
                submitted_at=call.submitted_at,
            )
            for call in network.calls.values()
            if call.submitted_at >= since
        ]

    async def cancel(self, carrier_ref: str) -> bool:
        """True before the end of the call, and for a call cancelled before."""
        return await (await self._reached()).cancel(carrier_ref)

    async def price(self, number: str, pages: int) -> str | None:
        return f"{self.config.page_price * pages:.2f} EUR"

    # Callbacks

    def verify_callback(self, request: CallbackRequest) -> None:
        verify(self._secrets, request.headers, request.body, self.tools.now())

    def parse_callback(self, request: CallbackRequest) -> tuple[Sequence[Event | Announcement], CallbackAnswer]:
        try:
            said = _CALLBACK.validate_json(request.body)
        except ValidationError as error:
            raise CallbackRejected("The callback makes no sense.") from error
        return [_event(said) if isinstance(said, Statement) else _announcement(said)], CallbackAnswer()

    def _announce(self, ref: str, at: datetime) -> None:
        if self.config.callbacks and self.tools.callback_url:
            self._announcer.spawn(self._tell(ref, at))

    async def _tell(self, ref: str, at: datetime) -> None:
        """Post what there is to say about a call or a received fax once `at` has come."""
        await self._announcer.until(at)
        bodies = self._bodies(ref)
        if not bodies or ref in self.network.announced:
            return
        self.network.announced.add(ref)
        for body in bodies:
            if self._dice.random() >= self.config.lose_callbacks:
                await self._announcer.post(self._secrets[0], body)
        with suppress(CarrierUnavailable):  # it is announced again after a restart, which receivers bear
            await self.network.note_announced(ref)

    def _bodies(self, ref: str) -> list[bytes]:
        call, fax = self.network.calls.get(ref), self.network.inbound.get(ref)
        told: list[BaseModel] = [fax] if fax else []
        if call is not None:
            result = self._statement(call)
            if result.status == "sending":
                return []  # it is being cancelled, and that will be announced
            told = [result]
            if self.config.shuffle_callbacks:
                told.append(_statement(call, "sending", call.submitted_at))
        return [said.model_dump_json().encode() for said in told for _ in range(1 + self.config.repeat_callbacks)]

    def _statement(self, call: Call) -> Statement:
        return _statement(call, *self.network.status(call))

    # Faxes coming in

    async def receive(
        self,
        line: str,
        caller: str,
        document: bytes,
        station_id: str = "",
        *,
        sub_address: str = "",
        pages: int = 0,
        complete: bool = True,
    ) -> str:
        """A fax from outside arrives now at one of our lines; the document (PDF or TIFF) is handed on as it is.

        Returns its carrier_ref. Raises CarrierRefused: not our line; CarrierUnavailable: it could not be kept.
        """
        if line not in await self.tools.lines():
            raise CarrierRefused("This is not one of our lines.", outcome=Outcome.BAD_NUMBER)
        fax = Received(
            carrier_ref=new_id("fax"),
            line=line,
            caller=caller,
            station_id=station_id,
            sub_address=sub_address,
            pages=pages,
            complete=complete,
            received_at=self.tools.now(),
        )
        await self.network.receive(fax, document)
        return fax.carrier_ref

    async def list_inbound(self) -> Sequence[Announcement]:
        return [_announcement(fax) for fax in (await self._reached()).held()]

    async def fetch_inbound(self, carrier_ref: str) -> bytes:
        fax, document = await (await self._reached()).document(carrier_ref)
        if not fax.printed or _is_tiff(document):  # a TIFF is the printed pages
            return document
        try:
            return await self.tools.rasterise(document)
        except Refused as error:
            raise CarrierRefused("The fax cannot be printed.", outcome=Outcome.DOCUMENT_REFUSED) from error
        except Unavailable as error:
            raise CarrierUnavailable("The fax cannot be printed now.") from error

    async def forget_inbound(self, carrier_ref: str) -> None:
        await (await self._reached()).forget(carrier_ref)

    # Lines

    async def own_lines(self) -> Sequence[str]:
        return sorted({*(await self._reached()).bought, *await self.tools.lines()})

    async def area_codes(self, state: str) -> Sequence[str]:
        return AREAS.get(state.upper(), ())

    async def buy_line(self, area: str) -> str:
        return await (await self._reached()).buy(area, await self.tools.lines())

    async def release_line(self, number: str) -> None:
        await (await self._reached()).release(number)


def _statement(call: Call, status: str, at: datetime) -> Statement:
    over = status == call.status
    spoke = over and bool(call.station_id)  # the two machines did, and agreed
    return Statement(
        carrier_ref=call.carrier_ref,
        reference=call.reference,
        status=status,
        pages_sent=call.pages_sent if over else 0,
        station_id=call.station_id if over else "",
        seconds=call.seconds if over else None,
        speed=_SPEED if spoke else None,
        resolution=("standard" if call.fine is False else "fine") if spoke else "",
        at=at,
    )


def _event(said: Statement) -> Event:
    state, outcome = meaning(STATUSES, said.status)
    return Event(
        key=f"{said.carrier_ref}:{said.status}",
        carrier_ref=said.carrier_ref,
        reference=said.reference,
        state=state,
        outcome=outcome,
        carrier_code=printable(said.status, 80),
        pages_sent=said.pages_sent,
        station_id=printable(said.station_id, 20),
        seconds=said.seconds,
        speed=said.speed,
        resolution=said.resolution,
        at=said.at,
        raw=said.model_dump_json().encode(),
    )


def _announcement(fax: Received) -> Announcement:
    return Announcement(
        carrier_ref=fax.carrier_ref,
        line=fax.line,
        caller=fax.caller,
        station_id=printable(fax.station_id, 20),
        sub_address=fax.sub_address,
        pages=fax.pages,
        complete=fax.complete,
        seconds=fax.seconds,
        received_at=fax.received_at,
        raw=fax.model_dump_json().encode(),
    )


def _is_tiff(document: bytes) -> bool:
    return document.startswith((b"II*\0", b"MM\0*"))


def _own_secret(path: Path) -> bytes:
    """The secret kept in the folder, made at the first start. Raises SpoolUnavailable."""
    try:
        if not path.exists():
            mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            store(mine, secrets.token_hex(32).encode("ascii"))
            try:
                path.hardlink_to(mine)  # two processes starting together: the first one wins
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return path.read_bytes()
    except OSError as error:
        raise SpoolUnavailable("The secret of the loopback network cannot be kept.") from error
