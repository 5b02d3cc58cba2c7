"""S/MIME: a received fax that only its reader can open.

Outside stand the fields that mail servers need, our own address as the author, and a subject that says no more than that a fax
came. Caller, station, pages and everything else are inside, marked as RFC 9788 asks, so that a mail program shows them as the
mail's own. Sources: RFC 8551 §3.3, RFC 5652 §6, RFC 9788 §2.1, §2.2.

Limits: certificates with RSA keys only, AES-256 in CBC mode; that is what the library encrypts with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import pkcs7

from gateway.report import mime
from gateway.report.compose import Mail

SUBJECT = "Fax received"
#: Fields that stay outside as they are; the Reply-To is a token, not a number.
_OUTSIDE = ("to", "reply-to", "date", "message-id", "auto-submitted", "x-faxgate-loop")
_FIELD = re.compile(rb"([!-9;-~]+): ?((?:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*))\r\n")


def readers(file: Path, now: datetime) -> list[x509.Certificate]:
    """Those certificates in a PEM file that are in force: the mail is encrypted for each of them.

    Raises ValueError where none is, or one is of no use; OSError.
    """
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError as error:
        raise ValueError("there is no certificate in PEM in it") from error
    for one in found:
        if not isinstance(one.public_key(), rsa.RSAPublicKey):
            raise ValueError("its key is not RSA")  # noqa: TRY004  # what is in a file, not a type of ours
        if not _is_for_keys(one):
            raise ValueError("it is not for encryption (key usage)")
    valid = [one for one in found if one.not_valid_before_utc <= now <= one.not_valid_after_utc]
    if not valid:
        last = max(one.not_valid_after_utc for one in found)
        raise ValueError(f"it has expired on {last:%Y-%m-%d}" if last < now else "it is not in force yet")
    return valid


def _is_for_keys(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    except x509.ExtensionNotFound:
        return True


def sealed(mail: Mail, author: str, certificates: Sequence[x509.Certificate]) -> Mail:
    """The same mail, for the eyes of the certificates' owners. `author` is our address, shown outside."""
    header, _, body = mail.content.partition(b"\r\n\r\n")
    fields = [(name.decode("ascii"), value.decode("ascii")) for name, value in _FIELD.findall(header + b"\r\n")]
    outside = [("From", mime.mailbox("Fax", author)), *((n, v) for n, v in fields if n.lower() in _OUTSIDE)]
    outside.insert(2, ("Subject", SUBJECT))
    inside = [(n, f'{v};\r\n hp="cipher"' if n.lower() == "content-type" else v) for n, v in fields if n != "MIME-Version"]
    inside += [("HP-Outer", f"{name}: {value}") for name, value in outside]
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(mime.block(inside) + b"\r\n" + body)
    builder = builder.set_content_encryption_algorithm(AES256)
    for certificate in certificates:
        builder = builder.add_recipient(certificate)
    made = builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    kind = 'application/pkcs7-mime;\r\n smime-type=enveloped-data; name="smime.p7m"'
    root = mime.binary(kind, made, ("Content-Disposition", 'attachment; filename="smime.p7m"'))
    return replace(mail, content=mime.mail(outside, root))
