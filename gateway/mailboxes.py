"""`[[imap]]`: mailboxes whose mail is faxed, each with its own server, rules and marks."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway import number
from gateway.errors import Refused
from gateway.sections import Section
from gateway.units import Beside, Duration, Mail, SecretFile, Size, Text, WebAddress

_FLAG = re.compile(r"\\?[A-Za-z$_][A-Za-z0-9$_.-]{0,60}")


class Oauth(Section):
    """`[imap.oauth]`: a token for the program itself (client credentials), as Microsoft 365 gives it."""

    token_url: WebAddress
    """Where it is asked for, "https://…". In clear only on this machine."""
    client_id: Text
    client_secret_file: SecretFile
    scope: str = ""
    """e.g. "https://outlook.office365.com/.default"."""

    @field_validator("token_url")
    @classmethod
    def _guarded(cls, value: str) -> str:
        if not re.match(r"https://|http://(127\.0\.0\.1|\[::1\]|localhost)[:/]", value, re.IGNORECASE):
            raise ValueError("must be https: the secret of the program goes there")
        return value


class ImapSection(Section):
    """`[[imap]]`: a mailbox that faxes."""

    name: Text
    """What it is called in logs, metrics and commands. Another name is another mailbox: nothing is known of its mails."""
    host: Text
    """The server; its certificate is for this name."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Default: 993, with `tls = "starttls"` 143."""
    tls: Literal["implicit", "starttls"] = "implicit"
    tls_ca: Beside | None = None
    """PEM file of the authority of its certificate. Default: those of the system."""
    username: Text
    password: SecretStr | None = None
    password_file: Path | None = None
    token_command: tuple[Text, ...] = ()
    """A program and its arguments; the first line that it prints is an OAuth 2 token, for XOAUTH2 or OAUTHBEARER."""
    oauth: Oauth | None = None
    address: Mail | None = None
    """Of the mailbox. Default: `username`, where that is an address."""
    folders: Annotated[tuple[Text, ...], Field(min_length=1)] = ("INBOX",)
    """Those whose mail is faxed."""
    number: Literal["delivery", "subject", "recipient", "fields"] = "delivery"
    """Where the fax number is: in `delivery_header`; at the beginning of the subject; always `recipient`; or in To and Cc,
    which anybody may write."""
    delivery_header: Text = "Delivered-To"
    """The field in which the mailbox's server says for which address a mail came."""
    servers: tuple[Text, ...] = ()
    """The mailbox's own servers, as they stand in their Received fields behind "by"; ".example.com" is any host in that domain,
    "2001:db8:" any whose address begins so."""
    received: Annotated[int, Field(ge=1, le=20)] = 1
    """How many Received fields they write. What stands below is the sender's word."""
    recipient: str = ""
    """The number of `number = "recipient"`, with + and country code."""
    authserv_ids: tuple[Text, ...] = ()
    """Names under which they write Authentication-Results. Empty: only a DKIM signature proves an author."""
    done_folder: str = ""
    """Where a mail goes that was taken. Default: it stays and gets `done_keyword`."""
    done_keyword: str = "$Faxed"
    refused_folder: Text = "Not faxed"
    """Where a mail goes that is not faxed. It is made where it is missing, like `done_folder`."""
    skip: tuple[Text, ...] = ("\\Draft", "$Junk", "Junk")
    """Mails with one of these flags or keywords are left alone."""
    only_unseen: bool = False
    """Mails that somebody has read already are left alone."""
    existing: Literal["leave", "take"] = "leave"
    """Mails that were there before the mailbox was looked at for the first time."""
    max_age: Duration = timedelta(days=7)
    """A mail that arrived longer ago is not faxed. Not longer than `keep_records`."""
    max_size: Size = 50_000_000
    """Largest mail that is faxed."""
    poll: Duration = timedelta(minutes=1)
    """How often it is looked at where the server does not tell of new mail (IDLE), and at folders beside the first."""
    idle: Duration = timedelta(minutes=9)
    """How long it is waited for the server to tell, then it is looked all the same. At most "29m"."""
    alarm: Duration = timedelta(hours=1)
    """The operator is told of a mailbox that could not be read for so long, and of a mail that could not be taken."""
    tell: bool = True
    """Senders who are proven to belong to an account are told that a mail of theirs was not faxed."""
    mdn: bool = True
    """A mail that asks for it (Disposition-Notification-To) gets a disposition notification as its report."""

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", value):
            raise ValueError("has up to 40 letters, digits, dots and dashes")
        return value

    @field_validator("delivery_header")
    @classmethod
    def _field(cls, value: str) -> str:
        if not re.fullmatch(r"[!-9;-~]{1,76}", value):
            raise ValueError('is the name of a field, like "Delivered-To"')
        return value

    @field_validator("skip")
    @classmethod
    def _flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := next((flag for flag in value if not _FLAG.fullmatch(flag)), None):
            raise ValueError(f'"{wrong}" is not a flag; write "\\\\Flagged" or "$Junk"')
        return value

    @field_validator("done_keyword")
    @classmethod
    def _keyword(cls, value: str) -> str:
        if value and not (_FLAG.fullmatch(value) and not value.startswith("\\")):
            raise ValueError('is a keyword like "$Faxed"')
        return value

    @field_validator("recipient")
    @classmethod
    def _e164(cls, value: str) -> str:
        if value and not value.startswith("+"):
            raise ValueError('write it with + and country code, like "+14155550100"')
        try:
            return number.parse(value, "US").e164 if value else ""
        except Refused as error:
            raise ValueError(error.text) from error

    @model_validator(mode="after")
    def _together(self) -> ImapSection:
        ways = [self.password is not None or self.password_file is not None, bool(self.token_command), self.oauth is not None]
        if ways.count(True) != 1:
            raise ValueError("needs password_file, token_command or oauth: one of them")
        if not self.own_address:
            raise ValueError("address is missing: the username is none")
        if self.number == "delivery" and not self.servers:
            raise ValueError("servers is missing: who writes the delivery_header that is believed")
        if (self.number == "recipient") != bool(self.recipient):
            raise ValueError('recipient and number = "recipient" belong together')
        if not timedelta(seconds=1) <= self.idle <= timedelta(minutes=29):
            raise ValueError('idle must be from "1s" to "29m" (RFC 2177)')
        if self.poll < timedelta(seconds=1):
            raise ValueError('poll must be at least "1s"')
        if len(set(self.folders)) < len(self.folders):
            raise ValueError("folders names one folder twice")
        if {self.done_folder, self.refused_folder} & set(self.folders):
            raise ValueError("done_folder and refused_folder are not among the folders whose mail is faxed")
        if not self.done_folder and not self.done_keyword:
            raise ValueError("done_folder or done_keyword is needed: how a mail is marked that was taken")
        return self

    @property
    def own_address(self) -> str:
        """The mailbox's address, "" where nobody says it."""
        return self.address or (self.username if re.fullmatch(r"[!-;=?A-~]+@[A-Za-z0-9.-]+", self.username) else "")

    @property
    def its_port(self) -> int:
        return self.port or (143 if self.tls == "starttls" else 993)
