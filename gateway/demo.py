"""The demo: a gateway, a mail sink and the loopback network in one process, on free loopback ports.

A real mail with a PDF, a photo and a UTF-8 body goes by SMTP to three numbers: one delivers, one is busy twice and then
delivers, one is our own line, so that it comes back as a received fax. Everything is left in a folder: the faxes as PDF,
their pages as images, every mail that was received.
"""

from __future__ import annotations

import asyncio
import email
import email.message
import email.policy
import email.utils
import shutil
import signal
import smtplib
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from rich.markup import escape

from gateway import config
from gateway.config import Config
from gateway.daemon import Service
from gateway.errors import Unavailable
from gateway.fax import Transmission, TransmissionState
from gateway.lifecycle import FINAL
from gateway.spool import inbounds, queries

Say = Callable[[str], None]
DELIVERS, BUSY_TWICE, OWN_LINE = "+14155550123", "+14155550117", "+14155550100"
_PATIENCE = 50.0  # seconds
_SENDER = "ann@example.com"


@dataclass(slots=True)
class Sink:
    """A mail server that keeps what it gets."""

    folder: Path
    say: Say
    mails: list[email.message.Message] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        mail = email.message_from_bytes(content, policy=email.policy.default)
        self.mails.append(mail)
        (self.folder / f"mail-{len(self.mails)}.eml").write_bytes(content)
        self.say(f"  mail for {_plain(', '.join(envelope.rcpt_tos))}: [bold]{_plain(mail['Subject'])}[/]")
        return "250 2.0.0 kept"


async def run(out: Path, *, keep: bool, say: Say) -> None:
    """Show it. Raises Unavailable if it has not ended in time."""
    began = time.monotonic()
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="faxgate-demo-") as spool:
        settings = settings_for(Path(spool), mail_port=free_port())
        sink = Sink(folder=out, say=say)
        host, port = settings.mail.smarthost[0].removeprefix("smtp://").split(":")
        listening = await asyncio.get_running_loop().create_server(lambda: SMTP(sink, hostname="sink.example"), host, int(port))
        service = Service(settings)
        try:
            await service.start()
            mail_host, mail_port = service.mail.addresses()[0]
            say(f"The gateway listens for mail at {mail_host}:{mail_port}.")
            mail = sample_mail(settings.domain[0])
            await asyncio.to_thread(_hand_in, mail, mail_host, mail_port)
            say(f"One mail with a PDF, a photo and a UTF-8 body was accepted for three numbers: “{_plain(mail['Subject'])}”.")
            faxes = await _watch(service, sink, say)
            await _leave(service, faxes, out)
            _tell_story(faxes, sink, out, time.monotonic() - began, say)
            if keep:
                await _stay(service, mail_host, mail_port, say)
        finally:
            await service.stop()
            listening.close()
            await listening.wait_closed()


def settings_for(spool: Path, *, mail_port: int) -> Config:
    """The configuration of the demo, as a file would give it."""
    return config.parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "zone": "America/Los_Angeles",
            "spool": str(spool),
            "smtp": {"listen": ["127.0.0.1:0"]},
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "mail": {
                "smarthost": f"smtp://127.0.0.1:{mail_port}",
                "from": "fax@fax.example.com",
                "operator": "fax-admin@example.com",
            },
            "account": [
                {"name": "office", "senders": ["*@example.com"], "networks": ["127.0.0.0/8", "::1/128"], "countries": ["US"]}
            ],
            "line": [{"number": OWN_LINE, "account": "office", "carrier": "main", "mailbox": ["office@example.com"]}],
            "carrier": {"main": {"kind": "loopback", "call_time": "1s", "page_time": "0.3s"}},
            "retry": {"busy": ["3s", "4s", "5s"]},
        },
        "the demo",
    )


def sample_mail(domain: str) -> email.message.EmailMessage:
    """A mail with a PDF, a photo and a UTF-8 body for the three numbers."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["From"] = "Ann Doe <ann@example.com>"
    mail["To"] = ", ".join(f"{number}@{domain}" for number in (DELIVERS, BUSY_TWICE, OWN_LINE))
    mail["Subject"] = "Grüße: the signed contract and a photo of the site"
    mail["Date"], mail["Message-ID"] = email.utils.localtime(), email.utils.make_msgid(domain="example.com")
    mail.set_content(
        "Dear Mr Collins,\n\nhere is the contract, signed, and a photo of the building site.\n"
        "Viele Grüße — Χαιρετισμούς — С уважением\n\nAnn Doe\n"
    )
    mail.add_attachment(_contract(), maintype="application", subtype="pdf", filename="contract.pdf")
    mail.add_attachment(_photo(), maintype="image", subtype="jpeg", filename="site.jpg")
    return mail


def _contract() -> bytes:
    """Two pages of PDF."""
    import io

    from reportlab.lib.pagesizes import LETTER
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, pagesize=LETTER, invariant=True)
    clauses = ("Subject of the contract", "Price and payment", "Delivery", "Warranty", "Place of jurisdiction", "Signatures")
    for page in (1, 2):
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawString(72, 700, f"Contract, page {page} of 2")
        for n, clause in enumerate(clauses[(page - 1) * 3 : page * 3]):
            canvas.setFont("Helvetica-Bold", 13)
            canvas.drawString(72, 640 - 170 * n, f"§ {(page - 1) * 3 + n + 1}  {clause}")
            canvas.setFont("Helvetica", 11)
            for line in range(6):
                canvas.drawString(
                    72, 618 - 170 * n - 16 * line, "The parties agree on what is written here, and on nothing else. "
                )
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _photo() -> bytes:
    """A drawn landscape with soft tones, as JPEG."""
    import io

    from PIL import Image, ImageDraw, ImageFilter

    sky = Image.linear_gradient("L").resize((1200, 800)).rotate(180)
    picture = Image.merge("RGB", (sky.point(lambda v: v * 0.6), sky.point(lambda v: v * 0.8), sky))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((880, 80, 1040, 240), fill=(255, 240, 190))
    draw.polygon([(0, 620), (300, 330), (560, 600), (820, 380), (1200, 640), (1200, 800), (0, 800)], fill=(70, 95, 80))
    draw.rectangle((420, 480, 640, 720), fill=(150, 120, 100))
    draw.polygon([(400, 480), (530, 380), (660, 480)], fill=(110, 60, 50))
    out = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(1.2)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _hand_in(mail: email.message.EmailMessage, host: str, port: int) -> None:
    with smtplib.SMTP(host, port) as client:
        client.send_message(mail, from_addr=_SENDER)


async def _watch(service: Service, sink: Sink, say: Say) -> list[Transmission]:
    """Tell every change, until all faxes have ended and all mails have arrived."""
    until, known = time.monotonic() + _PATIENCE, dict[str, str]()
    while time.monotonic() < until:
        faxes = sorted(await service.store.read(queries.page), key=lambda fax: fax.number)
        for fax in faxes:
            why = "" if fax.state is TransmissionState.SENDING else (fax.outcome or "").replace("_", " ")
            now = f"{fax.state} ({why})" if why and why != fax.state.value else str(fax.state)
            if known.get(fax.id) != now:
                known[fax.id] = now
                again = ", will dial again" if fax.state is TransmissionState.DEFERRED else ""
                pages = f", {fax.pages} pages" if fax.pages else ""
                say(f"  fax to {fax.number}: {now}{pages}{again}")
        # Three reports, and the mail with the fax that arrived on our own line.
        if all(fax.state in FINAL for fax in faxes) and len(sink.mails) >= len(faxes) + 1:
            return faxes
        await asyncio.sleep(0.1)
    raise Unavailable("The demo did not end in time; the lines above show where it stood.")


async def _leave(service: Service, faxes: list[Transmission], out: Path) -> None:
    """Each fax as PDF and as page images; the received one as it was printed."""
    sources = [(f"fax-to-{fax.number.lstrip('+')}", fax.document) for fax in faxes]
    sources += [(f"received-on-{fax.line.lstrip('+')}", fax.document) for fax in await service.store.read(inbounds.page)]
    for name, document in sources:
        if document is None:
            continue
        async with service.documents.local(document) as source:
            await asyncio.to_thread(shutil.copyfile, source, out / f"{name}.pdf")
            images = await service.fence.run("gateway.pages.raster:page_pngs", source)
        assert isinstance(images, list)
        for n, image in enumerate(images, 1):
            (out / f"{name}-page-{n}.png").write_bytes(image)


def _tell_story(faxes: list[Transmission], sink: Sink, out: Path, seconds: float, say: Say) -> None:
    by_number = {fax.number: fax for fax in faxes}
    busy, own = by_number[BUSY_TWICE], by_number[OWN_LINE]
    say("")
    say(f"[bold]What happened, in {seconds:.0f} seconds[/]")
    say(f"One mail became {len(faxes)} faxes of {own.pages} pages: a cover page, the contract, the photo.")
    say(f"{DELIVERS} took it at the first call.")
    say(f"{BUSY_TWICE} was busy twice and took it at call {busy.attempts}.")
    say(f"{OWN_LINE} is our own line: the fax came back in as a mail to office@example.com.")
    say(f"{len(sink.mails)} mails were received: a report for each fax, and the received one.")
    say(f"Look at [bold]{out}/[/]: the faxes as PDF, every page as PNG, every mail as .eml.")


async def _stay(service: Service, host: str, port: int, say: Say) -> None:
    say("")
    say("It keeps running; Ctrl-C ends it. Send a mail of your own, for example:")
    say(f"  curl smtp://{host}:{port} --mail-from {_SENDER} --mail-rcpt 14155550123@fax.example.com --crlf -T mail.eml")
    say("(--crlf: a mail's lines end in CR and LF; leave it out for a file whose lines do already.)")
    say(f"Health and metrics: http://{service.config.http.listen}/healthz, /readyz, /metrics")
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await stop.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _plain(text: object) -> str:
    """Text of a mail for the terminal: no markup and no control characters of its own."""
    return escape("".join(c if c.isprintable() else "?" for c in str(text)))
