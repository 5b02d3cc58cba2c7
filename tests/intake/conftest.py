"""Fixtures: a certificate, and running SMTP doors."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.certificate import self_signed
from gateway.errors import NotAdmitted
from gateway.intake import authentication
from gateway.intake.authentication import Proof, Standing
from gateway.intake.door import MailDoor
from tests.intake.recorder import CORP, NOW, Gateway, Recorder, Start, configured


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


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
