"""The SMTP door: protocol in, answers out.

`250` after data means: documents fsynced, transaction committed; that is the desk's work, awaited here. A recipient who
cannot be faxed is refused at RCPT, with a reason. aiosmtpd keeps the connection and its TLS; its command loop, its readers
and its commands are replaced, because they upper-case parameters, stop at 512 octets, take a bare LF for a line end, hold
a mail several times in memory, echo and log the client's octets and answer without enhanced status codes.
Sources: RFC 5321, 2034, 3207, 4954, 3461; reference/internet-fax-standards.md sections 1 to 4 and 10.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from aiosmtpd.smtp import SMTP, TLSSetupException

from gateway import log, metrics
from gateway.config import Config
from gateway.errors import ConfigError, Refused, Unavailable
from gateway.fax import Door, Recipient
from gateway.intake import authentication, parameters, tls
from gateway.intake.authentication import Client, Identity
from gateway.intake.content import Content, Room
from gateway.intake.reception import Desk, Reception
from gateway.intake.transaction import Transaction
from gateway.intake.wire import PIECE, Wire

_log = logging.getLogger(__name__)
_COMMAND_LIMIT = 2048  # octets; RFC 3461 §5.4 asks for 1036
_AUTH_LIMIT = 12288  # RFC 4954 §4
_BACKLOG = 256  # connections the system keeps for us while the loop is busy
_TRIES = 3  # wrong passwords on one connection
_ERRORS = 10  # lines on one connection that are no command
_ROOM, _STRANGERS_ROOM = 10, 2  # mails of the largest size that may be in hand at once
_FLOOD = 100_000_000  # octets past the size limit which are still read, to give the answer at the proper place
_PATH = re.compile(r' *<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: +(.*))?\Z', re.DOTALL)
_COMMANDS = "AUTH DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY"


class GatewaySMTP(SMTP):
    """One connection."""

    line_length_limit = PIECE  # aiosmtpd gives it to the stream reader: how much waits unread

    def __init__(self, door: SmtpDoor, reception: Reception) -> None:
        settings = door.config.smtp
        super().__init__(
            reception,
            data_size_limit=settings.max_size,
            hostname=door.config.host,
            tls_context=door.tls,
            timeout=settings.timeout.total_seconds(),
            loop=asyncio.get_running_loop(),
        )
        self._door, self._reception, self._settings = door, reception, settings
        self._client = Client(address="")
        self._transaction: Transaction | None = None
        self._wire: Wire | None = None
        self._idle = False
        self._leaving = ""  # the last thing to say, once no more commands are taken
        self._errors = 0

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Called again when TLS is up: everything said in clear is forgotten (SMT-24).
        peer = transport.get_extra_info("peername")
        secured = transport.get_extra_info("ssl_object")
        cipher = f"{secured.version()} {secured.cipher()[0]}" if secured else ""
        self._client = Client(address=peer[0].split("%")[0] if isinstance(peer, tuple) else "", tls=cipher)
        if self._wire:
            self._wire.drop()

    def connection_lost(self, error: Exception | None) -> None:
        self._door.forget(self)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        # The client may stop talking and still wait for an answer; aiosmtpd would cancel the command in hand.
        keep = asyncio.StreamReaderProtocol.eof_received(self)
        return False if self._client.tls else keep

    def _set_rset_state(self) -> None:
        self._transaction = None

    def _timeout_cb(self) -> None:
        self._writer.write(b"421 4.4.2 Nothing heard for too long, closing\r\n")
        self._writer.close()

    def leave(self) -> None:
        """Close: at once when the client is silent, else after the command in hand."""
        self._leaving = "421 4.3.2 Closing for now, come again"
        if self._idle and self.transport is not None:
            self._writer.write(self._leaving.encode() + b"\r\n")
            self.transport.close()

    async def finished(self) -> None:
        """Return when the last command has been answered."""
        if self._handler_coroutine is not None:
            await asyncio.wait([self._handler_coroutine])

    # The loop.

    async def push(self, status: str | bytes) -> None:
        text = status if isinstance(status, str) else status.decode("ascii", "replace")
        if text == "220 Ready to start TLS":  # aiosmtpd's own words, the only ones left
            text = "220 2.0.0 Ready to start TLS"
        await self._say(text)

    async def _say(self, *lines: str) -> None:
        """Reply lines in one packet, whatever is in them made printable."""
        self._writer.write(b"".join(log.printable(line, 510).encode() + b"\r\n" for line in lines))
        await self._writer.drain()

    async def _handle_client(self) -> None:
        self._wire = Wire(self._reader)
        try:
            await self.push(f"220 {self.hostname} ESMTP Faxgate")
            while not self._leaving:
                self._idle = True
                await self._next()
            await self.push(self._leaving)
        except (EOFError, ConnectionError, TLSSetupException) as error:
            _log.debug("%s went away: %s", self._client.address, type(error).__name__)
        finally:
            self._writer.close()

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
            await method(argument)
        except Refused as error:
            self._idle = False
            self._count(command, argument, error)
            await self.push(f"{error.reply} {error.text}")
        except Unavailable as error:
            _log.warning("%s from %s put off: %s", command, self._client.address, error.text)
            await self.push(f"{error.reply} {error.text}")
        except (EOFError, ConnectionError, TLSSetupException):
            raise
        except Exception as error:  # noqa: BLE001  # a border: one fault must not end the listener
            await self.push(await self.handle_exception(error))

    def _count(self, command: str, argument: str, error: Refused) -> None:
        if command in ("MAIL", "RCPT", "DATA"):
            metrics.REFUSED.labels(error.reply.partition(" ")[2]).inc()
            shown = log.shown(log.printable(argument))
            extra = {"action": "refused"}
            _log.info("refused %s %s of %s: %s %s", command, shown, self._client.address, error.reply, error.text, extra=extra)
        elif error.reply == "500 5.5.2":
            self._errors += 1
            if self._errors >= _ERRORS:
                self._leaving = "421 4.7.0 Too many errors, closing"

    async def handle_exception(self, error: Exception) -> str:
        """Our fault: the client tries again later, and learns nothing (the text may hold anything)."""
        _log.error("fault in an SMTP dialogue", exc_info=error)
        return "451 4.3.0 A fault of this gateway; try again later"

    # The commands.

    async def smtp_HELO(self, hostname: str) -> None:
        self._hello(hostname, extended=False)
        await self.push(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str) -> None:
        self._hello(hostname, extended=True)
        extensions = [f"SIZE {self._settings.max_size}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN"]
        if self.tls_context and not self._client.tls:
            extensions.append("STARTTLS")
        if self._client.tls:
            extensions.append("AUTH PLAIN LOGIN")
        await self._say(*(f"250-{text}" for text in (self.hostname, *extensions)), "250 HELP")

    def _hello(self, hostname: str, *, extended: bool) -> None:
        if not hostname:
            raise Refused("Say your name: EHLO host.example.com.", reply="501 5.5.4")
        self._set_rset_state()
        self._client.helo, self._client.extended = log.printable(hostname, 255), extended

    async def smtp_NOOP(self, arg: str) -> None:
        await self.push("250 2.0.0 OK")

    async def smtp_RSET(self, arg: str) -> None:
        _no_argument(arg)
        self._set_rset_state()
        await self.push("250 2.0.0 OK")

    async def smtp_QUIT(self, arg: str) -> None:
        _no_argument(arg)
        self._leaving = "221 2.0.0 Bye"

    async def smtp_HELP(self, arg: str) -> None:
        await self.push(f"214 2.0.0 Mail to NUMBER@ our domain is faxed. Commands: {_COMMANDS}")

    async def smtp_VRFY(self, arg: str) -> None:
        await self.push("252 2.5.0 Whether a number can be faxed is said at RCPT")

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
        try:
            account = await self._reception.sign_in(login, password)
        except Unavailable as error:  # SUB-05: not 535, or the client would forget a good password
            raise Refused("Sign-in does not work right now; try again later.", reply="454 4.7.0") from error
        if account is None:
            self._client.failures += 1
            _log.warning("wrong password for %s from %s", log.printable(login), self._client.address)
            raise authentication.rejected()
        self._client.account = account
        await self.push("235 2.7.0 Signed in")

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
        await self.push(f"334 {challenge}")
        return await self._wire.line(_AUTH_LIMIT, reply="500 5.5.6")

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not self._client.helo:
            raise Refused("Say EHLO first.", reply="503 5.5.1")
        if self._transaction is not None:
            raise Refused("One mail at a time: a MAIL command was given.", reply="503 5.5.1")
        path, options = _path("FROM:", arg or "")
        sender = self._reception.sender(self._client, path)
        wishes = parameters.of_mail(options)
        if wishes.size > self._settings.max_size:
            raise Refused(f"Mail here has at most {self._settings.max_size} octets.", reply="552 5.3.4")
        self._transaction = Transaction(sender, wishes)
        await self.push("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:
        transaction = self._transaction
        if transaction is None:
            raise Refused("Say MAIL first.", reply="503 5.5.1")
        path, options = _path("TO:", arg or "")
        wishes = parameters.of_rcpt(options)
        if transaction.count >= self._settings.max_recipients:
            raise Refused("Too many recipients; send the rest in another mail.", reply="452 4.5.3")
        found = await self._reception.recipient(self._client, transaction, path)
        if isinstance(found, Recipient):
            wished = replace(found, notify=wishes.notify, original_recipient=wishes.original_recipient)
            transaction.recipients.append(wished)
        else:
            transaction.specials.append(found.written)
        await self.push("250 2.1.5 OK")

    async def smtp_DATA(self, arg: str) -> None:
        _no_argument(arg)
        transaction = self._transaction
        if transaction is None or not transaction.count:
            raise Refused("No recipient was accepted.", reply="503 5.5.1")
        await self.push("354 End with a dot on a line of its own")
        content = Content(self._settings.max_size, self._door.room if transaction.proven else self._door.strangers_room)
        try:
            mail = await self._received(content)
            envelope = transaction.envelope(Door.SMTP, self._client)
            reply = await self._reception.mail(envelope, self._client, transaction, mail)
        finally:
            content.close()
            self._set_rset_state()
        await self.push(f"250 2.0.0 {reply}")

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


class SmtpDoor:
    """Listens on every address of `[smtp] listen`, in the running loop."""

    def __init__(self, config: Config, *, identity: Identity, desk: Desk, now: Callable[[], datetime]) -> None:
        """Raises ConfigError when the certificate cannot be used."""
        self.config = config
        self.tls = tls.context(config)
        self.addresses: list[tuple[str, int]] = []
        """Where it listens, once started; Unix sockets are not listed."""
        self.room = Room(_ROOM * config.smtp.max_size)
        self.strangers_room = Room(_STRANGERS_ROOM * config.smtp.max_size)
        """For mail to the operator, which anybody may send."""
        self._reception = Reception(config, identity=identity, desk=desk, now=now)
        self._servers: list[asyncio.Server] = []
        self._connections: set[GatewaySMTP] = set()

    async def start(self) -> None:
        """Open the sockets. Raises ConfigError naming the address that cannot be had."""
        loop = asyncio.get_running_loop()
        for endpoint in self.config.smtp.listen:
            try:
                if endpoint.startswith("/"):
                    server = await loop.create_unix_server(self._connection, endpoint, backlog=_BACKLOG)
                else:
                    host, _, port = endpoint.rpartition(":")
                    server = await loop.create_server(self._connection, host.strip("[]"), int(port), backlog=_BACKLOG)
            except OSError as error:
                await self.stop()
                raise ConfigError(self.config.file, "smtp.listen", f"{endpoint}: {error.strerror}") from error
            self._servers.append(server)
            names = [socket.getsockname() for socket in server.sockets]
            self.addresses += [(name[0], name[1]) for name in names if isinstance(name, tuple)]

    async def stop(self) -> None:
        """Close: silent clients at once, busy ones after their command, all of them when `[work] drain` is over."""
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.leave()
        last = [asyncio.ensure_future(connection.finished()) for connection in connections]
        if last:
            _, late = await asyncio.wait(last, timeout=self.config.work.drain.total_seconds())
            for task in late:
                task.cancel()
        for connection in list(self._connections):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        await self._reception.drained()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        self.addresses.clear()

    def forget(self, connection: GatewaySMTP) -> None:
        """A connection is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            metrics.CONNECTIONS.dec()

    def _connection(self) -> asyncio.Protocol:
        if len(self._connections) >= self.config.smtp.max_connections:
            return _Busy()
        connection = GatewaySMTP(self, self._reception)
        self._connections.add(connection)
        metrics.CONNECTIONS.inc()
        return connection


class _Busy(asyncio.Protocol):
    """Says that there is no room, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"421 4.7.0 Too many connections, come again later\r\n")
        transport.close()
