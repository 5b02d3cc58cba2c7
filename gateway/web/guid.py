"""Our ids as the 40 hex digits that programs of the HelloFax API expect, and back.

The first 32 digits are the id's 128 bits, the last 8 the beginning of the SHA-256 of the whole id with its prefix: they
tell a transmission from a received fax, and a mistyped GUID from a real one. They prove nothing: whose fax it is must be
looked at. Nothing is stored.
"""

from __future__ import annotations

import hashlib
import re

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_GUID = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(rf"(?:tx|in)_[0-7][{_DIGITS}]{{25}}")
_PREFIXES = ("tx", "in")


def guid_of(identity: str) -> str:
    """The GUID of a transmission (`tx_…`) or a received fax (`in_…`). Raises ValueError for any other text."""
    if not _ID.fullmatch(identity):
        raise ValueError("not the id of a fax")
    value = 0
    for digit in identity[3:]:
        value = value << 5 | _VALUES[digit]
    return f"{value:032x}{_sum(identity)}"


def id_of(guid: str) -> str | None:
    """The id that has this GUID, in either case of its letters; None: no id has."""
    guid = guid.lower()
    if not _GUID.fullmatch(guid):
        return None
    value = int(guid[:32], 16)
    digits = "".join(_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))
    return next((found for prefix in _PREFIXES if _sum(found := f"{prefix}_{digits}") == guid[32:]), None)


def _sum(identity: str) -> str:
    return hashlib.sha256(identity.encode("ascii")).hexdigest()[:8]
