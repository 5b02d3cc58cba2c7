"""What would become of a mail: the same judgement as at the door and in preparation, and nothing is sent or stored.

The client's network is not known here: a sender whom an account lists counts as proven.
"""

from __future__ import annotations

import email.parser
import email.policy
import email.utils
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from gateway import carriers, daemon, message
from gateway.config import Config
from gateway.control import Json
from gateway.desk.admission import Admission
from gateway.desk.identity import Identity
from gateway.errors import ConverterUnavailable, NotAdmitted, Refused, Unavailable
from gateway.fax import Account, AccountId, CoverPage, Recipient
from gateway.intake import address, authentication, screening
from gateway.message import Headers
from gateway.pages import job
from gateway.pages.assemble import Made
from gateway.templates import Templates


async def explain(config: Config, data: bytes, *, to: Sequence[str], sender: str, accounts: Sequence[Json]) -> Json:
    """The verdict as a JSON object: `faxed`, `recipients`, `pages`, `manifest`, and the refusal in words and as a code."""
    headers = message.headers(data)
    author = sender or (headers.from_addresses[0] if headers.from_addresses else "")
    known = [_account(values) for values in accounts]
    account = next((one for one in known if Identity.owns(one, author)), None)
    capabilities = daemon.capabilities_of(config)
    judged = [_recipient(config, Admission(capabilities), account, one, author) for one in to or _addressed(config, data)]
    verdict: Json = {"sender": author, "account": account.name if account else "", "recipients": [told for _, told in judged]}
    verdict |= {"pages": 0, "cover": "ours", "manifest": [], "reply": "", "reason": ""}
    if not judged:
        verdict |= {"reply": "550 5.1.3", "reason": "The mail has no recipient at our domain; say one with --to."}
    else:
        own_header = not next(iter(capabilities.values())).writes_header
        theirs = _makes_cover(config)
        cover, verdict["cover"] = CoverPage(wanted=not theirs), "the carrier's" if theirs else "ours"
        name = account.name if account else ""
        verdict |= await _pages(config, data, headers, judged[0][0], author, name, header=own_header, cover=cover)
        verdict |= _screened(headers, account)
    verdict["faxed"] = not verdict["reason"] and all(told["faxed"] for _, told in judged)
    return verdict


def _recipient(
    config: Config, admission: Admission, account: Account | None, written: str, author: str
) -> tuple[Recipient, Json]:
    """The recipient, with the number "" where there is none, and what is said about it."""
    found = Recipient(written=written, number="")
    told: Json = {"written": written, "number": "", "sub_address": "", "faxed": False, "reply": "", "reason": ""}
    try:
        path = written if "@" in written else f"{written}@{config.domain[0]}"
        parsed = address.parse(path, domains=config.domain, region=config.region, staffed=(config.mail.from_.lower(),))
        if not isinstance(parsed, Recipient):
            return found, told | {"reason": "This address goes to the operator, not to a fax machine."}
        found = parsed
        told |= {"number": found.number, "sub_address": found.sub_address}
        if account is None:
            raise NotAdmitted(f"No account lists the sender “{author}”.")
        admission.check(account, found, next(iter(config.carrier)))
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


def _screened(headers: Headers, account: Account | None) -> Json:
    """What the door says to the mail as a whole, after its data; empty: nothing."""
    try:
        screening.check_loop(headers)
        screening.check_kind(headers)
        if account is not None:
            authentication.check_author(Identity, account, headers)
    except Refused as error:
        return _refusal(error)
    return {}


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
    account: str,
    *,
    header: bool,
    cover: CoverPage,
) -> Json:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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
            account=account,
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


def _addressed(config: Config, data: bytes) -> list[str]:
    """Addresses of To and Cc at our domain: only here, where nothing is sent, are they looked at."""
    mail = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(data)
    fields = [message.decoded(value) for name in ("To", "Cc") for value in mail.get_all(name, [])]
    try:
        found = [each for _, each in email.utils.getaddresses(fields)]
    except RecursionError:  # comments in comments in …
        return []
    return [each for each in found if each.rpartition("@")[2].lower() in config.domain]


def _account(values: Json) -> Account:
    return Account(
        id=AccountId(values["id"]),
        name=values["name"],
        senders=tuple(values["senders"]),
        networks=tuple(values["networks"]),
        countries=tuple(values["countries"]),
    )
