"""What stands behind the PamFax door: the parts of the gateway that its processors use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.config import Config
from gateway.desk.identity import Identity
from gateway.desk.ledger import Ledger
from gateway.desk.lines import Lines
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.desk.throttle import Throttle
from gateway.fax import Account
from gateway.sections import PamFaxDoor
from gateway.spool import applications
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.web.outbound import Outbound
from gateway.web.pamfax.previews import Previews


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The parts."""

    config: Config
    identity: Identity
    desk: Desk
    store: Store
    documents: Documents
    lines: Lines
    throttle: Throttle
    prices: Prices
    ledger: Ledger
    templates: Templates
    previews: Previews
    outbound: Outbound
    sandbox: bool = False
    """Credit and vouchers cost nothing here."""

    @property
    def door(self) -> PamFaxDoor:
        return self.config.door.pamfax or PamFaxDoor()

    async def zone_of(self, account: Account, otherwise: ZoneInfo) -> ZoneInfo:
        """In which an account is told times: its own, else the application's."""
        profile = await self.store.read(applications.profile_of, account.id)
        return ZoneInfo(profile.zone) if profile.zone else otherwise

    @staticmethod
    def moment(text: str) -> datetime:
        """A time out of a record."""
        return datetime.fromisoformat(text)
