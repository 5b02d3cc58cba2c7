"""The sections of the configuration file: every key with its unit, its default and its own check.

What one section says about another is checked in `config`.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway import number
from gateway.errors import Outcome, Refused
from gateway.fax import provable
from gateway.lifecycle import TRAITS, Kind, Retry
from gateway.telling import ReportSection
from gateway.units import Beside, Domain, Duration, Endpoint, Mail, Money, SecretFile, Size, Text, WebAddress, Zone


def _country(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f'"{value}" is not a country code; write "US", "DE" …')
    return value


#: ISO 3166.
Country = Annotated[str, AfterValidator(_country)]


def _minutes(*values: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=value) for value in values)


def _known_countries(value: tuple[str, ...]) -> tuple[str, ...]:
    for country in value:
        if country not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f'"{country}" is not a country code; write "US", "DE" …')
    return value


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Dns(Section):
    """`[dns]`: who is asked about senders' domains."""

    servers: tuple[Text, ...] = ()
    """Name servers, e.g. "192.0.2.53" or "127.0.0.1:5353". Default: those of the system."""
    timeout: Duration = timedelta(seconds=5)
    """For one question; all questions about one mail together have 20 seconds."""

    @field_validator("servers")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            _name_server(server)
        return value

    @property
    def endpoints(self) -> list[tuple[str, int]]:
        """Address and port of each server."""
        return [_name_server(server) for server in self.servers]


def _name_server(written: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", written)
    address, port = (found[1] or found[2], int(found[3])) if found else (written, 53)
    try:
        return str(ipaddress.ip_address(address)), port
    except ValueError as error:
        raise ValueError('write a name server like "192.0.2.53", "127.0.0.1:5353" or "[2001:db8::1]:53"') from error


class Http(Section):
    """`[http]`: callbacks, health, metrics."""

    listen: Endpoint = "127.0.0.1:8025"
    public_url: str = ""
    """How carriers reach it from outside, e.g. "https://fax.example.com". Default: http:// and the listen address."""

    callback_networks: tuple[Text, ...] = ()
    """CIDR: private networks that callbacks to accounts may go to. Default: public addresses only."""

    proxies: tuple[Text, ...] = ()
    """CIDR: reverse proxies in front, whose `X-Forwarded-For` says who the client is. Default: nobody's is believed."""

    @field_validator("callback_networks", "proxies")
    @classmethod
    def _cidr(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("public_url")
    @classmethod
    def _web(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+", value):
            raise ValueError('write it like "https://fax.example.com"')
        return value.rstrip("/")


class HelloFaxDoor(Section):
    """`[door.hellofax]`: the HelloFax API is served. It stands at the HTTP listener below `/v1` and `/apiapp.php/v1`."""

    pending: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Unfinished faxes of one account; further ones are answered 429."""
    lines: Annotated[int, Field(ge=0, le=10_000)] = 5
    """Numbers that one account may hold, its declared ones included, when it buys one: the operator pays for each."""


class ApplicationSection(Section):
    """`[[door.pamfax.application]]`: a program that may call the API."""

    key: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    """What it sends as `apikey`: up to 64 characters without blanks."""
    secret_file: SecretFile
    """The secret word, which proves that it is this program."""
    name: str = ""
    """For people."""
    zone: Zone = "UTC"
    """Times are told in this zone where the account has none of its own."""
    countries: tuple[Text, ...] = ()
    """ISO codes: it may make accounts (UserInfo/CreateUser), which fax there for their credit, and remove them again. Default:
    it may not."""

    @field_validator("countries")
    @classmethod
    def _countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_countries(value)


class PamFaxDoor(Section):
    """`[door.pamfax]`: the PamFax API is served. It stands at the HTTP listener below `/pamfax`."""

    listen: Endpoint | None = None
    """An address of its own where the API stands at the root, for programs that cannot be told a path."""
    tls_cert: Beside | None = None
    """PEM certificate chain of that address; with `tls_key`."""
    tls_key: Beside | None = None
    clear_secret: bool = True
    """Take the application's secret word itself (`apisecret`) instead of a checksum, as most programs send it."""
    session: Duration = timedelta(minutes=10)
    """Somebody who calls nothing for so long has to sign in again."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    """Of accounts that have chosen none."""
    application: tuple[ApplicationSection, ...] = ()
    """Programs that may call it."""

    @model_validator(mode="after")
    def _together(self) -> PamFaxDoor:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or neither")
        if self.tls_cert is not None and self.listen is None:
            raise ValueError("tls_cert is for an address of its own: set listen")
        if len({one.key for one in self.application}) < len(self.application):
            raise ValueError("two applications have the same key")
        return self


class Doors(Section):
    """`[door.NAME]`: the API doors are closed unless they have a section."""

    hellofax: HelloFaxDoor | None = None
    pamfax: PamFaxDoor | None = None


class PriceZone(Section):
    """`[prices.ZONE]`: what a page costs an account that pays in advance."""

    fixed: Money
    """EUR a page to a fixed line, e.g. "0.09"."""
    mobile: Money | None = None
    """To a mobile number. Default: as `fixed`."""
    countries: tuple[Text, ...] = ()
    """ISO codes. One zone has none: it is for all others."""

    @field_validator("countries")
    @classmethod
    def _countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_countries(value)


class DkimSection(Section):
    """`[[mail.dkim]]`: a key with which our mails are signed."""

    selector: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]
    """The public key is in the DNS at SELECTOR._domainkey.DOMAIN."""
    domain: Domain | None = None
    """Whose signature it is; that of our addresses, or one above it. Default: the first of our domains."""
    key_file: Beside
    """PEM: RSA with 1024 bits or more, or Ed25519. A new one is in force when the file has changed."""


class MailOut(Section):
    """`[mail]`: where reports and received faxes are handed over."""

    smarthost: Annotated[tuple[Text, ...], Field(min_length=1)] = ("smtp://127.0.0.1:25",)
    """`smtp://host:port` (STARTTLS where offered, whatever its certificate), `smtp+starttls://` (required) or `smtps://`,
    with a certificate that holds; or a list: the next one is asked where the one before fails."""
    ca: Beside | None = None
    """PEM certificates of the authorities that are believed there. Default: the system's."""
    dkim: tuple[DkimSection, ...] = ()
    certificates: dict[Mail, Beside] = Field(default_factory=dict)
    """For a mailbox the file with its S/MIME certificates (PEM): received faxes go there encrypted, or not at all."""
    username: str = ""
    password: SecretStr | None = None
    password_file: Path | None = None
    from_: Annotated[Mail, Field(alias="from")]
    """Sender shown in reports; answers to it should reach a person."""
    operator: Mail
    """Postmaster, alarms, and what nobody else may be told."""
    retry: Annotated[tuple[Duration, ...], Field(min_length=1)] = _minutes(1, 5, 15, 30)
    """Waits before a mail that the smarthost did not take is offered again; the last one repeats (QUE-17)."""
    replies: Duration = timedelta(days=30)
    """How long our mails can be answered: a report with STOP, RESEND and so on, a received fax with a fax. "0s": not at all."""
    give_up: Duration = timedelta(days=5)
    """A report that cannot be handed over for this long is given up, and the operator told."""
    language: Text = "en"
    """Of mails to the operator, and of mails, cover pages and header lines for accounts that name none."""

    @field_validator("language")
    @classmethod
    def _main_tag(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z]{2,3}", value):
            raise ValueError('write a language like "en" or "de"')
        return value

    @field_validator("smarthost", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty")
        return (value,) if isinstance(value, str) else value

    @field_validator("smarthost")
    @classmethod
    def _scheme(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not re.fullmatch(r"(smtp|smtp\+starttls|smtps)://(\[[0-9a-fA-F:]+\]|[^/:@\s\[\]]+)(:[0-9]{1,5})?/?", one):
                raise ValueError('write it like "smtp://127.0.0.1:25"; user and password have keys of their own')
        return value

    @field_validator("certificates")
    @classmethod
    def _lower(cls, value: dict[str, Path]) -> dict[str, Path]:
        return {mailbox.lower(): file for mailbox, file in value.items()}

    @model_validator(mode="after")
    def _secret(self) -> MailOut:
        """A password goes to who has proved its name, or stays on this machine."""
        hosts = [urlsplit(one) for one in self.smarthost]
        if self.username and (open_ := [one.hostname for one in hosts if one.scheme == "smtp" and not _is_near(one.hostname)]):
            raise ValueError(f'the password would go to whoever answers as {open_[0]}: write "smtp+starttls://" or "smtps://"')
        return self


def _is_near(host: str | None) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Pages(Section):
    """`[pages]`: how mail becomes pages."""

    paper: Literal["letter", "a4"] | None = None
    """Default: letter in North America, A4 elsewhere (by `region`)."""
    max_pages: Annotated[int, Field(ge=1, le=5000)] = 200
    """Longest fax, with cover page."""
    time_limit: Duration = timedelta(seconds=60)
    """For the conversion of one mail."""
    memory: Size = 1_000_000_000
    """For the conversion of one mail."""
    proof_wait: Duration = timedelta(days=1)
    """A fax whose pages were shown to its sender first is cancelled when nobody has answered after this."""


class Work(Section):
    """`[work]`: how much is done at the same time."""

    convert: Annotated[int, Field(ge=1, le=256)] = 2
    """Conversions at once."""
    calls: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Hand-overs at once for each carrier."""
    mails: Annotated[int, Field(ge=1, le=256)] = 4
    """Mails sent at once."""
    callbacks: Annotated[int, Field(ge=1, le=256)] = 8
    """Callbacks to accounts made at once."""
    lease: Duration = timedelta(minutes=3)
    """How long a claim on a fax lasts; work of a dead process is taken up again after this. More than a carrier's
    time limit for one hand-over."""
    poll: Duration = timedelta(seconds=30)
    """First wait before a carrier is asked for a result that no callback brought; it doubles up to 15 minutes."""
    drain: Duration = timedelta(seconds=20)
    """How long a stop waits for work in hand."""


class EvidenceSection(Section):
    """`[evidence]`: what happened is sealed."""

    every: Duration = timedelta(minutes=10)
    """How often what happened meanwhile is sealed, from "10s" to "1d"."""

    @field_validator("every")
    @classmethod
    def _every(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=10) <= value <= timedelta(days=1):
            raise ValueError('must be from "10s" to "1d"')
        return value


class S3(Section):
    """`[s3]`: the object store of `documents = "s3://…"`."""

    endpoint: str = ""
    """URL of a store that is not Amazon's, e.g. "https://objects.example.com"."""
    region: str = ""
    access_key: str = ""
    """With `secret_key_file`. Without them the machine's own role signs in (boto's usual chain)."""
    secret_key_file: Path | None = None

    @model_validator(mode="after")
    def _together(self) -> S3:
        if bool(self.access_key) != (self.secret_key_file is not None):
            raise ValueError("access_key and secret_key_file belong together: set both or neither")
        if self.endpoint and not re.match(r"https?://[^/\s]+", self.endpoint):
            raise ValueError('write endpoint like "https://objects.example.com"')
        return self


class Presentation(Section):
    """How the faxes of an account look. The defaults hold for accounts made by the command line."""

    cover: Text = "standard"
    """Cover page: a name in `templates/cover/`."""
    cover_policy: Literal["always", "message", "asked", "never"] = "always"
    """`message`: when the mail has a message; `asked`: when it asks for a cover page."""
    language: str = ""
    """Of the cover page, the header line and mails to the account, e.g. "de"; a mail's Content-Language wins where there are
    words in it. Default: that of `[mail]`."""
    organisation: str = ""
    """Of the sender, on the cover page."""
    phone: str = ""
    """Where the sender is called back, on the cover page."""
    logo: Beside | None = None
    """PNG or JPEG for the cover page, at most 2 MB."""
    confidential: str = ""
    """Confidentiality note on the cover page."""
    body: Literal["always", "alone", "cover", "never"] = "always"
    """The text of a mail: `always` faxed; `alone`: only where there is no attachment; `cover`: as words on the cover page, also
    where its HTML says more; `never`."""
    cut_quotes: bool = False
    """Leave the quoted history and notes about confidentiality out of that text."""
    options: tuple[Literal["cover", "fine", "ref", "at", "lang"], ...] = ()
    """What its senders may ask in brackets at the beginning of a subject or a text, or in an address: `cover`, `fine` (and
    standard), `ref`, `at`, `lang`."""
    zone: Zone | None = None
    """Time zone of `at` and of the cover page. Default: that of the gateway."""

    @field_validator("cover", "language")
    @classmethod
    def _name(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value):
            raise ValueError("is a name of small letters and digits")
        return value


#: Keys of an account that are settings of its own (`fax.Settings`) where the file is silent.
SETTINGS = (
    "outbound_callback",
    "inbound_callback",
    "confirmations",
    "received_mail",
    "received_pdf",
    "keep_documents",
    "redial",
)


class LimitSection(Section):
    """`[limits]` for every account, and `[account.limits]`, whose keys win: how much it may fax. Without a key there is no
    limit of that kind. An hour begins with the hour, a day at midnight and a month with its first day, in `zone`."""

    faxes_per_hour: Annotated[int, Field(ge=1)] | None = None
    faxes_per_day: Annotated[int, Field(ge=1)] | None = None
    pages_per_fax: Annotated[int, Field(ge=1)] | None = None
    """With the cover page."""
    pages_per_hour: Annotated[int, Field(ge=1)] | None = None
    pages_per_day: Annotated[int, Field(ge=1)] | None = None
    money_per_day: Money | None = None
    """EUR, at `[prices]`, which must then be in the file."""
    money_per_month: Money | None = None


class ApprovalSection(Section):
    """`[account.approval]`: faxes that somebody must agree to before they are sent; any of these makes it necessary. What is
    beyond a limit of pages or money is asked for, too, instead of failing."""

    by: Mail
    """Who is asked, by mail."""
    always: bool = False
    """Every fax."""
    pages: Annotated[int, Field(ge=1)] | None = None
    """A fax of more pages."""
    cost: Money | None = None
    """A fax that costs more EUR, at `[prices]`."""
    countries: tuple[Country, ...] = ()
    """A fax to these countries."""
    content: bool = True
    """The mail shows the first page, and its link the whole fax; else it says only what the fax is."""
    wait: Duration = timedelta(days=3)
    """A fax that nobody has decided after this is rejected. At least "1m"."""

    @field_validator("wait")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < timedelta(minutes=1):
            raise ValueError('must be at least "1m"')
        return value


class AccountSection(Presentation):
    """`[[account]]`: who may fax."""

    name: Text
    login: str = ""
    """For SMTP AUTH; needs a password."""
    password: SecretStr | None = None
    password_file: Path | None = None
    senders: tuple[Text, ...] = ()
    """Mail addresses, or patterns like "*@example.com"."""
    networks: tuple[Text, ...] = ()
    """CIDR; a listed sender from here needs no other proof."""
    dmarc: bool = False
    """Mail that proves its author by DMARC (a signature or a host of the domain in From) speaks for this account, wherever it
    comes from. Its senders are then addresses of named domains."""
    bulk: bool = False
    """It may fax mail that calls itself bulk mail or mail of a list."""
    countries: tuple[Text, ...]
    """ISO codes of the countries it may fax, e.g. ["US", "CA"]."""
    outbound_callback: WebAddress | None = None
    """URL called when a fax it sent through an API door has ended. This key and the following ones win over what the
    account itself sets through the API; without them the account's own setting counts."""
    inbound_callback: WebAddress | None = None
    """URL that gets what arrives on its lines."""
    callback_secret_file: Path | None = None
    """Callbacks to it carry an HMAC with this key."""
    callback_secret: SecretStr | None = None
    confirmations: bool | None = None
    """Mail a report for each fax it sent through an API door. Default: no."""
    received_mail: bool | None = None
    """Mail what arrives on its lines to their mailboxes. Default: yes."""
    received_pdf: bool | None = None
    """With the fax itself; else the mail only says that one came. Default: yes."""
    keep_documents: bool | None = None
    """Faxes sent through an API door keep their documents for `keep_documents`, like others. Default: no, they go when the fax
    is delivered."""
    redial: bool | None = None
    """Faxes sent through an API door are dialled again by `[retry]`. Default: no, the caller does it."""
    prepaid: bool = False
    """It faxes for its credit only, at `[prices]`."""
    limits: LimitSection = LimitSection()
    """How much it may fax; its keys win over those of `[limits]`."""
    proof: bool = False
    """Its senders are shown the pages of each fax, and what it costs, and it waits for their answer."""
    approval: ApprovalSection | None = None
    """Which of its faxes somebody must agree to. Default: none."""
    private: bool = False
    """What it faxes is not to be read in mails: reports have a link to the pages instead, which ends."""
    reports: ReportSection = ReportSection()
    """What its senders are told; its keys win over those of `[reports]`."""

    @field_validator("networks")
    @classmethod
    def _cidr(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("countries")
    @classmethod
    def _countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_countries(value)

    @model_validator(mode="after")
    def _named(self) -> AccountSection:
        if self.dmarc and (loose := [sender for sender in self.senders if not provable(sender)]):
            raise ValueError(f'dmarc = true needs senders of named domains, like "*@example.com", not "{loose[0]}"')
        return self


class LineSection(Section):
    """`[[line]]`: a fax number we hold."""

    number: Text
    account: Text
    carrier: Text
    mailbox: tuple[Mail, ...] = ()
    """Who gets what arrives here; empty: the operator."""
    attach: Annotated[tuple[Literal["pdf", "tiff"], ...], Field(min_length=1)] = ("pdf",)
    """What goes with the mail about a fax: "pdf", "tiff" (profile S, which fax programs read), or both."""
    ocr: str = ""
    """Languages as Tesseract calls them, e.g. "eng" or "deu+eng": what arrives gets text that can be searched. "": no."""

    @field_validator("ocr")
    @classmethod
    def _languages(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z_]+(\+[A-Za-z_]+)*", value):
            raise ValueError('write languages as Tesseract calls them, like "eng" or "deu+eng"')
        return value

    @field_validator("number")
    @classmethod
    def _e164(cls, value: str) -> str:
        if not value.startswith("+"):
            raise ValueError('write it with + and country code, like "+14155550100"')
        try:
            return number.parse(value, "US").e164
        except Refused as error:
            raise ValueError(error.text) from error


class RetrySection(Section):
    """`[retry]`: waits before the next attempt, by outcome. The last one done = failed."""

    busy: tuple[Duration, ...] = _minutes(1, 2, 5, 10, 20, 40)
    no_answer: tuple[Duration, ...] = _minutes(5, 30)
    line_trouble: tuple[Duration, ...] = _minutes(1, 5, 15)
    carrier_trouble: tuple[Duration, ...] = _minutes(1, 5, 15, 30)
    give_up: Duration = timedelta(hours=4)
    """After this age no further attempt begins."""

    def schedule(self) -> Retry:
        """The same as `lifecycle` wants it."""
        temporary = [outcome for outcome in Outcome if TRAITS[outcome].kind is Kind.TEMPORARY]
        return Retry(waits={outcome: getattr(self, outcome.value) for outcome in temporary}, give_up=self.give_up)
