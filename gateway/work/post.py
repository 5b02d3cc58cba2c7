"""The way out: mails handed to the smarthosts, over connections that are used again.

    Post.send(mail)   the first smarthost that takes it; one that could not be reached lately is asked last

What is known afterwards is one of the three kinds of error. `Refused`: a server said no to this mail for good. `Unavailable`:
none has taken it. `Uncertain`: the answer to the final dot was lost. A fax would wait for a person then; a mail is handed over
again, because it has the same Message-ID each time, and one that comes twice harms less than one that never comes (RFC 1047).

A connection stays open for a while after a mail. One that the server has closed meanwhile says nothing about the mail: a fresh
one is made at once. Sources: RFC 5321 §4.5.3.2, §4.5.4.1, 1870, 3207, 3461 §6.1, 4954, 7435; rows QUE-17, DSN-10, ONR-16.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

from gateway import log, metrics
from gateway.config import Config
from gateway.errors import ConfigError, Refused, Unavailable, Uncertain
from gateway.report import smime
from gateway.report.compose import Mail
from gateway.report.signing import Signature

_log = logging.getLogger(__name__)
_GREETING = 30.0  # seconds for connection, TLS and greeting, so that the next smarthost is not waited for long
_ANSWER = 300.0  # seconds for each answer
_TAKEN = 600.0  # seconds for the answer to the final dot: who gives up sooner has the mail delivered twice
_STILL_THERE = 20.0  # seconds for the first answer on a connection that waited
_IDLE = 20.0  # seconds for which a connection is kept without a mail
_MAILS = 100  # on one connection
_PAUSE, _LONGEST_PAUSE = 30.0, 600.0  # seconds for which a smarthost that failed is asked last; doubles each time
#: Permanent words that are about us, not about the mail: order of commands, signing in.
_OURS = frozenset({503, 530, 534, 535, 538})
_PORTS = {"smtp": 25, "smtp+starttls": 25, "smtps": 465}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Gone(Exception):
    """The connection ended before the mail was handed over."""


@dataclass(eq=False, slots=True)
class _Line:
    """One connection."""

    client: aiosmtplib.SMTP
    mails: int = 0
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Smarthost:
    """One of the servers, and the connections to it that wait for the next mail."""

    name: str
    scheme: str
    port: int
    context: ssl.SSLContext
    idle: list[_Line] = field(default_factory=list)
    pause: float = 0.0
    asked_again: float = 0.0
    """Loop time until which it is asked last."""


class Post:
    """Every mail that leaves us goes through here."""

    def __init__(self, config: Config, password: str = "", now: Callable[[], datetime] = _utc_now) -> None:
        """Raises ConfigError where a key or the authorities cannot be read."""
        self._now, self._signatures = now, signatures(config)
        self._local, self._username, self._password = config.host, config.mail.username, password
        trusting = verifying(config)
        self._hosts = [_smarthost(url, trusting) for url in config.mail.smarthost]
        self._closing = set[asyncio.Task[None]]()

    async def signed(self, mail: Mail) -> Mail:
        """The mail with our signatures, as it is handed over."""
        for signature in self._signatures:
            mail = replace(mail, content=await asyncio.to_thread(signature.sign, mail.content, self._now()))
        return mail

    async def send(self, mail: Mail) -> str:
        """Hand over one mail; what the server said that took it. Raises Refused, Unavailable, Uncertain."""
        now, trouble = asyncio.get_running_loop().time(), list[str]()
        for host in sorted(self._hosts, key=lambda one: one.asked_again > now):
            try:
                answer = await self._hand_over(host, mail)
            except Unavailable as error:
                trouble.append(error.text)
                continue
            host.pause = host.asked_again = 0.0
            metrics.SMARTHOSTS.labels(host.name, "taken").inc()
            return answer
        raise Unavailable("; ".join(trouble))

    async def close(self) -> None:
        """Say goodbye on every connection that is open. Nothing is being sent any more."""
        for host in self._hosts:
            for line in list(host.idle):
                self._leave(host, line)
        await asyncio.gather(*self._closing)

    async def _hand_over(self, host: _Smarthost, mail: Mail) -> str:
        """To one server. Raises Refused, Unavailable, Uncertain."""
        while line := _waiting(host):
            with contextlib.suppress(_Gone):
                await _begin_anew(line)
                return await self._on(host, line, mail)
        line = _Line(await self._connected(host))
        try:
            return await self._on(host, line, mail)
        except _Gone as error:
            raise self._failed(host, f"{host.name} has broken off ({_said(error.__cause__)}).") from error

    async def _connected(self, host: _Smarthost) -> aiosmtplib.SMTP:
        client = aiosmtplib.SMTP(
            hostname=host.name,
            port=host.port,
            use_tls=host.scheme == "smtps",
            start_tls=True if host.scheme == "smtp+starttls" else None if host.scheme == "smtp" else False,
            tls_context=host.context,
            timeout=_GREETING,
            local_hostname=self._local,
            username=self._username or None,
            password=self._password or None,
        )
        try:
            await client.connect()
        except (SMTPException, OSError, ValueError) as error:
            client.close()
            raise self._failed(host, _unreachable(host, error)) from error
        except asyncio.CancelledError:
            client.close()
            raise
        client.timeout = _ANSWER
        metrics.SMARTHOST_CONNECTIONS.labels(host.name).inc()
        return client

    async def _on(self, host: _Smarthost, line: _Line, mail: Mail) -> str:
        """On one connection, which is kept where it stays usable. Raises Refused, Unavailable, Uncertain, _Gone."""
        try:
            answer = await self._transaction(host, line.client, mail)
        except (Refused, Unavailable) as error:
            if isinstance(error, Refused):
                metrics.SMARTHOSTS.labels(host.name, "refused").inc()
            self._keep(host, line)
            raise
        except BaseException:  # whatever it is, cancelling included: nobody knows what the server would answer next
            line.client.close()
            raise
        line.mails += 1
        self._keep(host, line)
        return answer

    async def _transaction(self, host: _Smarthost, client: aiosmtplib.SMTP, mail: Mail) -> str:
        size = [f"SIZE={len(mail.content)}"] if client.supports_extension("size") else []
        wanted = [f"NOTIFY={'FAILURE' if mail.envelope_from else 'NEVER'}"] if client.supports_extension("dsn") else []
        try:
            await client.mail(mail.envelope_from, options=size)
            for to in mail.to:
                await client.rcpt(to, options=wanted)
        except (SMTPException, OSError) as error:
            raise self._judged(host, error) from error
        except ValueError as error:
            raise Refused(f"This address cannot be written in SMTP: {error}") from error
        try:
            return (await client.data(mail.content, timeout=_TAKEN)).message
        except SMTPResponseException as error:
            raise self._judged(host, error) from error
        except (SMTPException, OSError) as error:
            text = f"The answer of {host.name} to the mail was lost ({_said(error)})."
            self._failed(host, text)
            metrics.SMARTHOSTS.labels(host.name, "uncertain").inc()
            raise Uncertain(text) from error

    def _judged(self, host: _Smarthost, error: Exception) -> Exception:
        """What an answer before the mail was taken means."""
        if not isinstance(error, SMTPResponseException) or error.code == 421:
            return _Gone()
        if 500 <= error.code < 600 and error.code not in _OURS:
            return Refused(_said(error))
        if error.code in _OURS:
            return self._failed(host, _said(error))
        metrics.SMARTHOSTS.labels(host.name, "deferred").inc()
        return Unavailable(_said(error))

    def _failed(self, host: _Smarthost, text: str) -> Unavailable:
        """It is asked last for a while."""
        now = asyncio.get_running_loop().time()
        if host.asked_again <= now:
            host.pause = min(max(_PAUSE, 2 * host.pause), _LONGEST_PAUSE)
            host.asked_again = now + host.pause
            _log.warning("%s is asked last for %.0f s: %s", host.name, host.pause, text, extra={"action": "smarthost_failed"})
        metrics.SMARTHOSTS.labels(host.name, "failed").inc()
        return Unavailable(text)

    def _keep(self, host: _Smarthost, line: _Line) -> None:
        host.idle.append(line)
        if line.mails >= _MAILS:
            self._leave(host, line)
        else:
            line.timer = asyncio.get_running_loop().call_later(_IDLE, self._leave, host, line)

    def _leave(self, host: _Smarthost, line: _Line) -> None:
        """Say goodbye on a connection that waits."""
        host.idle.remove(line)
        if line.timer:
            line.timer.cancel()
        task = asyncio.create_task(_goodbye(line.client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _begin_anew(line: _Line) -> None:
    """Whether a connection that waited still answers. Raises _Gone."""
    try:
        await line.client.rset(timeout=_STILL_THERE)
    except (SMTPException, OSError) as error:
        line.client.close()
        raise _Gone from error
    except BaseException:
        line.client.close()
        raise


async def _goodbye(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit(timeout=_GREETING)
    except (SMTPException, OSError) as error:
        _log.debug("no goodbye: %s", error)
    finally:
        client.close()


def _waiting(host: _Smarthost) -> _Line | None:
    """A connection that waits, as far as we know; the one that was used last."""
    while host.idle:
        line = host.idle.pop()
        if line.timer:
            line.timer.cancel()
        if line.client.is_connected:
            return line
        line.client.close()
    return None


def _smarthost(url: str, verifying: ssl.SSLContext) -> _Smarthost:
    parts = urlsplit(url)
    context = verifying
    if parts.scheme == "smtp":  # clear text would do as well: a certificate that nobody knows is better than none (RFC 7435)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return _Smarthost(parts.hostname or "", parts.scheme, parts.port or _PORTS[parts.scheme], context)


def check(config: Config, now: datetime) -> list[Signature]:
    """What would stop a mail from leaving, as far as the configuration can say; the signatures that it will have.

    Raises ConfigError.
    """
    verifying(config)
    for mailbox, file in config.mail.certificates.items():
        try:
            smime.readers(file, now)
        except (ValueError, OSError) as error:
            raise ConfigError(config.file, f"mail.certificates.{mailbox}", f"{file}: {_reason(error)}") from error
    return signatures(config)


def signatures(config: Config) -> list[Signature]:
    """Those of `[[mail.dkim]]`. Raises ConfigError."""
    made = list[Signature]()
    for n, section in enumerate(config.mail.dkim, 1):
        try:
            made.append(Signature(section.domain or config.domain[0], section.selector, section.key_file))
        except (ValueError, OSError) as error:
            raise ConfigError(config.file, f"mail.dkim[{n}].key_file", f"{section.key_file}: {_reason(error)}") from error
    return made


def _reason(error: ValueError | OSError) -> str:
    return f"it cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)


def verifying(config: Config) -> ssl.SSLContext:
    """TLS that believes the system's authorities, or those of `mail.ca`. Raises ConfigError."""
    ca = config.mail.ca
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except ssl.SSLError as error:
        raise ConfigError(config.file, "mail.ca", f"{ca} holds no certificate in PEM") from error
    except OSError as error:
        raise ConfigError(config.file, "mail.ca", f"{ca} cannot be read ({error.strerror})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unreachable(host: _Smarthost, error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"{host.name} does not accept our password ({error.code})."
    if isinstance(cause := error.__cause__, ssl.SSLCertVerificationError) or isinstance(cause := error, ssl.SSLError):
        return f"The certificate of {host.name} is not to be believed ({getattr(cause, 'verify_message', cause.reason)})."
    return f"{host.name} cannot be reached ({_said(error)})."


def _said(error: BaseException | None) -> str:
    """A server's words, or what happened to the connection, on one line."""
    if isinstance(error, SMTPResponseException):
        words = f"{error.code} {error.message}"
    else:
        words = (error.strerror if isinstance(error, OSError) else "") or str(error or "")
    return log.printable(" ".join(words.split()), 500) or type(error).__name__
