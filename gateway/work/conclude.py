"""What an attempt's outcome means for the fax: delivered, deferred, failed or held. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from gateway.errors import Outcome
from gateway.fax import AttemptState
from gateway.fax import TransmissionState as T
from gateway.lifecycle import RELAYED, TRAITS, Kind, Retry
from gateway.spool.queries import Case
from gateway.spool.transmissions import Ending, Next


def judged(ending: Ending, pages: int) -> Ending:
    """The ending with the outcome that its page count allows: part of a fax is never a success (QUE-16), and what was
    partly confirmed is not sent whole again."""
    some = 0 < ending.pages_sent < pages
    if ending.state is AttemptState.DELIVERED and some:
        return replace(ending, state=AttemptState.FAILED, outcome=Outcome.PARTLY_SENT)
    if ending.state is AttemptState.DELIVERED:
        return replace(ending, outcome=Outcome.DELIVERED, pages_sent=ending.pages_sent or pages)
    if ending.state is AttemptState.FAILED:
        outcome = ending.outcome or Outcome.UNKNOWN
        if TRAITS[outcome].kind is Kind.SUCCESS:  # it contradicts itself
            outcome = Outcome.UNKNOWN
        temporary = TRAITS[outcome].kind is Kind.TEMPORARY
        return replace(ending, outcome=Outcome.PARTLY_SENT if temporary and ending.pages_sent else outcome)
    return ending


#: Of a fax that its carrier took, which never says what became of any.
HANDED_OVER = Ending(state=AttemptState.DELIVERED, outcome=Outcome.UNKNOWN)


def following(
    case: Case, ending: Ending, *, retry: Retry, redial: bool, now: datetime, dice: Random, retry_after: float | None = None
) -> Next:
    """Where the transmission goes after `ending` (already `judged`)."""
    if ending.state is AttemptState.FAILED and ending.outcome is None:
        return _put_off(case, ending, retry=retry, now=now, wait=retry_after or 0.0)
    outcome = ending.outcome or Outcome.CANCELLED
    if ending.state is AttemptState.CANCELLED:
        return Next(state=T.CANCELLED, outcome=Outcome.CANCELLED, reason=ending.text)
    kind = TRAITS[outcome].kind
    if ending.state is AttemptState.DELIVERED and kind is not Kind.SUCCESS:
        return Next(state=T.DELIVERED, outcome=outcome, status=RELAYED)
    if kind is Kind.SUCCESS:
        return Next(state=T.DELIVERED, outcome=outcome, pages_sent=ending.pages_sent)
    if kind is Kind.HOLD:
        return Next(state=T.HELD, outcome=outcome, reason=ending.text, alarm=f"a fax is held: {outcome.replace('_', ' ')}")
    if kind is Kind.TEMPORARY and redial:
        outcomes = [attempt.outcome for attempt in case.attempts if attempt.outcome] + [outcome]
        wait = retry.next_wait(outcomes, age=_age(case, now), dice=dice, retry_after=retry_after)
        if wait is not None:
            return Next(state=T.DEFERRED, outcome=outcome, reason=ending.text, due_at=now + wait)
    return Next(state=T.FAILED, outcome=outcome, reason=ending.text, pages_sent=ending.pages_sent)


def _put_off(case: Case, ending: Ending, *, retry: Retry, now: datetime, wait: float) -> Next:
    """The carrier asked us to wait: nothing was dialled, so this was no try, and is repeated whoever redials."""
    due = timedelta(seconds=wait)
    if _age(case, now) + due > retry.give_up:
        return Next(state=T.FAILED, outcome=Outcome.GAVE_UP, reason=ending.text)
    last = next((attempt.outcome for attempt in reversed(case.attempts) if attempt.outcome), None)
    return Next(state=T.DEFERRED, outcome=last, reason=ending.text, due_at=now + due)


def _age(case: Case, now: datetime) -> timedelta:
    """From the first call on, or the time that was meant for it: a fax that waited for a person, for us or for that time has
    not been dialling meanwhile."""
    if not case.attempts:
        return timedelta()
    first = case.attempts[0]
    return max(timedelta(), now - max(first.opened_at, first.planned_at or first.opened_at))
