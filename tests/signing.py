"""Mails signed with DKIM, and the keys in the DNS."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.nameserver import NameServer

_FIELDS = (b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"content-type")


@functools.cache
def key(which: str = "") -> tuple[bytes, str]:
    """A private key (PEM), the same one each time, and its public part as a DNS record has it."""
    private = rsa.generate_private_key(65537, 1024 if which != "long" else 4096)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, base64.b64encode(public).decode()


def publish(server: NameServer, domain: str, *, selector: str = "fax", flags: str = "", which: str = "") -> None:
    """Put the key into the DNS."""
    server.txt(f"{selector}._domainkey.{domain}", f"v=DKIM1; k=rsa;{flags} p={key(which)[1]}")


def signed(
    mail: bytes,
    domain: str,
    *,
    selector: str = "fax",
    fields: Sequence[bytes] = _FIELDS,
    which: str = "",
    length: bool = False,
    algorithm: bytes = b"rsa-sha256",
    identity: bytes | None = None,
) -> bytes:
    """The mail with a signature on top."""
    header = dkim.DKIM(mail).sign(
        selector.encode(),
        domain.encode(),
        key(which)[0],
        signature_algorithm=algorithm,
        include_headers=[field for field in fields if field == b"from" or b"\n" + field + b":" in b"\n" + mail.lower()],
        length=length,
        identity=identity,
        canonicalize=(b"relaxed", b"relaxed"),
    )
    return bytes(header) + mail
