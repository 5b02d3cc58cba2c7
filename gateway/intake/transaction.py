"""One mail in a dialogue, from MAIL to the answer after its last dot."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.fax import Account, Door, Envelope, Recipient
from gateway.intake.authentication import Client
from gateway.intake.parameters import MailParameters


@dataclass(slots=True)
class Transaction:
    """What was said about the mail so far."""

    sender: str
    wishes: MailParameters
    account: Account | None = None
    """Whose mail it is; found at the first fax number."""
    recipients: list[Recipient] = field(default_factory=list)
    specials: list[str] = field(default_factory=list)
    """Addresses that go to the operator."""

    @property
    def count(self) -> int:
        """Accepted recipients of either kind."""
        return len(self.recipients) + len(self.specials)

    @property
    def written(self) -> list[str]:
        """Every accepted address as it was written."""
        return [*(recipient.written for recipient in self.recipients), *self.specials]

    def envelope(self, door: Door, client: Client) -> Envelope:
        return Envelope(
            door=door,
            sender=self.sender,
            client=client.address,
            helo=client.helo,
            login=client.account.login if client.account else "",
            tls=bool(client.tls),
            envelope_id=self.wishes.envelope_id,
            ret=self.wishes.ret,
        )
