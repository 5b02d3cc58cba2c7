"""A test of a line: one page of ours from it to another line of ours, and what is known of it since.

It is a fax like any other: the account of the line pays where the carrier wants money, and what arrives is mailed as any
received fax is, so that the whole way is tried. Only a number that is a line here is ever called. Nobody gets a report:
whoever asks for the test is told.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gateway.carriers.base import Capabilities
from gateway.desk import posted
from gateway.desk.identity import Identity
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted, Unsupported
from gateway.fax import CoverPage, Door, Envelope, InboundFax, Line, Recipient, Transmission, TransmissionId, new_id
from gateway.pages import pattern
from gateway.spool import inbounds, queries
from gateway.spool.documents import Documents
from gateway.spool.store import Store

_LOOKED_AT = 50  # of the latest received faxes


class Trials:
    """The tests of one spool."""

    def __init__(
        self,
        *,
        desk: Desk,
        identity: Identity,
        store: Store,
        documents: Documents,
        capabilities: Mapping[str, Capabilities],
    ) -> None:
        self._desk, self._identity, self._store, self._documents = desk, identity, store, documents
        self._capabilities = capabilities

    async def begin(self, line: str, to: str = "") -> dict[str, Any]:
        """Send the page from our line `line` to the one `to`, both E.164; "" = another one, at the same carrier if there is.

        Any: what JSON holds: which fax it is, both lines. Durable when it returns. Raises NotAdmitted, Unsupported, and what
        the desk raises.
        """
        ours, other = await self._lines(line, to)
        account = await self._identity.by_id(ours.account)
        if account is None:
            raise NotAdmitted(f"The line {ours.number} has no account here.")
        able = self._capabilities.get(other.carrier)
        if able is None or not able.receives:
            raise Unsupported(f"The carrier “{other.carrier}” of {other.number} receives no faxes.")
        mark, now = new_id("test"), self._store.now()
        facts = [f"from {ours.number} to {other.number}", f"{now:%Y-%m-%d %H:%M:%S} UTC, {mark}", "Nobody waits for an answer."]
        page = posted.File(name="line-test.pdf", content_type="application/pdf", content=pattern.draw(facts, mark))
        (fax,) = await self._desk.submit_call(
            account,
            Envelope(door=Door.COMMAND, sender=""),
            [Recipient(written=other.number, number=other.number)],
            posted.mail([page], name="Faxgate", address="", subject=f"Line test {mark}", at=now),
            cover=CoverPage(wanted=False),
            caller=ours.number,
        )
        return {"fax": fax, "line": ours.number, "to": other.number, "carrier": ours.carrier}

    async def _lines(self, called_from: str, to: str) -> tuple[Line, Line]:
        known = {line.number: line for line in await self._identity.lines()}
        for one in filter(None, (called_from, to)):
            if one not in known:
                raise NotAdmitted(f"{one} is none of our lines: a test calls nobody else.")
        line = known[called_from]
        others = sorted((one for one in known.values() if one != line), key=lambda one: one.carrier != line.carrier)
        other = known[to] if to else next(iter(others), None)
        if other is None:
            raise NotAdmitted("There is no other line to call: a test needs two.")
        if other == line:
            raise NotAdmitted(f"{line.number} cannot call itself.")
        return line, other

    async def state(self, fax: str) -> dict[str, Any]:
        """How far it is: the fax, its last attempt, and those received faxes that may be it, the first to come in first; with
        these what was sent, a PDF in base64. Any: what JSON holds. Raises NotAdmitted."""
        case = await self._store.read(queries.case, TransmissionId(fax))
        if case is None:
            raise NotAdmitted(f"There is no fax {fax}.")
        sent = case.transmission
        latest = await self._store.read(inbounds.page, limit=_LOOKED_AT)
        came = [one for one in reversed(latest) if _may_be(one, sent)]
        told = {
            "fax": asdict(sent),
            "attempt": asdict(case.attempts[-1]) if case.attempts else None,
            "received": [asdict(one) for one in came],
            "pdf": "",
        }
        if came and sent.document is not None:
            told["pdf"] = base64.b64encode(await self._documents.get(sent.document)).decode()
        return told


def _may_be(one: InboundFax, sent: Transmission) -> bool:
    """Whether a received fax came in on that line, after the test began, from the line that was tested or from nobody knows
    where. Ids are in the order of time."""
    later = one.id.partition("_")[2] > sent.id.partition("_")[2]
    return later and one.document is not None and one.line == sent.number and one.caller in ("", sent.caller)
