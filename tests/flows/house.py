"""A house for the flows: the real program in a process of its own, a mail sink, and the far end's journal."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.message
import email.policy
import email.utils
import io
import itertools
import json
import os
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pypdf
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from reportlab.lib.pagesizes import LETTER
from reportlab.pdfgen.canvas import Canvas

from gateway import control_socket
from gateway.carriers.loopback import Call, calls
from gateway.cli import main
from tests.ports import free_port

T = TypeVar("T")
DOMAIN = "fax.example.com"
SENDER = "ann@example.com"
OWN_LINE = "+14155550100"
REPOSITORY = Path(__file__).parents[2]
FINAL = frozenset({"delivered", "failed", "cancelled"})
_AREAS = (415, 510, 619, 213, 310, 305, 312, 617, 212, 512)
_counted = itertools.count()


def fresh(ending: str = "23") -> str:
    """A number that no other test calls; its last two digits say what becomes of a fax to it."""
    n = next(_counted)
    return f"+1{_AREAS[n // 100 % len(_AREAS)]}{555 + n // 1000}{n % 100:02d}{ending}"


@dataclass(slots=True)
class Letter:
    """One mail the sink got."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def mail(self) -> email.message.EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, email.message.EmailMessage)
        return parsed

    @property
    def subject(self) -> str:
        return str(self.mail["Subject"])

    @property
    def text(self) -> str:
        body = self.mail.get_body(preferencelist=("plain",))
        assert body is not None
        return str(body.get_content())

    @property
    def flat(self) -> str:
        """The text on one line."""
        return " ".join(self.text.split())


@dataclass(slots=True)
class Sink:
    """A mail server on a free port.

    `answer` may be changed to refuse mails, `refused_recipients` refuses some people; `taken` is called before a 250.
    """

    letters: list[Letter] = field(default_factory=list)
    answer: str = "250 2.0.0 kept"
    taken: Callable[[Letter], None] | None = None
    refused_recipients: set[str] = field(default_factory=set)
    controller: Controller | None = None
    port: int = 0

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        if address in self.refused_recipients:
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            letter = Letter((envelope.mail_from or "").strip("<>"), list(envelope.rcpt_tos), content)
            self.letters.append(letter)
            if self.taken is not None:
                self.taken(letter)
        return self.answer

    def start(self) -> None:
        self.port = self.port or free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, data_size_limit=2**30)
        self.controller.start()

    def stop(self) -> None:
        if self.controller is not None:
            self.controller.stop()
            self.controller = None


#: Waits end when what is waited for is there; on a machine with other work that takes longer.
BUSY = 3


class House:
    """One gateway. `settings` is the configuration as TOML sections; tests change it before `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spool = folder, folder / "spool"
        self.sink = Sink()
        self.sink.start()
        self.smtp_port, self.http_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.file = folder / "gateway.toml"
        self.log = folder / "log.txt"
        self.environment: dict[str, str] = {}
        self.settings: dict[str, Any] = {
            "domain": DOMAIN,
            "region": "US",
            "spool": str(self.spool),
            "smtp": {"listen": [f"127.0.0.1:{self.smtp_port}"]},
            "http": {"listen": f"127.0.0.1:{self.http_port}"},
            "mail": {
                "smarthost": f"smtp://127.0.0.1:{self.sink.port}",
                "from": f"fax@{DOMAIN}",
                "operator": "operator@example.com",
            },
            "account": [
                {"name": "office", "senders": ["*@example.com"], "networks": ["127.0.0.0/8"], "countries": ["US", "CA"]}
            ],
            "line": [{"number": OWN_LINE, "account": "office", "carrier": "main", "mailbox": ["office@example.com"]}],
            "carrier": {"main": {"kind": "loopback", "call_time": "0.05s"}},
            "retry": {"busy": ["0.2s", "0.2s", "0.2s"], "no_answer": ["0.2s"], "carrier_trouble": ["0.5s", "0.5s", "0.5s"]},
            "work": {"poll": "0.5s", "drain": "5s"},
        }

    def write_settings(self) -> Path:
        self.file.write_text(as_toml(self.settings), encoding="utf-8")
        return self.file

    def start(self, patience: float = 20.0) -> None:
        """Start the program and wait until it takes mail and answers /readyz."""
        self.write_settings()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "-c", str(self.file)],
                stdout=log, stderr=log, cwd=REPOSITORY, env={**os.environ, **self.environment},
            )  # fmt: skip
        self.wait(self._answers, patience, "the gateway to start")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the gateway ended: {self.log.read_text()[-3000:]}"
        if not (Path(self.settings["spool"]) / "control.sock").exists():
            return False  # whoever answers now is somebody else
        try:
            with socket.create_connection(("127.0.0.1", self.smtp_port), 1) as mail:
                return mail.recv(3) == b"220"
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(30)
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self.sink.stop()

    def send(
        self, mail: email.message.EmailMessage | bytes, *numbers: str, sender: str = SENDER
    ) -> dict[str, tuple[int, bytes]]:
        """Hand a mail in by SMTP; what was refused, by address. Raises what smtplib raises."""
        with self.smtp() as client:
            return client.sendmail(sender, addresses(*numbers), as_bytes(mail))

    def smtp(self, timeout: float = 30) -> smtplib.SMTP:
        """A connection to the SMTP door."""
        return smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=timeout)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a request to the HTTP listener."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def calls(self, number: str = "") -> list[Call]:
        """What was really dialled (to `number`)."""
        return [call for call in calls(self.spool / "loopback" / "main") if number in ("", call.number)]

    def cli(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """What a command on this house's configuration says. It runs in this process, which starts much faster."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        arguments = [*words, "-c", str(self.file)]
        old, sys.stdin = sys.stdin, io.StringIO(stdin)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(arguments, prog_name="faxgate")
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stdin = old
        assert not check or code == 0, err.getvalue() + out.getvalue()
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def program(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The same in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *words, "-c", str(self.file)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=REPOSITORY,
            check=False,
        )

    def ask(self, verb: str, **more: Any) -> Any:
        """What the running service answers on its control socket."""
        return asyncio.run(control_socket.ask(self.spool / "control.sock", {"verb": verb, **more}))

    def faxes(self, number: str = "") -> list[dict[str, Any]]:
        """Every transmission (to `number`), newest first."""
        found: list[dict[str, Any]] = self.ask("queue", limit=100_000)
        return [fax for fax in found if number in ("", fax["number"])]

    def fax(self, number: str, *states: str, patience: float = 30.0) -> dict[str, Any]:
        """The one fax to `number`, once it is in one of these states (default: the final ones)."""
        wanted = states or tuple(FINAL)

        def found() -> dict[str, Any] | None:
            (fax,) = self.faxes(number)
            return fax if fax["state"] in wanted else None

        fax = self.wait(found, patience, f"the fax to {number} to be {' or '.join(wanted)}")
        assert fax is not None
        return fax

    def pages(self, fax: dict[str, Any]) -> list[str]:
        """The text on each page of a fax."""
        document = self.spool / "documents" / fax["document"][:2] / fax["document"]
        return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(document.read_bytes())).pages]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Look into the database from outside."""
        database = sqlite3.connect(f"file:{self.spool / 'faxgate.db'}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def faults(self) -> str:
        """The log from its first traceback on, with the lines before it; empty when there is none."""
        before, found, after = self.log.read_text().partition("Traceback")
        return before[-500:] + found + after[:5000] if found else ""

    def letters(self, n: int, patience: float = 30.0) -> list[Letter]:
        """Wait for n mails at the sink."""
        self.wait(lambda: len(self.sink.letters) >= n, patience, f"{n} mails")
        return list(self.sink.letters)

    def reports(self, mail: email.message.EmailMessage, n: int = 1, patience: float = 30.0) -> list[Letter]:
        """Wait for n answers to a mail that was handed in; all that came."""

        def answers() -> list[Letter]:
            return [letter for letter in list(self.sink.letters) if letter.mail["In-Reply-To"] == mail["Message-ID"]]

        self.wait(lambda: len(answers()) >= n, patience, f"{n} answers to “{mail['Subject']}”")
        return answers()

    def wait(self, ready: Callable[[], T], patience: float = 30.0, what: str = "it") -> T:
        until = time.monotonic() + BUSY * patience
        while time.monotonic() < until:
            if value := ready():
                return value
            time.sleep(0.02)
        log = self.log.read_text()[-3000:] if self.log.exists() else ""
        got = [letter.subject for letter in self.sink.letters]
        raise AssertionError(f"waited {BUSY * patience} s for {what}; mails: {got}; log: {log}")


def addresses(*numbers: str) -> list[str]:
    """Numbers as mail addresses; addresses stay as they are."""
    return [number if "@" in number else f"{number}@{DOMAIN}" for number in numbers]


def as_bytes(mail: email.message.EmailMessage | bytes) -> bytes:
    """A mail as it goes over the wire."""
    return mail if isinstance(mail, bytes) else mail.as_bytes(policy=email.policy.SMTP)


def as_toml(settings: dict[str, Any]) -> str:
    """TOML of simple settings: JSON values are TOML values, and a section in a section is an inline table."""
    plain = {key: value for key, value in settings.items() if not _is_section(value)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in settings.items():
        if isinstance(value, dict) and key in ("carrier", "door", "prices"):
            for name, section in value.items():
                lines += ["", f"[{key}.{name}]", *(f"{k} = {_value(v)}" for k, v in section.items())]
        elif isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{k} = {_value(v)}" for k, v in value.items())]
        elif _is_section(value):
            for section in value:
                lines += ["", f"[[{key}]]", *(f"{k} = {_value(v)}" for k, v in section.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _is_section(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def letter(
    subject: str = "Contract",
    text: str | None = "Please find it attached.\n",
    *,
    files: Sequence[tuple[str, str, bytes]] = (),
    message_id: bool = True,
    **fields: str,
) -> email.message.EmailMessage:
    """A mail; `files` are (name, type, content)."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["Subject"] = f"Ann Doe <{SENDER}>", subject
    mail["Date"] = email.utils.localtime()
    if message_id:
        mail["Message-ID"] = email.utils.make_msgid(domain="example.com")
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    if text is not None:
        mail.set_content(text)
    for name, kind, content in files:
        major, minor = kind.split("/")
        mail.add_attachment(content, maintype=major, subtype=minor, filename=name)
    return mail


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=LETTER, invariant=True)
    for page in pages:
        canvas.drawString(72, 700, page)
        canvas.showPage()
    canvas.save()
    return out.getvalue()
