"""DKIM signatures on our mails: from which domain they are, provable to whoever gets them.

Every field that a reader sees is signed once more than it is there, so that none can be added. The text is signed as it is
(`simple`): it is 7-bit with lines of our own making, which no server has a reason to change. The keys are cryptography's;
dkimpy, which verifies what comes in, signs with Ed25519 only where PyNaCl is installed, and is slow on hostile text, such as
that of a mail we hand on. Sources: RFC 6376 §3.4, §3.5, §3.7, §5.4, §8.15; RFC 8301, 8463.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

_log = logging.getLogger(__name__)
_SIGNED = (
    "from", "to", "cc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references", "mime-version",
    "content-type", "content-transfer-encoding", "auto-submitted",
)  # fmt: skip
_LEAST = 1024  # bits, RFC 8301 §3.2
_FIELD = re.compile(rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Signature:
    """One key and the name under which it is in the DNS.

    A new key in the file is used from the next mail on; one that cannot be used leaves the old one in force.
    """

    def __init__(self, domain: str, selector: str, file: Path) -> None:
        """Raises ValueError, OSError where the key cannot be used."""
        self.domain, self.selector, self._file = domain, selector, file
        self._state, self._key = _state(file), read_key(file)

    @property
    def name(self) -> str:
        """Where the DNS has the public key."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """What the DNS says there."""
        return record(self._key)

    def sign(self, mail: bytes, at: datetime) -> bytes:
        """The mail with a signature on top. Lines end in CRLF."""
        self._renew()
        header, _, body = mail.partition(b"\r\n\r\n")
        fields = [field for field in _FIELD.findall(header + b"\r\n") if field.strip()]
        names = [_name(field) for field in fields]
        covered = [name for name in _SIGNED for _ in range(names.count(name) + 1)]
        algorithm = "rsa" if isinstance(self._key, rsa.RSAPrivateKey) else "ed25519"
        hashed = base64.b64encode(hashlib.sha256(body.rstrip(b"\r\n") + b"\r\n").digest()).decode()
        listed = "\r\n ".join(textwrap.wrap(":".join(covered).replace(":", ": "), 70, break_on_hyphens=False)).replace(
            ": ", ":"
        )
        unsigned = (
            f"DKIM-Signature: v=1; a={algorithm}-sha256; c=relaxed/simple; d={self.domain};\r\n"
            f" s={self.selector}; t={at.timestamp():.0f};\r\n h={listed};\r\n bh={hashed};\r\n b="
        ).encode("ascii")
        text = b"".join(_relaxed(field) + b"\r\n" for field in _chosen(fields, names, covered)) + _relaxed(unsigned + b"\r\n")
        made = base64.b64encode(_signed(self._key, text)).decode()
        return unsigned + "\r\n ".join(textwrap.wrap(made, 72)).encode("ascii") + b"\r\n" + mail

    def _renew(self) -> None:
        if (state := _state(self._file)) == self._state:
            return
        self._state = state
        try:
            self._key = read_key(self._file)
        except (ValueError, OSError) as error:
            _log.error("%s: the old key stays in force: %s", self.name, error, extra={"action": "signature_key_unusable"})
            return
        _log.warning("%s: a new key is in force, %s", self.name, self.record, extra={"action": "signature_key_renewed"})


def read_key(file: Path) -> Key:
    """A private key in PEM. Raises ValueError, OSError."""
    content = file.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise ValueError("it is locked by a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no private key in PEM") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _LEAST:
        raise ValueError(f"it is neither RSA with {_LEAST} bits or more nor Ed25519")
    return key


def record(key: Key) -> str:
    """The TXT record with the public part of a key."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(public.public_bytes_raw()).decode()}"
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


def _signed(key: Key, text: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(hashlib.sha256(text).digest())


def _chosen(fields: Sequence[bytes], names: Sequence[str], covered: Sequence[str]) -> list[bytes]:
    """The fields in the order of `covered`, of several with one name the last first; none where there is no further one."""
    left = {name: [field for field, other in zip(fields, names, strict=True) if other == name] for name in set(covered)}
    return [left[name].pop() for name in covered if left[name]]


def _name(field: bytes) -> str:
    return field.partition(b":")[0].strip().lower().decode("ascii", "replace")


def _relaxed(field: bytes) -> bytes:
    """A field without its end, as `relaxed` has it."""
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")


def _state(file: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from another; None: not there."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
