"""Whether a mail proves its author: an aligned DKIM signature, an allowed host (SPF), or the word of a listed relay.

All of it is about one domain, that of the only address in the From field. Its signature, its SPF record and the relay's
Authentication-Results are looked at until one of them speaks for it; where none does, the answer says which were tried. A
DNS that does not answer is a reason to come again, neither a grant nor a no. SPF is not asked behind a relay: the host that
speaks to us there is the relay. What proves itself, and not by its way, proves so wherever it is handed in, and how often:
such a mail has to name the number and is known again by what its signature keeps.
Sources: RFC 7489, 7372, 8601; rows AUT-02 to AUT-06, AUT-08.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gateway.config import Config
from gateway.errors import DnsUnavailable, NotAdmitted, Refused
from gateway.fax import Recipient
from gateway.intake import address, bodies, hosts, results, signatures
from gateway.intake.authentication import Client, is_relay
from gateway.intake.domains import Alignment, akin
from gateway.intake.fields import fields
from gateway.intake.resolver import Lookups, Resolver
from gateway.intake.results import Result
from gateway.message import Headers, Octets, addresses, plain_address

_CHECKS = 8  # mails looked at at once
_NAMED = 20_000  # characters of To and Cc; nobody is named in longer ones
_PATIENCE = 60.0  # seconds, waiting for a turn included; then the client comes again


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a mail is judged by."""

    mail: Octets
    """As it came."""
    author: str
    """The domain of the address in the From field: lower case, A-labels."""
    client: Client
    sender: str
    """Of the envelope."""
    recipients: tuple[Recipient, ...]


class Proofs:
    """Judges mails, a few at a time, in threads of its own: the questions to the DNS take their time."""

    def __init__(self, config: Config) -> None:
        self._relays, self._ids = config.smtp.relays, frozenset(name.lower() for name in config.smtp.authserv_ids)
        self._domains, self._region = frozenset(config.domain), config.region
        self._resolver = Resolver(config.dns)
        self._threads: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    async def check(
        self, mail: Octets, headers: Headers, client: Client, sender: str, recipients: Sequence[Recipient]
    ) -> list[Result]:
        """The results that prove the author of a mail with one address in its From field.

        Raises Refused 550 5.7.x where nothing does, DnsUnavailable where that cannot be known now.
        """
        author = plain_address(headers.from_addresses[0]).rpartition("@")[2]
        evidence = Evidence(mail, author, client, sender, tuple(recipients))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_CHECKS, thread_name_prefix="proof")
        judging = asyncio.get_running_loop().run_in_executor(self._threads, self._judge, evidence)
        try:
            return await asyncio.wait_for(judging, _PATIENCE)
        except TimeoutError as error:
            raise DnsUnavailable from error

    def _judge(self, evidence: Evidence) -> list[Result]:
        lookups = self._resolver.lookups()
        alignment = Alignment(evidence.author, lookups)
        relayed = is_relay(evidence.client, self._relays)
        found: list[Result] = []
        for look in (self._relay, self._signatures, self._host):
            new, proof = look(evidence, relayed, lookups), list[Result]()
            try:
                proof = [one for one in new if _speaks(one, evidence.author, alignment)]
            except DnsUnavailable:
                new.append(Result("dmarc", "temperror", {}, "the DNS does not give the policy of its domain"))
            if proof and (is_by_way(proof) or not (why := self._objection(evidence))):
                return proof
            found += [Result(one.method, "policy", one.properties, why) if one in proof else one for one in new]
        raise _refusal(evidence.author, found)

    def _relay(self, evidence: Evidence, relayed: bool, _lookups: Lookups) -> list[Result]:
        """What the relay found out; only what passed, since its failures are no reason not to look."""
        client = evidence.client
        ids = self._ids if client.authserv_ids is None else client.authserv_ids
        return [one for one in results.of_relay(evidence.mail, ids, client.hops) if one.passed] if relayed and ids else []

    def _signatures(self, evidence: Evidence, _relayed: bool, lookups: Lookups) -> list[Result]:
        return signatures.verify(evidence.mail, lambda domain: akin(domain, evidence.author), lookups)

    def _host(self, evidence: Evidence, relayed: bool, lookups: Lookups) -> list[Result]:
        """SPF, where the envelope's domain could speak for the author's at all."""
        domain = plain_address(evidence.sender).rpartition("@")[2]
        if relayed or not akin(domain, evidence.author):
            return []
        client, sender = evidence.client, f"{evidence.sender.rpartition('@')[0]}@{domain}"
        return [hosts.check(client.address, sender, client.helo, lookups)]

    def _objection(self, evidence: Evidence) -> str:
        """Why a mail that proves itself does not prove that this fax is wanted now: whoever got it can hand it in again."""
        counted = Counter(field.name for field in fields(evidence.mail))
        if not self._names_all(evidence):
            return "its signature does not say that it is for this number: name the fax address in To or Cc"
        if counted["date"] != 1:
            return "it has no Date, by which it would be known when it comes again"
        if any(name.startswith("resent-") for name in counted):
            return "it was sent again, perhaps by another than its author"
        return ""

    def _names_all(self, evidence: Evidence) -> bool:
        """Whether To and Cc name every number that the mail is to be faxed to."""
        said = [one.value for one in fields(evidence.mail) if one.name in ("to", "cc")]
        named = addresses(said) if sum(map(len, said)) <= _NAMED else []
        written = {one.lower() for one in named}
        called = {found for one in named if (found := self._called(one))}
        return all(one.written.lower() in written or (one.number, one.sub_address) in called for one in evidence.recipients)

    def _called(self, written: str) -> tuple[str, str] | None:
        """Number and sub-address of one of our addresses."""
        if written.rpartition("@")[2].lower() not in self._domains:
            return None
        try:
            found = address.parse(written, domains=self._domains, region=self._region, staffed=frozenset())
        except Refused:
            return None
        return (found.number, found.sub_address) if isinstance(found, Recipient) else None


def is_by_way(proof: Collection[Result]) -> bool:
    """Whether a mail is proven by the host it came from, too, and not only by what stands in it."""
    return any(one.method == "spf" for one in proof)


def fingerprint(mail: Octets) -> str:
    """By what a mail that proves itself is known when it comes again: the rest of it, a stranger can change.

    That is all of the text, the author, the date and the subject, each without the blanks that no signature keeps.
    """
    said = [f"{one.name}:{one.value}" for one in fields(mail) if one.name in ("from", "date", "subject")]
    text = "\n".join(sorted(said)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text + b"\n" + bodies.sha256(mail, is_relaxed=True)).hexdigest()


def _speaks(result: Result, author: str, alignment: Alignment) -> bool:
    """Whether a result is a pass of a domain that speaks for the author's. Raises DnsUnavailable."""
    if not result.passed:
        return False
    if result.method == "dmarc":
        return result.domain("header.from") == author
    if result.method == "dkim":
        return alignment.holds(result.domain("header.d"), "adkim")
    return result.method == "spf" and alignment.holds(result.domain("smtp.mailfrom"), "aspf")


def _refusal(author: str, found: Collection[Result]) -> Refused | DnsUnavailable:
    """The answer to a mail that proves nothing (RFC 7372)."""
    if unknown := [one for one in found if one.result == "temperror"]:
        return DnsUnavailable(reply="451 4.7.24" if any(one.method == "spf" for one in unknown) else "451 4.4.3")
    dkim = [one for one in found if one.method == "dkim" or one.result == "policy"]
    spf = [one for one in found if one.method == "spf" and one.result != "none"]
    said = (
        "; ".join(map(_reason, [*dkim[:1], *spf[:1]])) or "it is not signed, and no SPF record speaks for where it comes from"
    )
    text = f"Nothing proves that this mail is from {author}: {said}. Signing in here is a proof, too."
    return NotAdmitted(text, reply=f"550 {_code(dkim, spf)}")


def _reason(result: Result) -> str:
    """Why a DKIM or SPF result is no proof."""
    if result.passed:
        return f"its {result.method.upper()} pass is for another domain"
    return result.why or f"its domain does not let this host send for it (SPF: {result.result})"


def _code(dkim: Sequence[Result], spf: Sequence[Result]) -> str:
    if dkim and spf:
        return "5.7.26"
    if spf:
        return "5.7.24" if spf[0].result == "permerror" else "5.7.23"
    if not dkim:
        return "5.7.1"
    if any(one.result == "fail" for one in dkim):
        return "5.7.20"
    return "5.7.21" if any(one.result == "policy" and one.properties for one in dkim) else "5.7.22"
