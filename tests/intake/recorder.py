"""A desk that writes down what it is given, and the configuration of a door before it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway import config
from gateway.carriers.base import Capabilities
from gateway.desk.admission import Admission
from gateway.desk.identity import Identity as RealIdentity
from gateway.errors import GatewayError, OverLimit
from gateway.fax import Account, AccountId, Envelope, Recipient, SubmissionId
from gateway.intake.door import MailDoor
from gateway.message import Octets
from gateway.spool.commit import Transaction

NOW = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)
CORP = Account(
    id=AccountId("acc_corp"),
    name="corp",
    login="ann",
    senders=("*@corp.example",),
    networks=("127.0.0.0/8",),
    countries=("US", "CA", "GB"),
)
ROAD = Account(id=AccountId("acc_road"), name="road", login="rob", senders=("rob@road.example",), countries=("US",))
PASSWORDS = {"ann": ("ann's password", CORP), "rob": ("rob's password", ROAD)}


@dataclass
class Taken:
    """One mail the desk was given."""

    account: Account | None
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    specials: tuple[str, ...]
    trace: bytes
    content: bytes
    not_before: dt.datetime | None = None


@dataclass
class Recorder:
    """A desk that stores in memory, and can be told to fail or to take its time."""

    taken: list[Taken] = field(default_factory=list)
    fault: Exception | None = None
    identity_fault: GatewayError | None = None
    gate: asyncio.Event | None = None
    begun: int = 0
    not_admitted: GatewayError | None = None
    """Why nobody is admitted."""
    full: set[str] = field(default_factory=set)
    """Numbers that the accept transaction refuses."""
    admission: Admission = field(default_factory=lambda: Admission({"main": Capabilities()}))

    async def admit(self, account: Account, recipient: Recipient, earlier: int = 0, *, caller: str = "") -> None:
        self.admission.check(account, recipient, "main")
        if self.not_admitted:
            raise self.not_admitted

    async def submit(
        self,
        account: Account,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        *,
        trace: bytes,
        content: Octets,
        not_before: dt.datetime | None = None,
        fingerprint: str = "",
        before: Callable[[Transaction], None] | None = None,
        caller: str = "",
    ) -> SubmissionId:
        await self._work()
        if bad := [recipient for recipient in recipients if recipient.number in self.full]:
            raise OverLimit(f"No more faxes to {bad[0].number} today.")
        self.taken.append(Taken(account, envelope, tuple(recipients), (), trace, bytes(content), not_before))
        return SubmissionId(f"sub_{len(self.taken)}")

    def is_bounce(self, address: str) -> bool:
        return "bounce+in_" in address

    async def for_operator(self, envelope: Envelope, recipients: Sequence[str], *, trace: bytes, content: Octets) -> None:
        await self._work()
        self.taken.append(Taken(None, envelope, (), tuple(recipients), trace, bytes(content)))

    async def _work(self) -> None:
        self.begun += 1
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault

    async def by_password(self, client: str, login: str, password: str) -> Account | None:
        if self.identity_fault:
            raise self.identity_fault
        known, account = PASSWORDS.get(login, ("", None))
        return account if account and known == password else None

    async def by_id(self, identity: str) -> Account | None:
        return next((account for _, account in PASSWORDS.values() if account.id == identity), None)

    async def by_network(self, sender: str, client: str) -> Account | None:
        if self.identity_fault:
            raise self.identity_fault
        return CORP if client == "127.0.0.1" and self.owns(CORP, sender) else None

    async def by_author(self, sender: str) -> Account | None:
        return next((account for _, account in PASSWORDS.values() if account.dmarc and self.owns(account, sender)), None)

    @staticmethod
    def owns(account: Account, address: str, *, provably: bool = False) -> bool:
        return RealIdentity.owns(account, address, provably=provably)


@dataclass
class Gateway:
    """The door and what is behind it."""

    door: MailDoor
    desk: Recorder

    @property
    def port(self) -> int:
        return self.door.addresses()[0][1]


Start = Callable[..., Awaitable[Gateway]]


def configured(smtp: dict[str, Any], **sections: Any) -> config.Config:
    return config.parse(
        {
            "domain": ["fax.example", "[192.0.2.10]"],
            "hostname": "gw.fax.example",
            "region": "US",
            "spool": "/nowhere",
            "mail": {"from": "fax@fax.example", "operator": "op@corp.example"},
            "work": {"drain": "2s"},
            "smtp": {"listen": ["127.0.0.1:0"], **smtp},
            **sections,
        },
        "gateway.toml",
    )
