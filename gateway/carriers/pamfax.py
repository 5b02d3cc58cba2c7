"""PamFax: a carrier, or another gateway with `[door.pamfax]`.

Source of every fact: the wire reference of this API, by section; what it does not know is a choice of ours:

- One session for one fax: the job is state of the session (2), so two faxes at a time on one token would mix recipients and
  documents. Questions have a session of their own.
- `open` makes the whole job: Create, AddRecipient, AddFile, the wait until it is ready, the look at price and credit. The
  recipient's uuid, by which the fax is asked for (7.4), is on disk before `submit`, which is `Send` and nothing else. So a
  crash before that has certainly sent nothing, and a lost answer to `Send` is asked for by that uuid.
- A job that still says it was not sent is no proof: nobody documents how soon after `Send` it says so. It is held.
- The job must have our recipient, as we wrote the number, and our document, by size and MD5, before it is sent.
- No cover: our pages have it. `failure` without a reason that we know is `gave_up`: the carrier redials by itself (6.1).
- ListChanges is not used: it tells each change once, to one session, in a list whose names nobody knows (6.1), so an answer
  that is lost would be a result that is lost. Results are asked for; GetFaxDetails is recorded.
- Send at a later time is not used: the gateway has its own queue. Nor is SendLater: a fax that waits for money at the
  carrier and goes out by itself could meet the one that a person has released meanwhile.
- Times are in the zone of the account there (11); its name is configured.
- Of a received fax only `uuid`, `file_uuid` and `received` are known (9). `number` is taken for the one that was called: where
  it is none of our lines the operator gets the fax, where it is missing our only line. It is marked as read when it is safe
  here, and known by its uuid.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, model_validator

from gateway.carriers.base import (
    Announcement,
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
from gateway.carriers.pamfax_session import Calls, Key, Session
from gateway.carriers.pamfax_shapes import (
    FAILED_PAGES,
    STATUSES,
    UNPAID,
    Container,
    Currency,
    Fax,
    File,
    Inbox,
    Price,
    Received,
    Recipient,
    User,
    e164,
    moment,
    one,
    reason,
    several,
)
from gateway.carriers.pamfax_wire import JSON, XML, Answer
from gateway.errors import CarrierRefused, CarrierUnavailable, Outcome, Unsupported
from gateway.fax import AttemptState
from gateway.log import printable
from gateway.units import Duration, SecretFile, Text, WebAddress, Zone

__all__ = ["STATUSES", "PamFax", "PamFaxConfig"]

R = TypeVar("R", Fax, Received)
_log = logging.getLogger(__name__)
_UNPAID = "The credit of the account there is too low. Buy credit."
_PAGE_SIZE = 100
_MOST_PAGES = 200
_LARGEST = 100_000_000  # bytes of a received fax
_FIRST_LOOK, _LONGEST_LOOK = 0.25, 2.0  # seconds between looks at a job that is being made
_FORGOTTEN = 300.0  # seconds after which an opened job that nobody sent has ended there (2)
_LOCAL = re.compile(r"localhost|127\.[0-9.]+|::1")


class PamFaxConfig(CarrierConfig):
    """`[carrier.NAME]` with `kind = "pamfax"`."""

    url: WebAddress = "https://api.pamfax.biz"
    """Where the API is; another gateway's is `https://…/pamfax`."""
    api_key: Text
    """The application's key."""
    api_secret: SecretStr | None = None
    api_secret_file: SecretFile | None = None
    username: Text
    password: SecretStr | None = None
    password_file: SecretFile | None = None
    format: Literal["json", "xml"] = "json"
    """In which format it is asked to answer."""
    timezone: Zone = "UTC"
    """The account's time zone there."""
    price_limit: Annotated[Decimal, Field(gt=0)] | None = None
    """The most that one fax may cost, in the account's currency; a dearer one is held."""
    postpaid: bool = False
    """The account there pays afterwards: its credit is no reason to hold a fax."""
    credit_alarm: Annotated[Decimal, Field(gt=0)] | None = None
    """Credit below which the operator is told, in the account's currency."""
    ready_limit: Duration = timedelta(seconds=45)
    """How long the carrier may take to make a document ready."""
    time_limit: Duration = timedelta(seconds=25)
    """For one call of the API."""
    listing_lag: Duration = timedelta(seconds=60)
    """After this time a fax that was sent certainly says so."""

    @model_validator(mode="after")
    def _whole(self) -> PamFaxConfig:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("set password or password_file, one of them")
        if (self.api_secret is None) == (self.api_secret_file is None):
            raise ValueError("set api_secret or api_secret_file, one of them")
        where = urlsplit(self.url)
        if where.scheme != "https" and not _LOCAL.fullmatch(where.hostname or ""):
            raise ValueError("url must begin with https://: whoever hears a call could repeat it")
        longest = PamFax.capabilities.submit_limit
        if self.ready_limit.total_seconds() > longest - 15:
            raise ValueError(f"ready_limit must be at most {longest - 15:.0f}s")
        if self.time_limit.total_seconds() > longest / 2 - 5:
            raise ValueError(f"time_limit must be at most {longest / 2 - 5:.0f}s")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A job that is ready and not sent yet."""

    session: Session
    at: float
    """Loop time."""


class PamFax(Carrier):
    """The adapter."""

    Config: ClassVar[type[CarrierConfig]] = PamFaxConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cancels=True,
        lists=True,
        receives=True,
        submit_limit=75.0,
    )
    config: PamFaxConfig

    def __init__(self, tools: Tools, config: PamFaxConfig) -> None:
        super().__init__(tools, config)
        lag = config.listing_lag.total_seconds()
        self.capabilities = replace(type(self).capabilities, listing_lag=lag)  # type: ignore[misc]  # the one that varies
        self._calls = Calls(tools, _key(config), config.time_limit.total_seconds())
        self.zone = ZoneInfo(config.timezone)
        self._jobs: dict[str, _Job] = {}
        self._files: dict[str, str] = {}
        self._read: set[str] = set()

    # Faxes going out

    async def open(self, order: Order) -> str:
        """The whole job, ready to be sent; the recipient's uuid. Nothing goes out."""
        if order.sub_address:
            raise Unsupported("This carrier has no field for a sub-address.")
        try:
            document = await asyncio.to_thread(order.document.read_bytes)
        except OSError as error:
            raise CarrierUnavailable("The document cannot be read.") from error
        session = await self._calls.sign_in()
        on = self._calls.on
        us = {"user_ip": "127.0.0.1", "user_agent": "Faxgate", "origin": "Faxgate"}
        await on(session, "FaxJob/Create", lambda answer: one(answer, "FaxContainer", Container), **us)
        if order.caller:
            await on(session, "FaxJob/SetSenderDetails", _nothing, number=order.caller)
        await on(session, "FaxJob/AddRecipient", _nothing, number=order.number)
        await self._calls.add_file(session, document, order.file_name, order.content_type)
        ready = await self._ready(session)
        carrier_ref = await self._is_ours(session, order, document)
        await self._is_paid(session, order, ready)
        self._keep(carrier_ref, session)
        return carrier_ref

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        carrier_ref = carrier_ref or await self.open(order)
        job = self._jobs.pop(carrier_ref, None)
        if job is None:
            raise CarrierUnavailable("This job is not open any more.")
        await self._calls.send(job.session, order.in_time)
        return Receipt(carrier_ref=carrier_ref)

    async def _ready(self, session: Session) -> Container:
        """Wait until it is ready (7.2: of a failed conversion only our own door's word is known). Raises CarrierUnavailable."""
        wait, loop = _FIRST_LOOK, asyncio.get_running_loop()
        until = loop.time() + self.config.ready_limit.total_seconds()
        while True:
            job = await self._calls.on(session, "FaxJob/GetFaxState", lambda answer: one(answer, "FaxContainer", Container))
            if job.state == "ready_to_send":
                return job
            if job.state == UNPAID:
                raise CarrierRefused(_UNPAID, outcome=Outcome.NO_CREDIT, carrier_code=UNPAID)
            if job.state == FAILED_PAGES:
                text = "The carrier cannot make fax pages of the document."
                raise CarrierRefused(text, outcome=Outcome.DOCUMENT_REFUSED, carrier_code=FAILED_PAGES)
            if loop.time() + wait > until:
                raise CarrierUnavailable("The carrier did not make the document ready in time.")
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_LOOK)

    async def _is_ours(self, session: Session, order: Order, document: bytes) -> str:
        """The uuid of the job's only recipient. Raises unless number and document are those of the order."""
        found = await self._calls.on(session, "FaxJob/ListRecipients", lambda answer: several(answer, "Recipients", Recipient))
        if len(found) != 1 or not re.fullmatch(r"[!-~]{1,80}", found[0].uuid):
            raise CarrierUnavailable("The carrier does not say whom it would call.")
        if e164(found[0].number) != order.number:
            text = "The carrier would call another number than the one that was asked for."
            raise CarrierRefused(text, outcome=Outcome.BAD_NUMBER, carrier_code="another number")
        files = await self._calls.on(session, "FaxJob/ListFaxFiles", lambda answer: several(answer, "Files", File))
        digest = hashlib.md5(document, usedforsecurity=False).hexdigest()
        if len(files) != 1 or files[0].size not in ("", str(len(document))) or files[0].contentmd5.lower() not in ("", digest):
            raise CarrierUnavailable("The carrier has not got the document as it was sent to it.")
        return found[0].uuid

    async def _is_paid(self, session: Session, order: Order, ready: Container) -> None:
        """Price and credit, both in the account's currency (11). Raises CarrierRefused."""
        price = await self._calls.on(
            session, "NumberInfo/GetPagePrice", lambda answer: one(answer, "Price", Price), faxnumber=order.number
        )
        costs = [ready.price] if ready.price is not None and _same(ready.currency, session.currency) else []
        if price.priceperpage is not None and _same(price.currency, session.currency):
            costs.append(price.priceperpage * max(order.pages, ready.pages))
        cost = max(costs, default=Decimal(0))
        if self.config.price_limit is not None and cost > self.config.price_limit:
            text = f"The fax would cost {cost:f} {session.currency}, more than price_limit allows."
            raise CarrierRefused(text, outcome=Outcome.NO_CREDIT, carrier_code="price_limit")
        if not self.config.postpaid and session.credit is not None and cost > session.credit:
            raise CarrierRefused(_UNPAID, outcome=Outcome.NO_CREDIT, carrier_code=UNPAID)

    def _keep(self, carrier_ref: str, session: Session) -> None:
        now = asyncio.get_running_loop().time()
        self._jobs = {ref: job for ref, job in self._jobs.items() if now - job.at < _FORGOTTEN}
        self._jobs[carrier_ref] = _Job(session=session, at=now)

    # What became of it

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        answer = await self._details(carrier_ref)
        return [event(answer, carrier_ref, self.tools.now(), self.zone)]

    async def went_out(self, carrier_ref: str) -> bool:
        answer = await self._details(carrier_ref)
        word = event(answer, carrier_ref, self.tools.now(), self.zone).carrier_code
        return "FaxHistoryModel" in answer.members or word not in _NOT_SENT

    async def _details(self, carrier_ref: str) -> Answer:
        return await self._calls.ask("FaxHistory/GetFaxDetails", _itself, uuid=carrier_ref)

    async def cancel(self, carrier_ref: str) -> bool:
        """Asked for, and then looked whether it has happened: the answer to the wish has no result of its own (6.4)."""
        try:
            await self._calls.ask("FaxJob/Cancel", _nothing, uuid=carrier_ref)
        except (CarrierRefused, CarrierUnavailable) as error:
            _log.debug("%s does not cancel: %s", self.tools.name, error.text)
        return (await self.poll(carrier_ref))[-1].state is AttemptState.CANCELLED

    async def listing(self, since: datetime) -> Sequence[Listed]:
        found: dict[str, Listed] = {}
        for method, name in (("FaxHistory/ListOutboxFaxes", "OutboxFaxes"), ("FaxHistory/ListSentFaxes", "SentFaxes")):
            for fax in await self._pages(method, name, Fax):
                at = moment(fax.created, self.zone) or moment(fax.sent, self.zone)
                if at is not None and at >= since.replace(microsecond=0):  # their times have no fractions of a second
                    found[fax.uuid] = Listed(
                        carrier_ref=fax.uuid, reference="", number=e164(fax.number), pages=fax.pages, submitted_at=at
                    )
        return list(found.values())

    async def _pages(self, method: str, name: str, model: type[R]) -> Sequence[R]:
        """A list to its end: a page that is not full, or that has nothing new. Raises CarrierUnavailable."""
        found: dict[str, R] = {}
        for page in range(1, _MOST_PAGES + 1):
            some = await self._calls.ask(
                method, lambda answer: several(answer, name, model), current_page=page, items_per_page=_PAGE_SIZE
            )
            new = {entry.uuid: entry for entry in some if entry.uuid not in found}
            found |= new
            if not new or len(some) < _PAGE_SIZE:
                return list(found.values())
        raise CarrierUnavailable("The carrier's list has no end.")

    # Faxes coming in

    async def list_inbound(self) -> Sequence[Announcement]:
        """What is in the inbox, except what this process has marked as read: a person may have read a new one there."""
        lines = set(await self.tools.lines())
        found = await self._pages("FaxHistory/ListInboxFaxes", "InboxFaxes", Received)
        self._files = {fax.uuid: fax.file_uuid for fax in found if fax.file_uuid}
        self._read &= {fax.uuid for fax in found}
        return [self._announcement(fax, lines) for fax in found if fax.file_uuid and fax.uuid not in self._read]

    def _announcement(self, fax: Received, lines: set[str]) -> Announcement:
        called = e164(fax.number)
        if not called and len(lines) == 1:
            (called,) = lines
        return Announcement(
            carrier_ref=fax.uuid,
            line=called if called in lines else "",
            caller=e164(fax.sender_number) or e164(fax.sender),
            station_id=printable(fax.sender_name, 40),
            pages=fax.pages,
            complete=fax.complete not in ("0", "false"),
            received_at=moment(fax.received, self.zone) or self.tools.now(),
            raw=fax.model_dump_json().encode(),
        )

    async def fetch_inbound(self, carrier_ref: str) -> bytes:
        if carrier_ref not in self._files:
            found = await self._pages("FaxHistory/ListInboxFaxes", "InboxFaxes", Received)
            self._files |= {fax.uuid: fax.file_uuid for fax in found if fax.file_uuid}
        if carrier_ref not in self._files:
            raise CarrierRefused("It is not in the inbox there any more.", carrier_code="not in the inbox")
        return await self._calls.file(self._files[carrier_ref], _LARGEST)

    async def forget_inbound(self, carrier_ref: str) -> None:
        """It is marked as read, and stays in the inbox there."""
        if carrier_ref not in self._read:
            await self._calls.ask("FaxHistory/SetFaxRead", _nothing, uuid=carrier_ref)
            self._read.add(carrier_ref)

    # The account

    async def own_lines(self) -> Sequence[str]:
        found = await self._calls.ask("UserInfo/ListInboxes", lambda answer: several(answer, "FaxInNumberList", Inbox))
        numbers = [e164(inbox.number) for inbox in found]
        if not all(numbers):
            raise Unsupported("This carrier does not say which numbers it holds.")
        return sorted(numbers)

    async def price(self, number: str, pages: int) -> str | None:
        price = await self._calls.ask("NumberInfo/GetPagePrice", lambda answer: one(answer, "Price", Price), faxnumber=number)
        return None if price.priceperpage is None else f"{price.priceperpage * pages:f} {price.currency}".strip()

    async def attention(self) -> str:
        if self.config.credit_alarm is None:
            return ""
        user, currency = await self._calls.ask(
            "Session/ReloadUser", lambda answer: (one(answer, "User", User), one(answer, "Currency", Currency))
        )
        if user.credit is None or user.credit >= self.config.credit_alarm:
            return ""
        return f"The credit of the account there is {user.credit:f} {printable(currency.code, 10)}. Buy credit."


#: What a fax that nobody has sent yet says of itself (7.2).
_NOT_SENT = frozenset({"unknown", "editing", "ready_to_send", UNPAID})


def event(answer: Answer, carrier_ref: str, now: datetime, zone: ZoneInfo) -> Event:
    """What GetFaxDetails says (7.4). `FaxRecipient` is a fax on its way: a word for that which nobody documented ends nothing.

    Raises CarrierUnavailable where it says nothing of this fax.
    """
    ended = "FaxHistoryModel" in answer.members
    try:
        fax = one(answer, "FaxHistoryModel" if ended else "FaxRecipient", Fax)
    except ValueError as error:
        raise CarrierUnavailable("The carrier's answer makes no sense.") from error
    if fax.uuid != carrier_ref:
        raise CarrierUnavailable("The carrier's answer is about another fax.")
    word, message = fax.state.lower(), fax.status_message
    known = ended or word in STATUSES
    state, outcome = meaning(STATUSES, word) if known else (AttemptState.SUBMITTED, None)
    if outcome is Outcome.GAVE_UP:
        outcome = reason(message) or outcome
    done = state in (AttemptState.DELIVERED, AttemptState.FAILED)
    return Event(
        key=f"{carrier_ref}:{printable(word, 80)}",
        carrier_ref=carrier_ref,
        state=state,
        outcome=outcome,
        carrier_code=printable(word, 80),
        text=printable(message, 200) if state is AttemptState.FAILED else "",
        pages_sent=(fax.pages_sent or (fax.pages if state is AttemptState.DELIVERED else 0)) if done else 0,
        at=now,
        raw=json.dumps(answer.members, ensure_ascii=False).encode("utf-8", "replace"),
        attention=_UNPAID if word == UNPAID else "",
    )


def _key(config: PamFaxConfig) -> Key:
    secret, password = config.api_secret or config.api_secret_file, config.password or config.password_file
    assert secret is not None
    assert password is not None
    return Key(
        url=config.url.rstrip("/"),
        api=config.api_key,
        secret=secret.get_secret_value(),
        username=config.username,
        password=password.get_secret_value(),
        format=JSON if config.format == "json" else XML,
    )


def _same(currency: str, account: str) -> bool:
    return not currency or not account or currency.upper() == account.upper()


def _nothing(answer: Answer) -> None:
    """Only the code matters."""


def _itself(answer: Answer) -> Answer:
    return answer
