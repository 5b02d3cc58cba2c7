"""Steps: the next thing to do for one fax, and the time-limited claim (lease) a node has on it.

One row for each unfinished subject. `due_at` is both the schedule and the end of a lease: a claim moves it into the
future and writes a token, so the work of a node that died becomes due again by itself. Every later write names the
token; no row means that somebody else was faster, which is normal. A callback or a person who wants a subject looked
at sets `nudged`: a step in hand is then due again as soon as it is put back.

A lane is worked in by `rank`, then by time. Rank 0 is what needs no turn: a look at what a carrier or a person said, and
what a dead node left behind. Then come four bands: a step's band says how many of its account's steps were there
before it, so that one fax of a small account does not wait for the thousands of a large one. Every eighth claim takes the
oldest step of any band first, so that nobody starves. Hand-overs, which are rank 1 and more of a carrier's lane, are
claimed only while the carrier has calls left.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, Update, and_, bindparam, case, delete, func, literal, select, union_all, update

from gateway.spool.commit import Transaction
from gateway.spool.schema import Moment, among, attempt, moment, step

CONVERT, MAIL, RECEIVE, CALLBACK, ARCHIVE = "convert", "mail", "receive", "callback", "archive"
_CARRIER = "carrier:"
#: Steps that an account may have before the next one comes into the next band.
_BANDS = (10, 100, 1000)
_OLDEST_FIRST = 8  # one claim in so many
_LOOKS = ("track", "held")  # kinds that are rank 0
_WAITS = timedelta(minutes=2)  # until a fax looks by itself whether its number is free


def carrier_lane(carrier: str) -> str:
    """The lane of hand-overs to one carrier."""
    return _CARRIER + carrier


def carrier_of(lane: str) -> str:
    """The carrier of a lane of hand-overs."""
    return lane.removeprefix(_CARRIER)


def uptime() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    with suppress(AttributeError):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One node's claim on one step."""

    subject: str
    kind: str
    lane: str
    token: str
    tries: int
    """1 for the first claim of this step."""
    age: datetime
    """When the fax was accepted; follow-up steps inherit it."""
    began: float
    """`uptime` from before the claim was written: the lease began then or later."""
    seconds: float
    """Length of the lease."""
    account: str = ""
    """Whose fax it is; "" = nobody's: a received fax, an alarm."""
    band: int = 1
    """1 to 4; follow-up steps inherit it."""

    def turn(self, t: Transaction) -> datetime:
        """The fax's age as a time at which it is due: never later than now, though the clock may have been set back."""
        return min(self.age, t.now)

    def outlives(self, seconds: float) -> bool:
        """Whether the lease certainly holds for so much longer. Asked right before a carrier is called: a process
        that was stopped and woken must not act on a claim that another node has taken over."""
        return uptime() - self.began + seconds < self.seconds


def add(
    t: Transaction,
    subject: str,
    kind: str,
    lane: str,
    *,
    account: str = "",
    band: int = 1,
    like: Claim | None = None,
    not_before: datetime | None = None,
) -> None:
    """A new step, due now or later. One that is owed for the fax of a claim has that fax's turn."""
    age = like.turn(t) if like else t.now
    t.add(
        step,
        {
            "subject": subject,
            "kind": kind,
            "lane": lane,
            "due_at": not_before or age,
            "age": age,
            "tries": 0,
            "token": None,
            "nudged": False,
            "account_id": like.account if like else account,
            "band": like.band if like else band,
            "rank": like.band if like else band,
            "waits_for": None,
        },
    )
    t.woken.add(lane)
    if account in t.counted:
        t.counted[account] += 1


_SOME = select(literal(1)).select_from(step).where(step.c.account_id == bindparam("account")).limit(_BANDS[-1]).subquery()
_WAITING = select(func.count()).select_from(_SOME)


def waiting(t: Transaction, account: str) -> int:
    """How many steps an account has, counted no further than it matters."""
    if account not in t.counted:
        t.counted[account] = t.db.execute(_WAITING, {"account": account}).scalar_one()
    return t.counted[account]


_UNFINISHED = (
    select(literal(1))
    .select_from(step)
    .where(step.c.account_id == bindparam("account"), step.c.subject.like("tx\\_%", escape="\\"), step.c.kind != "held")
    .limit(bindparam("most"))
    .subquery()
)
_HAS_UNFINISHED = select(func.count()).select_from(_UNFINISHED)


def unfinished(db: Connection, account: str, most: int) -> int:
    """How many faxes of an account are on their way (not: held), counted no further than `most`."""
    return int(db.execute(_HAS_UNFINISHED, {"account": account, "most": most}).scalar_one())


def band(before: int) -> int:
    """The band of a step with so many others of its account before it."""
    return 1 + sum(before >= bound for bound in _BANDS)


def _due(ranks: range) -> Select[tuple[str, int, datetime]]:
    """Due steps of a lane in the order of their turn: rank by rank, `looks` of rank 0 and `turns` of each other one."""

    def of(rank: int) -> Select[tuple[str, int, datetime]]:
        found = (
            select(step.c.subject, step.c.rank, step.c.due_at)
            .where(step.c.lane == bindparam("lane"), step.c.rank == rank, step.c.due_at <= bindparam("now", type_=Moment))
            .order_by(step.c.due_at, step.c.subject)
            .limit(bindparam("turns" if rank else "looks"))
            .with_for_update(skip_locked=True)
            .subquery()
        )
        return select(found.c.subject, found.c.rank, found.c.due_at)

    every = union_all(*(of(rank) for rank in ranks)).subquery()
    return select(every.c.subject, every.c.rank, every.c.due_at).limit(bindparam("most"))


_ANY, _ONLY_LOOKS = _due(range(len(_BANDS) + 2)), _due(range(1))


def _in_turn(t: Transaction, lane: str, limit: int, turns: int) -> list[str]:
    """Subjects of up to `limit` due steps, of which up to `turns` are more than looks."""
    wanted = {"lane": lane, "now": t.now, "looks": limit, "turns": turns, "most": limit}
    if turns <= 0:
        return [row.subject for row in t.db.execute(_ONLY_LOOKS, wanted)]
    oldest = ""
    if secrets.randbelow(_OLDEST_FIRST) == 0:
        heads = t.db.execute(_ANY, {**wanted, "looks": 0, "turns": 1, "most": len(_BANDS) + 1}).all()
        oldest = min(heads, key=lambda row: (row.due_at, row.subject)).subject if heads else ""
    found = t.db.execute(_ANY, wanted).all()
    looks = [row.subject for row in found if row.rank == 0]
    others = [row.subject for row in found if row.rank and row.subject != oldest]
    return [*looks, *filter(None, [oldest]), *others[: turns - bool(oldest)]][:limit]


_TAKE = (
    update(step)
    .where(among(step.c.subject, "wanted"))
    # Rank 0: should this node die, the next one looks at once what became of it.
    .values(
        token=bindparam("new_token"),
        due_at=bindparam("until", type_=Moment),
        tries=step.c.tries + 1,
        nudged=False,
        rank=0,
    )
    .returning(step.c.subject, step.c.kind, step.c.tries, step.c.age, step.c.account_id, step.c.band)
)


def calls_left(t: Transaction, carrier: str, calls: int) -> int:
    """How many of a carrier's `calls` are free at this moment, over all nodes."""
    return calls - t.db.execute(_CALLS, {"of": carrier}).scalar_one()


_CALLS = select(func.count()).select_from(attempt).where(attempt.c.carrier == bindparam("of"), attempt.c.slot.is_not(None))


def claim(t: Transaction, lane: str, limit: int, lease: float, began: float, calls: int | None = None) -> list[Claim]:
    """Take up to `limit` due steps of a lane for `lease` seconds, in their turn. In a carrier's lane that takes so many
    `calls` at a time no more hand-overs are taken than it has left."""
    turns = limit if calls is None else min(limit, calls_left(t, carrier_of(lane), calls))
    subjects = _in_turn(t, lane, limit, turns)
    if not subjects:
        return []
    token = secrets.token_hex(8)
    taken = t.db.execute(_TAKE, {"wanted": subjects, "new_token": token, "until": t.now + timedelta(seconds=lease)})
    t.tokens |= dict.fromkeys(subjects, token)
    turn = {subject: n for n, subject in enumerate(subjects)}
    return [
        Claim(
            subject=row.subject,
            kind=row.kind,
            lane=lane,
            token=token,
            tries=row.tries,
            age=row.age,
            began=began,
            seconds=lease,
            account=row.account_id,
            band=row.band,
        )
        for row in sorted(taken.all(), key=lambda row: turn[row.subject])
    ]


_TOKENS = select(step.c.subject, step.c.token).where(among(step.c.subject, "wanted")).order_by(step.c.subject).with_for_update()
_MINE = and_(step.c.subject == bindparam("old_subject"), step.c.token == bindparam("old_token"))
_DONE = delete(step).where(_MINE)


@functools.cache
def _put_back(*, look: bool, following: bool) -> Update:
    return (
        update(step)
        .where(_MINE)
        .values(
            due_at=case((step.c.nudged, bindparam("age_", type_=Moment)), else_=bindparam("due", type_=Moment)),
            rank=0 if look else case((step.c.nudged, 0), else_=step.c.band),
            token=None,
            nudged=False,
            tries=0 if following else step.c.tries,
            waits_for=None,
            kind=bindparam("new_kind"),
            lane=bindparam("new_lane"),
        )
    )


def holds(t: Transaction, claim: Claim) -> bool:
    """Whether the claim is still ours; locks the row for the rest of the transaction.

    The first who asks has the claims of all verbs of the transaction looked at, locked in the order of their ids.
    """
    if claim.subject not in t.tokens:
        _lock(t, t.subjects | {claim.subject})
    return t.tokens[claim.subject] == claim.token


def _lock(t: Transaction, subjects: Collection[str]) -> None:
    """Lock the steps of these subjects, in the order of their ids, and see who has them."""
    wanted = sorted(set(subjects).difference(t.tokens))
    found = {row.subject: row.token for row in t.db.execute(_TOKENS, {"wanted": wanted}).all()}
    t.tokens |= dict.fromkeys(wanted) | found


def done(t: Transaction, claim: Claim) -> bool:
    """The subject needs no further step. False: the claim is lost, nothing was changed."""
    if not holds(t, claim):
        return False
    t.tokens[claim.subject] = None
    t.put_off(_DONE, {"old_subject": claim.subject, "old_token": claim.token})
    return True


def put_back(
    t: Transaction, claim: Claim, *, kind: str | None = None, lane: str | None = None, due_at: datetime | None = None
) -> bool:
    """The step, or the next one, is due at `due_at` (default: the fax's age, that is now, before younger work).

    False: the claim is lost, nothing was changed.
    """
    if not holds(t, claim):
        return False
    kind, lane = kind or claim.kind, lane or claim.lane
    t.tokens[claim.subject] = None
    t.put_off(
        _put_back(look=kind in _LOOKS, following=kind != claim.kind),
        {
            "old_subject": claim.subject,
            "old_token": claim.token,
            "age_": claim.turn(t),
            "due": due_at or claim.turn(t),
            "new_kind": kind,
            "new_lane": lane,
        },
    )
    t.woken.add(lane)
    return True


_NUDGE = (
    update(step)
    .where(among(step.c.subject, "wanted"))
    .values(
        nudged=True,
        rank=0,
        due_at=case(
            (and_(step.c.token.is_(None), step.c.due_at > bindparam("now", type_=Moment)), step.c.age), else_=step.c.due_at
        ),
    )
    .returning(step.c.lane)
)


def nudge(t: Transaction, subject: str) -> bool:
    """Something happened to the subject: look at it soon, or as soon as it is put back. False: it has no step any more."""
    return nudge_all(t, {subject})


def nudge_all(t: Transaction, subjects: Collection[str]) -> bool:
    """The same of many; locks their steps. False: none has a step any more."""
    if not subjects:
        return False
    _lock(t, subjects)
    lanes = set(t.db.scalars(_NUDGE, {"wanted": sorted(subjects), "now": t.now}).all())
    t.woken |= lanes
    return bool(lanes)


def wait(t: Transaction, claim: Claim, number: str | None = None) -> None:
    """The step of a claim that is ours waits for a call of its carrier, or for the end of another fax's call to the same
    number. This was no try."""
    later = t.now + _WAITS if number else claim.turn(t)
    t.db.execute(
        update(step)
        .where(step.c.subject == claim.subject, step.c.token == claim.token)
        .values(
            rank=case((step.c.nudged, 0), else_=step.c.band),
            due_at=case((step.c.nudged, step.c.age), else_=moment(later)),
            token=None,
            nudged=False,
            tries=step.c.tries - 1,
            waits_for=number,
        )
    )
    t.tokens[claim.subject] = None
    t.woken.add(claim.lane)


_FIRST_WAITING = (
    select(step.c.subject)
    .where(step.c.waits_for == bindparam("number"), step.c.token.is_(None))
    .order_by(step.c.band, step.c.age)
    .limit(1)
    .with_for_update(skip_locked=True)
)


_WAITED_FOR = select(step.c.waits_for).where(among(step.c.waits_for, "wanted"), step.c.token.is_(None)).distinct()


def free(t: Transaction, numbers: Collection[str]) -> None:
    """Numbers are free: the first step that waits for each is due. Nobody has it, so nothing about it is put off."""
    for number in sorted(t.at_once.scalars(_WAITED_FOR, {"wanted": sorted(numbers)})):
        if (subject := t.at_once.scalar(_FIRST_WAITING, {"number": number})) is None:
            continue
        lanes = t.at_once.scalars(
            update(step).where(step.c.subject == subject).values(due_at=step.c.age, waits_for=None).returning(step.c.lane)
        )
        t.woken.update(lanes)


def renew(t: Transaction, claim: Claim) -> bool:
    """Extend a claim by its length (heartbeat of a long conversion). False: lost."""
    longer = t.now + timedelta(seconds=claim.seconds)
    changed = t.db.execute(
        update(step).where(step.c.subject == claim.subject, step.c.token == claim.token).values(due_at=longer)
    )
    return changed.rowcount == 1


def free_all(t: Transaction) -> int:
    """Make every claimed step due now. Only where this process is the only one (SQLite, at start)."""
    freed = t.db.execute(
        update(step).where(step.c.token.is_not(None)).values(token=None, due_at=step.c.age, nudged=False).returning(step.c.lane)
    )
    lanes = list(freed.scalars())
    t.tokens.clear()
    t.woken.update(lanes)
    return len(lanes)


def lanes(db: Connection) -> list[str]:
    """Every lane that has a step, parked or not."""
    return list(db.scalars(select(step.c.lane).distinct().order_by(step.c.lane)))
