"""The SMTP door: protocol in, answers out.

`250` after data means: documents fsynced, transaction committed; that is the desk's work, awaited here. A recipient who
cannot be faxed is refused at RCPT, with a reason. aiosmtpd's commands are replaced, because they upper-case parameters and
answer without enhanced status codes. Sources: RFC 5321, 2034, 3207, 4954, 3461, 4865; reference/internet-fax-standards.md
sections 1 to 4 and 10.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import timedelta

from gateway import log
from gateway.errors import Refused, TooMany, Unavailable
from gateway.fax import Recipient
from gateway.intake import authentication, parameters
from gateway.intake.address import Special
from gateway.intake.connection import Connection
from gateway.intake.content import Content
from gateway.intake.parameters import Later
from gateway.intake.transaction import Transaction

_log = logging.getLogger(__name__)
_AUTH_LIMIT = 12288  # RFC 4954 §4
_TRIES = 3  # wrong passwords on one connection
_FLOOD = 100_000_000  # octets past the size limit which are still read, to give the answer at the proper place
_PATH = re.compile(r' *<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: +(.*))?\Z', re.DOTALL)
_COMMANDS = "AUTH DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY"


class GatewaySMTP(Connection):
    """One connection."""

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
            self._hall.crowd.sign_in(self._visit, account.id)
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
        elif isinstance(found, Special) and not self._may_write():
            raise Refused("Too much mail to the operator from your network; try again later.", reply="450 4.7.1")
        transaction.accepted.append(found)
        self._say("250 2.1.5 OK")

    def _may_write(self) -> bool:
        return self._client.account is not None or self._hall.crowd.may_write(self._visit)

    async def smtp_DATA(self, arg: str) -> None:
        _no_argument(arg)
        transaction = self._transaction
        if transaction is None or not transaction.accepted:
            raise Refused("No recipient was accepted.", reply="503 5.5.1")
        self._say("354 End with a dot on a line of its own")
        content = Content(self._settings.max_size, self._hall.room if transaction.proven else self._hall.strangers_room)
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
            self._hall.crowd.has_written(self._visit)

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


def _no_argument(argument: str) -> None:
    if argument:
        raise Refused("This command stands alone.", reply="501 5.5.4")


def _path(keyword: str, argument: str) -> tuple[str, str]:
    """The path between angle brackets, and the parameters behind it."""
    match = _PATH.match(argument, len(keyword)) if argument[: len(keyword)].upper() == keyword else None
    if not match:
        raise Refused(f"Write {keyword}<address>, with the angle brackets.", reply="501 5.5.4")
    return match[1], match[2] or ""
