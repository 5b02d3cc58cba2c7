"""What stands behind the paths of MAIL and RCPT: SIZE, BODY, AUTH, the delivery-report wishes of RFC 3461, a later time.

Case is kept and xtext decoded. Valid wishes never change an answer; bad or repeated ones are 501 5.5.4, unknown ones
555 5.5.4. Sources: RFC 5321 §4.1.2, 1870, 6152, 3461 §4, 4954 §5, 4865; rows SMT-07, SMT-12 to SMT-16, SUB-11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.errors import Refused

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_ORCPT = re.compile(r"([A-Za-z0-9-]{1,40});(.+)\Z")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_ENVID_LIMIT, _ORCPT_LIMIT = 100, 500  # RFC 3461 §5.4


@dataclass(frozen=True, slots=True)
class MailParameters:
    """Behind MAIL FROM."""

    size: int = 0
    """Octets announced, 0 = not given."""
    ret: str = ""
    """FULL, HDRS or ""."""
    envelope_id: str = ""
    future_release: str = ""
    """`for;SECONDS` or `until;DATE`, "" = at once."""
    not_before: datetime | None = None
    """When that is."""


@dataclass(frozen=True, slots=True)
class Later:
    """How far ahead a mail may be handed in."""

    now: datetime
    most: timedelta

    @property
    def until(self) -> str:
        """The last moment, as it is offered."""
        return (self.now + self.most).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """Behind RCPT TO."""

    notify: tuple[str, ...] = ()
    """Upper case; empty = not given."""
    original_recipient: str = ""
    """`type;address`, decoded, case kept."""


_NOTHING = MailParameters()


def of_mail(text: str, later: Later | None = None) -> MailParameters:
    """Read the parameters of MAIL. Without `later` a later time is not offered. Raises Refused 501 or 555."""
    if not text:
        return _NOTHING
    given = _split(text, {"SIZE", "BODY", "AUTH", "RET", "ENVID"} | ({"HOLDFOR", "HOLDUNTIL"} if later else set()))
    size = given.get("SIZE", "0")
    if not re.fullmatch(r"[0-9]{1,20}", size):
        raise _bad("SIZE is a number of octets.")
    if given.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):
        raise _bad("BODY is 7BIT or 8BITMIME.")
    if given.get("AUTH", "<>") != "<>" and not _XTEXT.match(given["AUTH"]):
        raise _bad("AUTH is an address in xtext, or <>.")  # and then it is not believed, RFC 4954 §5
    ret = given.get("RET", "").upper()
    if ret not in ("", "FULL", "HDRS"):
        raise _bad("RET is FULL or HDRS.")
    return MailParameters(
        size=int(size),
        ret=ret,
        envelope_id=_xtext("ENVID", given.get("ENVID", ""), _ENVID_LIMIT),
        future_release=_asked(given),
        not_before=_not_before(given, later) if later else None,
    )


def of_rcpt(text: str) -> RcptParameters:
    """Read the parameters of RCPT. Raises Refused 501 or 555."""
    given = _split(text, {"NOTIFY", "ORCPT"})
    notify = tuple(dict.fromkeys(given["NOTIFY"].upper().split(","))) if "NOTIFY" in given else ()
    if not set(notify) <= {"NEVER", "SUCCESS", "FAILURE", "DELAY"} or ("NEVER" in notify and len(notify) > 1):
        raise _bad("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY.")
    original = ""
    if "ORCPT" in given:
        match = _ORCPT.match(given["ORCPT"])
        if not match:
            raise _bad("ORCPT is written like rfc822;address.")
        original = f"{match[1]};{_xtext('ORCPT', match[2], _ORCPT_LIMIT)}"
    return RcptParameters(notify=notify, original_recipient=original)


def _asked(given: dict[str, str]) -> str:
    """The wish for a later time in the words of a report (RFC 4865 §6)."""
    if "HOLDFOR" in given:
        return f"for;{given['HOLDFOR']}"
    return f"until;{given['HOLDUNTIL']}" if "HOLDUNTIL" in given else ""


def _not_before(given: dict[str, str], later: Later) -> datetime | None:
    """When the fax may begin. Raises Refused."""
    if "HOLDFOR" in given and "HOLDUNTIL" in given:
        raise _bad("HOLDFOR and HOLDUNTIL exclude each other.")
    if "HOLDFOR" in given:
        if not re.fullmatch(r"[0-9]{1,9}", given["HOLDFOR"]):
            raise _bad("HOLDFOR is a number of seconds.")
        wanted = later.now + timedelta(seconds=int(given["HOLDFOR"]))
    elif "HOLDUNTIL" in given:
        wanted = _moment(given["HOLDUNTIL"])
    else:
        return None
    if wanted > later.now + later.most:
        raise _bad(f"A mail may be held for {later.most.total_seconds():.0f} seconds here, until {later.until}.")
    return wanted if wanted > later.now else None


def _moment(text: str) -> datetime:
    """`date-time` of RFC 3339: complete, with its zone."""
    if not _DATE_TIME.fullmatch(text):
        raise _bad("HOLDUNTIL is written like 2026-12-24T18:00:00Z.")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad("HOLDUNTIL is no date and time that exists.") from error


def _split(text: str, known: set[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.match(word)
        if not match:
            raise _bad("A parameter is written KEYWORD or KEYWORD=value.")
        keyword = match[1].upper()
        if keyword not in known:
            raise Refused("This parameter is not known here.", reply="555 5.5.4")
        if match[2] is None:
            raise _bad(f"{keyword} needs a value.")
        if keyword in given:
            raise _bad(f"{keyword} is given twice.")
        given[keyword] = match[2]
    return given


def _xtext(keyword: str, value: str, limit: int) -> str:
    """Decode xtext (RFC 3461 §4): `+3D` is `=`. What comes out must be printable ASCII."""
    if len(value) > limit or not _XTEXT.match(value):
        raise _bad(f"{keyword} is xtext of at most {limit} characters.")
    text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)
    if any(not " " <= c <= "~" for c in text):
        raise _bad(f"{keyword} must decode to printable ASCII.")
    return text


def _bad(text: str) -> Refused:
    return Refused(text, reply="501 5.5.4")
