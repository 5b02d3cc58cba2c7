"""One call of the PamFax API: what a processor's method is given, and how it says no.

    session = Processor("Session")

    @session.method("KeepAlive")
    async def keep_alive(house: House, call: Call) -> Members: ...

Programs send what they do not mean: `0` and `*` where a text is not given, `True` for 1, a `+` that became a blank
(reference/pamfax.md section 11). It is put right here, once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
from starlette.datastructures import UploadFile
from starlette.responses import Response

from gateway import number
from gateway.carriers import pamfax_wire as wire
from gateway.carriers.pamfax_wire import Listing
from gateway.errors import NotAdmitted, Refused
from gateway.fax import Account
from gateway.spool.pamfax import Session
from gateway.web.pamfax.house import House

Members = Mapping[str, Any]
"""What an answer has beside `result`."""
Handler = Callable[[House, "Call"], Awaitable[Members | Response]]
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
NOT_GIVEN = frozenset({"", "0", "*", "false"})
_TIME = "%Y-%m-%d %H:%M:%S"
_LONGEST = 10_000  # characters of a text


class Fault(Exception):
    """The call is answered with this code (section 5) and text."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of one processor."""

    processor: str
    name: str
    handler: Handler
    user: bool
    """Somebody must have signed in."""


@dataclass(slots=True)
class Processor:
    """The methods of one processor, by their names in lower case."""

    name: str
    methods: dict[str, Method] = field(default_factory=dict)

    def method(self, name: str, *, user: bool = True) -> Callable[[Handler], Handler]:
        """Declare a method."""

        def declared(handler: Handler) -> Handler:
            self.methods[name.lower()] = Method(processor=self.name, name=name, handler=handler, user=user)
            return handler

        return declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that may be made."""

    arguments: Mapping[str, Any]
    """Decoded and nested, names in lower case."""
    uploads: Mapping[str, UploadFile]
    client: str
    """Its IP address, "" for a Unix socket."""
    application: str
    """The key it came with."""
    now: datetime
    zone: ZoneInfo
    """In which it is told times: the account's, else the application's."""
    signed_in: tuple[Session, Account] | None = None

    @property
    def account(self) -> Account:
        return self._signed_in[1]

    @property
    def address(self) -> str:
        """Where its results are mailed: the login, else the first of its senders that is an address; "" = nowhere."""
        found = (self.account.login, *self.account.senders)
        return next((one for one in found if "@" in one and "*" not in one), "")

    @property
    def session(self) -> Session:
        return self._signed_in[0]

    @property
    def _signed_in(self) -> tuple[Session, Account]:
        if self.signed_in is None:
            raise Fault("no_user_logged_in", "Sign in with Session/VerifyUser first.")
        return self.signed_in

    def raw(self, name: str, most: int = _LONGEST) -> str:
        """A text exactly as it was sent; "" where it is not given."""
        value = self.arguments.get(name.lower(), "")
        if not isinstance(value, str):
            raise Fault("missing_argument", f"{name} is a text, not a list.")
        if len(value) > most:
            raise Fault("bad_property", f"{name} has at most {most} characters.")
        return value

    def text(self, name: str, most: int = _LONGEST) -> str:
        """A text without blanks around it; "" where it is not given, which programs say with `0` and `*` too."""
        value = self.raw(name, most).strip()
        if not value.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
            raise Fault("bad_property", f"{name} has characters that are no text.")
        return "" if value.lower() in NOT_GIVEN else value

    def needed(self, name: str, most: int = _LONGEST) -> str:
        """A text that must be given."""
        if not (value := self.text(name, most)):
            raise Fault("missing_argument", f"{name} is missing.")
        return value

    def texts(self, name: str, *, bare: bool = True) -> list[str]:
        """A list of texts, in the order of its keys, `bare` of the blanks around them; a single one is a list too."""
        return [one.strip() if bare else one for one in wire.elements(self.arguments.get(name.lower()))]

    def kinds(self, name: str) -> set[str]:
        """What some of a list is chosen by; empty where it is not given."""
        return {one for one in self.texts(name) if one.lower() not in NOT_GIVEN}

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.raw(name).strip()
        return truth(value) if value else default

    def count(self, name: str, default: int, most: int = 1_000_000) -> int:
        """A number from 0 on; what is more than `most` is `most`."""
        value = self.raw(name).strip()
        if not value or value.lower() in ("false", "true"):
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise Fault("bad_property", f"{name} is a number.")
        return min(int(value), most)

    def page(self, default: int = 20) -> tuple[int, int]:
        """`current_page` (from 1) and `items_per_page` as limit and offset."""
        size = self.count("items_per_page", default, 100) or default
        page = max(1, self.count("current_page", 1, 10_000))
        return size, (page - 1) * size

    def moment(self, name: str) -> datetime | None:
        """A time in the caller's zone; None where it is not given."""
        if not (value := self.text(name, 40)):
            return None
        try:
            return datetime.strptime(value, _TIME).replace(tzinfo=self.zone)
        except ValueError as error:
            raise Fault("bad_datetime_value", f"{name} is written like 2011-05-04 10:20:30.") from error

    def told(self, at: datetime | None) -> str | None:
        """A time as this caller is told it."""
        return None if at is None else at.astimezone(self.zone).strftime(_TIME)


def listed(call: Call, entries: list[dict[str, Any]], entry: str) -> Listing:
    """One page of a list, with its place."""
    size, offset = call.page()
    return Listing(entries=entries, entry=entry, attributes={"current_page": offset // size + 1, "items_per_page": size})


def truth(value: object) -> bool:
    """What programs write for true and false. Raises Fault."""
    written = str(value).strip().lower()
    if written not in _TRUE and written not in _FALSE:
        raise Fault("bad_property", "A flag is 1 or 0.")
    return written in _TRUE


def called_number(written: str, region: str) -> number.FaxNumber:
    """A fax number as programs send it. Raises Fault."""
    text = written.strip()
    if written.startswith(" ") and text[:1].isdigit():
        text = "+" + text  # a raw `+` in a query is a blank
    try:
        return number.parse(_without_trunk_zero(text), region)
    except NotAdmitted as error:
        raise Fault("unsupported_fax_number", error.text) from error
    except Refused as error:
        raise Fault("invalid_fax_number", error.text) from error


def _without_trunk_zero(text: str) -> str:
    """`+49 030 …` is `+49 30 …`: the API corrects numbers, and programs count on it. Any other text is left as it is."""
    if not text.startswith("+"):
        return text
    digits = re.sub(r"[^0-9]", "", text)
    try:
        read = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return text
    country, e164 = str(read.country_code), phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
    meant = digits == f"{country}0{e164[1 + len(country) :]}" and phonenumbers.is_valid_number(read)
    return e164 if meant else text


def own(values: Sequence[str], name: str) -> Sequence[str]:
    """A list that must not be empty, nor endless. Raises Fault."""
    if not values:
        raise Fault("missing_argument", f"{name} is missing.")
    if len(values) > 1000:
        raise Fault("bad_property", f"{name} has at most 1000 entries.")
    return values
