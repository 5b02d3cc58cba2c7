"""Everything a step needs, built once by the daemon."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.carriers.base import Carrier
from gateway.config import Config
from gateway.desk.approval import Links
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.notary import Notary
from gateway.desk.replies import Replies
from gateway.desk.statements import Statements
from gateway.desk.views import Views
from gateway.fax import Account, InboundFax, Transmission
from gateway.lifecycle import Retry
from gateway.pages.fence import Fence
from gateway.report.compose import Composer
from gateway.spool.cabinet import Cabinet
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.work.familiar import Familiar
from gateway.work.pauses import Pauses
from gateway.work.post import Post


class Notifier(Protocol):
    """Calls the URL of an account. Returns what was answered, for the fax's history. Raises CallbackNotTaken."""

    async def sent(self, account: Account, transmission: Transmission) -> str:
        """About a fax that has ended."""

    async def received(self, account: Account, inbound: InboundFax, pdf: bytes) -> str:
        """About a fax that has arrived, with it."""


@dataclass(slots=True, kw_only=True)
class Workshop:
    """The parts that steps work with."""

    config: Config
    store: Store
    documents: Documents
    identity: Identity
    limits: Limits
    links: Links
    views: Views
    notary: Notary
    replies: Replies
    statements: Statements
    carriers: Mapping[str, Carrier]
    fence: Fence
    composer: Composer
    templates: Templates
    notifier: Notifier
    retry: Retry
    post: Post
    bounces: Bounces
    dice: random.Random = field(default_factory=random.Random)
    pauses: Pauses = field(default_factory=Pauses)
    familiar: Familiar = field(default_factory=Familiar)
    cabinet: Cabinet | None = None
    """The archive of received faxes; None: there is none."""

    def now(self) -> datetime:
        return self.store.now()
