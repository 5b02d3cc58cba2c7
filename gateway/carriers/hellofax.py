"""HelloFax / Dropbox Fax, API version 1: a carrier, or another gateway with `[door.hellofax]`.

Source of every fact: the wire reference of this API, by section; what it does not know is a choice of ours:

- One document a call, in a part `file`; `To` and `From` as digits with country code (5). Our reference cannot be told, so
  an answer that was lost is matched in the list by number and time (`work.match`), and absence proves nothing: a finished
  fax may vanish from the list (5).
- The limits of 5 (10 files, 30 MB, 200 pages) are taken as being in force. 200 pending faxes: `calls` goes no higher.
- Ten digits would be a number in North America (5); a foreign number that has ten goes with the exit code 011 before it.
- 400 is about this fax, with the carrier's words where it has some; 401, 402, 403 and 404 on a send are about our account
  there, and hold it; other 4xx refuse the fax.
- `S` is sent in full (7). `NumPagesBilled` is what it costs, and says nothing about the pages that arrived.
- `H` and `O` are not final (7): the operator is told, and the fax goes on when the account has been put right.
- `E` without a letter, and any other letter, is `unknown`: not dialled again.
- Callbacks carry no signature (9.2): one about a fax we sent is a hint to read it again. Where the carrier knows that fax
  no longer, its word at our secret address is all there is. A received fax comes with its document or not at all: v1 has
  no download (1), so an announcement without one is rejected, and the carrier repeats it for 16.5 hours (9.4). What it
  still lists half an hour after that, and what never came here, is announced as lost.
- The list's own member name, page size and order are not known (8): the first list of objects is taken, `NextPageUri`
  followed, never off the carrier's own origin. Pages that were newest first all the way are not read on past `since`.
- How a document becomes fax pages there is not said (5): tones and colours may come out as noise. It is given a PDF of our
  black-and-white pages: the worst that can become of those is another grid of dots. Of TIFF nothing is said: not by default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator

from gateway.carriers import form, http
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
    Tools,
    meaning,
)
from gateway.carriers.hellofax_account import HelloFaxAccount
from gateway.carriers.hellofax_wire import (
    ON_HOLD,
    STATUSES,
    Callback,
    Fax,
    Page,
    Sent,
    digits,
    e164,
    moment,
)
from gateway.errors import (
    CallbackRejected,
    CarrierRefused,
    CarrierUnavailable,
    GatewayError,
    Unsupported,
)
from gateway.fax import AttemptState
from gateway.log import printable
from gateway.units import Duration, SecretFile, Text, WebAddress

__all__ = ["STATUSES", "HelloFax", "HelloFaxConfig"]

_ATTENTION = "The carrier has put it on hold: confirm the account there, or buy pages. It goes on by itself then."
_LOST = (
    "A received fax was not posted here within 17 hours, and this API cannot download it. "
    "Look at the documents screen of the account on the carrier's web site."
)
_PAGE_SIZE = 100
_MOST_PAGES = 200
_LAST_RETRY = timedelta(hours=17)  # 16.5 hours (9.4), and what the last round takes
_LIST_BACK = timedelta(days=7)  # received faxes that are looked for
_LIST_EVERY = timedelta(minutes=15)
_MARGIN = timedelta(days=1)  # how far past `since` pages are read before newest first is believed


def _guid(value: str) -> str:
    if len(value) != 40 or not all(c in "0123456789abcdefABCDEF" for c in value):
        raise ValueError("is the account's GUID: 40 hexadecimal digits, shown on the account's API page")
    return value


class HelloFaxConfig(CarrierConfig):
    """`[carrier.NAME]` with `kind = "hellofax"`."""

    calls: Annotated[int, Field(ge=1, le=200)] = 50
    """Faxes it has at a time; the carrier takes 200 pending ones of an account."""
    url: WebAddress = "https://api.hellofax.com/v1"
    """Where the API is; another gateway's is `https://…/v1`."""
    login: Text
    """The account's mail address."""
    password: SecretStr | None = None
    password_file: SecretFile | None = None
    guid: Annotated[str, AfterValidator(_guid)]
    """The account's GUID."""
    cover: Literal["ours", "theirs"] = "ours"
    """Whose cover page: ours with the mail's text on it, or the carrier's with the names and the subject."""
    set_callbacks: bool = False
    """At start the account's two callback URLs are made ours."""
    time_limit: Duration = timedelta(seconds=50)
    """For one hand-over."""
    listing_lag: Duration = timedelta(seconds=60)
    """After this time a fax that was handed over is in the account's list."""

    @property
    def secret(self) -> str:
        """The password, wherever it stands."""
        given = self.password or self.password_file
        assert given is not None
        return given.get_secret_value()

    @model_validator(mode="after")
    def _whole(self) -> HelloFaxConfig:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("set password or password_file, one of them")
        if not self.url:
            raise ValueError("url must not be empty")
        if self.time_limit.total_seconds() > HelloFax.capabilities.submit_limit - 5:
            raise ValueError(f"time_limit must be at most {HelloFax.capabilities.submit_limit - 5:.0f}s")
        return self


class HelloFax(Carrier):
    """The adapter."""

    Config: ClassVar[type[CarrierConfig]] = HelloFaxConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        forgets=True,
        lists=True,
        listing_lag=60.0,  # not known; by configuration
        receives=True,
        sells=True,
        document="fax-pdf",
        writes_header=True,  # the sending number is printed on the pages (5)
        max_pages=200,
        max_bytes=29_900_000,  # of 30 MB for the whole request
    )
    config: HelloFaxConfig

    def __init__(self, tools: Tools, config: HelloFaxConfig) -> None:
        super().__init__(tools, config)
        lag = config.listing_lag.total_seconds()
        self.capabilities = replace(type(self).capabilities, listing_lag=lag)  # type: ignore[misc]  # the one that varies
        self._account = HelloFaxAccount(tools, url=config.url, guid=config.guid, auth=(config.login, config.secret))
        self._began = tools.now()
        self._looked: datetime | None = None
        self._calls_back = False

    async def start(self) -> None:
        """Remember when this account came under our care: what it received before is not ours. Set the callbacks."""
        self._began = await asyncio.to_thread(_first_start, self.tools.folder / "since", self.tools.now())
        self._calls_back = not self.config.set_callbacks
        await self._set_callbacks()

    async def _set_callbacks(self) -> None:
        """Where they are to be set and were not yet. A carrier that cannot be reached is asked again."""
        self._calls_back = self._calls_back or await self._account.set_callbacks()

    @classmethod
    def makes_cover_by(cls, config: CarrierConfig) -> bool:
        return isinstance(config, HelloFaxConfig) and config.cover == "theirs"

    # Faxes going out

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        if order.sub_address:
            raise Unsupported("This carrier has no field for a sub-address.")
        try:
            document = await asyncio.to_thread(order.document.read_bytes)
        except OSError as error:
            raise CarrierUnavailable("The document cannot be read.") from error
        sent = await http.submit(
            self.tools,
            "POST",
            f"{self._account.url}/Transmissions",
            decode=http.json_of(Sent),
            judge=self._account.judge,
            limit=self.config.time_limit.total_seconds(),
            in_time=order.in_time,
            auth=self._account.auth,
            data=self._fields(order),
            files=[("file", (order.file_name, document, order.content_type))],
        )
        return Receipt(carrier_ref=sent.fax.guid)

    def _fields(self, order: Order) -> dict[str, str | list[str]]:
        fields = {"To": digits(order.number), "From": self._account.spelt(order.caller)}
        if order.cover is not None:
            cover = order.cover
            fields |= {"CoverPageTo": cover.to, "CoverPageFrom": cover.sender, "CoverPageMessage": cover.message}
        return {name: value for name, value in fields.items() if value}

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        url, auth = f"{self._account.url}/Transmissions/{quote(carrier_ref, safe='')}", self._account.auth
        found = await http.ask(self.tools, "GET", url, decode=http.json_of(Sent), judge=_unknown_fax, auth=auth)
        if found.fax.guid != carrier_ref:
            raise CarrierUnavailable("The carrier's answer is about another fax.")
        return [self._event(found.fax)]

    async def listing(self, since: datetime) -> Sequence[Listed]:
        return [
            Listed(
                carrier_ref=fax.guid,
                reference="",
                number=e164(fax.to),
                # With their cover page they count one more than we do.
                pages=0 if self.makes_cover else fax.num_pages_billed,
                submitted_at=at,
                caller=e164(fax.from_),
            )
            for fax in await self._faxes(since)
            # Their times have no fractions of a second.
            if not (fax.is_inbound or fax.is_draft)
            and (at := moment(fax.created_at)) is not None
            and at >= since.replace(microsecond=0)
        ]

    async def _faxes(self, since: datetime) -> Sequence[Fax]:
        """The list from its first page on, until it ends or is certainly older than `since`. Raises CarrierUnavailable."""
        url, seen, found = f"{self._account.url}/Transmissions?PageSize={_PAGE_SIZE}", set[str](), dict[str, Fax]()
        while url:
            if url in seen or len(seen) >= _MOST_PAGES:
                raise CarrierUnavailable("The carrier's list has no end.")
            seen.add(url)
            page = await http.ask(self.tools, "GET", url, decode=http.json_of(Page), auth=self._account.auth)
            for fax in page.faxes:  # one that new faxes have moved onto the next page is still one fax
                found.setdefault(fax.guid, fax)
            url = self._account.resolved(page.next_page_uri) if page.next_page_uri else ""
            if _older([*found.values()], since - _MARGIN):
                break
        return [*found.values()]

    # Callbacks

    def parse_callback(self, request: CallbackRequest) -> tuple[Sequence[Event | Announcement], CallbackAnswer]:
        fields = form.parts(request.headers, request.body)
        said = next((part for part in fields if part.name == "json"), None)
        if said is None:
            raise CallbackRejected("The callback has no json.")
        try:
            fax = Callback.model_validate_json(said.content).fax
        except ValidationError as error:
            raise CallbackRejected("The callback makes no sense.") from error
        if fax is None:
            return [], CallbackAnswer()  # an event of the sister product (9.3)
        if not fax.is_inbound:
            return [self._event(fax, said.content, believed=False)], CallbackAnswer()
        document = form.document([part for part in fields if part is not said])
        if document is None:
            raise CallbackRejected("A received fax without its document.")
        return [self._announcement(fax, said.content, document)], CallbackAnswer()

    def _event(self, fax: Fax, raw: bytes = b"", *, believed: bool = True) -> Event:
        word = fax.status_code + (f"/{fax.error_code}" if fax.status_code == "E" and fax.error_code else "")
        state, outcome = meaning(STATUSES, word)
        return Event(
            key=f"{fax.guid}:{printable(word, 80)}",
            carrier_ref=fax.guid,
            state=state,
            outcome=outcome,
            carrier_code=printable(word, 80),
            text=f"The carrier bills {_pages(fax.num_pages_billed)}." if state is AttemptState.DELIVERED else "",
            at=moment(fax.updated_at) or self.tools.now(),
            raw=raw or fax.model_dump_json(by_alias=True).encode(),
            believed=believed,
            attention=_ATTENTION if word in ON_HOLD else "",
        )

    def _announcement(self, fax: Fax, raw: bytes = b"", document: bytes | None = None) -> Announcement:
        return Announcement(
            carrier_ref=fax.guid,
            line=e164(fax.to),
            caller=e164(fax.from_),
            pages=fax.num_pages_billed,
            complete=fax.status_code != "E",
            received_at=moment(fax.created_at) or self.tools.now(),
            document=document,
            raw=raw,
        )

    # Faxes coming in

    async def list_inbound(self) -> Sequence[Announcement]:
        """Received faxes whose callback can come no more."""
        await self._set_callbacks()
        now = self.tools.now()
        if self._looked is not None and now - self._looked < _LIST_EVERY:
            return ()
        since, until = max(self._began, now - _LIST_BACK), now - _LAST_RETRY
        found = [fax for fax in await self._faxes(since) if fax.is_inbound] if since < until else []
        self._looked = now
        return [self._announcement(fax) for fax in found if (at := moment(fax.created_at)) is not None and since <= at < until]

    async def fetch_inbound(self, carrier_ref: str) -> bytes:
        raise CarrierRefused(_LOST)

    # Lines

    async def own_lines(self) -> Sequence[str]:
        return sorted(await self._account.lines())

    async def area_codes(self, state: str) -> Sequence[str]:
        return await self._account.area_codes(state)

    async def buy_line(self, area: str) -> str:
        return await self._account.buy(area)

    async def release_line(self, number: str) -> None:
        await self._account.release(number)


def _older(found: Sequence[Fax], since: datetime) -> bool:
    """Whether all further pages are older: so far they were newest first, and the last one is."""
    times = [at for fax in found if (at := moment(fax.created_at)) is not None]
    if len(times) < len(found) or not times or not times[0] > times[-1]:
        return False
    return times[-1] < since and times == sorted(times, reverse=True)


def _pages(n: int) -> str:
    return f"{n} page" if n == 1 else f"{n} pages"


def _unknown_fax(answer: http.Answer) -> GatewayError | None:
    """Only these say that it knows no such fax; another 4xx is a fault of ours, and the fax is still there."""
    if answer.status in (404, 410):
        return CarrierRefused("The carrier does not know this fax any more.", carrier_code=f"HTTP {answer.status}")
    return CarrierUnavailable(f"The carrier cannot answer now (HTTP {answer.status}).")


def _first_start(path: Path, now: datetime) -> datetime:
    """When this carrier was started for the first time, kept in its folder."""
    try:
        return datetime.fromisoformat(path.read_text(encoding="ascii")).astimezone(UTC)
    except (OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(now.isoformat(), encoding="ascii")
        return now
