"""What would become of a mail: the same judgement as at the door and in preparation, and nothing is sent or stored.

Who the client is can be told: its address, and who signed in. Where it is not, a sender whom an account lists counts as proven.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import email.utils
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway import carriers, daemon, message
from gateway.config import Config
from gateway.control import Json
from gateway.desk.admission import Admission
from gateway.desk.identity import Roll
from gateway.errors import ConverterUnavailable, NotAdmitted, Refused, Unavailable
from gateway.fax import Account, AccountId, CoverPage, Recipient
from gateway.intake import address
from gateway.intake.authentication import Client, Proof, Standing
from gateway.intake.entrance import Entrance, Verdict
from gateway.intake.wishes import Wishes
from gateway.message import Headers
from gateway.pages import job
from gateway.pages.assemble import Made
from gateway.templates import Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Where a mail would come from, as far as that is told."""

    sender: str = ""
    """Of the envelope; "" = the author."""
    client: str = ""
    """Its IP address."""
    helo: str = ""
    login: str = ""
    """Who signed in."""


async def explain(config: Config, data: bytes, *, to: Sequence[str], accounts: Sequence[Json], origin: From) -> Json:
    """The verdict as a JSON object: `faxed`, `proof`, `recipients`, `pages`, `manifest`; a refusal in words and as a code."""
    headers = message.headers(data)
    author = origin.sender or (headers.from_addresses[0] if headers.from_addresses else "")
    written = [one if "@" in one else f"{one}@{config.domain[0]}" for one in to] or _addressed(config, data)
    judged = await _judged(config, data, headers, author, written, [account_of(values) for values in accounts], origin)
    account = judged.standing.account if judged.standing else None
    capabilities = daemon.capabilities_of(config)
    recipients = _Recipients(config, Admission(capabilities), judged).judge(written, headers, data)
    verdict: Json = {
        "sender": author,
        "account": account.name if account else "",
        "proof": judged.standing.proof.value if judged.standing and (origin.client or origin.login) else "",
        "results": [f"{one.method}={one.result}" for one in judged.results],
        "recipients": [told for _, told in recipients],
    }
    verdict |= {"pages": 0, "cover": "ours", "manifest": [], "reply": "", "reason": ""}
    if not recipients:
        verdict |= {"reply": "550 5.1.3", "reason": "The mail has no recipient at our domain; say one with --to."}
    else:
        own_header = not next(iter(capabilities.values())).writes_header
        theirs = _makes_cover(config)
        cover, verdict["cover"] = CoverPage(wanted=not theirs), "the carrier's" if theirs else "ours"
        verdict |= await _pages(config, data, headers, recipients[0][0], author, account, header=own_header, cover=cover)
        if account is not None and judged.reason:
            verdict |= {"reply": judged.reply, "reason": judged.reason}
    verdict["faxed"] = not verdict["reason"] and all(told["faxed"] for _, told in recipients)
    return verdict


async def _judged(
    config: Config, data: bytes, headers: Headers, author: str, written: Sequence[str], known: Sequence[Account], origin: From
) -> Verdict:
    """What the door would say to the envelope and to the mail as a whole."""
    roll = Roll(known)
    content = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    entrance = Entrance(config, roll)
    try:
        if origin.client or origin.login:
            account = next((one for one in known if one.login and one.login.lower() == origin.login.lower()), None)
            if origin.login and account is None:
                return Verdict(standing=None, reply="535 5.7.8", reason=f"No account signs in as “{origin.login}”.")
            client = Client(address=origin.client, helo=origin.helo, account=account)
            return await entrance.judge(content, client=client, sender=author, recipients=_numbers(config, written))
        account = next((one for one in known if roll.owns(one, author)), None)
        if account is None:
            return Verdict(standing=None, reply="550 5.7.1", reason=f"No account lists the sender “{author}”.")
        standing = Standing(account, Proof.NETWORK)
        try:
            entrance.check_loop(headers)
            await entrance.check(standing, headers, content, Client(address=""), author, ())
        except (Refused, Unavailable) as error:
            return Verdict(standing=standing, reply=error.reply, reason=error.text)
        return Verdict(standing=standing)
    finally:
        entrance.close()


def _parse(config: Config, path: str) -> Recipient | address.Special | address.Reply:
    """An address as the door reads it. Raises Refused."""
    return address.parse(
        path,
        domains=config.domain,
        region=config.region,
        staffed=(config.mail.from_.lower(),),
        number_in_subject=config.number_in_subject,
    )


def _numbers(config: Config, written: Sequence[str]) -> list[Recipient]:
    """Those that can be read: a mail that proves itself has to name them."""
    found = []
    for path in written:
        with contextlib.suppress(Refused):
            found.append(_parse(config, path))
    return [one for one in found if isinstance(one, Recipient)]


class _Recipients:
    """What is said about each of them."""

    def __init__(self, config: Config, admission: Admission, judged: Verdict) -> None:
        self._config, self._admission, self._judged = config, admission, judged
        self._wishes = Wishes(config, lambda: datetime.now(UTC))

    def judge(self, written: Sequence[str], headers: Headers, data: bytes) -> list[tuple[Recipient, Json]]:
        """Each, with the number "" where there is none, and what is said about it."""
        told = [self._one(path, headers, data) for path in written]
        named = [one for one, _ in told if one.number]
        if self._judged.standing is None or len(named) < 2 or any(one["reply"] for _, one in told):
            return told
        try:  # each alone may be faxed, and all of them together ask for two things
            self._wishes.of_mail(self._judged.standing.account, named, headers, data)
        except Refused as error:
            return [(one, said | {"faxed": False} | _refusal(error)) for one, said in told]
        return told

    def _one(self, path: str, headers: Headers, data: bytes) -> tuple[Recipient, Json]:
        found = Recipient(written=path, number="")
        told: Json = {"written": path, "number": "", "sub_address": "", "faxed": False, "reply": "", "reason": "", "asked": {}}
        try:
            parsed = _parse(self._config, path)
            if isinstance(parsed, address.Reply):
                return found, told | {"reason": "This address is for answers to our own mails."}
            if not isinstance(parsed, Recipient):
                return found, told | {"reason": "This address goes to the operator, not to a fax machine."}
            found = parsed
            told |= {"number": found.number, "sub_address": found.sub_address}
            if self._judged.standing is None:
                raise NotAdmitted(self._judged.reason, reply=self._judged.reply)
            account = self._judged.standing.account
            (found,) = self._wishes.of_mail(account, [self._wishes.of_address(account, found)], headers, data)
            told |= {
                "number": found.number,
                "sub_address": found.sub_address,
                "asked": {keyword.lower(): value for keyword, value in found.options},
            }
            self._admission.check(account, found, next(iter(self._config.carrier)))
        except Refused as error:
            return found, told | _refusal(error)
        return found, told | {"faxed": True}


def judge(verdict: Json, ask: Callable[..., Json]) -> None:
    """Put into a verdict what the desk says now: the do-not-fax list, limits, credit, and who must agree.

    ask  the desk's judgement on `account`, `number`, `sub_address`, `pages` and how many faxes of the mail come `earlier`
    """
    earlier = 0
    for told in verdict["recipients"]:
        told |= {"approval": "", "approver": ""}
        if not told["faxed"]:
            continue
        sub_address = told["sub_address"]
        more = {"number": told["number"], "sub_address": sub_address, "pages": verdict["pages"], "earlier": earlier}
        told |= ask(account=verdict["account"], **more)
        told["faxed"] = not told["reply"]
        earlier += told["faxed"]
    verdict["faxed"] = verdict["faxed"] and all(told["faxed"] for told in verdict["recipients"])


def _refusal(error: Refused | Unavailable) -> Json:
    where = f"{error.part}: " if isinstance(error, ConverterUnavailable) and error.part else ""
    return {"reply": error.reply, "reason": where + error.text}


def _makes_cover(config: Config) -> bool:
    """Whether the cover page is the carrier's."""
    name, section = next(iter(config.carrier.items()))
    return carriers.adapter(str(section["kind"])).makes_cover_by(carriers.check(name, section, config.file))


async def _pages(
    config: Config,
    data: bytes,
    headers: Headers,
    recipient: Recipient,
    author: str,
    account: Account | None,
    *,
    header: bool,
    cover: CoverPage,
) -> Json:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "mail.eml"
        source.write_bytes(data)
        wanted = job.of_mail(
            config,
            headers,
            recipient,
            source=source,
            out=folder,
            templates=Templates(config.templates).folders,
            sender=author,
            sent=datetime.now(UTC),
            reference="explain",
            header=header,
            account=_name(account),
            written=job.written(config, _name(account), data),
            asked=cover,
        )
        fence = daemon.fence_of(config, folder)
        try:
            made = await fence.run("gateway.pages.assemble:make", wanted)
        except (Refused, Unavailable) as error:
            return _refusal(error)
        finally:
            await fence.close()
        assert isinstance(made, Made)
        return {"pages": made.pages, "manifest": [asdict(entry) for entry in made.manifest]}


def _name(account: Account | None) -> str:
    return account.name if account else ""


def _addressed(config: Config, data: bytes) -> list[str]:
    """Addresses of To and Cc at our domain: only here, where nothing is sent, are they looked at."""
    mail = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(data)
    fields = [message.decoded(value) for name in ("To", "Cc") for value in mail.get_all(name, [])]
    try:
        found = [each for _, each in email.utils.getaddresses(fields)]
    except RecursionError:  # comments in comments in …
        return []
    return [each for each in found if each.rpartition("@")[2].lower() in config.domain]


def account_of(values: Json) -> Account:
    """As the verb `accounts` tells it."""
    return Account(
        id=AccountId(values["id"]),
        name=values["name"],
        senders=tuple(values["senders"]),
        networks=tuple(values["networks"]),
        countries=tuple(values["countries"]),
        login=values.get("login") or "",
        dmarc=bool(values.get("dmarc")),
        bulk=bool(values.get("bulk")),
    )
