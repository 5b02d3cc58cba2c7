"""Fixtures: a certificate, and running SMTP doors."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import NotAdmitted
from gateway.intake import authentication
from gateway.intake.authentication import Proof, Standing
from gateway.intake.door import MailDoor
from tests.intake.recorder import CORP, NOW, Gateway, Recorder, Start, configured


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


@pytest.fixture
async def start(certificate: tuple[Path, Path]) -> AsyncIterator[Start]:
    """Starts doors: `await start(tls=True, lmtp=["127.0.0.1:0"], max_size="100kB")`."""
    running: list[MailDoor] = []

    async def begin(*, tls: bool = False, lmtp: tuple[str, ...] = (), **smtp: Any) -> Gateway:
        if tls:
            smtp |= {"tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}
        desk = Recorder()
        settings = configured(smtp, lmtp={"listen": list(lmtp)})
        door = MailDoor(settings, identity=desk, throttle=desk, desk=desk, now=lambda: NOW)
        await door.start()
        running.append(door)
        return Gateway(door, desk)

    yield begin
    for door in running:
        await door.stop()


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sender is who it says: what LMTP hands over is proven by the mail itself, which is not what is tested here."""

    async def standing(_identity: object, _client: object, sender: str, **_more: object) -> Standing:
        if not sender.endswith("@corp.example"):
            raise NotAdmitted("This sender may not fax.")
        return Standing(CORP, Proof.NETWORK)

    monkeypatch.setattr(authentication, "standing", standing)


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a client needs that believes the certificate."""
    return ssl.create_default_context(cafile=certificate[0])
