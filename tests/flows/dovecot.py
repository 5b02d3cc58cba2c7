"""A private Dovecot: its own configuration, mails, ports and processes, in a folder that goes away with it.

    with dovecot.running() as server:
        server.append(OFFICE, content)                  as a mail program files it
        server.deliver(OFFICE, content)                 as a mail server delivers it: LMTP, port server.lmtp
        server.mails(OFFICE)                            what lies in INBOX, whole
        server.tokens.issue(OFFICE)                     a token that XOAUTH2 and OAUTHBEARER accept

Dovecot is started by root only, and runs most of itself as the users that its Debian package makes. The machine's own
Dovecot is not touched; only the processes that were started here are ended. It is of the series 2.3 (Debian 12).
"""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import re
import secrets
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import psutil

from gateway.certificate import self_signed
from tests.ports import free_port

PROGRAM = Path("/usr/sbin/dovecot")
OFFICE, CLINIC, PASSWORD = "office@example.com", "clinic@example.com", "correct horse"
USERS = (OFFICE, CLINIC)
_CONFIG = """\
protocols = imap lmtp
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
login_trusted_networks =
ssl = required
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
auth_cache_size = 0
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_home = {folder}/mail/%u
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
recipient_delimiter = +
lmtp_hdr_delivery_address = original
hostname = mx.example.com
postmaster_address = postmaster@example.com
shutdown_clients = yes
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
{more}
"""
_OAUTH2 = """\
introspection_mode = post
introspection_url = http://127.0.0.1:{port}/introspect
username_attribute = username
active_attribute = active
active_value = true
"""


def missing() -> str:
    """Why there can be no Dovecot here; "" where there can."""
    if not PROGRAM.exists() or not Path("/usr/lib/dovecot/lmtp").exists():
        return "needs Dovecot (the packages dovecot-imapd and dovecot-lmtpd)"
    return "" if os.geteuid() == 0 else "needs root: Dovecot is started by nobody else"


class Tokens:
    """A server that gives tokens to programs, and says which ones are good: OAuth 2 as a large host has it.

    The client `faxgate` with the secret `client secret` gets one for `user` by its own credentials at /token.
    """

    CLIENT, SECRET = "faxgate", "client secret"

    def __init__(self) -> None:
        self.good: dict[str, tuple[str, float]] = {}
        self.user, self.lifetime = OFFICE, 3600.0
        self.asked: list[dict[str, str]] = []  # every request for a token, its fields
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="tokens", kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def issue(self, user: str, lifetime: float = 3600.0) -> str:
        token = secrets.token_urlsafe(24)
        self.good[token] = (user, time.monotonic() + lifetime)
        return token

    def revoke(self) -> None:
        """None of those given so far is good any more."""
        self.good.clear()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _told(self, path: str, fields: dict[str, str]) -> tuple[int, dict[str, object]]:
        if path == "/introspect":
            user, until = self.good.get(fields.get("token", ""), ("", 0.0))
            return 200, {"active": True, "username": user} if time.monotonic() < until else {"active": False}
        self.asked.append(fields)
        wanted = {"grant_type": "client_credentials", "client_id": self.CLIENT, "client_secret": self.SECRET}
        if wanted.items() <= fields.items():
            given = self.issue(self.user, self.lifetime)
            return 200, {"access_token": given, "token_type": "Bearer", "expires_in": int(self.lifetime)}
        return 401, {"error": "invalid_client"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                fields = {name: values[0] for name, values in parse_qs(content).items()}
                status, answer = tokens._told(self.path, fields)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        return Handler


class Dovecot:
    """A server that runs, or has been stopped; its ports stay the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls, self.lmtp = free_port(), free_port(), free_port()  # STARTTLS, implicit TLS, LMTP
        self.certificate, _ = self_signed(folder)
        self.log = folder / "log"
        self.tokens = Tokens()
        self.process: subprocess.Popen[bytes] | None = None

    # --- mails, as other programs see them

    @contextlib.contextmanager
    def reader(self, user: str) -> Iterator[imaplib.IMAP4_SSL]:
        """Signed in, by TLS; no folder is chosen."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        with imaplib.IMAP4_SSL("127.0.0.1", self.tls, ssl_context=context, timeout=60) as connection:
            connection.login(user, PASSWORD)
            yield connection

    def append(self, user: str, *contents: bytes, folder: str = "INBOX", flags: str = "", arrived: float = 0.0) -> None:
        """Each of `contents` is filed; `arrived` (s since 1970) as the day of arrival, 0 = now."""
        with self.reader(user) as connection:
            date = imaplib.Time2Internaldate(arrived or time.time())
            for content in contents:
                said, answer = connection.append(quoted(folder), flags, date, content)
                assert said == "OK", answer

    def deliver(self, recipient: str, content: bytes, sender: str = "") -> None:
        """By LMTP; USER+DETAIL@ goes to USER, and the topmost Delivered-To says what was asked for."""
        with smtplib.LMTP("127.0.0.1", self.lmtp) as connection:
            original = recipient.replace("+", "+2B")  # xtext
            refused = connection.sendmail(sender, [recipient], content, rcpt_options=[f"ORCPT=rfc822;{original}"])
            assert not refused, refused

    def mails(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """Whole, in the order of arrival; none where there is no such folder. Nothing is marked by it."""
        return [content for content, _ in self.filed(user, folder)]

    def filed(self, user: str, folder: str = "INBOX") -> list[tuple[bytes, set[str]]]:
        """Each mail, whole, with its flags and keywords."""
        with self.reader(user) as connection:
            chosen, count = connection.select(quoted(folder), readonly=True)
            if chosen != "OK" or count == [b"0"]:
                return []
            said, answer = connection.fetch("1:*", "(FLAGS BODY.PEEK[])")
            assert said == "OK", answer
            pairs = [one for one in answer if isinstance(one, tuple)]
            found = [re.search(rb"FLAGS \(([^)]*)\)", head) for head, _ in pairs]
            flags = [set(one[1].decode().split()) if one else set() for one in found]
            return [(content, marks) for (_, content), marks in zip(pairs, flags, strict=True)]

    def folders(self, user: str) -> set[str]:
        with self.reader(user) as connection:
            lines = [line.decode() for line in connection.list()[1] if isinstance(line, bytes)]
            return {line.rpartition(' "/" ')[2].strip('"') for line in lines}

    def renumber(self, user: str, folder: str = "INBOX") -> None:
        """A folder after a bad restore: the same mails, another UIDVALIDITY, no marks. Only while the server is stopped."""
        assert self.process is None
        place = self.folder / "mail" / user / "Maildir" / ("" if folder == "INBOX" else f".{folder.replace('/', '.')}")
        for path in [
            *place.glob("dovecot-uidlist*"),
            *place.glob("dovecot.index*"),
            *place.parent.glob("dovecot-uidvalidity*"),
        ]:
            path.unlink()
        for path in [*place.glob("dovecot-uidvalidity*"), *place.glob("dovecot-keywords*")]:
            path.unlink()
        for path in (place / "cur").iterdir():
            path.rename(path.with_name(path.name.partition(":")[0] + ":2,"))
        time.sleep(max(0.0, 1.05 - time.time() % 1))  # the new one is taken from the clock, in whole seconds

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """A test that fails says what Dovecot wrote."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\nDovecot: {self.logged()[-4000:]}") from error

    # --- its processes

    def start(self) -> None:
        """Answers when this returns."""
        assert self.process is None
        with (self.folder / "console").open("ab") as console:
            self.process = subprocess.Popen(
                [PROGRAM, "-F", "-c", str(self.folder / "dovecot.conf")],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
        until = time.monotonic() + 60
        while not self._answers():
            said = (self.folder / "console").read_text() + self.logged()
            assert self.process.poll() is None, f"Dovecot ended: {said[-2000:]}"
            assert time.monotonic() < until, f"Dovecot does not answer: {said[-2000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        """All its processes are children of the master; it ends them, and what it leaves behind is ended by id."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """All of it at once, in the middle of whatever it did."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(how)
        if how is signal.SIGTERM:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            _wait_for(family, 0.3)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_for(family, 10)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(4) == b"* OK"
        except OSError:
            return False


def _wait_for(family: list[psutil.Process], patience: float) -> None:
    """Until they have ended. Whoever adopts them may take its time to notice."""
    until = time.monotonic() + patience
    while not all(map(_has_ended, family)) and time.monotonic() < until:
        time.sleep(0.01)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def quoted(folder: str) -> str:
    """As a command of IMAP takes it."""
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextlib.contextmanager
def running(more: str = "") -> Iterator[Dovecot]:
    """A Dovecot with the mailboxes of USERS, whose password is PASSWORD.

    more  further lines of dovecot.conf
    """
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)  # most of Dovecot is not root
    made = Dovecot(folder)
    made.tokens.start()
    try:
        _write(made, more)
        made.start()
        with made.telling():
            yield made
    finally:
        made.stop()
        made.tokens.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _write(made: Dovecot, more: str) -> None:
    folder = made.folder
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "mail", "mail")
    (folder / "users").write_text("".join(f"{user}:{PASSWORD}::::::\n" for user in USERS))
    (folder / "oauth2").write_text(_OAUTH2.format(port=made.tokens.port))
    filled = _CONFIG.format(folder=folder, port=made.port, tls=made.tls, lmtp=made.lmtp, more=more)
    (folder / "dovecot.conf").write_text(filled)
