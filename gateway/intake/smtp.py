"""The SMTP door: protocol in, answers out.

`250` after data means: documents fsynced, transaction committed; that is the desk's work, awaited here. A recipient who
cannot be faxed is refused at RCPT, with a reason. aiosmtpd keeps the connection and its TLS; its command loop, its readers
and its commands are replaced, because they upper-case parameters, stop at 512 octets, take a bare LF for a line end, hold
a mail several times in memory, echo and log the client's octets and answer without enhanced status codes.
Sources: RFC 5321, 2034, 3207, 4954, 3461; reference/internet-fax-standards.md sections 1 to 4 and 10.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from ssl import SSLContext

from aiosmtpd.smtp import SMTP, TLSSetupException

from gateway import log, metrics
from gateway.errors import Refused, TooMany, Unavailable
from gateway.fax import Door, Recipient
from gateway.intake import authentication, parameters
from gateway.intake.authentication import Client
from gateway.intake.content import Content, Room
from gateway.intake.crowd import Crowd, Visit
from gateway.intake.parameters import Later
from gateway.intake.reception import Reception
from gateway.intake.transaction import Transaction
from gateway.intake.wire import PIECE, Wire
from gateway.listeners import Purpose, Smtp

_log = logging.getLogger(__name__)
_COMMAND_LIMIT = 2048  # octets; RFC 3461 §5.4 asks for 1036
_AUTH_LIMIT = 12288  # RFC 4954 §4
_TRIES = 3  # wrong passwords on one connection
_ERRORS = 10  # lines on one connection that are no command
_CHATTER = 100  # commands between two mails that bring no mail nearer
_GRACE = 5.0  # seconds in which the last answer must be taken
_FLOOD = 100_000_000  # octets past the size limit which are still read, to give the answer at the proper place
_PATH = re.compile(r' *<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: +(.*))?\Z', re.DOTALL)
_COMMANDS = "AUTH DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY"


@dataclass(frozen=True, slots=True)
class Hall:
    """What all connections share."""

    host: str
    settings: Smtp
    reception: Reception
    crowd: Crowd
    room: Room
    """For mail of those who may fax."""
    strangers_room: Room
    """For mail to the operator, which anybody may send."""
    forget: Callable[[GatewaySMTP], None]
    """A connection is gone."""


class GatewaySMTP(SMTP):
    """One connection."""

    line_length_limit = PIECE  # aiosmtpd gives it to the stream reader: how much waits unread
    protocol = "ESMTP"
    door = Door.SMTP

    def __init__(self, hall: Hall, visit: Visit, address: str, tls: SSLContext | None) -> None:
        """A client at `address` ("" if it has none); `tls` is for STARTTLS."""
        super().__init__(
            hall.reception,
            data_size_limit=hall.settings.max_size,
            hostname=hall.host,
            tls_context=tls,
            timeout=hall.settings.timeout.total_seconds(),
            loop=asyncio.get_running_loop(),
        )
        self.visit = visit
        self._hall, self._reception, self._settings = hall, hall.reception, hall.settings
        self._submission = visit.purpose in (Purpose.SUBMISSION, Purpose.SUBMISSIONS)
        self._address = address
        self._client = Client(address=address)
        self._transaction: Transaction | None = None
        self._wire: Wire | None = None
        self._idle = False  # between two commands
        self._working = False  # the client waits for us
        self._leaving = ""  # the last thing to say, once no more commands are taken
        self._errors = self._refusals = self._chatter = 0
        self._unsaid = bytearray()  # answers, until the client waits for them
        self._heard = self._since = self.loop.time()  # a line; the connection, or the last mail
        self._silence, self._patience = hall.settings.timeout.total_seconds(), hall.settings.mail_time.total_seconds()
        self._end: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Called again when TLS is up: everything said in clear is forgotten (SMT-24).
        secured = transport.get_extra_info("ssl_object")
        cipher = f"{secured.version()} {secured.cipher()[0]}" if secured else ""
        self._client = Client(address=self._address, tls=cipher, door=self.door)
        if self._wire:
            self._wire.drop()
        else:
            self._await_mail()

    def connection_lost(self, error: Exception | None) -> None:
        if self._end:
            self._end.cancel()
        self._hall.forget(self)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        # The client may stop talking and still wait for an answer; aiosmtpd would cancel the command in hand.
        keep = asyncio.StreamReaderProtocol.eof_received(self)
        return False if self._client.tls else keep

    def _set_rset_state(self) -> None:
        self._transaction = None

    def _await_mail(self) -> None:
        """From now on the client has so long for its next mail, however busy it looks."""
        self._since = self.loop.time()
        self._refusals = self._chatter = 0

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Something was heard. One timer looks whether that is long ago; a timer for each line would cost more than it."""
        self._heard = self.loop.time()
        if self._timeout_handle is None:
            self._look_again()

    def _look_again(self) -> None:
        ends = min(self._heard + self._silence, self._since + self._patience)
        self._timeout_handle = self.loop.call_at(max(ends, self.loop.time() + 0.01), self._timeout_cb)

    def _timeout_cb(self) -> None:
        now = self.loop.time()
        if self._working:
            self._heard = self._since = now
        if now >= self._heard + self._silence:
            self._hang_up("421 4.4.2 Nothing heard for too long, closing")
        elif now >= self._since + self._patience:
            self._hang_up("421 4.4.2 No mail for too long, closing")
        else:
            self._look_again()

    def _hang_up(self, last_words: str = "") -> None:
        """Close; at the latest when there was time enough to take what was said last."""
        if self._end or self.transport is None:
            return
        if last_words:
            self._say(last_words)
        self._writer.write(bytes(self._unsaid))
        self._unsaid.clear()
        self._end = self.loop.call_later(_GRACE, self._writer.transport.abort)
        self._writer.close()

    def leave(self) -> None:
        """Close: at once when the client is silent, else after the command in hand."""
        self._leaving = "421 4.3.2 Closing for now, come again"
        if self._idle:
            self._hang_up(self._leaving)

    async def finished(self) -> None:
        """Return when the last command has been answered."""
        if self._handler_coroutine is not None:
            await asyncio.wait([self._handler_coroutine])

    @contextlib.contextmanager
    def _our_turn(self) -> Iterator[None]:
        """The client waits for us: it is not cut off meanwhile, or it would repeat what we have taken."""
        self._working = True
        try:
            yield
        finally:
            self._working = False
            self._reset_timeout()

    # The loop.

    async def push(self, status: str | bytes) -> None:
        text = status if isinstance(status, str) else status.decode("ascii", "replace")
        if text == "220 Ready to start TLS":  # aiosmtpd's own words, the only ones left
            self._say("220 2.0.0 Ready to start TLS")
            await self._flush()
        else:
            self._say(text)

    def _say(self, *lines: str) -> None:
        """Reply lines, whatever is in them made printable. Answers to commands of one packet leave in one (RFC 2920 §3.2)."""
        for line in lines:
            self._unsaid += log.printable(line, 510).encode() + b"\r\n"

    async def _flush(self) -> None:
        if self._unsaid:
            said = bytes(self._unsaid)
            self._unsaid.clear()
            self._writer.write(said)
            await self._writer.drain()

    async def _handle_client(self) -> None:
        self._wire = Wire(self._reader, self._flush)
        try:
            self._say(f"220 {self.hostname} {self.protocol} Faxgate")
            while not self._leaving:
                self._idle = True
                await self._next()
            self._say(self._leaving)
        except (EOFError, ConnectionError, TLSSetupException) as error:
            _log.debug("%s went away: %s", self._client.address, type(error).__name__)
        finally:
            self._hang_up()

    async def _next(self) -> None:
        """Take one command and answer it."""
        command = argument = ""
        try:
            assert self._wire is not None
            line = await self._wire.line(_COMMAND_LIMIT)
            self._idle = False
            self._reset_timeout()
            command, argument = _split(line)
            method = self._smtp_methods.get(command)
            if method is None:
                raise Refused("This is not a command.", reply="500 5.5.2")
            self._weigh(command)
            await method(argument)
        except Refused as error:
            self._idle = False
            self._count(command, argument, error)
            self._say(f"{error.reply} {error.text}")
        except Unavailable as error:
            _log.warning("%s from %s put off: %s", command, self._client.address, error.text)
            self._say(f"{error.reply} {error.text}")
        except (EOFError, ConnectionError, TLSSetupException):
            raise
        except Exception as error:  # noqa: BLE001  # a border: one fault must not end the listener
            self._say(await self.handle_exception(error))

    def _weigh(self, command: str) -> None:
        """A client may ask a lot, but some day it must bring a mail."""
        if command not in ("MAIL", "RCPT", "DATA", "QUIT"):
            self._chatter += 1
            if self._chatter > _CHATTER:
                self._leaving = "421 4.7.0 Too many commands without a mail, closing"

    def _count(self, command: str, argument: str, error: Refused) -> None:
        if command in ("MAIL", "RCPT", "DATA"):
            self._log_refusal(command, argument, error)
            self._refusals += 1
            if self._refusals > 2 * self._settings.max_recipients:
                self._leaving = "421 4.7.0 Too much was refused, closing"
        elif error.reply == "500 5.5.2":
            self._errors += 1
            if self._errors >= _ERRORS:
                self._leaving = "421 4.7.0 Too many errors, closing"

    def _log_refusal(self, command: str, argument: str, error: Refused) -> None:
        metrics.REFUSED.labels(error.reply.partition(" ")[2]).inc()
        shown = log.shown(log.printable(argument))
        extra = {"action": "refused"}
        _log.info("refused %s %s of %s: %s %s", command, shown, self._client.address, error.reply, error.text, extra=extra)

    async def handle_exception(self, error: Exception) -> str:
        """Our fault: the client tries again later, and learns nothing (the text may hold anything)."""
        _log.error("fault in an SMTP dialogue", exc_info=error)
        return "451 4.3.0 A fault of this gateway; try again later"

    # The commands.

    async def smtp_HELO(self, hostname: str) -> None:
        self._hello(hostname, extended=False)
        self._say(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str) -> None:
        self._hello(hostname, extended=True)
        extensions = [f"SIZE {self._settings.max_size}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN"]
        if self.tls_context and not self._client.tls:
            extensions.append("STARTTLS")
        if self._client.tls:
            extensions.append("AUTH PLAIN LOGIN")
        if later := self._later():
            extensions.append(f"FUTURERELEASE {later.most.total_seconds():.0f} {later.until}")
        self._say(*(f"250-{text}" for text in (self.hostname, *extensions)), "250 HELP")

    def _hello(self, hostname: str, *, extended: bool) -> None:
        if not hostname:
            raise Refused("Say your name: EHLO host.example.com.", reply="501 5.5.4")
        self._set_rset_state()
        self._client.helo, self._client.extended = log.printable(hostname, 255), extended

    def _later(self) -> Later | None:
        """How far ahead mail may be handed in: by people's programs only (SUB-11)."""
        if not self._submission or self._settings.hold <= timedelta(0):
            return None
        return Later(self._reception.now(), self._settings.hold)

    async def smtp_NOOP(self, arg: str) -> None:
        self._say("250 2.0.0 OK")

    async def smtp_RSET(self, arg: str) -> None:
        _no_argument(arg)
        self._set_rset_state()
        self._say("250 2.0.0 OK")

    async def smtp_QUIT(self, arg: str) -> None:
        _no_argument(arg)
        self._leaving = "221 2.0.0 Bye"

    async def smtp_HELP(self, arg: str) -> None:
        self._say(f"214 2.0.0 Mail to NUMBER@ our domain is faxed. Commands: {_COMMANDS}")

    async def smtp_VRFY(self, arg: str) -> None:
        self._say("252 2.5.0 Whether a number can be faxed is said at RCPT")

    async def smtp_EXPN(self, arg: str) -> None:
        raise Refused("There are no lists here.", reply="502 5.5.1")

    async def smtp_BDAT(self, arg: str) -> None:
        raise Refused("CHUNKING is not offered here; use DATA.", reply="502 5.5.1")

    async def smtp_STARTTLS(self, arg: str) -> None:
        _no_argument(arg)
        if not self.tls_context:
            raise Refused("TLS is not offered here.", reply="502 5.5.1")
        if self._client.tls:
            raise Refused("TLS is up already.", reply="503 5.5.1")
        assert self._wire is not None
        self._wire.drop()
        await super().smtp_STARTTLS("")

    async def smtp_AUTH(self, arg: str) -> None:
        self._check_may_sign_in()
        login, password = await authentication.credentials(arg, self._ask)
        # SUB-05: 454, not 535, or the client would forget a good password
        try:
            with self._our_turn():
                account = await self._reception.sign_in(self._client, login, password)
            if account is None:
                self._client.failures += 1
                _log.warning("wrong password for %s from %s", log.printable(login), self._client.address)
                raise authentication.rejected()
            self._hall.crowd.sign_in(self.visit, account.id)
        except TooMany as error:
            self._client.failures += 1
            raise Refused(error.text, reply="454 4.7.0") from error
        except Unavailable as error:
            raise Refused("Sign-in does not work right now; try again later.", reply="454 4.7.0") from error
        self._client.account = account
        self._say("235 2.7.0 Signed in")

    def _check_may_sign_in(self) -> None:
        if not self._client.tls:
            if not self.tls_context:
                raise Refused("AUTH is not offered here.", reply="502 5.5.1")
            raise Refused("Say STARTTLS first: no password in clear.", reply="538 5.7.11")
        if not self._client.extended:
            raise Refused("Say EHLO first.", reply="503 5.5.1")
        if self._client.account or self._transaction is not None:
            raise Refused("Sign in once, and before MAIL.", reply="503 5.5.1")
        if self._client.failures >= _TRIES:
            self._leaving = "421 4.7.0 Too many wrong passwords, closing"
            raise authentication.rejected()

    async def _ask(self, challenge: str) -> bytes:
        assert self._wire is not None
        self._say(f"334 {challenge}")
        return await self._wire.line(_AUTH_LIMIT, reply="500 5.5.6")

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not self._client.helo:
            raise Refused("Say EHLO first.", reply="503 5.5.1")
        if self._transaction is not None:
            raise Refused("One mail at a time: a MAIL command was given.", reply="503 5.5.1")
        if self._submission and not self._client.account:
            raise Refused("Sign in first." if self._client.tls else "Say STARTTLS first, then sign in.", reply="530 5.7.0")
        path, options = _path("FROM:", arg or "")
        sender = self._reception.sender(self._client, path)
        wishes = parameters.of_mail(options, self._later())
        if wishes.size > self._settings.max_size:
            raise Refused(f"Mail here has at most {self._settings.max_size} octets.", reply="552 5.3.4")
        self._transaction = Transaction(sender, wishes)
        self._say("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:
        transaction = self._transaction
        if transaction is None:
            raise Refused("Say MAIL first.", reply="503 5.5.1")
        path, options = _path("TO:", arg or "")
        wishes = parameters.of_rcpt(options)
        if len(transaction.accepted) >= self._settings.max_recipients:
            raise Refused("Too many recipients; send the rest in another mail.", reply="452 4.5.3")
        with self._our_turn():
            found = await self._reception.recipient(self._client, transaction, path)
        if isinstance(found, Recipient):
            found = replace(found, notify=wishes.notify, original_recipient=wishes.original_recipient)
        elif not self._may_write():
            raise Refused("Too much mail to the operator from your network; try again later.", reply="450 4.7.1")
        transaction.accepted.append(found)
        self._say("250 2.1.5 OK")

    def _may_write(self) -> bool:
        return self._client.account is not None or self._hall.crowd.may_write(self.visit)

    async def smtp_DATA(self, arg: str) -> None:
        _no_argument(arg)
        transaction = self._transaction
        if transaction is None or not transaction.accepted:
            raise Refused("No recipient was accepted.", reply="503 5.5.1")
        self._say("354 End with a dot on a line of its own")
        content = Content(self._settings.max_size, self._hall.room if transaction.account else self._hall.strangers_room)
        try:
            await self._take_mail(transaction, content)
        finally:
            content.close()
            self._set_rset_state()

    async def _take_mail(self, transaction: Transaction, content: Content) -> None:
        """Receive one mail and answer for it."""
        mail = await self._received(content)
        with self._our_turn():
            reply = await self._reception.mail(self._client, transaction, mail)
        self._was_taken(transaction)
        self._say(f"250 2.0.0 {reply}")
        await self._flush()

    def _was_taken(self, transaction: Transaction) -> None:
        self._await_mail()
        if transaction.account is None:
            self._hall.crowd.has_written(self.visit)

    async def _received(self, content: Content) -> bytes:
        """Everything up to the dot. Raises Refused after it; EOFError when the client leaves before it."""
        assert self._wire is not None
        while (rest := content.feed(await self._wire.piece())) is None:
            self._reset_timeout()
            if content.received > self._settings.max_size + _FLOOD:
                self._leaving = "421 4.7.0 Far too much data, closing"
                break
        self._wire.unread(rest or b"")
        return content.taken()


def _split(line: bytes) -> tuple[str, str]:
    """Command and argument. Octets beyond ASCII stay visible as such: they are refused where they matter."""
    command, _, argument = line.decode("ascii", "surrogateescape").partition(" ")
    return command.upper(), argument.strip(" ")


def _no_argument(argument: str) -> None:
    if argument:
        raise Refused("This command stands alone.", reply="501 5.5.4")


def _path(keyword: str, argument: str) -> tuple[str, str]:
    """The path between angle brackets, and the parameters behind it."""
    match = _PATH.match(argument, len(keyword)) if argument[: len(keyword)].upper() == keyword else None
    if not match:
        raise Refused(f"Write {keyword}<address>, with the angle brackets.", reply="501 5.5.4")
    return match[1], match[2] or ""
