"""Where a received fax goes: blocked callers, the rules of the configuration, the line's own mailboxes.

The first rule that fits decides. What is not known of a fax (a station id the carrier does not say, words that were not
read) fits no rule. A rule that holds or drops does not count once a person has released the fax.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.config import Config
from gateway.desk.identity import mailbox_of
from gateway.fax import Account, InboundFax, Line
from gateway.receiving import CONDITIONS, UNKNOWN, RouteSection

PAGES_READ = 3
"""The first pages, whose words rules are asked about."""
_E164 = re.compile(r"\+[0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What rules are asked about. "" = the carrier did not say."""

    line: str
    caller: str = ""
    station: str = ""
    sub_address: str = ""
    codes: tuple[str, ...] | None = None
    """Of the first page; None: not looked for."""
    words: str | None = None
    """Of the first pages; None: not read."""

    @classmethod
    def of(cls, fax: InboundFax) -> Arrival:
        return cls(line=fax.line, caller=fax.caller, station=fax.station_id, sub_address=fax.sub_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What becomes of a fax."""

    then: Literal["deliver", "hold", "drop"]
    why: str
    """What decided, for the story of the fax: "rule 2 (invoices)", "the line's mailboxes"."""
    mailboxes: tuple[str, ...] = ()
    archived: bool = False
    named: bool = False
    """The mailboxes are those of a rule, or of a person: they count even where the account wants no mail."""


def unknown(caller: str) -> bool:
    """Whether the network gave no number."""
    return not _E164.fullmatch(caller)


def is_caller(pattern: str, caller: str) -> bool:
    """Whether a caller is meant by a number, a beginning with `*`, or "unknown"."""
    if pattern == UNKNOWN:
        return unknown(caller)
    return caller.startswith(pattern[:-1]) if pattern.endswith("*") else caller == pattern


def misfit(rule: RouteSection, arrival: Arrival) -> str:
    """Why a rule does not fit, in a few words; "" = it fits."""
    for name in CONDITIONS:
        if (wanted := getattr(rule, name)) and (problem := _MISFITS[name](wanted, arrival)):
            return problem
    return ""


def asks_for_codes(config: Config, arrival: Arrival) -> bool:
    """Whether the codes on the page may decide: a rule asks for them whose other conditions fit."""
    return any(rule.code and not misfit(rule.model_copy(update={"code": (), "words": ()}), arrival) for rule in config.route)


def asks_for_words(config: Config, arrival: Arrival) -> bool:
    """The same of the words."""
    return any(rule.words and not misfit(rule.model_copy(update={"code": (), "words": ()}), arrival) for rule in config.route)


def way(
    config: Config,
    arrival: Arrival,
    *,
    lines: Sequence[Line],
    account: Account | None,
    blocked: Sequence[str] = (),
    released: bool = False,
    mailboxes: tuple[str, ...] = (),
) -> Way:
    """What becomes of a fax.

    account    whose line it was when the fax was announced; None = nobody's
    blocked    callers that the command line has blocked
    released   a person has let it go on
    mailboxes  those that the person named; () = none
    """
    number, rule = _fitting(config, arrival, released=released)
    why = f"rule {number}{f' ({rule.name})' if rule and rule.name else ''}" if rule else "the line's mailboxes"
    archived = config.archive is not None and (config.archive.every if rule is None or rule.archive is None else rule.archive)
    if released and mailboxes:
        return Way(then="deliver", why="the mailboxes that were named", mailboxes=mailboxes, archived=archived, named=True)
    if not released and (pattern := _blocked_by([*config.blocked_callers, *blocked], arrival.caller)):
        return Way(then="drop", why=f"the caller is blocked ({pattern})")
    if rule is not None and rule.then != "deliver" and not released:
        return Way(then=rule.then, why=why)
    if rule is not None and rule.mailbox is not None:
        return Way(then="deliver", why=why, mailboxes=rule.mailbox, archived=archived, named=True)
    if account is None and not released and all(line.number != arrival.line for line in lines):
        return Way(then="hold", why=f"{arrival.line or 'the number that was called'} is none of our lines")
    return Way(then="deliver", why=why, mailboxes=_default(config, arrival.line, lines, account), archived=archived)


def _fitting(config: Config, arrival: Arrival, *, released: bool) -> tuple[int, RouteSection | None]:
    """The rule that decides, and its place from 1. For a fax that was released those that drop do not count; one that
    holds says where it goes then."""
    for n, rule in enumerate(config.route, 1):
        if not misfit(rule, arrival) and not (released and rule.then == "drop"):
            return n, rule
    return 0, None


def _blocked_by(patterns: Sequence[str], caller: str) -> str:
    return next((pattern for pattern in patterns if is_caller(pattern, caller)), "")


def _default(config: Config, called: str, lines: Sequence[Line], account: Account | None) -> tuple[str, ...]:
    """The line's mailboxes; without one the account, where it signs in with a mail address. A fax for a line that has gone to
    another account since, and one that nobody else gets, goes to the operator (ONR-02)."""
    owner = account.id if account else ""
    mailbox = next((line.mailbox for line in lines if (line.number, line.account) == (called, owner)), ())
    return mailbox or (mailbox_of(account, config.domain) or config.mail.operator,)


def _line(wanted: Sequence[str], arrival: Arrival) -> str:
    return "" if arrival.line in wanted else "it came on another line"


def _caller(wanted: Sequence[str], arrival: Arrival) -> str:
    if any(is_caller(pattern, arrival.caller) for pattern in wanted):
        return ""
    return "the caller is unknown" if unknown(arrival.caller) else "the caller is another one"


def _station(wanted: Sequence[str], arrival: Arrival) -> str:
    if not arrival.station:
        return "the carrier did not say a station id"
    return "" if _any_like(wanted, [arrival.station]) else "the station id is another one"


def _sub_address(wanted: Sequence[str], arrival: Arrival) -> str:
    if not arrival.sub_address:
        return "there is no sub-address"
    return "" if _any_like(wanted, [arrival.sub_address]) else "the sub-address is another one"


def _code(wanted: Sequence[str], arrival: Arrival) -> str:
    if arrival.codes is None:
        return "no code was looked for"
    if not arrival.codes:
        return "there is no code on the first page"
    return "" if _any_like(wanted, arrival.codes) else "the code on the first page is another one"


def _words(wanted: Sequence[str], arrival: Arrival) -> str:
    if arrival.words is None:
        return "the pages were not read"
    text = _flat(arrival.words)
    return "" if any(_phrase(_flat(one)).search(text) for one in wanted) else "the words are not on the first pages"


_MISFITS = {
    "line": _line,
    "caller": _caller,
    "station": _station,
    "sub_address": _sub_address,
    "code": _code,
    "words": _words,
}


def _any_like(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return any(_like(pattern).match(text.strip()) for pattern in patterns for text in texts)


@functools.lru_cache(1024)
def _like(pattern: str) -> re.Pattern[str]:
    """`*` stands for anything; capitals do not matter."""
    escaped = pattern.replace("[", "[[]").replace("?", "[?]")
    return re.compile(fnmatch.translate(escaped), re.IGNORECASE)


@functools.lru_cache(1024)
def _phrase(words: str) -> re.Pattern[str]:
    """As whole words."""
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)")


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())
