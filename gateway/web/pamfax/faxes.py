"""An account's faxes by the uuids that programs have. What belongs to another account is as unknown as what never was."""

from __future__ import annotations

from datetime import datetime

from gateway.fax import InboundFax, Sha256, Transmission
from gateway.spool import inbounds, pamfax, queries
from gateway.web.pamfax import shapes
from gateway.web.pamfax.call import Call, Fault
from gateway.web.pamfax.house import House


async def find(house: House, call: Call, uuid: str) -> Transmission | InboundFax | None:
    """A sent or received fax of the account."""
    sent = await house.store.read_one(queries.transmissions, f"tx_{uuid}")
    received = None if sent else await house.store.read(inbounds.get, f"in_{uuid}")
    fax = sent or received
    if fax is None or fax.account != call.account.id:
        return None
    gone = await house.store.read(pamfax.marks, call.account.id, kinds=("removed",), about=(fax.id,))
    return None if gone else fax


async def published(house: House, uuid: str) -> tuple[Transmission | InboundFax, datetime] | None:
    """A fax that its account has published, whose ever it is, and until when."""
    sent = await house.store.read_one(queries.transmissions, f"tx_{uuid}")
    arrived = None if sent else await house.store.read(inbounds.get, f"in_{uuid}")
    fax = sent or arrived
    if fax is None:
        return None
    marks = await house.store.read(pamfax.marks, fax.account, kinds=("published", "removed"), about=(fax.id,))
    until = [mark.at + shapes.PUBLISHED for mark in marks if mark.kind == "published"]
    gone = len(marks) > len(until)
    return None if gone or not until or until[0] < house.store.now() else (fax, until[0])


async def any_fax(house: House, call: Call, uuid: str) -> Transmission | InboundFax:
    """The same. Raises Fault where there is none."""
    if (fax := await find(house, call, uuid)) is None:
        raise Fault("fax_not_found", "There is no such fax.")
    return fax


async def sent(house: House, call: Call, uuid: str) -> Transmission:
    """A sent fax. Raises Fault."""
    fax = await any_fax(house, call, uuid)
    if not isinstance(fax, Transmission):
        raise Fault("fax_not_found", "There is no such sent fax.")
    return fax


async def received(house: House, call: Call, uuid: str) -> InboundFax:
    """A received fax. Raises Fault."""
    fax = await any_fax(house, call, uuid)
    if not isinstance(fax, InboundFax):
        raise Fault("fax_not_found", "There is no such received fax.")
    return fax


async def shown(house: House, call: Call, uuid: str) -> Sha256:
    """The pages of a fax of the account, or of one that its account has published. Raises Fault."""
    fax = await find(house, call, uuid)
    if fax is None and (other := await published(house, uuid)) is not None:
        fax = other[0]
    return _pages(fax)


async def document(house: House, call: Call, uuid: str) -> Sha256:
    """The pages of a fax. Raises Fault."""
    return _pages(await any_fax(house, call, uuid))


def _pages(fax: Transmission | InboundFax | None) -> Sha256:
    if fax is None or fax.document is None:
        raise Fault("file_not_found", "The pages of this fax are not kept here, or not made yet.")
    return fax.document
