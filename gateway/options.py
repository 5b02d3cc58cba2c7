"""What a sender may ask of one fax: in the address, or in brackets where the subject or the text begins.

    [cover=none] [fine] [ref=1234] [at=18:00] Contract        the same in an address: …/COVER=none/RES=fine/REF=1234/AT=1800@…

An account uses those that its `options` list; `[preview]`, which sends nothing yet, is everybody's, in a subject. A bracket
is meant as an option when it has the name and the form of one: it is then obeyed, or refused with the reason, and never
printed. A name that nobody knows is refused where the account uses options and it is written like one (`[covr=none]`,
`[fien]`); every other bracket ("[EXTERNAL]") is text, and ends the options. `/COVER=` and `/LANG=` in an address need no
leave, like the other words for a cover page.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gateway.errors import NotAdmitted, Refused
from gateway.fax import Door, Recipient

#: What an account may list, and how each is written.
NAMES = {
    "cover": "[cover=none], or [cover=NAME] for a cover page of that name",
    "fine": "[fine] or [standard]",
    "ref": "[ref=1234]: up to 32 letters, digits, dots, hyphens and underlines",
    "at": "[at=18:00] or [at=2026-01-31 18:00]",
    "lang": "[lang=de]",
    "preview": "[preview]",
}
#: Doors whose mails are read for options.
DOORS = frozenset({Door.SMTP, Door.LMTP, Door.IMAP})
IN_SUBJECT = "550 5.6.0"
IN_ADDRESS = "550 5.1.3"
Option = tuple[str, str]
"""Key in upper case, and value: COVER, RES, REF, AT, LANG, PREVIEW."""

_FLAGS = ("fine", "standard", "preview")
_KEYS = {"COVER": "cover", "RES": "fine", "REF": "ref", "AT": "at", "LANG": "lang"}
_FREE = frozenset({"COVER", "LANG"})
_BRACKET = re.compile(r"[ \t]*\[[ \t]*([A-Za-z][A-Za-z-]{0,19})[ \t]*(?:=[ \t]*([^\[\]\r\n]{0,80}?)[ \t]*)?\]")
_FORMS = {
    "COVER": re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"),
    "RES": re.compile(r"(?i:fine|standard)"),
    "REF": re.compile(r"[A-Za-z0-9._-]{1,32}"),
    "AT": re.compile(r"(?:([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ])?([0-9]{1,2})[:.]?([0-9]{2})"),
    "LANG": re.compile(r"[A-Za-z]{2,3}"),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What one account may ask now."""

    allowed: Collection[str]
    """Of `NAMES`."""
    zone: ZoneInfo
    """In which a time is meant."""
    now: datetime
    farthest: timedelta
    """How long after `now` a fax may begin."""

    def of_address(self, recipient: Recipient) -> Recipient:
        """The recipient with what its address asks understood. Raises NotAdmitted; Refused 550 5.1.3."""
        kept: list[Option] = []
        for keyword, value in recipient.options:
            key = keyword.upper()
            if key in _KEYS:
                if key not in _FREE:
                    self._check_allowed(f"/{keyword}=", _KEYS[key])
                keyword, value = key, self._value(key, value, f"/{keyword}={value}", IN_ADDRESS)
                if any(earlier == key for earlier, _ in kept):
                    raise Refused(f"/{keyword}= is there twice.", reply=IN_ADDRESS)
            kept.append((keyword, value))
        return _referenced(replace(recipient, options=tuple(kept)))

    def of_text(self, text: str) -> tuple[Option, ...]:
        """What the brackets at the beginning of a subject or of a text ask. Raises NotAdmitted; Refused 550 5.6.0."""
        found: list[Option] = []
        for name, value, written in _brackets(text):
            option = self._option(name.lower(), value, written)
            if option is None:
                break
            found.append(option)
        return tuple(found)

    def _option(self, name: str, value: str | None, written: str) -> Option | None:
        """One bracket; None: it is text."""
        if name == "preview" and value is None:
            return "PREVIEW", "yes"
        if name in _FLAGS and value is None:
            self._check_allowed(written, "fine")
            return "RES", name
        if name in _KEYS.values() and name != "fine" and value is not None:
            self._check_allowed(written, name)
            return name.upper(), self._value(name.upper(), value, written, IN_SUBJECT)
        if not self.allowed and name != "preview":
            return None
        if name in NAMES or name in _FLAGS:
            raise Refused(
                f"{written} is not how this option is written. Write {NAMES.get(name, NAMES['fine'])}.", reply=IN_SUBJECT
            )
        near = difflib.get_close_matches(name, [*NAMES, *_FLAGS], 1, 0.7)
        if value is None and not near:
            return None
        hint = f"Did you mean {NAMES.get(near[0], NAMES['fine'])}?" if near else f"Known are {', '.join(NAMES)}."
        raise Refused(f"There is no option {written}. {hint}", reply=IN_SUBJECT)

    def _check_allowed(self, written: str, name: str) -> None:
        if name not in self.allowed:
            raise NotAdmitted(f"This account may not use {written}; ask the operator of the gateway to allow it.")

    def _value(self, key: str, value: str, written: str, reply: str) -> str:
        match = _FORMS[key].fullmatch(value)
        if not match:
            raise Refused(f"{written} makes no sense. Write {NAMES[_KEYS[key]]}.", reply=reply)
        if key == "AT":
            return self._moment(match, written, reply).isoformat()
        return value if key == "REF" else value.lower()

    def _moment(self, match: re.Match[str], written: str, reply: str) -> datetime:
        """The time that is meant: on that day, else the next time that it is that late here."""
        here = self.now.astimezone(self.zone)
        try:
            at = time(int(match[2]), int(match[3]))
            day = date.fromisoformat(match[1]) if match[1] else here.date()
            meant = datetime.combine(day, at, self.zone).astimezone(UTC)
        except (ValueError, OverflowError) as error:  # the latter on the first and the last day there is
            raise Refused(f"There is no such time: {written}.", reply=reply) from error
        if not match[1] and meant <= self.now:
            meant = datetime.combine(day + timedelta(days=1), at, self.zone).astimezone(UTC)
        if not self.now < meant <= self.now + self.farthest:
            raise Refused(f"{written} is over, or more than {self.farthest.days} days away.", reply=reply)
        return meant


def asked(recipient: Recipient, wishes: Sequence[Option]) -> Recipient:
    """The recipient with what the mail asks for all of them; what its own address asks is not changed."""
    own = {keyword.upper() for keyword, _ in recipient.options}
    return _referenced(replace(recipient, options=(*recipient.options, *(one for one in wishes if one[0] not in own))))


def together(parts: Iterable[tuple[Option, ...]]) -> tuple[Option, ...]:
    """What the subject and the text ask. Raises Refused where they ask two different things."""
    found: dict[str, str] = {}
    for key, value in (option for part in parts for option in part):
        if found.setdefault(key, value) != value:
            raise Refused(f"This mail asks for two different things: {key.lower()}.", reply=IN_SUBJECT)
    return tuple(found.items())


def value_of(recipient: Recipient, key: str) -> str:
    """What is asked; "" for nothing."""
    return next((value for keyword, value in recipient.options if keyword.upper() == key), "")


def begins(recipient: Recipient) -> datetime | None:
    """When its fax may begin, UTC; None: at once."""
    value = value_of(recipient, "AT")
    return datetime.fromisoformat(value) if value else None


def fine(recipient: Recipient) -> bool | None:
    """Fine or standard resolution; None: as usual."""
    value = value_of(recipient, "RES")
    return value.lower() == "fine" if value else None


def brackets(text: str) -> tuple[str, ...]:
    """The options that `of_text` reads there, as they are written: what is not printed."""
    kept = []
    for name, value, written in _brackets(text):
        flag = name.lower() in _FLAGS and value is None
        if not flag and (name.lower() not in _KEYS.values() or name.lower() == "fine" or value is None):
            break
        kept.append(written)
    return tuple(kept)


def rest(text: str) -> str:
    """A subject without its options."""
    for written in brackets(text):
        text = text.lstrip(" \t")[len(written) :]
    return text.lstrip(" \t")


def _brackets(text: str) -> Iterable[tuple[str, str | None, str]]:
    """Name, value and the whole of each bracket at the beginning."""
    end = 0
    while match := _BRACKET.match(text, end):
        yield match[1], match[2], match[0].strip()
        end = match.end()


def _referenced(recipient: Recipient) -> Recipient:
    """A reference is the recipient's tag, unless the address has one."""
    reference = value_of(recipient, "REF")
    return replace(recipient, tag=recipient.tag or reference) if reference else recipient
