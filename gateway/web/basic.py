"""HTTP Basic (RFC 7617), as the doors with a login and a password read it."""

from __future__ import annotations

import base64
import binascii


def credentials(header: str) -> tuple[str, str] | None:
    """Login and password in an Authorization header; None where there are none that can be read."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (login, password) if colon and login else None
