"""What would become of a mail: the same judgement as at the door and in preparation, and nothing is sent or stored."""

from __future__ import annotations

import email
import email.policy
import email.utils
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway import daemon, message
from gateway.config import Config
from gateway.control import Json
from gateway.desk.admission import Admission
from gateway.desk.identity import Identity
from gateway.errors import NotAdmitted, Refused, Unavailable
from gateway.fax import Account, AccountId, Recipient
from gateway.intake import address
from gateway.number import FaxNumber
from gateway.pages.assemble import Cover, Job, Made
from gateway.pages.fence import Fence
from gateway.templates import Templates


def fence_of(config: Config) -> Fence:
    """The converters' fence as `serve` would use it, with a folder of its own."""
    return Fence(
        memory=config.pages.memory, time_limit=config.pages.time_limit.total_seconds(), folder=Path(tempfile.gettempdir())
    )


async def explain(config: Config, data: bytes, *, to: Sequence[str], sender: str, accounts: Sequence[Json]) -> Json:
    """The verdict as a JSON object: `faxed`, `recipients`, `pages`, `manifest`, and the refusal in words and as a code."""
    headers = message.headers(data)
    author = sender or (headers.from_addresses[0] if headers.from_addresses else "")
    known = [_account(values) for values in accounts]
    account = next((one for one in known if Identity.owns(one, author)), None)
    admission = Admission(daemon.capabilities_of(config))
    recipients = [_recipient(config, admission, account, written, author) for written in to or _from_headers(config, data)]
    verdict: Json = {"sender": author, "account": account.name if account else "", "recipients": recipients}
    verdict |= {"pages": 0, "manifest": [], "reply": "", "reason": ""}
    if not recipients:
        verdict |= {"reply": "550 5.1.3", "reason": "The mail has no recipient at our domain; say one with --to."}
    else:
        verdict |= await _pages(config, data, recipients[0])
    verdict["faxed"] = not verdict["reason"] and all(one["faxed"] for one in recipients)
    return verdict


def _recipient(config: Config, admission: Admission, account: Account | None, written: str, author: str) -> Json:
    carrier = next(iter(config.carrier))
    shown: Json = {"written": written, "number": "", "faxed": False, "reply": "", "reason": ""}
    try:
        path = written if "@" in written else f"{written}@{config.domain[0]}"
        recipient = address.parse(path, domains=config.domain, region=config.region)
        if not isinstance(recipient, Recipient):
            return shown | {"reason": "This address goes to the operator, not to a fax machine."}
        shown["number"] = recipient.number
        if account is None:
            raise NotAdmitted(f"No account lists the sender “{author}”.")
        admission.check(account, recipient, carrier)
    except Refused as error:
        return shown | {"reply": error.reply, "reason": error.text}
    return shown | {"faxed": True}


async def _pages(config: Config, data: bytes, recipient: Json) -> Json:
    fence = fence_of(config)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "mail.eml"
            source.write_bytes(data)
            made = await fence.run("gateway.pages.assemble:make", _job(config, source, Path(folder), recipient))
            assert isinstance(made, Made)
            return {"pages": made.pages, "manifest": [asdict(entry) for entry in made.manifest]}
    except Refused as error:
        return {"reply": error.reply, "reason": error.text}
    except Unavailable as error:
        return {"reply": error.reply, "reason": error.text}
    finally:
        await fence.close()


def _job(config: Config, source: Path, folder: Path, recipient: Json) -> Job:
    number = recipient["number"]
    headers = message.headers(source.read_bytes())
    return Job(
        source=source,
        content_type="message/rfc822",
        out=folder,
        cover=Cover(
            to_name="",
            to_number=FaxNumber(number).readable if number else recipient["written"],
            organisation="",
            from_name=headers.from_name,
            from_address=headers.from_addresses[0] if headers.from_addresses else "",
            subject=headers.subject,
            date=datetime.now(UTC).astimezone(ZoneInfo(config.zone)),
            reference="explain",
            contact=config.mail.from_,
        ),
        paper=config.paper,
        max_pages=config.pages.max_pages,
        header="",
        templates=tuple(Templates(config.templates).folders),
    )


def _from_headers(config: Config, data: bytes) -> list[str]:
    """Addresses of To and Cc at our domain: only here, where nothing is sent, are they looked at."""
    mail = email.message_from_bytes(data, policy=email.policy.compat32)
    fields = [str(value) for name in ("To", "Cc") for value in mail.get_all(name, [])]
    found = [each for _, each in email.utils.getaddresses(fields)]
    return [each for each in found if each.rpartition("@")[2].lower() in config.domain]


def _account(values: Json) -> Account:
    return Account(
        id=AccountId(values["id"]),
        name=values["name"],
        senders=tuple(values["senders"]),
        networks=tuple(values["networks"]),
        countries=tuple(values["countries"]),
    )
