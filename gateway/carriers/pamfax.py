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
- What the listener hears (`pamfax_listener`) is a reason to ask for a fax, and no result: results are GetFaxDetails's, which
  is asked by itself too, less often while the listener works.
- A fax that the credit there does not cover is held, or with `unpaid = "queue"` left there by SendLater: it then counts as
  handed over, so that no second one goes out while it waits. Before and after SendLater it says the same of itself; the list
  of unpaid faxes tells the two apart.
- The spool keeps the time of a delayed fax. With `delayed = "carrier"` it is handed over with `datetime` on the account's
  clock, which only the operator can know (`timezone`). What is due within ten minutes, or at a time that this clock shows
  twice, is kept by the spool.
- Times are in the zone of the account there (11); its name is configured.
- Of a received fax only `uuid`, `file_uuid` and `received` are known (9). `number` is taken for the one that was called: where
  it is none of our lines the operator gets the fax, where it is missing our only line. It is marked as read when it is safe
  here, and known by its uuid.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, TypeVar
from zoneinfo import ZoneInfo

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
from gateway.carriers.pamfax_config import SUBMIT_LIMIT, PamFaxConfig
from gateway.carriers.pamfax_job import UNPAID_TEXT, Job, made
from gateway.carriers.pamfax_listener import Listener
from gateway.carriers.pamfax_session import Calls, nothing
from gateway.carriers.pamfax_shapes import (
    STATUSES,
    UNPAID,
    Currency,
    Fax,
    Inbox,
    Price,
    Received,
    User,
    e164,
    moment,
    one,
    reason,
    several,
)
from gateway.carriers.pamfax_wire import Answer
from gateway.errors import CarrierRefused, CarrierUnavailable, Outcome, Unsupported
from gateway.fax import AttemptState
from gateway.log import printable

__all__ = ["STATUSES", "PamFax", "PamFaxConfig"]

R = TypeVar("R", Fax, Received)
_log = logging.getLogger(__name__)
_PAGE_SIZE = 100
_MOST_PAGES = 200
_LARGEST = 100_000_000  # bytes of a received fax
_LARGEST_REPORT = 10_000_000  # bytes
_AHEAD = timedelta(days=14) - timedelta(hours=1)  # how far ahead it takes a fax (7.3), and an hour for clocks
_SOON = timedelta(minutes=10)  # what is due sooner could be due before it is handed over
_FORGOTTEN = 300.0  # seconds after which an opened job that nobody sent has ended there (2)


class PamFax(Carrier):
    """The adapter."""

    Config: ClassVar[type[CarrierConfig]] = PamFaxConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cancels=True,
        lists=True,
        receives=True,
        reports=True,
        submit_limit=SUBMIT_LIMIT,
    )
    config: PamFaxConfig

    def __init__(self, tools: Tools, config: PamFaxConfig) -> None:
        super().__init__(tools, config)
        self.capabilities = self.able(config)  # type: ignore[misc]  # it varies
        self._calls = Calls(tools, config.who(), config.time_limit.total_seconds())
        self._listener = Listener(self._calls, config.listen_every.total_seconds())
        self.zone = ZoneInfo(config.timezone)
        self._jobs: dict[str, Job] = {}
        self._files: dict[str, str] = {}
        self._read: set[str] = set()

    @classmethod
    def able(cls, config: CarrierConfig) -> Capabilities:
        assert isinstance(config, PamFaxConfig)
        lag, delays = config.listing_lag.total_seconds(), config.delayed == "carrier"
        return replace(cls.capabilities, listing_lag=lag, reports=config.reports, delays=delays)

    # Faxes going out

    async def open(self, order: Order) -> str:
        """The whole job, ready to be sent; the recipient's uuid. Nothing goes out."""
        if order.sub_address:
            raise Unsupported("This carrier has no field for a sub-address.")
        job = await made(self._calls, self.config, order)
        self._keep(job)
        return job.carrier_ref

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        carrier_ref = carrier_ref or await self.open(order)
        job = self._jobs.pop(carrier_ref, None)
        if job is None:
            raise CarrierUnavailable("This job is not open any more.")
        method = "FaxJob/SendLater" if job.unpaid else "FaxJob/Send"
        await self._calls.send(method, job.session, order.in_time, **self._time(order))
        return Receipt(carrier_ref=carrier_ref)

    def delays(self, until: datetime) -> bool:
        ahead = until - self.tools.now()
        return self.capabilities.delays and _SOON < ahead < _AHEAD and _written(until, self.zone) is not None

    def _time(self, order: Order) -> dict[str, str]:
        """When it is to be sent, on the account's clock (7.3; the zone is named besides). Raises CarrierUnavailable."""
        if order.send_at is None or order.send_at <= self.tools.now():
            return {}
        if (written := _written(order.send_at, self.zone)) is None:
            raise CarrierUnavailable("The account's clock there has that time twice.")
        return {"datetime": written, "send_at_timezone": self.config.timezone}

    def _keep(self, job: Job) -> None:
        self._jobs = {ref: kept for ref, kept in self._jobs.items() if job.at - kept.at < _FORGOTTEN}
        self._jobs[job.carrier_ref] = job

    # What became of it

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        answer = await self._details(carrier_ref)
        return [event(answer, carrier_ref, self.tools.now(), self.zone)]

    async def went_out(self, carrier_ref: str) -> bool:
        answer = await self._details(carrier_ref)
        word = event(answer, carrier_ref, self.tools.now(), self.zone).carrier_code
        if word == UNPAID and self.config.unpaid == "queue":  # before SendLater and after it
            return any(fax.uuid == carrier_ref for fax in await self._pages("FaxHistory/ListUnpaidFaxes", "UnpaidFaxes", Fax))
        return "FaxHistoryModel" in answer.members or word not in _NOT_SENT

    @property
    def listens(self) -> float:
        return self._listener.every

    @property
    def hears(self) -> bool:
        return self._listener.works

    async def changes(self) -> Changes:
        return await self._listener.changes()

    async def report(self, carrier_ref: str) -> bytes:
        content = await self._calls.file("FaxHistory/GetTransmissionReport", _LARGEST_REPORT, uuid=carrier_ref)
        if b"%PDF-" not in content[:1024]:
            raise CarrierRefused("The carrier's report is no PDF.", carrier_code="no PDF")
        return content

    async def _details(self, carrier_ref: str) -> Answer:
        return await self._calls.ask("FaxHistory/GetFaxDetails", _itself, uuid=carrier_ref)

    async def cancel(self, carrier_ref: str) -> bool:
        """Asked for, and then looked whether it has happened: the answer to the wish has no result of its own (6.4)."""
        try:
            await self._calls.ask("FaxJob/Cancel", nothing, uuid=carrier_ref)
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
        return await self._calls.file("Common/GetFile", _LARGEST, file_uuid=self._files[carrier_ref])

    async def forget_inbound(self, carrier_ref: str) -> None:
        """It is marked as read, and stays in the inbox there."""
        if carrier_ref not in self._read:
            await self._calls.ask("FaxHistory/SetFaxRead", nothing, uuid=carrier_ref)
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
        attention=UNPAID_TEXT if word == UNPAID else "",
    )


def _written(at: datetime, zone: ZoneInfo) -> str | None:
    """A time on the clock of a zone, upwards to the second; None where that clock shows it twice (the end of summer time)."""
    local = (at + timedelta(microseconds=999_999)).astimezone(zone).replace(microsecond=0)
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return None if twice else local.strftime("%Y-%m-%d %H:%M:%S")


def _itself(answer: Answer) -> Answer:
    return answer
