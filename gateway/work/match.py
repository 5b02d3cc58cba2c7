"""Which fax of a carrier's list is which attempt of ours, where the carrier keeps no reference. Pure.

A pair counts only when the fax fits one attempt and the attempt one fax: the same number, a time within the call, and, where
the list tells them, the same line and the same pages. A wrong pair would report a stranger's result, so everything else
is left to a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from gateway.carriers.base import Listed
from gateway.fax import AttemptId
from gateway.spool.attempts import Unproven

#: By how much the carrier's clock and ours may differ, and what it takes to write a fax down there.
SKEW = timedelta(minutes=2)


def match(listed: Sequence[Listed], attempts: Sequence[Unproven], call: timedelta) -> Mapping[AttemptId, str]:
    """The carrier's reference of each attempt that is certain.

    listed    faxes in the carrier's list that no attempt of ours has
    attempts  every attempt that one of them may belong to, and no other
    call      how long a hand-over may take
    """
    fits = {attempt.id: [one.carrier_ref for one in listed if _fits(one, attempt, call)] for attempt in attempts}
    wanted = [ref for refs in fits.values() for ref in refs]
    return {attempt: refs[0] for attempt, refs in fits.items() if len(refs) == 1 and wanted.count(refs[0]) == 1}


def _fits(one: Listed, attempt: Unproven, call: timedelta) -> bool:
    return (
        one.number == attempt.number
        and attempt.opened_at - SKEW <= one.submitted_at <= attempt.opened_at + call + SKEW
        and (not one.caller or not attempt.caller or one.caller == attempt.caller)
        and (not one.pages or one.pages == attempt.pages)
    )
