"""The nouns: what an account, a line, a submission, a transmission, an attempt, a document and an inbound fax are.

Values only, all frozen. The rules of moving between states are in `lifecycle`, the tables in `spool.schema`.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from gateway.errors import Outcome

AccountId = NewType("AccountId", str)
SubmissionId = NewType("SubmissionId", str)
TransmissionId = NewType("TransmissionId", str)
AttemptId = NewType("AttemptId", str)
InboundId = NewType("InboundId", str)
OutboxId = NewType("OutboxId", str)
Sha256 = NewType("Sha256", str)

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def new_id(prefix: str) -> str:
    """A time-ordered id that a person can read out on the phone: prefix, `_`, 26 characters.

    Crockford's base 32 of a UUIDv7 (48 bits of milliseconds, version, 74 random bits).
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(_ten_bytes(), "big")
    value = value & ~(0xF << 76) | (7 << 76)  # version 7
    value = value & ~(0x3 << 62) | (2 << 62)  # variant
    return prefix + "_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def _ten_bytes() -> bytes:
    """Random; asked of the system for many ids at once. A forked process asks for its own."""
    try:
        return _random.popleft()
    except IndexError:
        some = os.urandom(10 * 100)
        _random.extend([some[n : n + 10] for n in range(10, len(some), 10)])
        return some[:10]


_random = deque[bytes]()
os.register_at_fork(after_in_child=_random.clear)


class Door(StrEnum):
    """A way in."""

    SMTP = "smtp"
    LMTP = "lmtp"
    IMAP = "imap"
    COMMAND = "command"
    HELLOFAX = "hellofax"
    PAMFAX = "pamfax"
    WEB = "web"


class TransmissionState(StrEnum):
    """Where a fax is. `lifecycle.MOVES` has the only legal moves."""

    ACCEPTED = "accepted"  #: durable, not yet pages
    READY = "ready"  #: pages made, waiting to be sent
    SENDING = "sending"  #: an attempt is open at a carrier
    DEFERRED = "deferred"  #: will be tried again by itself
    HELD = "held"  #: waits for a person
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """Where one try at one carrier is."""

    OPENING = "opening"  #: written down before the carrier is called
    SUBMITTED = "submitted"  #: the carrier has it
    UNCERTAIN = "uncertain"  #: perhaps the carrier has it
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class InboundState(StrEnum):
    """Where a received fax is."""

    ANNOUNCED = "announced"  #: the carrier said so
    FETCHED = "fetched"  #: the document is ours
    HELD = "held"  #: waits for a person
    MAILED = "mailed"  #: the mailboxes' server took it
    UNDELIVERED = "undelivered"  #: the mailboxes' server gave it back
    REFUSED = "refused"  #: not wanted
    FAILED = "failed"  #: the carrier no longer has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an account wants to be told, and kept. It may change them itself, through an API door."""

    outbound_callback: str = ""
    """URL that is called when a fax it sent through an API door has ended; "" = none."""
    inbound_callback: str = ""
    """URL that gets what arrives on its lines; "" = none."""
    callback_secret: str = field(default="", repr=False)
    """Key of the HMAC that callbacks then carry; "" = none."""
    confirmations: bool = False
    """A report is mailed for each fax it sent through an API door."""
    received_mail: bool = True
    """What arrives on its lines is mailed to their mailboxes."""
    received_pdf: bool = True
    """The mail about a received fax has the fax with it; else it only says that one came."""
    keep_documents: bool = False
    """Faxes sent through an API door keep their documents as long as others; else they go when the fax is delivered."""
    redial: bool = False
    """Faxes sent through an API door are dialled again like mail; else the caller does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who may fax, and who pays."""

    id: AccountId
    name: str
    login: str = ""
    """"" where it cannot sign in."""
    password_hash: str = field(default="", repr=False)
    """argon2id; "" where it cannot sign in."""
    senders: tuple[str, ...] = ()
    """Mail addresses, or patterns like `*@example.com`."""
    networks: tuple[str, ...] = ()
    """Client networks (CIDR) from which a listed sender needs no other proof."""
    countries: tuple[str, ...] = ()
    """ISO 3166 regions it may fax."""
    declared: bool = False
    """Declared in the configuration file, which wins: read-only elsewhere."""
    guid: str = ""
    """40 hex digits: its name in the HelloFax API. Given when it is stored."""
    settings: Settings = Settings()
    prepaid: bool = False
    """It faxes for its credit only (`spool.ledger`)."""
    dmarc: bool = False
    """Mail that proves its author by DMARC speaks for it."""
    bulk: bool = False
    """It may fax bulk mail and mail of lists."""
    digest_hash: str = field(default="", repr=False)
    """argon2id of the password's MD5, for programs of the PamFax API that send that; "" where they cannot sign in so."""


def provable(sender: str) -> bool:
    """Whether the domain of a sender pattern is named, so that DMARC can prove it: `*@corp.example`, `ann@*.corp.example`."""
    return re.fullmatch(r"[^@]+@(\*\.)?[^@*.]+(\.[^@*.]+)+", sender) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A fax number we hold at a carrier."""

    number: str
    """E.164."""
    account: AccountId
    carrier: str
    """The carrier's name in the configuration, e.g. "main"."""
    mailbox: tuple[str, ...] = ()
    """Mail addresses that get what arrives here."""
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One immutable file, named by its SHA-256."""

    sha256: Sha256
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A fax number as written and as called, with what the sender wished for it."""

    written: str
    """The address exactly as it was given (RCPT path without brackets, or the argument of a call)."""
    number: str
    """E.164."""
    sub_address: str = ""
    cover_name: str = ""
    """Whom the cover page names."""
    organisation: str = ""
    tag: str = ""
    """A reference of the sender's own, never dialled."""
    options: tuple[tuple[str, str], ...] = ()
    """Other `/keyword=value` elements, kept unchanged."""
    notify: tuple[str, ...] = ()
    """RFC 3461 NOTIFY, upper case; empty = not given."""
    original_recipient: str = ""
    """RFC 3461 ORCPT, decoded, case kept; "" = not given."""


def by_call(recipients: Iterable[Recipient]) -> dict[tuple[str, str], tuple[Recipient, ...]]:
    """Recipients by called number and sub-address: two spellings of one number are one call (ADR-28)."""
    groups: dict[tuple[str, str], tuple[Recipient, ...]] = {}
    for one in recipients:
        key = (one.number, one.sub_address)
        groups[key] = (*groups.get(key, ()), one)
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverPage:
    """What a caller asked of the cover page; a mail asks nothing and gets one."""

    wanted: bool = True
    to: str = ""
    """Whom it names; "" = what the recipient says."""
    sender: str = ""
    """From whom; "" = the account."""
    message: str = ""
    template: str = ""
    """Which one, by its name in `templates/cover/`; "" = the usual one."""
    placeholders: bool = False
    """The message says `{ToName}` and the like where the facts of each fax stand (`pages.cover`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the door knows about one mail beside its content."""

    door: Door
    sender: str
    """MAIL FROM; "" for the empty return path."""
    client: str = ""
    """Address of the client, "" for a local one."""
    helo: str = ""
    login: str = ""
    """Who signed in; "" when nobody did."""
    tls: bool = False
    envelope_id: str = ""
    """RFC 3461 ENVID, decoded."""
    ret: str = ""
    """RFC 3461 RET: FULL, HDRS or ""."""
    future_release: str = ""
    """RFC 4865: `for;SECONDS` or `until;DATE`, as it was asked; "" = at once."""
    disposition_to: str = ""
    """Of a mail that was picked up: where a disposition notification goes (RFC 8098); "" = nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One accepted mail or call: one document set, one or more recipients."""

    id: SubmissionId
    account: AccountId
    envelope: Envelope
    message_id: str
    resent_message_id: str
    content_hash: str
    subject: str
    from_header: str
    """The decoded From header."""
    references: str
    """Message-IDs for threading, oldest first, separated by spaces."""
    auto_submitted: bool
    """The mail said that a program wrote it: confirmations are kept back, failures are not."""
    document: Sha256
    """The mail as received (or the posted file)."""
    content_type: str
    """`message/rfc822` for mail."""
    accepted_at: datetime
    cover: CoverPage = CoverPage()
    redial: bool = True
    """False: whoever submitted it dials again, not we."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """One document to one recipient; the thing that has a state."""

    id: TransmissionId
    submission: SubmissionId
    account: AccountId
    number: str
    sub_address: str
    carrier: str
    caller: str
    """Our line it is sent from, E.164, or ""."""
    state: TransmissionState
    outcome: Outcome | None
    """Of the last attempt; final once the state is."""
    reason: str
    """Plain words beside the outcome: the name of a bad part, why it is held."""
    document: Sha256 | None
    """The fax pages as one PDF; None before they are made."""
    pages: int
    """With the cover page; 0 before they are made."""
    pages_sent: int
    """Confirmed by the carrier."""
    attempts: int
    manifest: str
    """JSON: what became of each part of the mail."""
    accepted_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    """When it is tried next, while deferred."""
    status: str = ""
    """Enhanced status code of a document that cannot become pages, e.g. "5.6.5", or of a fax that must be approved; "" = the
    usual one of the outcome."""
    price: int | None = None
    """Of a page, micro-EUR; None: nobody pays."""
    held: int | None = None
    """Set aside for it before the first call, micro-EUR; None: not yet."""
    cost: int | None = None
    """What of that it cost, micro-EUR; None before it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one carrier. Written down before the carrier is called."""

    id: AttemptId
    transmission: TransmissionId
    n: int
    """1 for the first."""
    carrier: str
    reference: str
    """Ours, given to the carrier."""
    carrier_ref: str
    """The carrier's, "" while unknown; never parsed."""
    state: AttemptState
    outcome: Outcome | None
    carrier_code: str
    """The carrier's own word for the outcome."""
    text: str
    pages_sent: int
    station_id: str
    """What the far end calls itself: a claim, made printable."""
    seconds: float | None
    """Length of the call."""
    opened_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None
    planned_at: datetime | None = None
    """When the carrier was told to send it; None: at once."""
    speed: int | None = None
    """Bits a second, as the machines agreed; None: the carrier did not say."""
    resolution: str = ""
    """"standard", "fine", "superfine", or dots an inch as "204x196"; "" where the carrier did not say."""
    report: Sha256 | None = None
    """The carrier's transmission report, a PDF; None: there is none, or it is not here yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundFax:
    """A fax received for one of our lines."""

    id: InboundId
    carrier: str
    carrier_ref: str
    line: str
    """The called number, E.164."""
    caller: str
    """The network's word for who called, E.164 or ""."""
    station_id: str
    sub_address: str
    state: InboundState
    document: Sha256 | None
    """As PDF."""
    original: Sha256 | None
    """As the carrier gave it, when that was not a PDF."""
    pages: int
    complete: bool
    """False: the call broke off, this is what arrived."""
    seconds: float | None
    received_at: datetime
    """When the carrier says it arrived."""
    reason: str
    account: AccountId = AccountId("")
    """Whose line it was when the fax was announced; "" = nobody's."""
    route: str = ""
    """What decided where it went, in words; "" = nothing yet."""
    released: bool = False
    """By a person: no rule holds or drops it any more."""
    mailbox: tuple[str, ...] = ()
    """Who is to get it, where that person said so."""
    withheld_from: AccountId = AccountId("")
    """Whose line it was, while it is in quarantine or dropped: then no account sees it, and `account` is ""."""
    resolution: str = ""
    """Dots by lines an inch of its first page, e.g. "204x196"; "" = nobody says."""
    damaged: int = 0
    """Pages that were damaged on the way."""
