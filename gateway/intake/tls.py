"""The TLS side of the mail listeners."""

from __future__ import annotations

import ssl

from gateway.config import Config
from gateway.errors import ConfigError


def context(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or later; None when no certificate is named: then STARTTLS and AUTH are not offered."""
    if config.smtp.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.smtp.tls_cert, config.smtp.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(config.file, "smtp.tls_cert", "certificate and key cannot be used together") from error
    except OSError as error:
        raise ConfigError(config.file, "smtp.tls_cert", f"certificate or key cannot be read ({error.strerror})") from error
    return context
