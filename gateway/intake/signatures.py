"""DKIM signatures by the author's own domain, verified, and whether they prove that this fax is wanted.

A signature says that the mail is genuine, not that whoever hands it in may fax it: anybody who ever got a mail from Ann could
hand it in again for another number. So one proves something here only where it covers the author, the subject, the date and
the recipients, all of the text, and no such field was added.
Sources: RFC 6376 §3.5, §3.6, §5.4, §6, §8.2, §8.6, §8.15; RFC 8301.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from gateway.errors import DnsUnavailable
from gateway.intake import bodies
from gateway.intake.fields import Field, fields
from gateway.intake.resolver import Lookups
from gateway.intake.results import Result
from gateway.message import Octets

_MOST = 3  # signatures of the author's domain that are tried: each costs a look at the whole mail
_FIELDS = 1000  # of a header
_LONGEST, _NAMES = 8192, 200  # octets of a signature, and names of fields in it
#: Fields that shape the fax or say whose it is: each once at most, or one could be read and another have been signed.
_ONCE = ("from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding")
#: What a signature must cover where it is there.
_COVERED = ("from", "to", "cc", "subject", "date")


@dataclass(frozen=True, slots=True)
class _Signature:
    """One DKIM-Signature field: its place among them, and its tags."""

    place: int
    tags: dict[str, str]

    @property
    def domain(self) -> str:
        return self.tags.get("d", "").lower().rstrip(".")


def verify(mail: Octets, speaks: Callable[[str], bool], lookups: Lookups) -> list[Result]:
    """The results of signatures by domains of the author's owner (`speaks`); one "policy" where there are only others."""
    block = fields(mail)
    if len(block) > _FIELDS:
        return [Result("dkim", "policy", {}, "its header has too many fields to look at")]
    found = [_read(n, field) for n, field in enumerate(one for one in block if one.name == "dkim-signature")]
    own = [signature for signature in found if signature and speaks(signature.domain)]
    results = [_result(signature, _judged(mail, block, signature, lookups)) for signature in own[:_MOST]]
    if found and not own:
        results.append(Result("dkim", "policy", {}, "it is signed, but not by the domain of the address in the From field"))
    return results


def _read(place: int, field: Field) -> _Signature | None:
    """A signature's tags; None where they cannot be read, or would be looked at for very long (dkimpy's patterns)."""
    if len(field.raw) > _LONGEST or field.raw.count(b":") > _NAMES or re.search(rb"\s{100}", field.raw):
        return None
    try:
        tags = parse_tag_value(field.raw.partition(b":")[2])
    except InvalidTagValueList:
        return None
    return _Signature(
        place, {name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in tags.items()}
    )


def _judged(mail: Octets, block: list[Field], signature: _Signature, lookups: Lookups) -> tuple[str, str]:
    """Result and reason."""
    if why := _too_little(signature):
        return "policy", why
    key, header = _Key(lookups), b"".join(field.raw for field in block) + b"\r\n"
    try:
        valid = _hash(mail, signature) == _octets(signature.tags.get("bh", ""))
        valid = valid and _Header(header).verify(signature.place, dnsfunc=key)
    except DnsUnavailable:
        return "temperror", "the DNS does not give the key of its signature"
    except (dkim.DKIMException, binascii.Error, ValueError, IndexError, KeyError, AssertionError, TypeError):  # hostile fields
        valid = False
    if not valid:
        return "fail", "its signature does not hold"
    why = "its key is only for tests" if key.is_test else _objection(block, signature, key)
    return ("policy", why) if why else ("pass", "")


class _Header(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """dkimpy for the header alone. Its way with a large text holds up the whole process; `bodies` does that part."""

    def verify_sig_process(self, sig: dict[bytes, bytes], *rest: object) -> bool:
        """Without `bh`, dkimpy leaves the text alone; that it was there has been checked before."""
        return bool(super().verify_sig_process({tag: value for tag, value in sig.items() if tag != b"bh"}, *rest))


def _hash(mail: Octets, signature: _Signature) -> bytes:
    """What `bh` has to be."""
    _, _, way = signature.tags.get("c", "simple/simple").partition("/")
    return bodies.sha256(mail, is_relaxed=way.strip().lower() == "relaxed")


def _octets(encoded: str) -> bytes:
    return base64.b64decode("".join(encoded.split()), validate=True)


def _too_little(signature: _Signature) -> str:
    """Why a signature proves nothing here even if it is valid; "" where that is to be seen."""
    if "l" in signature.tags:
        return "its signature covers only a part of the text (l=)"
    if not signature.tags.get("a", "-sha256").lower().endswith("-sha256"):
        return "its signature does not use SHA-256"
    return ""


def _objection(block: list[Field], signature: _Signature, key: _Key) -> str:
    """Why a valid signature proves nothing here; "" where it does."""
    counted = Counter(field.name for field in block)
    covered = {name.strip().lower() for name in signature.tags.get("h", "").split(":")}
    if "" in counted or any(counted[name] > 1 for name in _ONCE):
        return "a field stands in its header twice, or a line there is no field"
    missing = [name for name in _COVERED if counted[name] and name not in covered]
    if missing or "from" not in covered:
        return f"its signature does not cover the field “{(missing or ['from'])[0].title()}”"
    identity = signature.tags.get("i", "").rpartition("@")[2].lower()
    if key.is_strict and identity not in ("", signature.domain):
        return "its signature is for a subdomain, which the key does not allow"
    return ""


def _result(signature: _Signature, judged: tuple[str, str]) -> Result:
    return Result("dkim", judged[0], {"header.d": signature.domain, "header.s": signature.tags.get("s", "")}, judged[1])


class _Key:
    """Gets the key for dkimpy, and remembers what its flags say (RFC 6376 §3.6.1, `t=`)."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self.is_test = self.is_strict = False

    def __call__(self, name: bytes, timeout: float = 0) -> bytes | None:
        """The record; None where there is none, or more than one. Raises DnsUnavailable."""
        found = self._lookups.txt(name.decode("ascii", "replace"))
        if len(found) != 1:
            return None
        flags = re.search(rb"(?:^|;)\s*t\s*=\s*([^;]*)", found[0])
        words = {word.strip() for word in flags[1].split(b":")} if flags else set[bytes]()
        self.is_test, self.is_strict = b"y" in words, b"s" in words
        return found[0]
