"""A connection to a mail listener: lines in, answers out, and its end.

aiosmtpd keeps the connection and its TLS; its command loop and its readers are replaced, because they stop at 512 octets,
take a bare LF for a line end, hold a mail several times in memory, echo and log the client's octets. A client that is
silent, slow, chatty or wrong for too long is cut off. Sources: RFC 5321 §4.1, §4.5.3.2, 2920, 3207 §4.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ssl import SSLContext

from aiosmtpd.smtp import SMTP, TLSSetupException

from gateway import log, metrics
from gateway.errors import Refused, Unavailable
from gateway.fax import Door
from gateway.intake.authentication import Client
from gateway.intake.content import Room
from gateway.intake.crowd import Crowd, Visit
from gateway.intake.reception import Reception, answer
from gateway.intake.transaction import Transaction
from gateway.intake.wire import PIECE, Wire
from gateway.listeners import Purpose, Smtp

_log = logging.getLogger(__name__)
_TOKEN = re.compile(r"reply\+[^@\s>]+", re.IGNORECASE)  # what steers a fax is nothing for a log
_COMMAND_LIMIT = 2048  # octets; RFC 3461 §5.4 asks for 1036
_ERRORS = 10  # lines on one connection that are no command
_CHATTER = 100  # commands between two mails that bring no mail nearer
_GRACE = 5.0  # seconds in which the last answer must be taken


@dataclass(frozen=True, slots=True, eq=False)
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
    connections: set[Connection] = field(default_factory=set)
    """Those that are open."""


class Connection(SMTP):
    """One of them. The commands are a subclass's `smtp_…` methods: they raise Refused or Unavailable, or `_say` an answer."""

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
        self._visit = visit
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
        self._hall.connections.add(self)
        # Called again when TLS is up: everything said in clear is forgotten (SMT-24).
        secured = transport.get_extra_info("ssl_object")
        cipher = f"{secured.version()} {secured.cipher()[0]}" if secured else ""
        self._client = Client(address=self._address, tls=cipher, door=self.door)
        if self._wire:
            self._wire.drop()
        else:
            self._await_mail()

    def connection_lost(self, error: Exception | None) -> None:
        self._forgotten()
        super().connection_lost(error)

    def _forgotten(self) -> None:
        """Nothing is left of the connection."""
        for timer in (self._end, self._timeout_handle):
            if timer:
                timer.cancel()
        self._hall.connections.discard(self)
        self._hall.crowd.leave(self._visit)

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
        self._writer.close()
        if self in self._hall.connections:
            self._end = self.loop.call_later(_GRACE, self._writer.transport.abort)

    def leave(self) -> None:
        """Close: at once when the client is silent, else after the command in hand."""
        self._leaving = "421 4.3.2 Closing for now, come again"
        if self._idle:
            self._hang_up(self._leaving)

    async def finished(self) -> None:
        """Return when the last command has been answered."""
        if self._handler_coroutine is not None:
            await asyncio.wait([self._handler_coroutine])

    async def break_off(self) -> None:
        """Close without another word; returns when it is closed."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._writer.wait_closed()

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
        except (EOFError, ConnectionError) as error:
            _log.debug("%s went away: %s", self._client.address, type(error).__name__)
        except TLSSetupException as error:
            _log.info("%s did not manage TLS: %s", self._client.address, error.__cause__)
            self._forgotten()  # nobody else says so: in the eyes of asyncio TLS never began
            if isinstance(self._original_transport, asyncio.WriteTransport):
                self._original_transport.abort()
            return
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
            self._say(answer(error))
        except Unavailable as error:
            _log.warning("%s from %s put off: %s", command, self._client.address, error.text)
            self._say(answer(error))
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
        shown = _TOKEN.sub("reply+…", log.shown(log.printable(argument)))
        extra = {"action": "refused"}
        _log.info("refused %s %s of %s: %s %s", command, shown, self._client.address, error.reply, error.text, extra=extra)

    async def handle_exception(self, error: Exception) -> str:
        """Our fault: the client tries again later, and learns nothing (the text may hold anything)."""
        _log.error("fault in an SMTP dialogue", exc_info=error)
        return "451 4.3.0 A fault of this gateway; try again later"


def _split(line: bytes) -> tuple[str, str]:
    """Command and argument. Octets beyond ASCII stay visible as such: they are refused where they matter."""
    command, _, argument = line.decode("ascii", "surrogateescape").partition(" ")
    return command.upper(), argument.strip(" ")
