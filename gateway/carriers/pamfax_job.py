"""A job at PamFax: made, looked at and paid for in a session of its own, before anything is sent of it (wire reference, 7.1).

It must have our recipient, as we wrote the number, and our document, by size and MD5. Price and credit are looked at in the
account's currency: pages times the price of a page, or what the job itself says, whichever is more.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal

from gateway.carriers.base import Order
from gateway.carriers.pamfax_config import PamFaxConfig
from gateway.carriers.pamfax_session import Calls, Session, nothing
from gateway.carriers.pamfax_shapes import FAILED_PAGES, UNPAID, Container, File, Price, Recipient, e164, one, several
from gateway.errors import CarrierRefused, CarrierUnavailable, Outcome

UNPAID_TEXT = "The credit of the account there is too low. Buy credit."
_FIRST_LOOK, _LONGEST_LOOK = 0.25, 2.0  # seconds between looks at a job that is being made


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is ready and not sent yet."""

    carrier_ref: str
    """The uuid of its only recipient."""
    session: Session
    unpaid: bool
    """It can only wait for credit there."""
    at: float
    """Loop time."""


async def made(calls: Calls, config: PamFaxConfig, order: Order) -> Job:
    """The whole job, ready to be sent. Nothing goes out. Raises CarrierRefused, CarrierUnavailable."""
    try:
        document = await asyncio.to_thread(order.document.read_bytes)
    except OSError as error:
        raise CarrierUnavailable("The document cannot be read.") from error
    session = await calls.sign_in()
    us = {"user_ip": "127.0.0.1", "user_agent": "Faxgate", "origin": "Faxgate"}
    await calls.on(session, "FaxJob/Create", lambda answer: one(answer, "FaxContainer", Container), **us)
    if order.caller:
        await calls.on(session, "FaxJob/SetSenderDetails", nothing, number=order.caller)
    await calls.on(session, "FaxJob/AddRecipient", nothing, number=order.number)
    await calls.add_file(session, document, order.file_name, order.content_type)
    ready = await _ready(calls, config, session)
    carrier_ref = await _ours(calls, session, order, document)
    cost = await _cost(calls, session, order, ready)
    unpaid = ready.state == UNPAID or _beyond(config, session, cost)
    if config.price_limit is not None and (cost is None or cost > config.price_limit):
        price = "nobody knows what" if cost is None else f"{cost:f}"
        text = f"The fax would cost {price} {session.currency}, and price_limit is {config.price_limit:f}."
        raise CarrierRefused(text, outcome=Outcome.NO_CREDIT, carrier_code="price_limit")
    if unpaid and config.unpaid == "hold":
        raise CarrierRefused(UNPAID_TEXT, outcome=Outcome.NO_CREDIT, carrier_code=UNPAID)
    now = asyncio.get_running_loop().time()
    return Job(carrier_ref=carrier_ref, session=session, unpaid=unpaid, at=now)


async def _ready(calls: Calls, config: PamFaxConfig, session: Session) -> Container:
    """Wait until it is ready (7.2: of a failed conversion only our own door's word is known). Raises CarrierUnavailable."""
    wait, loop = _FIRST_LOOK, asyncio.get_running_loop()
    until = loop.time() + config.ready_limit.total_seconds()
    while True:
        job = await calls.on(session, "FaxJob/GetFaxState", lambda answer: one(answer, "FaxContainer", Container))
        if job.state in ("ready_to_send", UNPAID):
            return job
        if job.state == FAILED_PAGES:
            text = "The carrier cannot make fax pages of the document."
            raise CarrierRefused(text, outcome=Outcome.DOCUMENT_REFUSED, carrier_code=FAILED_PAGES)
        if loop.time() + wait > until:
            raise CarrierUnavailable("The carrier did not make the document ready in time.")
        await asyncio.sleep(wait)
        wait = min(1.5 * wait, _LONGEST_LOOK)


async def _ours(calls: Calls, session: Session, order: Order, document: bytes) -> str:
    """The uuid of the job's only recipient. Raises unless number and document are those of the order."""
    found = await calls.on(session, "FaxJob/ListRecipients", lambda answer: several(answer, "Recipients", Recipient))
    if len(found) != 1 or not re.fullmatch(r"[!-~]{1,80}", found[0].uuid):
        raise CarrierUnavailable("The carrier does not say whom it would call.")
    if e164(found[0].number) != order.number:
        text = "The carrier would call another number than the one that was asked for."
        raise CarrierRefused(text, outcome=Outcome.BAD_NUMBER, carrier_code="another number")
    files = await calls.on(session, "FaxJob/ListFaxFiles", lambda answer: several(answer, "Files", File))
    digest = hashlib.md5(document, usedforsecurity=False).hexdigest()
    if len(files) != 1 or files[0].size not in ("", str(len(document))) or files[0].contentmd5.lower() not in ("", digest):
        raise CarrierUnavailable("The carrier has not got the document as it was sent to it.")
    return found[0].uuid


async def _cost(calls: Calls, session: Session, order: Order, ready: Container) -> Decimal | None:
    """What it will cost, in the account's currency (11); None = nobody says so in that currency."""
    price = await calls.on(
        session, "NumberInfo/GetPagePrice", lambda answer: one(answer, "Price", Price), faxnumber=order.number
    )
    costs = [ready.price] if ready.price is not None and _same(ready.currency, session.currency) else []
    if price.priceperpage is not None and _same(price.currency, session.currency):
        costs.append(price.priceperpage * max(order.pages, ready.pages))
    return max(costs, default=None)


def _beyond(config: PamFaxConfig, session: Session, cost: Decimal | None) -> bool:
    """The credit does not cover it."""
    return not config.postpaid and session.credit is not None and cost is not None and cost > session.credit


def _same(currency: str, account: str) -> bool:
    return not currency or not account or currency.upper() == account.upper()
