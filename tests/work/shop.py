"""A workshop over a real spool, with a carrier whose far end does what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from gateway.carriers.base import Capabilities, Carrier, CarrierConfig, Event, Listed, Order, Receipt, Tools
from gateway.config import parse
from gateway.desk.approval import Links
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.notary import Notary
from gateway.desk.prices import Prices
from gateway.desk.replies import Replies
from gateway.desk.statements import Statements
from gateway.desk.views import Views
from gateway.errors import CallbackNotTaken, CarrierRefused, CarrierUncertain, Outcome
from gateway.fax import Account, AttemptState, InboundFax, Sha256, Transmission, TransmissionId
from gateway.pages.fence import Fence
from gateway.report.compose import Composer, Sender
from gateway.spool import schema, steps, submissions, transmissions
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.work.loop import Loop
from gateway.work.post import Post
from gateway.work.workshop import Workshop
from tests.spool import values

A = AttemptState
#: What a call at the far end may become, and what that means.
ENDS = {
    "sending": (A.SUBMITTED, None),
    "delivered": (A.DELIVERED, Outcome.DELIVERED),
    "busy": (A.FAILED, Outcome.BUSY),
    "disconnected": (A.FAILED, Outcome.DISCONNECTED),
    "cancelled": (A.CANCELLED, Outcome.CANCELLED),
}
SETTINGS = {
    "domain": "fax.example.com",
    "region": "US",
    "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
    "carrier": {"main": {"kind": "loopback"}},
}


@dataclass(slots=True)
class FarCall:
    """One call that the far end took."""

    ref: str
    reference: str
    number: str
    status: str = "sending"


@dataclass(slots=True)
class FarEnd:
    """What is beyond the gateway; survives its restarts."""

    calls: list[FarCall] = field(default_factory=list)
    listed: bool = True
    """Whether a call can be found by our reference."""
    listing: list[Listed] = field(default_factory=list)
    """What the carrier lists, where it keeps no reference of ours."""

    def take(self, order: Order) -> FarCall:
        call = FarCall(ref=f"far-{len(self.calls) + 1}", reference=order.reference, number=order.number)
        self.calls.append(call)
        return call

    def to(self, number: str) -> list[FarCall]:
        return [call for call in self.calls if call.number == number]


Behaviour = Callable[[Order], Awaitable[Receipt]]


class Scripted(Carrier):
    """Does what `behaviour` says when a fax is handed over; everything else is answered from the far end."""

    capabilities = Capabilities(cancels=True, finds=True, absence_proves_unsent=True, polls=True, submit_limit=60.0)

    def __init__(self, tools: Tools, far: FarEnd, capabilities: Capabilities | None = None) -> None:
        super().__init__(tools, CarrierConfig(kind="loopback", calls=1000))
        self.far = far
        self.behaviour: Behaviour = self.takes
        self.asked: list[str] = []
        self.held: list[str] | None = None
        if capabilities is not None:
            self.capabilities = capabilities  # type: ignore[misc]  # one class, many carriers

    async def takes(self, order: Order) -> Receipt:
        return Receipt(carrier_ref=self.far.take(order).ref)

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        return await self.behaviour(order)

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        self.asked.append(carrier_ref)
        found = next((call for call in self.far.calls if call.ref == carrier_ref), None)
        if found is None:
            raise CarrierRefused("No such fax.")
        return [said(found, self.tools.now())]

    async def find(self, reference: str) -> Receipt | None:
        if not self.capabilities.finds:
            return await super().find(reference)
        self.asked.append(reference)
        found = next((call for call in self.far.calls if call.reference == reference), None)
        return Receipt(carrier_ref=found.ref) if found and self.far.listed else None

    async def listing(self, since: datetime) -> Sequence[Listed]:
        if not self.capabilities.lists:
            return await super().listing(since)
        return [one for one in self.far.listing if one.submitted_at >= since]

    async def own_lines(self) -> Sequence[str]:
        return self.held if self.held is not None else await super().own_lines()

    async def cancel(self, carrier_ref: str) -> bool:
        found = next(call for call in self.far.calls if call.ref == carrier_ref)
        if found.status == "sending":
            found.status = "cancelled"
        return found.status == "cancelled"


def said(call: FarCall, at: datetime, status: str = "") -> Event:
    """What the carrier says about a call, now or at an earlier status of it."""
    status = status or call.status
    state, outcome = ENDS[status]
    pages = 2 if status == "delivered" else 0
    return Event(
        key=f"{call.ref}:{status}", carrier_ref=call.ref, reference=call.reference, state=state, outcome=outcome,
        pages_sent=pages, at=at,
    )  # fmt: skip


async def lost(order: Order) -> Receipt:
    """The request never got there, which nobody knows."""
    raise CarrierUncertain


@dataclass(slots=True)
class Program:
    """The program of an account, called by `Workshop.notifier`: it says what `answers` has, and 200 in the end."""

    answers: list[int] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    """Id of the fax, and what came with it."""

    async def sent(self, account: Account, transmission: Transmission) -> str:
        return self._answer(transmission.id, b"")

    async def received(self, account: Account, inbound: InboundFax, pdf: bytes) -> str:
        return self._answer(inbound.id, pdf)

    def _answer(self, fax: str, pdf: bytes) -> str:
        self.calls.append((fax, pdf))
        status = self.answers.pop(0) if self.answers else 200
        if status != 200:
            raise CallbackNotTaken(f"POST https://program.example/fax answered {status}")
        return "POST https://program.example/fax answered 200"


class House:
    """One process of the gateway: store, documents, the carrier `main`, and a loop that a test turns by hand."""

    def __init__(
        self, folder: Path, now: Callable[[], datetime], far: FarEnd, *, url: str = "", node: str = "here",
        capabilities: Capabilities | None = None, settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.now, self.far = folder, now, far
        self.store = Store(folder, url, now=now, node=node)
        self.documents = Documents(folder / "documents")
        self.identity = Identity(self.store)
        self.statements = Statements(self.store, self.documents)
        self.client = httpx.AsyncClient(trust_env=False)
        self.carrier = Scripted(self._tools(), far, capabilities)
        self.program = Program()
        templates = Templates()
        config = parse({**SETTINGS, "spool": str(folder), **(settings or {})}, "gateway.toml")
        self.shop = Workshop(
            config=config,
            store=self.store,
            documents=self.documents,
            identity=self.identity,
            limits=Limits(config, Prices(config)),
            links=Links(bytes(32), "https://x.example"),
            views=Views(bytes(32), "https://x.example"),
            notary=Notary(self.store, bytes(32)),
            replies=Replies(lambda: bytes(32), "x.example", timedelta(days=30)),
            statements=self.statements,
            carriers={"main": self.carrier},
            fence=Fence(memory=10**9, time_limit=10.0, folder=folder),
            composer=Composer(
                templates,
                Sender(address="fax@x.example", operator="o@x.example", host="x.example", domain="x.example", zone="UTC"),
            ),
            templates=templates,
            notifier=self.program,
            retry=config.retry.schedule(),
            post=Post(config),
            bounces=Bounces(lambda: bytes(32), "x.example"),
            dice=random.Random(1),
        )
        self.loop = Loop(self.shop)

    def _tools(self) -> Tools:
        async def lines() -> Sequence[str]:
            return ()

        async def rasterise(pdf: bytes) -> bytes:
            return pdf

        return Tools(
            name="main", now=self.now, http=self.client, folder=self.folder / "main", callback_url="", lines=lines,
            rasterise=rasterise,
        )  # fmt: skip

    async def open(self) -> None:
        self.store.open()
        self.store.start()
        await asyncio.to_thread(self.documents.open, alone=self.store.embedded)
        if self.store.embedded:
            await self.store.write(steps.free_all)

    async def close(self) -> None:
        await self.shop.post.close()
        self.identity.close()
        self.documents.close()
        await self.client.aclose()
        await self.store.close()

    async def fax(self, number: str = values.NUMBER, carrier: str = "main") -> TransmissionId:
        """A fax whose pages are made."""
        document = await self.documents.put(b"%PDF-1.7 " + number.encode())
        accepted = await self.store.write(
            submissions.accept, values.submission(), [replace(values.call(number), carrier=carrier)]
        )
        for claim in await self.store.write(steps.claim, steps.CONVERT, 1, 60.0, steps.uptime()):
            await self.store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=2, manifest="[]")
        return accepted.transmissions[0]

    async def work(self) -> int:
        """Do every step to one carrier that is due now, once; how many there were. As the loop does it."""
        claims = await self.loop._claim(values.LANE, 100)
        for claim in claims:
            await self.loop._step(claim, None)
        return len(claims)

    async def mail(self) -> int:
        """Do every mail that is due now, once; how many there were."""
        claims = await self.loop._claim(steps.MAIL, 100)
        for claim in claims:
            await self.loop._step(claim, None)
        return len(claims)

    async def say(self, call: FarCall, status: str = "") -> None:
        """The carrier calls back."""
        await self.statements.keep("main", [said(call, self.now(), status)])

    async def owed(self, kind: str, transmission: TransmissionId) -> int:
        about = schema.outbox.c.about.startswith(transmission)
        rows = await self.store.read(
            lambda db: db.execute(select(schema.outbox.c.id).where(schema.outbox.c.kind == kind, about)).all()
        )
        return len(rows)

    async def never_wait(self) -> None:
        """A locked database is a fault at once."""
        await self.store.write(lambda t: t.db.exec_driver_sql("PRAGMA busy_timeout=0").close())

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """The database cannot be written meanwhile."""
        other = sqlite3.connect(self.folder / "faxgate.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


MINUTE = timedelta(minutes=1)
