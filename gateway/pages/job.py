"""What the fence is asked to make of one mail for one recipient: the same for a fax that is sent and for `explain`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from gateway import number, opening, options
from gateway.config import Config
from gateway.errors import ConfigError, Refused
from gateway.fax import CoverPage, Recipient
from gateway.message import Headers
from gateway.number import FaxNumber
from gateway.pages import ocr
from gateway.pages.assemble import Cover, Job
from gateway.sections import Presentation

_YES, _NO = ("yes", "on", "true", "1"), ("no", "off", "none", "false", "0")
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
    account: str = "",
    written: Sequence[str] | None = None,
    familiar: frozenset[str] = frozenset(),
) -> Job:
    """Files, the facts of the cover, limits; no address of another recipient.

    recipient  where its number is "" (`explain` of an address that is refused), the cover says it as it was written
    sender     of the envelope: shown where the From field names nobody
    sent       aware; printed in the configured zone
    caller     our line, E.164, or ""
    header     whether the line on top of every page is ours to print
    account    its name: how its faxes look is in the configuration
    familiar   SHA-256 of pictures that stand in most mails of this sender
    asked      what a caller asked of the cover page
    written    options at the beginning of the text, as they stand there: they and those of the subject are not printed.
               None: it is a mail in which nothing is an option
    """
    look = config.presentation(account)
    date = sent.astimezone(config.zone_of(account))
    address = mail.from_addresses[0] if mail.from_addresses else sender
    ours = FaxNumber(caller).readable if caller else config.host
    return Job(
        source=source,
        content_type=content_type,
        out=out,
        cover=_cover(
            Cover(
                to_name=asked.to or recipient.cover_name,
                to_number=FaxNumber(recipient.number).readable if recipient.number else recipient.written,
                organisation=recipient.organisation,
                from_name=asked.sender or mail.from_name,
                from_address=address,
                subject=mail.subject if written is None else subject(config, mail.subject, recipient),
                date=date,
                reference=reference,
                contact=config.mail.from_,
                message=asked.message,
                placeholders=asked.placeholders,
                only_with_message=look.cover_policy == "message",
                reply_to=mail.reply_to if address.lower() not in mail.reply_to.lower() else "",
                from_organisation=look.organisation,
                from_phone=look.phone,
                logo=logo(look.logo) if look.logo else b"",
                confidential=look.confidential,
            ),
            look,
            asked,
            _asked(mail, recipient),
        ),
        paper=config.paper,
        max_pages=config.pages.max_pages,
        header=f"{date:%Y-%m-%d %H:%M %Z}  {mail.from_name or address}  {ours}" if header else "",
        templates=tuple(templates),
        languages=tuple(
            filter(None, (options.value_of(recipient, "LANG").lower(), *mail.languages, *config.languages_of(account)))
        ),
        body=look.body,
        cut_quotes=look.cut_quotes,
        familiar=familiar,
        fine=options.fine(recipient),
        options=tuple(written or ()),
    )


def written(config: Config, account: str, head: bytes) -> tuple[str, ...]:
    """Options at the beginning of the text of a mail, as they stand there; where its account uses none they are text.

    head  the mail, or its beginning
    """
    return options.brackets(opening.line(head)) if config.presentation(account).options else ()


def subject(config: Config, text: str, recipient: Recipient) -> str:
    """A subject as it is printed: without options, and without the number that it is faxed to."""
    if recipient.written.partition("@")[0].lower() in config.number_in_subject:
        try:
            text = number.leading(text)[1]
        except Refused:
            return text  # the configuration was another one when the mail came
    return options.rest(text)


def _asked(mail: Headers, recipient: Recipient) -> str:
    """What the sender asks of the cover page: `/COVER=` in the address, else the mail's header field; "" for nothing."""
    return options.value_of(recipient, "COVER").lower() or mail.cover.strip().lower()


def _cover(cover: Cover, look: Presentation, call: CoverPage, asked: str) -> Cover | None:
    """The cover page by what a call or the sender asks and the account says; None for none."""
    if not call.wanted:
        return None
    if call != _OF_A_MAIL:
        return replace(cover, template=call.template or look.cover)
    if look.cover_policy == "never" or asked in _NO or (not asked and look.cover_policy == "asked"):
        return None
    if not asked:
        return replace(cover, template=look.cover)
    return replace(cover, template=look.cover if asked in _YES else asked, only_with_message=False)


@functools.cache
def logo(path: Path) -> bytes:
    """The file, read once: what the check at the start has seen is what is printed. Raises OSError."""
    return path.read_bytes()


def check(config: Config, templates: Sequence[Path]) -> None:
    """Try every cover page, language and logo that was chosen, and the languages lines are read in. Raises ConfigError."""
    for n, line in enumerate(config.line, 1):
        if line.ocr and (problem := ocr.lacking(line.ocr)):
            raise ConfigError(config.file, f"line[{n}].ocr", problem)
    house = config.mail.language
    chosen = [(f"account[{n}]", account) for n, account in enumerate(config.account, 1)]
    chosen = [(key, one) for key, one in chosen if one.cover != "standard" or (one.language or house) != "en" or one.logo]
    if not chosen and config.templates is None:
        return  # what is built in is tested
    from gateway.pages import cover  # the libraries that draw: only where there is something to try

    if config.templates is not None and (problem := cover.problem(templates)):
        raise ConfigError(config.file, "templates", problem)
    for key, one in chosen:
        try:
            picture = logo(one.logo) if one.logo else b""
        except OSError as error:
            raise ConfigError(config.file, f"{key}.logo", f"{one.logo} cannot be read ({error.strerror})") from error
        if problem := cover.problem(templates, one.cover, one.language or house, picture):
            raise ConfigError(config.file, key, problem)
