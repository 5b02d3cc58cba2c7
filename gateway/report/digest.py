"""The facts of a mail about many faxes: one line for each, sorted by what the reader has to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.fax import Submission, TransmissionState
from gateway.lifecycle import FINAL
from gateway.report import dsn, facts
from gateway.report.mime import plain
from gateway.report.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What became of the faxes of one mail. Every text is one line; "" where there is nothing to say."""

    subject: str
    accepted: str
    zone: str
    delivered: int
    total: int
    pending: int
    """How many have not ended."""
    bad: tuple[tuple[str, str], ...]
    """Those that failed: number, and what happened, with what to do."""
    good: tuple[tuple[str, str], ...]
    open: tuple[tuple[str, str], ...]
    """Those that have not ended."""


def digest(submission: Submission, groups: Sequence[dsn.Group], zone: ZoneInfo, w: Words) -> Digest:
    """The facts about several faxes of one submission."""
    bad, good, unfinished = list[tuple[str, str]](), list[tuple[str, str]](), list[tuple[str, str]]()
    for group in groups:
        state = group.transmission.state
        rows = good if state is TransmissionState.DELIVERED else bad if state in FINAL else unfinished
        rows.append(_row(submission, group, zone, w))
    return Digest(
        subject=plain(submission.subject),
        accepted=w.moment(submission.accepted_at, zone),
        zone=zone.key,
        delivered=len(good),
        total=len(groups),
        pending=len(unfinished),
        bad=tuple(bad),
        good=tuple(good),
        open=tuple(unfinished),
    )


def _row(submission: Submission, group: dsn.Group, zone: ZoneInfo, w: Words) -> tuple[str, str]:
    fax = facts.outgoing(submission, group.transmission, group.recipients, group.attempts, zone, w)
    tag = f" [{', '.join(fax.tags)}]" if fax.tags else ""
    words = [w["short_relayed"] if fax.kind == "relayed" else fax.short, fax.pages, fax.finished, fax.id]
    if group.transmission.state not in FINAL:
        words = [w["digest_open"], fax.pages, fax.id]
    line = "; ".join(filter(None, words))
    bad = fax.kind in ("failed", "partly")
    return f"{fax.number}{tag}", f"{line}. {fax.reason or fax.sentence}" if bad else line
