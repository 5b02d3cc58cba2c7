"""The TLS side of the mail listeners, and the certificate in force."""

from __future__ import annotations

import logging
import ssl
import time

from gateway.config import Config
from gateway.errors import ConfigError

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between two looks at the files


class Certificate:
    """The certificate of the mail listeners. Its files are looked at when a client comes, at most once a second.

    A new certificate that cannot be used (half written, the key of another) leaves the old one in force: mail goes on.
    A context is never loaded anew but replaced, because an old key of another kind would stay in it.
    """

    def __init__(self, config: Config) -> None:
        """Raises ConfigError when it cannot be used."""
        self._config = config
        self._context = context(config)
        self._files = self._state()
        self._looked_at = time.monotonic()

    def context(self) -> ssl.SSLContext | None:
        """For the next connection; None where no certificate is named."""
        if self._context is not None and time.monotonic() - self._looked_at > _LOOK:
            self.renew()
        return self._context

    def renew(self) -> None:
        """Read the files again if they have changed."""
        self._looked_at = time.monotonic()
        state = self._state()
        if state == self._files:
            return
        self._files = state
        try:
            self._context = context(self._config)
        except ConfigError as error:
            _log.error("the old certificate stays in force: %s", error.text, extra={"action": "certificate_unusable"})
            return
        _log.info("a new certificate is in force", extra={"action": "certificate_renewed"})

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells one version of the files from another; None: not there."""
        found: list[tuple[int, int, int] | None] = []
        for path in (self._config.smtp.tls_cert, self._config.smtp.tls_key):
            try:
                status = path.stat() if path else None
            except OSError:
                status = None
            found.append((status.st_mtime_ns, status.st_size, status.st_ino) if status else None)
        return tuple(found)


def context(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or later; None when no certificate is named: then STARTTLS and AUTH are not offered. Raises ConfigError."""
    if config.smtp.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # each one would cost us more than the client
    try:
        context.load_cert_chain(config.smtp.tls_cert, config.smtp.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(config.file, "smtp.tls_cert", "certificate and key cannot be used together") from error
    except OSError as error:
        raise ConfigError(config.file, "smtp.tls_cert", f"certificate or key cannot be read ({error.strerror})") from error
    return context
