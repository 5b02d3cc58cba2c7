"""The sandbox: a gateway on the loopback network with the PamFax and HelloFax doors open, on this machine only.

One account with credit, two lines, a received fax and a sent one, an application for the PamFax door; random delivery errors
where they are wanted, the same for the same seed. Everything is in a folder that goes when it stops; mail that it sends
is only kept there until then.

The PamFax API stands at the root of two listeners: one speaks TLS with a certificate made at the start, which programs that
insist on HTTPS are given as an authority; the other one plain HTTP. Its line for programs names the second, because whoever
only reads that line could not verify the certificate, unless `tls` asks for the first.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP

from gateway import config
from gateway.carriers.loopback import Loopback
from gateway.certificate import self_signed
from gateway.config import Config
from gateway.daemon import Service
from gateway.demo import Sink, free_port
from gateway.desk.ledger import Ledger
from gateway.errors import Unavailable
from gateway.fax import Door, Envelope, InboundState, Recipient
from gateway.lifecycle import FINAL
from gateway.sections import Http
from gateway.spool import inbounds, queries
from gateway.web.app import WebDoor
from gateway.web.sandbox import sample_page

LOGIN = "sandbox@example.com"
LINES = ("+14155550100", "+14155550101")
_CREDIT = 100_000_000  # micro-EUR
_PATIENCE = 60.0  # seconds
_FIRST = "+14155550123"
_COUNTRIES = ["US", "CA", "DE", "AT", "CH", "GB", "IE", "FR", "IT", "ES", "NL", "BE", "SE", "DK", "NO", "PL", "AU", "NZ", "JP"]
_ARRIVED = (InboundState.FETCHED, InboundState.MAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked of it."""

    error_rate: float = 0.0
    """Share of calls that fail at random."""
    seed: int | None = None
    http: int = 0
    """Port of the HelloFax door and the page; 0 = a free one."""
    pamfax: int = 0
    pamfax_tls: int = 0
    smtp: int = 0
    tls: bool = False
    """The PamFax URL that is told first is that over TLS."""
    certificate: Path | None = None
    """A file that gets the certificate, too."""
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made anew for each sandbox."""

    key: str
    word: str
    password: str


async def run(wishes: Wishes, say: Callable[[str], None]) -> None:
    """Run until a signal says stop. Raises Unavailable, ConfigError, OSError."""
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    known = Secrets(key=secrets.token_hex(8), word=secrets.token_hex(16), password=secrets.token_hex(8))
    with tempfile.TemporaryDirectory(prefix="faxgate-sandbox-") as name:
        folder = Path(name)
        mail_port = free_port()
        sink = Sink(folder=folder, say=lambda _text: None)
        listening = await asyncio.get_running_loop().create_server(lambda: SMTP(sink), "127.0.0.1", mail_port)
        service = Service(settings_for(folder, wishes, known, mail_port=mail_port), sandbox=True)
        over_tls: WebDoor | None = None
        try:
            await service.start()
            over_tls = await _over_tls(service, wishes, folder)
            await _furnish(service)
            facts = await _facts(service, known, over_tls if wishes.tls else None)
            certificate = wishes.certificate or folder / "certificate.pem"
            story = _story(facts, service.config, over_tls, certificate)
            for line in [json.dumps(facts)] if wishes.as_json else story:
                say(line)
            await stop.wait()
        finally:
            if over_tls:
                await over_tls.stop()
            await service.stop()
            listening.close()
            await listening.wait_closed()


def settings_for(folder: Path, wishes: Wishes, known: Secrets, *, mail_port: int) -> Config:
    """The configuration of the sandbox, as a file would give it; its secret stands in `folder`."""
    (folder / "word").write_text(known.word)
    return config.parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "spool": str(folder / "spool"),
            "smtp": {"listen": [f"127.0.0.1:{wishes.smtp or free_port()}"]},
            "http": {"listen": f"127.0.0.1:{wishes.http or free_port()}", "callback_networks": ["127.0.0.0/8"]},
            "mail": {
                "smarthost": f"smtp://127.0.0.1:{mail_port}",
                "from": "fax@fax.example.com",
                "operator": "operator@example.com",
            },
            "door": {
                "hellofax": {},
                "pamfax": {
                    "listen": f"127.0.0.1:{wishes.pamfax or free_port()}",
                    "application": [{"key": known.key, "secret_file": str(folder / "word"), "name": "sandbox"}],
                },
            },
            "currencies": {"USD": "0.92", "GBP": "1.15", "CHF": "1.05"},
            "account": [
                {
                    "name": "sandbox",
                    "login": LOGIN,
                    "password": known.password,
                    "senders": ["*@example.com"],
                    "networks": ["127.0.0.0/8", "::1/128"],
                    "countries": _COUNTRIES,
                    "keep_documents": True,
                    "prepaid": True,
                }
            ],
            "line": [{"number": line, "account": "sandbox", "carrier": "main", "mailbox": [LOGIN]} for line in LINES],
            "carrier": {
                "main": {
                    "kind": "loopback",
                    "error_rate": wishes.error_rate,
                    **({} if wishes.seed is None else {"seed": wishes.seed}),
                }
            },
            "retry": {"busy": ["1s", "2s"], "no_answer": ["1s"], "line_trouble": ["1s"]},
            "work": {"poll": "1s"},
        },
        "the sandbox",
    )


async def _over_tls(service: Service, wishes: Wishes, folder: Path) -> WebDoor:
    """The PamFax API over TLS. Raises OSError."""
    assert service.pamfax is not None
    certificate, key = self_signed(folder)
    if wishes.certificate is not None:
        wishes.certificate.write_bytes(certificate.read_bytes())
    door = Http(listen=f"127.0.0.1:{wishes.pamfax_tls or free_port()}")
    web = WebDoor(door, service.pamfax.routes(""), house=False, tls=(certificate, key))
    await web.start()
    return web


async def _furnish(service: Service) -> None:
    """Credit, a fax in the inbox, and one that was sent."""
    account = await service.identity.by_name("sandbox")
    network = service.carriers["main"]
    assert account is not None
    assert isinstance(network, Loopback)
    await Ledger(service.store).credit(account.id, _CREDIT, "to begin with", about="sandbox")
    await network.receive(LINES[0], "+12125550199", sample_page(LINES[0]), "SANDBOX")
    mail = f"From: {LOGIN}\r\nTo: {_FIRST}@fax.example.com\r\nSubject: A first fax\r\n\r\nSent when the sandbox began.\r\n"
    envelope, recipient = Envelope(door=Door.COMMAND, sender=LOGIN), Recipient(written=_FIRST, number=_FIRST)
    await service.desk.submit(account, envelope, [recipient], trace=b"", content=mail.encode())
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        faxes = await service.store.read(queries.page)
        received = await service.store.read(inbounds.page)
        if (
            all(fax.state in FINAL or fax.attempts for fax in faxes)
            and all(fax.state in _ARRIVED for fax in received)
            and received
        ):
            return
        await asyncio.sleep(0.05)
    raise Unavailable("The sandbox did not get ready in time.")


async def _facts(service: Service, known: Secrets, over_tls: WebDoor | None) -> dict[str, object]:
    """Where the doors are, and how to come in; the PamFax door over TLS where that is wanted."""
    account = await service.identity.by_name("sandbox")
    door = service.config.door.pamfax
    assert account is not None
    assert door is not None
    who = {"username": LOGIN, "password": known.password}
    return {
        "pamfax": {
            "url": _url(over_tls) if over_tls else f"http://{door.listen}",
            "apikey": known.key,
            "apisecret": known.word,
            **who,
        },
        "hellofax": {"url": f"http://{service.config.http.listen}/v1", "guid": account.guid, **who},
        "smtp": "{}:{}".format(*service.mail.addresses()[0]),
    }


def _url(over_tls: WebDoor) -> str:
    return "https://{}:{}".format(*over_tls.address)


def _story(facts: dict[str, object], settings: Config, over_tls: WebDoor, certificate: Path) -> list[str]:
    """The same for people, with lines to try."""
    pamfax, hellofax = facts["pamfax"], facts["hellofax"]
    assert isinstance(pamfax, dict)
    assert isinstance(hellofax, dict)
    door = settings.door.pamfax
    assert door is not None
    page = f"http://{settings.http.listen}/sandbox"
    below, faxes = page.removesuffix("/sandbox"), f"{hellofax['url']}/Accounts/{hellofax['guid']}/Transmissions"
    proof = f"apikey={pamfax['apikey']}&apisecret={pamfax['apisecret']}"
    sign_in = f"{hellofax['username']}:{hellofax['password']}"
    return [
        f"The sandbox runs. Account {LOGIN}, password {pamfax['password']}, 100 EUR, lines {', '.join(LINES)}. Ctrl-C ends it.",
        f"PamFax    {_url(over_tls)}  key {pamfax['apikey']}, secret {pamfax['apisecret']}",
        f"  curl --cacert {certificate} '{_url(over_tls)}/Session/VerifyUser' \\",
        f"    -d '{proof}&username={LOGIN}&password={pamfax['password']}'",
        f"  without TLS: http://{door.listen}, also {below}/pamfax",
        f"HelloFax  {hellofax['url']}  GUID {hellofax['guid']}",
        f"  curl -u '{sign_in}' -F To=+14155550123 -F file=@letter.pdf {faxes}",
        f"Mail      {facts['smtp']}, to NUMBER@{settings.domain[0]}, from anybody@example.com",
        f"A fax comes in: {page}, or",
        f"  curl -F line={LINES[0]} -F file=@letter.pdf {page}",
        f"  faxgate inject {page} letter.pdf",
    ]
