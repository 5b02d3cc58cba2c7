"""Whose mail it is, and whether it is taken to be faxed: the judgement of the mail doors, and of those who only ask.

In two steps, as in a dialogue: the envelope at the first fax number, the mail after its data. Nothing is stored or sent here;
the DNS may be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import message
from gateway.config import Config
from gateway.errors import Refused, Unavailable
from gateway.fax import Recipient
from gateway.intake import authentication, screening
from gateway.intake.authentication import Accounts, Client, Proof, Standing
from gateway.intake.proof import Proofs
from gateway.intake.results import Result
from gateway.message import Headers, Octets


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What would be said to a mail."""

    standing: Standing | None
    """None where the envelope speaks for no account."""
    results: tuple[Result, ...] = ()
    """What proves the author, where the mail itself had to."""
    reply: str = ""
    """"550 5.7.1" …; "" where it is taken."""
    reason: str = ""


class Entrance:
    """The rules, over the accounts."""

    def __init__(self, config: Config, identity: Accounts) -> None:
        self._relays, self._hosts = config.smtp.relays, frozenset({config.host.lower(), *config.domain})
        self._identity, self._proofs = identity, Proofs(config)

    def close(self) -> None:
        """Let go of what is held to ask the DNS."""
        self._proofs.close()

    async def standing(self, client: Client, sender: str) -> Standing:
        """The account that the envelope speaks for. Raises NotAdmitted, SpoolUnavailable."""
        return await authentication.standing(self._identity, client, sender, relays=self._relays)

    def check_loop(self, headers: Headers) -> None:
        """A mail that runs in a circle is not even for the operator. Raises Refused."""
        screening.check_loop(headers, self._hosts)

    async def check(
        self,
        standing: Standing,
        headers: Headers,
        content: Octets,
        client: Client,
        sender: str,
        recipients: Sequence[Recipient],
    ) -> list[Result]:
        """Whether a mail may be faxed for the account: what proves its author, where the mail itself has to.

        Raises Refused, DnsUnavailable.
        """
        screening.check_kind(headers, standing)
        screening.check_readable(headers, content)
        return await self.prove(standing, headers, content, client, sender, recipients)

    async def prove(
        self,
        standing: Standing,
        headers: Headers,
        content: Octets,
        client: Client,
        sender: str,
        recipients: Sequence[Recipient],
    ) -> list[Result]:
        """Whether the author speaks for the account, and what proves it, where the mail itself has to.

        Raises Refused, DnsUnavailable.
        """
        authentication.check_author(self._identity, standing, headers)
        if standing.proof is not Proof.DMARC:
            return []
        return await self._proofs.check(content, headers, client, sender, recipients)

    async def judge(self, content: Octets, *, client: Client, sender: str, recipients: Sequence[Recipient]) -> Verdict:
        """What would be said to a mail from this client with this envelope. Raises SpoolUnavailable.

        content  lines end in CRLF
        client   `account` is who signed in
        """
        headers, standing = message.headers(content), None
        try:
            standing = await self.standing(client, sender)
            self.check_loop(headers)
            proven = await self.check(standing, headers, content, client, sender, recipients)
        except (Refused, Unavailable) as error:
            return Verdict(standing=standing, reply=error.reply, reason=error.text)
        return Verdict(standing=standing, results=tuple(proven))
