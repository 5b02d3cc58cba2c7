"""A running SMTP door with a desk that writes down what it is given."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import config
from gateway.carriers.base import Capabilities
from gateway.desk.admission import Admission
from gateway.desk.identity import Identity as RealIdentity
from gateway.errors import GatewayError
from gateway.fax import Account, AccountId, Envelope, Recipient, SubmissionId
from gateway.intake.smtp import SmtpDoor

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


@dataclass
class Recorder:
    """A desk that stores in memory, and can be told to fail or to take its time."""

    taken: list[Taken] = field(default_factory=list)
    fault: Exception | None = None
    identity_fault: GatewayError | None = None
    gate: asyncio.Event | None = None
    begun: int = 0
    admission: Admission = field(default_factory=lambda: Admission({"main": Capabilities()}))

    async def admit(self, account: Account, recipient: Recipient) -> None:
        self.admission.check(account, recipient, "main")

    async def submit(
        self, account: Account, envelope: Envelope, recipients: Sequence[Recipient], *, trace: bytes, content: bytes
    ) -> SubmissionId:
        await self._work()
        self.taken.append(Taken(account, envelope, tuple(recipients), (), trace, content))
        return SubmissionId(f"sub_{len(self.taken)}")

    async def for_operator(self, envelope: Envelope, recipients: Sequence[str], *, trace: bytes, content: bytes) -> None:
        await self._work()
        self.taken.append(Taken(None, envelope, (), tuple(recipients), trace, content))

    async def _work(self) -> None:
        self.begun += 1
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault

    async def by_password(self, login: str, password: str) -> Account | None:
        if self.identity_fault:
            raise self.identity_fault
        known, account = PASSWORDS.get(login, ("", None))
        return account if account and known == password else None

    async def by_network(self, sender: str, client: str) -> Account | None:
        if self.identity_fault:
            raise self.identity_fault
        return CORP if client == "127.0.0.1" and self.owns(CORP, sender) else None

    @staticmethod
    def owns(account: Account, address: str) -> bool:
        return RealIdentity.owns(account, address)


@dataclass
class Gateway:
    """The door and what is behind it."""

    door: SmtpDoor
    desk: Recorder

    @property
    def port(self) -> int:
        return self.door.addresses[0][1]


Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8, clear = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, clear))
    return folder / "cert.pem", folder / "key.pem"


def configured(smtp: dict[str, Any]) -> config.Config:
    return config.parse(
        {
            "domain": ["fax.example", "[192.0.2.10]"],
            "hostname": "gw.fax.example",
            "region": "US",
            "spool": "/nowhere",
            "mail": {"from": "fax@fax.example", "operator": "op@corp.example"},
            "work": {"drain": "2s"},
            "smtp": {"listen": ["127.0.0.1:0"], **smtp},
        },
        "gateway.toml",
    )


@pytest.fixture
async def start(certificate: tuple[Path, Path]) -> AsyncIterator[Start]:
    """Starts doors: `await start(tls=True, max_size="100kB")`."""
    running: list[SmtpDoor] = []

    async def begin(*, tls: bool = False, **smtp: Any) -> Gateway:
        if tls:
            smtp |= {"tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}
        desk = Recorder()
        door = SmtpDoor(configured(smtp), identity=desk, desk=desk, now=lambda: NOW)
        await door.start()
        running.append(door)
        return Gateway(door, desk)

    yield begin
    for door in running:
        await door.stop()
