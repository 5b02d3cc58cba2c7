"""A job at HylaFAX: how it is made from an order, how its name is written, what it says of itself.

HylaFAX counts its jobs from 1 to 32000 and begins again, so a number alone could be somebody else's a month later. Each
job carries our reference and the second it was made in (JOBINFO); its name here has all three, and what the job says must
agree with it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.carriers.base import Order
from gateway.carriers.hylafax_config import HylaFaxConfig
from gateway.carriers.hylafax_wire import Reply, quoted
from gateway.errors import CarrierRefused, Outcome, Unsupported

_NAME = re.compile(r"([0-9]{1,9})\.([0-9]{1,12})\.(\S+)")
_TAG = re.compile(r"(\S+) ([0-9]{1,12})")
_FIELD = re.compile(r" {4}([A-Z]{2,20}): ?(.*)")
_MADE = re.compile(r"jobid: ([0-9]{1,9})")
_SUB_ADDRESS = re.compile(r"[0-9#* +]{1,20}")  # T.30 5.3.6.2.8
_MOST_PAGES = 10_000
#: What is asked of every job in a list; the tag is last, because it could hold the bar.
FORMAT = "%j|%a|%y|%e|%J"


@dataclass(frozen=True, slots=True)
class Name:
    """Which job."""

    job: int
    made: int
    """Seconds since 1970, by our clock."""
    reference: str

    def __str__(self) -> str:
        return f"{self.job}.{self.made}.{self.reference}"

    @property
    def tag(self) -> str:
        """Its JOBINFO."""
        return f"{self.reference} {self.made}"

    @property
    def made_at(self) -> datetime:
        return datetime.fromtimestamp(self.made, UTC)

    @classmethod
    def of(cls, carrier_ref: str) -> Name:
        """Raises CarrierRefused where no job of ours is called that."""
        if not (found := _NAME.fullmatch(carrier_ref)):
            raise unknown()
        return cls(int(found[1]), int(found[2]), found[3])


def unknown() -> CarrierRefused:
    """There is no such job, or not any more."""
    return CarrierRefused("The fax server knows no such job.", carrier_code="no such job")


@dataclass(frozen=True, slots=True)
class Paper:
    """What the pages of a document need."""

    lines_per_inch: int
    width: int
    """Millimetres, of the widest page."""
    length: int
    """Millimetres, of the longest."""


def paper(content: bytes) -> Paper:
    """Of a fax TIFF, little-endian as ours are. Raises CarrierRefused where it is none."""
    try:
        sizes = list(_sizes(content))
    except struct.error as error:
        raise not_a_document() from error
    if not sizes or not all(across and down for _, _, across, down in sizes):
        raise not_a_document()
    return Paper(
        lines_per_inch=round(max(down for *_, down in sizes)),
        width=max(math.ceil(width / across * 25.4) for width, _, across, _ in sizes),
        length=max(math.ceil(height / down * 25.4) for _, height, _, down in sizes),
    )


def not_a_document() -> CarrierRefused:
    return CarrierRefused("This is no fax page.", outcome=Outcome.DOCUMENT_REFUSED, carrier_code="no TIFF")


def _sizes(content: bytes) -> Iterator[tuple[int, int, float, float]]:
    """Width and height in dots, dots an inch across and down, of each page (TIFF 6.0)."""
    if content[:4] != b"II*\0":
        return
    at, left = int(struct.unpack_from("<I", content, 4)[0]), _MOST_PAGES
    while at and left:
        count, left = int(struct.unpack_from("<H", content, at)[0]), left - 1
        values = {}
        for tag, kind, _, value in struct.iter_unpack("<HHII", content[at + 2 : at + 2 + 12 * count]):
            values[tag] = value & 0xFFFF if kind == 3 else value
        yield values.get(256, 0), values.get(257, 0), _ratio(content, values.get(282)), _ratio(content, values.get(283))
        at = int(struct.unpack_from("<I", content, at + 2 + 12 * count)[0])


def _ratio(content: bytes, at: int | None) -> float:
    if at is None:
        return 0.0
    above, below = struct.unpack_from("<II", content, at)
    return float(above / below) if below else 0.0


def made(reply: Reply) -> int | None:
    """The number in the answer to JNEW."""
    found = _MADE.search(reply.text)
    return int(found[1]) if found else None


def parameters(config: HylaFaxConfig, order: Order, name: Name, sheet: Paper) -> Sequence[tuple[str, str]]:
    """What JPARM sets, in this order: LASTTIME counts from SENDTIME. Raises Unsupported."""
    digits, ours = order.number.lstrip("+"), config.redials == "ours"
    dials = "1" if ours else str(config.dials)
    wanted = [
        ("FROMUSER", quoted("Faxgate")),
        ("JOBINFO", quoted(name.tag)),
        ("DIALSTRING", quoted(config.dial.replace("{digits}", digits))),
        ("EXTERNAL", quoted(order.number)),
        ("NOTIFYADDR", quoted(config.username)),
        ("NOTIFY", "NONE"),
        ("MAXDIALS", dials),
        ("MAXTRIES", dials),
        ("SCHEDPRI", str(config.priority)),
        ("SENDTIME", _sent_at(order.send_at)),
        ("LASTTIME", _span(config.kill_after)),
        ("VRES", str(sheet.lines_per_inch)),
        ("PAGEWIDTH", str(sheet.width)),
        ("PAGELENGTH", str(sheet.length)),
        ("PAGECHOP", "NONE"),
        ("MODEM", quoted(config.modems.get(order.caller, config.modem))),
    ]
    if config.header == "ours":  # a tag line of ours, with nothing in it: without one the server's own would be printed
        wanted += [("USETAGLINE", "YES"), ("TAGLINE", '""')]
    if order.caller:
        station = config.station_ids.get(order.caller, order.caller)
        wanted += [("FAXNUMBER", quoted(order.caller)), ("TSI", quoted(station))]
    if order.sub_address:
        if not _SUB_ADDRESS.fullmatch(order.sub_address):
            raise Unsupported("A fax machine's sub-address has at most 20 digits, * and #.")
        wanted.append(("SUBADDR", quoted(order.sub_address)))
    return wanted


def _sent_at(at: datetime | None) -> str:
    """In GMT, to the minute (RFC 959 style of hfaxd), never early."""
    return "NOW" if at is None else (at.astimezone(UTC) + timedelta(seconds=59)).strftime("%Y%m%d%H%M")


def _span(time: timedelta) -> str:
    """ddhhmm."""
    minutes = min(int(time.total_seconds() // 60), 99 * 1440)
    return f"{minutes // 1440:02}{minutes // 60 % 24:02}{minutes % 60:02}"


@dataclass(frozen=True, slots=True)
class Told:
    """What one job says of itself."""

    job: str
    tag: str
    state: str
    code: str
    """`E` and three digits."""
    status: str
    pages: int
    """Confirmed by the far end."""
    total: int
    dials: int
    raw: bytes

    @property
    def word(self) -> str:
        """As the table of statuses has it."""
        return self.code if self.state == "FAILED" else self.state

    @property
    def over(self) -> bool:
        return self.state in ("DONE", "FAILED")

    @classmethod
    def of(cls, reply: Reply) -> Told:
        """The answer to JPARM without a name: a line for each value, and the status may have several."""
        found: dict[str, str] = {}
        last = ""
        for line in reply.lines[1:]:
            field = _FIELD.fullmatch(line)
            if field and field[1] not in found:
                last = field[1]
                found[last] = field[2]
            elif last == "STATUS":
                found[last] += " " + line.strip()
        return cls(
            job=found.get("JOBID", ""),
            tag=found.get("JOBINFO", ""),
            state=found.get("STATE", ""),
            code=f"E{found.get('STATUSCODE', '')}",
            status=found.get("STATUS", "").strip(' "\\'),
            pages=_count(found, "NPAGES"),
            total=_count(found, "TOTPAGES"),
            dials=_count(found, "TOTDIALS"),
            raw="\n".join([*reply.lines, reply.text]).encode("utf-8", "replace"),
        )


def _count(found: Mapping[str, str], key: str) -> int:
    value = found.get(key, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our jobs in a list."""

    name: Name
    waits: bool
    """Suspended: never submitted, or stopped by a person."""
    pages: int
    number: str


def entries(content: str) -> Iterator[Entry]:
    """Jobs of ours in a list with our FORMAT. Jobs of other people are passed over."""
    for line in content.splitlines():
        fields = line.split("|", 4)
        if len(fields) != 5 or not (tag := _TAG.fullmatch(fields[4])) or not re.fullmatch("[0-9]{1,9}", fields[0]):
            continue
        pages = int(fields[2]) if re.fullmatch("[0-9]{1,6}", fields[2]) else 0
        name = Name(int(fields[0]), int(tag[2]), tag[1])
        yield Entry(name, fields[1] == "T", pages, fields[3])
