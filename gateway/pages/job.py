"""What the fence is asked to make of one mail for one recipient: the same for a fax that is sent and for `explain`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.config import Config
from gateway.fax import CoverPage, Recipient
from gateway.message import Headers
from gateway.number import FaxNumber
from gateway.pages.assemble import Cover, Job

_OF_A_MAIL = CoverPage()
Asked = Callable[[Headers, Path, Path], Job]
"""A job that lacks its mail: the headers, the file, and the folder for what is made."""


def of_mail(
    config: Config,
    mail: Headers,
    recipient: Recipient,
    *,
    source: Path,
    out: Path,
    templates: Sequence[Path],
    sender: str,
    sent: datetime,
    reference: str,
    caller: str = "",
    header: bool = True,
    content_type: str = "message/rfc822",
    asked: CoverPage = _OF_A_MAIL,
) -> Job:
    """Files, the facts of the cover, limits; no address of another recipient.

    recipient  where its number is "" (`explain` of an address that is refused), the cover says it as it was written
    sender     of the envelope: shown where the From field names nobody
    sent       aware; printed in the configured zone
    caller     our line, E.164, or ""
    header     whether the line on top of every page is ours to print
    asked      what a caller asked of the cover page
    """
    date = sent.astimezone(ZoneInfo(config.zone))
    address = mail.from_addresses[0] if mail.from_addresses else sender
    ours = FaxNumber(caller).readable if caller else config.host
    return Job(
        source=source,
        content_type=content_type,
        out=out,
        cover=None
        if not asked.wanted
        else Cover(
            to_name=asked.to or recipient.cover_name,
            to_number=FaxNumber(recipient.number).readable if recipient.number else recipient.written,
            organisation=recipient.organisation,
            from_name=asked.sender or mail.from_name,
            from_address=address,
            subject=mail.subject,
            date=date,
            reference=reference,
            contact=config.mail.from_,
            message=asked.message,
            template=asked.template,
        ),
        paper=config.paper,
        max_pages=config.pages.max_pages,
        header=f"{date:%Y-%m-%d %H:%M %Z}  {mail.from_name or address}  {ours}" if header else "",
        templates=tuple(templates),
    )
