"""The states of a fax, the only legal moves, what an outcome means, and when to dial again.

    Transmission  accepted -> ready · held · failed · cancelled
                  ready    -> sending · held · failed · cancelled
                  sending  -> delivered · deferred · failed · held · cancelled
                  deferred -> sending · held · failed · cancelled
                  held     -> accepted · ready · sending · delivered · failed · cancelled
    Attempt       opening  -> submitted · failed · uncertain · cancelled
                  submitted-> delivered · failed · cancelled
                  uncertain-> submitted · delivered · failed · cancelled
    InboundFax    announced -> fetched · held · failed ; held -> announced · fetched · refused
                  fetched -> held · mailed · refused ; mailed -> undelivered -> fetched
                  failed -> announced ; refused -> announced (a person wants it after all)

Final states do not move. Pure: no clock, no database. Enhanced status codes: reference/internet-fax-standards.md
section 17.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from gateway.errors import Outcome
from gateway.fax import AttemptState as A
from gateway.fax import InboundState as I
from gateway.fax import TransmissionState as T

MOVES: Mapping[T, frozenset[T]] = {
    T.ACCEPTED: frozenset({T.READY, T.HELD, T.FAILED, T.CANCELLED}),
    T.READY: frozenset({T.SENDING, T.HELD, T.FAILED, T.CANCELLED}),
    T.SENDING: frozenset({T.DELIVERED, T.DEFERRED, T.FAILED, T.HELD, T.CANCELLED}),
    T.DEFERRED: frozenset({T.SENDING, T.HELD, T.FAILED, T.CANCELLED}),
    T.HELD: frozenset({T.ACCEPTED, T.READY, T.SENDING, T.DELIVERED, T.FAILED, T.CANCELLED}),
    T.DELIVERED: frozenset(),
    T.FAILED: frozenset(),
    T.CANCELLED: frozenset(),
}
ATTEMPT_MOVES: Mapping[A, frozenset[A]] = {
    A.OPENING: frozenset({A.SUBMITTED, A.FAILED, A.UNCERTAIN, A.CANCELLED}),
    A.SUBMITTED: frozenset({A.DELIVERED, A.FAILED, A.CANCELLED}),
    A.UNCERTAIN: frozenset({A.SUBMITTED, A.DELIVERED, A.FAILED, A.CANCELLED}),
    A.DELIVERED: frozenset(),
    A.FAILED: frozenset(),
    A.CANCELLED: frozenset(),
}
INBOUND_MOVES: Mapping[I, frozenset[I]] = {
    I.ANNOUNCED: frozenset({I.FETCHED, I.HELD, I.FAILED}),
    I.HELD: frozenset({I.ANNOUNCED, I.FETCHED, I.REFUSED}),
    I.FETCHED: frozenset({I.HELD, I.MAILED, I.REFUSED}),
    I.MAILED: frozenset({I.UNDELIVERED}),
    I.UNDELIVERED: frozenset({I.FETCHED}),
    I.REFUSED: frozenset({I.ANNOUNCED}),
    I.FAILED: frozenset({I.ANNOUNCED}),
}
FINAL = frozenset(state for state, to in MOVES.items() if not to)
#: How the reason of a held fax begins that somebody must agree to before it is sent.
APPROVAL = "approval"
#: The same, where its own sender is shown the pages first.
PROOF = "proof"
#: The enhanced status code of a *delivered* fax whose carrier took it and says no more of any fax: relayed, and nobody knows.
RELAYED = "2.1.9"
#: While an attempt is in one of these, no new attempt may begin.
OPEN_ATTEMPT = frozenset({A.OPENING, A.SUBMITTED, A.UNCERTAIN})


class Kind(StrEnum):
    """What an outcome means for another try."""

    SUCCESS = "success"
    PERMANENT = "permanent"
    TEMPORARY = "temporary"
    HOLD = "hold"  #: a person must put something right first: the fax is held and the operator told
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Trait:
    """What one outcome means; its words for people are in `templates/mail/words/`."""

    kind: Kind
    other_carrier: bool
    """Another carrier may try at once: nothing was sent, and the fault is not the far end's."""
    status: str
    """Enhanced status code of the final report."""


TRAITS: Mapping[Outcome, Trait] = {
    Outcome.DELIVERED: Trait(Kind.SUCCESS, False, "2.1.5"),
    Outcome.BUSY: Trait(Kind.TEMPORARY, False, "4.4.1"),
    Outcome.NO_ANSWER: Trait(Kind.TEMPORARY, False, "4.4.1"),
    Outcome.NOT_A_FAX: Trait(Kind.PERMANENT, False, "5.1.2"),
    Outcome.BAD_NUMBER: Trait(Kind.PERMANENT, False, "5.1.1"),
    Outcome.DISCONNECTED: Trait(Kind.PERMANENT, False, "5.1.1"),
    Outcome.LINE_TROUBLE: Trait(Kind.TEMPORARY, False, "4.4.2"),
    Outcome.PARTLY_SENT: Trait(Kind.PERMANENT, False, "4.4.2"),
    Outcome.DOCUMENT_REFUSED: Trait(Kind.PERMANENT, False, "5.6.1"),
    Outcome.RECIPIENT_BLOCKED: Trait(Kind.PERMANENT, False, "5.7.1"),
    Outcome.NO_CREDIT: Trait(Kind.HOLD, True, "4.3.2"),
    Outcome.NOT_AUTHORISED: Trait(Kind.PERMANENT, False, "5.7.1"),
    Outcome.CARRIER_TROUBLE: Trait(Kind.TEMPORARY, True, "4.3.2"),
    Outcome.GAVE_UP: Trait(Kind.PERMANENT, False, "4.4.7"),
    Outcome.CANCELLED: Trait(Kind.PERMANENT, False, "5.0.0"),
    Outcome.UNKNOWN: Trait(Kind.UNCERTAIN, False, "4.4.2"),
}


def may_move(old: T, new: T) -> bool:
    """Whether a transmission may go from `old` to `new`."""
    return new in MOVES[old]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Waits before the next attempt, by outcome, counted over attempts with that outcome; the last one done = failed.

    Each wait is spread by up to `spread` of itself, so that a thousand faxes deferred by one fault do not dial in the
    same second.
    """

    waits: Mapping[Outcome, Sequence[timedelta]] = field(default_factory=dict)
    give_up: timedelta = timedelta(hours=4)
    """After this age no further attempt begins."""
    spread: float = 0.1

    def next_wait(
        self, outcomes: Sequence[Outcome], *, age: timedelta, dice: random.Random, retry_after: float | None = None
    ) -> timedelta | None:
        """How long to wait after the last of `outcomes` (oldest first); None: that was the last attempt.

        A wait that the carrier named wins over a shorter one of ours.
        """
        last = outcomes[-1]
        if TRAITS[last].kind is not Kind.TEMPORARY:
            return None
        waits = self.waits.get(last, ())
        tried = sum(outcome is last for outcome in outcomes)
        if tried > len(waits):
            return None
        wait = waits[tried - 1] * (1 + self.spread * dice.random())
        if retry_after is not None:
            wait = max(wait, timedelta(seconds=retry_after))
        return None if age + wait > self.give_up else wait
