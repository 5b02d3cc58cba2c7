"""What a carrier is: the protocol, its capabilities, and the values that go in and out.

A carrier is one file with a configuration model, a class derived from `Carrier`, and a literal status table. What it
does not override raises `Unsupported`. Carriers see values only: no database, no other part of the gateway; what they
need (a clock, an HTTP client, a folder, a rasteriser) is handed over in `Tools`.

Errors of `submit`, and nothing else, decide about a second call: `CarrierRefused` (permanent), `CarrierUnavailable`
(certainly not sent), `CarrierUncertain` (perhaps sent). A plain exception counts as uncertain.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import Outcome, Unsupported
from gateway.fax import AttemptState, CoverPage
from gateway.log import printable

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

#: What is handed over: "pdf" as it was laid out; "fax-pdf", a PDF of the pages in black and white at 204 by 196 dots an inch,
#: MMR; "tiff", the same pages as TIFF of profile F with MMR.
DocumentForm = Literal["pdf", "fax-pdf", "tiff"]

#: A literal and complete status table: each word of the carrier, and what it means in ours.
Statuses = Mapping[str, tuple[AttemptState, Outcome | None]]


def meaning(table: Statuses, word: str) -> tuple[AttemptState, Outcome | None]:
    """What a carrier's status word means. A word nobody documented ends the attempt as `unknown`, and is logged.

    It is never passed through and never redialled: the fax may have arrived.
    """
    if word not in table:
        _log.warning("a carrier used a status word that its adapter does not know: %s", printable(word, 80))
        return AttemptState.FAILED, Outcome.UNKNOWN
    return table[word]


class CarrierConfig(BaseModel):
    """Keys every `[carrier.NAME]` section has; an adapter derives its own from this."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    kind: str
    """The adapter: a name from `carriers.CARRIERS`, or of an entry point in the group `gateway.carriers`."""
    calls: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Calls at a time, over all nodes: faxes that were handed over and have no result yet."""
    document: DocumentForm | None = None
    """What the carrier is given. Default: what its adapter says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one carrier can do. Shown by `faxgate carriers` and in the README's table."""

    cancels: bool = False
    finds: bool = False
    """`find` can look an attempt up by our reference."""
    absence_proves_unsent: bool = False
    """When `find` does not find it after `listing_lag`, it was certainly not sent."""
    listing_lag: float = 0.0
    """Seconds until a submitted fax is certainly listed."""
    signs_callbacks: bool = False
    polls: bool = True
    forgets: bool = False
    """The carrier may remove the record of a finished fax: where it knows a fax no longer, its unsigned word at our secret
    address is all there is, and is believed."""
    lists: bool = False
    """`listing` tells its outgoing faxes. Without `finds`, an uncertain attempt is matched by number and time."""
    receives: bool = False
    sells: bool = False
    """Numbers can be bought and given back."""
    delays: bool = False
    """It can be given a fax now that it is to send later (`Order.send_at`)."""
    reports: bool = False
    """`report` gives a document about a fax that has ended."""
    sub_addresses: bool = False
    resolutions: bool = False
    """`Order.fine` is kept: the sender may choose between fine and standard resolution."""
    writes_header: bool = False
    """The carrier prints the fax header line; ours is off."""
    document: DocumentForm = "pdf"
    """What the carrier is given: "pdf" where its own conversion is trusted with tones and colours."""
    redials: bool = False
    """The carrier redials by itself and cannot be told not to: we do not."""
    final_results: bool = True
    max_pages: int | None = None
    max_bytes: int | None = None
    submit_limit: float = 60.0
    """Seconds after which `submit` has certainly ended, one way or another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One fax to be sent."""

    reference: str
    """Ours; unique; given to the carrier wherever it takes one."""
    number: str
    """E.164."""
    sub_address: str = ""
    fine: bool | None = None
    """Fine or standard resolution, where the sender chose (`Capabilities.resolutions`); None: the carrier's usual one."""
    caller: str = ""
    """Our line, E.164, or ""."""
    document: Path
    """PDF, or TIFF where the carrier is given that; cover page included."""
    content_type: str = "application/pdf"
    """Of the document: that, or `image/tiff`."""
    pages: int
    subject: str = ""
    cover: CoverPage | None = None
    """What the carrier's cover page is to say, where it makes one (`Carrier.makes_cover`) and one is wanted."""
    send_at: datetime | None = None
    """When the carrier is to send it, where it `delays`; None: now."""
    in_time: Callable[[], bool] = field(default=lambda: True, repr=False)
    """Whether it may still go out. Asked right before the step that cannot be taken back: a process that was frozen in
    between must not send what another node has looked up meanwhile. False: raise CarrierUnavailable."""

    @property
    def file_name(self) -> str:
        """What the document is called where a carrier wants a name."""
        return "fax.tif" if self.content_type == "image/tiff" else "fax.pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The carrier has taken an order. The fax is *not* sent yet."""

    carrier_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One statement of a carrier about one outgoing fax, in our words, with the raw form kept."""

    key: str
    """Unique within the carrier for this statement: a repeated callback has the same key."""
    carrier_ref: str = ""
    reference: str = ""
    """Ours, if the carrier echoes it. One of the two is given."""
    state: AttemptState
    """SUBMITTED (progress), DELIVERED, FAILED or CANCELLED."""
    outcome: Outcome | None = None
    """Given when the state is final."""
    carrier_code: str = ""
    text: str = ""
    pages_sent: int = 0
    station_id: str = ""
    seconds: float | None = None
    speed: int | None = None
    """Bits a second, as the machines agreed; None = not said."""
    resolution: str = ""
    """"standard", "fine", "superfine", or dots an inch as "204x196"; "" = not said."""
    at: datetime
    raw: bytes = b""
    believed: bool = True
    """False: unsigned, a hint only; the transmission must be read again from the carrier."""
    attention: str = ""
    """What a person has to put right at the carrier before this fax goes on; the operator is told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """The carrier says that a fax arrived for one of our lines."""

    carrier_ref: str
    line: str
    caller: str = ""
    station_id: str = ""
    sub_address: str = ""
    pages: int = 0
    complete: bool = True
    seconds: float | None = None
    received_at: datetime
    document: bytes | None = None
    """Only where the callback carries it."""
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a carrier's listener has heard."""

    carrier_refs: Collection[str] = ()
    """Faxes about which there is something new: a reason to ask for them, and no statement."""
    whole: bool = True
    """False: something may have been missed, so that every fax there is to be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRequest:
    """An HTTP request from a carrier, as it came."""

    method: str
    url: str = field(repr=False)
    """The public URL that was called, with query, as the carrier signed it. Contains our secret."""
    path: str
    """What follows the secret in the path."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackAnswer:
    """What we say back after storing."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One outgoing fax in a carrier's own list."""

    carrier_ref: str
    reference: str
    """Ours; "" where the carrier does not keep it."""
    number: str
    pages: int
    """0 = not told."""
    submitted_at: datetime
    caller: str = ""
    """Our line, E.164; "" = not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the daemon hands to an adapter."""

    name: str
    """The carrier's name in the configuration."""
    now: Callable[[], datetime]
    http: httpx.AsyncClient
    folder: Path
    """The adapter's own folder in the spool; it may not exist yet."""
    callback_url: str = field(repr=False)
    """`https://…/callback/NAME/SECRET`, "" when there is no HTTP listener."""
    lines: Callable[[], Awaitable[Sequence[str]]]
    """Numbers of our lines at this carrier, E.164."""
    rasterise: Callable[[bytes], Awaitable[bytes]]
    """PDF -> PDF of 1-bit pages as a fax machine would print them."""
    seed: int | None = None


class Carrier:
    """One carrier. Every method not overridden raises Unsupported."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    Config: ClassVar[type[CarrierConfig]] = CarrierConfig
    tools: Tools
    config: CarrierConfig

    def __init__(self, tools: Tools, config: CarrierConfig) -> None:
        self.tools = tools
        self.config = config

    @classmethod
    def able(cls, config: CarrierConfig) -> Capabilities:
        """What it can do with this section; nothing runs on it yet."""
        return cls.capabilities

    @property
    def document(self) -> DocumentForm:
        """What it is given: by configuration, else by what the adapter says."""
        return self.config.document or self.capabilities.document

    @property
    def makes_cover(self) -> bool:
        """The carrier makes the cover page, of `Order.cover`; ours is off."""
        return self.makes_cover_by(self.config)

    @classmethod
    def makes_cover_by(cls, config: CarrierConfig) -> bool:
        """The same, of a section that nothing runs on yet."""
        return False

    @property
    def opens(self) -> bool:
        """`open` gets an id before anything can be sent: an attempt that has none was certainly not sent."""
        return type(self).open is not Carrier.open

    @property
    def listens(self) -> float:
        """Seconds between two calls of `changes` while a fax is there; 0 = never: it has no listener, or none is wanted."""
        return 0.0

    @property
    def hears(self) -> bool:
        """The listener works at this moment: what it is silent about is asked for less often."""
        return False

    def delays(self, until: datetime) -> bool:
        """Whether it is given a fax now that is to be sent then, and keeps the time. False: the spool keeps it."""
        return False

    def __repr__(self) -> str:
        return f"<carrier {self.tools.name} ({self.config.kind})>"  # nothing else: configurations hold secrets

    async def start(self) -> None:
        """Called once before anything else; read own state, check nothing remote."""

    async def stop(self) -> None:
        """Called once at the end."""

    async def open(self, order: Order) -> str:
        """Get the carrier's id before anything can be sent, where it has such a step; else ""."""
        return ""

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        """Hand one fax over. Raises CarrierRefused, CarrierUnavailable, CarrierUncertain."""
        raise Unsupported("This carrier does not send faxes.")

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        """What the carrier says about one fax now. Raises CarrierUnavailable; CarrierRefused if it knows no such fax."""
        raise Unsupported("This carrier cannot be asked for the state of a fax.")

    async def changes(self) -> Changes:
        """What is new since the last call. Raises CarrierUnavailable, also where there is no listener just now."""
        raise Unsupported("This carrier has no listener.")

    async def report(self, carrier_ref: str) -> bytes:
        """The carrier's own document about a fax that has ended: a PDF. Raises CarrierRefused (it has none, or none yet),
        CarrierUnavailable."""
        raise Unsupported("This carrier writes no transmission reports.")

    async def find(self, reference: str) -> Receipt | None:
        """Look an order up by our reference; None = not there. Raises CarrierUnavailable."""
        raise Unsupported("This carrier cannot look up a fax by reference.")

    async def went_out(self, carrier_ref: str) -> bool:
        """Whether the fax that `open` got this id for was sent, asked when the answer to `submit` was lost. False: nobody can
        say. For carriers with an `open`. Raises CarrierUnavailable, CarrierRefused if it knows no such fax."""
        raise Unsupported("This carrier gives no id before a fax is sent.")

    async def listing(self, since: datetime) -> Sequence[Listed]:
        """Outgoing faxes submitted at or after `since`."""
        raise Unsupported("This carrier cannot list its faxes.")

    async def cancel(self, carrier_ref: str) -> bool:
        """Ask to stop. True = the carrier confirms that it will not be (or was not) sent."""
        raise Unsupported("This carrier cannot cancel a fax.")

    def verify_callback(self, request: CallbackRequest) -> None:
        """Raise CallbackRejected unless the request is authentic beyond its secret URL."""

    def parse_callback(self, request: CallbackRequest) -> tuple[Sequence[Event | Announcement], CallbackAnswer]:
        """Events and announcements in one callback. Raises CallbackRejected if it makes no sense at all."""
        raise Unsupported("This carrier sends no callbacks.")

    async def list_inbound(self) -> Sequence[Announcement]:
        """Received faxes the carrier still holds."""
        raise Unsupported("This carrier receives no faxes.")

    async def fetch_inbound(self, carrier_ref: str) -> bytes:
        """The document of one received fax: PDF or TIFF bytes. CarrierRefused = it no longer exists."""
        raise Unsupported("This carrier receives no faxes.")

    async def forget_inbound(self, carrier_ref: str) -> None:
        """We have it safely: the carrier's copy may go. Default: leave it."""

    async def own_lines(self) -> Sequence[str]:
        """Numbers we hold there, E.164."""
        raise Unsupported("This carrier cannot list lines.")

    async def area_codes(self, state: str) -> Sequence[str]:
        """Area codes in which a number can be bought."""
        raise Unsupported("This carrier sells no numbers.")

    async def buy_line(self, area: str) -> str:
        """Buy a number; returns it, E.164."""
        raise Unsupported("This carrier sells no numbers.")

    async def release_line(self, number: str) -> None:
        """Give a number back."""
        raise Unsupported("This carrier sells no numbers.")

    async def price(self, number: str, pages: int) -> str | None:
        """Price of a fax in words, e.g. "0.07 EUR"; None = not known."""
        return None

    async def equipment(self) -> Sequence[str]:
        """What it dials with and how that does, a line for each, for people; none where that is the carrier's business.
        Raises CarrierUnavailable."""
        return ()

    async def attention(self) -> str:
        """What a person should put right at the carrier soon, such as its credit; "" = nothing. Raises CarrierUnavailable."""
        return ""
