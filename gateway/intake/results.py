"""Authentication-Results: what a server before us found out about a mail, read and written.

Anybody can write such a field. Of a mail that came through a listed relay, only the topmost one with a listed id counts, and
only where the relay itself can have put it: above the Received field of the server before the relay.
Sources: RFC 8601 §2.2, §4.1, §5; rows AUT-03 to AUT-05.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.intake.fields import LIMIT, Field, fields, without
from gateway.message import Octets

_NAME = "authentication-results"
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;="]+)|([;=]))\s*')
_MOST = 8192  # octets of a field that are read


@dataclass(frozen=True, slots=True)
class Result:
    """One method's result. Names are lower case."""

    method: str
    """"dkim", "spf", "dmarc"; others are nobody's concern."""
    result: str
    """"pass", "fail", "temperror" …"""
    properties: Mapping[str, str]
    """What was looked at, e.g. header.d = corp.example."""
    why: str = ""
    """For people, where it did not pass."""

    @property
    def passed(self) -> bool:
        return self.result == "pass"

    def domain(self, name: str) -> str:
        """The domain in a property, which may be an address; lower case, "" where there is none."""
        return self.properties.get(name, "").rpartition("@")[2].lower().rstrip(".")


def of_relay(mail: Octets, ids: Collection[str], hops: int = 1) -> list[Result]:
    """What the relay that handed this mail in says of it; `ids` are the authserv-ids it uses, lower case, `hops` is how many
    Received fields it writes."""
    received = 0
    for field in fields(mail):
        received += field.name == "received"
        if received > hops:
            break
        if field.name == _NAME and (said := parse(field.value)) and said[0] in ids:
            return said[1]
    return []


def cleansed(mail: Octets, ours: Collection[str]) -> Octets:
    """The mail without fields that claim to be ours (`ours`: our authserv-ids, lower case)."""
    end = mail.find(b"\r\n\r\n", 0, LIMIT)
    if _NAME.encode() not in mail[: end if end >= 0 else LIMIT].lower():  # most mails: taken apart for nothing
        return mail
    claims = frozenset(field for field in fields(mail) if field.name == _NAME and _id(field) in ours)
    return without(mail, claims) if claims else mail


def written(host: str, results: Collection[Result]) -> bytes:
    """Our own field, with its CRLF."""
    said = "".join(
        f";\r\n\t{one.method}={one.result}" + "".join(f" {name}={_value(value)}" for name, value in one.properties.items())
        for one in results
    )
    return f"Authentication-Results: {host}{said or '; none'}\r\n".encode("ascii", "replace")


def parse(value: str) -> tuple[str, list[Result]] | None:
    """The authserv-id (lower case) and the results; None where it makes no sense.

    A method in a version of its own is left out, as the standard asks of what is not known.
    """
    parts: list[list[str]] = [[]]
    for quoted, word, mark in _tokens(_uncommented(value[:_MOST]) or ""):
        if mark == ";":
            parts.append([])
        else:
            parts[-1].append(mark or word or re.sub(r"\\(.)", r"\1", quoted))
    head = parts[0]
    if not 1 <= len(head) <= 2 or "=" in head or head[1:] not in ([], ["1"]) or not head[0].isascii():
        return None
    return head[0].lower(), [result for part in parts[1:] if (result := _result(part))]


def _tokens(text: str) -> list[tuple[str, str, str]]:
    """Quoted strings, words and marks, as far as they can be told: one look at each letter, whatever a stranger wrote."""
    found, at = list[tuple[str, str, str]](), 0
    while match := _TOKEN.match(text, at):
        found.append((match[1] or "", match[2] or "", match[3] or ""))
        at = match.end()
    return found if at == len(text) else []


def _result(part: list[str]) -> Result | None:
    """`method = result [reason = text] ptype.property = value …`, as tokens."""
    if len(part) % 3 or any(part[n] != "=" or part[n - 1] == "=" for n in range(1, len(part), 3)):
        return None
    pairs = [(part[n].lower(), part[n + 2]) for n in range(0, len(part), 3)]
    if not pairs or len({name for name, _ in pairs}) < len(pairs):  # two properties of one name: which one was looked at?
        return None
    (method, result), *rest = pairs
    return Result(method, result.lower(), {name: value for name, value in rest if "." in name})


def _uncommented(text: str) -> str | None:
    """Without comments, which may stand anywhere and in one another; None where one does not end."""
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
        elif character == ")" and depth and not quoted:
            depth -= 1
            kept.append(" ")
            continue
        if not depth:
            kept.append(character)
    return None if depth or quoted else "".join(kept)


def _id(field: Field) -> str:
    """The id that a field claims, also where the rest of it makes no sense."""
    said = parse(field.value)
    if said:
        return said[0]
    text = (_uncommented(field.value) or field.value).strip().lower()
    return re.split(r"[\s;(]", text, maxsplit=1)[0].strip('"')


def _value(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9._@+-]+", value) else '"' + re.sub(r"[^ !#-\[\]-~]", "?", value) + '"'
