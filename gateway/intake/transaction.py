"""One mail in a dialogue, from MAIL to the answer after its last dot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.desk.replies import Scope, Ticket
from gateway.fax import Account, Envelope, Recipient
from gateway.intake.address import Reply, Special
from gateway.intake.authentication import Client, Proof, Standing
from gateway.intake.parameters import MailParameters
from gateway.spool.commit import Transaction as Write


@dataclass(slots=True)
class Transaction:
    """What was said about the mail so far."""

    sender: str
    wishes: MailParameters
    standing: Standing | None = None
    """Whose mail it is, and by what proof; found at the first fax number."""
    accepted: list[Recipient | Special | Reply] = field(default_factory=list)
    """In the order of the RCPT commands."""
    ticket: Ticket | None = None
    """Its only recipient is an address for answers to this."""
    line: str = ""
    """Ours, E.164: it is faxed from there; "" = from the account's first."""

    fingerprint: str = ""
    """By what it is known when it comes again; "" = by its Message-ID and what is with it."""

    disposition_to: str = ""
    """Where a disposition notification goes, of a mail that was picked up."""

    before: Callable[[Write], None] | None = None
    """Done in the transaction that accepts it: both or neither."""

    @property
    def recipients(self) -> list[Recipient]:
        """Those that are faxed."""
        return [one for one in self.accepted if isinstance(one, Recipient)]

    @property
    def specials(self) -> list[str]:
        """Addresses that go to the operator."""
        return [one.written for one in self.accepted if isinstance(one, Special)]

    @property
    def commands(self) -> bool:
        """Whether it is for no fax number and no person, but asks something about a fax."""
        return self.ticket is not None and self.ticket.scope is not Scope.FAX

    @property
    def to_prove(self) -> list[Recipient]:
        """What a mail that proves itself has to name in To or Cc."""
        return [
            one if isinstance(one, Recipient) else Recipient(written=one.written, number="")
            for one in self.accepted
            if not isinstance(one, Special)
        ]

    @property
    def account(self) -> Account | None:
        """Whose mail it is."""
        return self.standing.account if self.standing else None

    @property
    def proven(self) -> bool:
        """Whether its client is known to speak for the account, before the mail itself is there."""
        return self.standing is not None and self.standing.proof is not Proof.DMARC

    @property
    def written(self) -> list[str]:
        """Every accepted address as it was written."""
        return [one.written for one in self.accepted]

    def envelope(self, client: Client) -> Envelope:
        return Envelope(
            door=client.door,
            sender=self.sender,
            client=client.address,
            helo=client.helo,
            login=client.account.login if client.account else "",
            tls=bool(client.tls),
            envelope_id=self.wishes.envelope_id,
            ret=self.wishes.ret,
            future_release=self.wishes.future_release,
            disposition_to=self.disposition_to,
        )
