"""`gateway.toml` read into frozen models. Wrong means: refuse to start, naming file and key.

Every key is documented where it is defined, with unit and default. Durations are written "90s", "15m", "20h", "30d";
sizes "500kB", "40MB". A key nobody knows is an error that names the nearest known one. Nothing else in the gateway
reads the environment; there is no reload, but for the certificate of the mail listeners (`intake.tls`).

Carrier sections are kept as they are: their models belong to the adapters (`carriers.build`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import phonenumbers
from pydantic import (
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from gateway.errors import ConfigError
from gateway.faults import validated
from gateway.listeners import Lmtp, Smtp
from gateway.mailboxes import ImapSection
from gateway.receiving import ArchiveSection, Caller, CallerNames, RouteSection
from gateway.sections import (
    S3,
    AccountSection,
    ApprovalSection,
    Dns,
    Doors,
    EvidenceSection,
    Http,
    LimitSection,
    LineSection,
    MailOut,
    Pages,
    Presentation,
    PriceZone,
    RetrySection,
    Section,
    Work,
)
from gateway.telling import ReportSection
from gateway.units import Beside, Domain, Duration, Money, Text, Zone, secret_in

#: Where the file names no prices.
PRICES = {
    "1": PriceZone.model_validate(
        {
            "fixed": "0.09",
            "mobile": "0.15",
            "countries": ["US", "CA", "AT", "BE", "CH", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "LU", "NL", "NO", "SE"],
        }
    ),
    "2": PriceZone.model_validate({"fixed": "0.35"}),
}


class Config(Section):
    """The whole file."""

    domain: tuple[Domain, ...]
    """Mail to NUMBER@ this domain (or one of a list) is faxed."""
    region: Text
    """ISO country: national numbers are read as dialled from here."""
    number_in_subject: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$")], ...] = ()
    """Names before the @ of our domains; mail to them is faxed to the number at the beginning of its subject."""
    zone: Zone = "UTC"
    """Time zone of cover pages, header lines and reports."""
    spool: Beside
    """Folder of the documents and the SQLite database."""
    database: str = Field(default="", repr=False)
    """SQLAlchemy or libpq URL. Default: SQLite in the spool."""
    documents: str = ""
    """Folder, or "s3://bucket/prefix", of the documents. It belongs to this one spool. Default: `documents` in the spool."""
    keep_documents: Duration = timedelta(days=30)
    """Documents of finished faxes are removed so long after the end, at least "1d"."""
    keep_records: Duration = timedelta(days=365)
    """Everything else about finished faxes is removed so long after the end. Not shorter than `keep_documents`."""
    duplicates: Duration = timedelta(hours=48)
    """A mail that comes again within this time is the same fax: from "1h" to "60d"."""
    templates: Beside | None = None
    """Looked up before the built-in ones."""
    hostname: str = ""
    """Our name in SMTP greetings and reports. Default: the first domain."""
    log_numbers: Literal["masked", "full"] = "masked"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    smtp: Smtp = Smtp()
    lmtp: Lmtp = Lmtp()
    imap: tuple[ImapSection, ...] = ()
    """Mailboxes whose mail is faxed."""
    dns: Dns = Dns()
    http: Http = Http()
    door: Doors = Doors()
    mail: MailOut
    pages: Pages = Pages()
    work: Work = Work()
    evidence: EvidenceSection = EvidenceSection()
    s3: S3 = S3()
    limits: LimitSection = LimitSection()
    """How much an account may fax that says nothing else."""
    reports: ReportSection = ReportSection()
    """What senders are told of their faxes, where their account says nothing else."""
    account: tuple[AccountSection, ...] = ()
    line: tuple[LineSection, ...] = ()
    route: tuple[RouteSection, ...] = ()
    """Where received faxes go; where none fits, to the mailboxes of their line."""
    archive: ArchiveSection | None = None
    """A copy of received faxes. Default: none."""
    callers: CallerNames = Field(default_factory=dict)
    """Names of callers by their numbers, for the mails about received faxes."""
    blocked_callers: tuple[Caller, ...] = ()
    """Callers whose faxes nobody gets: numbers, beginnings like "+1900*", or "unknown"."""
    carrier: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"main": {"kind": "loopback"}}, repr=False)
    """Any here is TOML as it came; the adapter's own model gives it types. The first carrier is the default one."""
    retry: RetrySection = RetrySection()
    prices: dict[Annotated[str, Field(pattern=r"^[0-9]{1,3}$")], PriceZone] = Field(default_factory=lambda: dict(PRICES))
    """What a page costs accounts that pay in advance, by zone. Default: zone 1 "0.09", zone 2, every other country, "0.35"."""
    currencies: dict[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Money] = Field(default_factory=dict)
    """EUR for one unit of other currencies, in which accounts may be told amounts, e.g. USD = "0.92"."""
    rates: Beside | None = None
    """A TOML file with the same, which wins and is read again when it has changed."""
    file: str = Field(default="gateway.toml", exclude=True)
    """Where it was read."""

    @field_validator("domain", mode="before")
    @classmethod
    def _domains(cls, value: object) -> object:
        domains = [value] if isinstance(value, str) else value
        if not isinstance(domains, list) or not domains:
            raise ValueError("needs one domain or a list of them")
        return tuple(domain.lower() if isinstance(domain, str) else domain for domain in domains)

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        if value not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f'"{value}" is not a country code; write "US", "DE" …')
        return value

    @field_serializer("database")
    def _masked(self, value: str) -> str:
        """As it is shown: without the password."""
        value = re.sub(r"(://[^:/@]*:)[^/@]*@", r"\1********@", value)
        return re.sub(r"(?<=[?&]password=)[^&]*", "********", value)

    @model_validator(mode="after")
    def _people(self) -> Config:
        for name in self.number_in_subject:
            if name in ("postmaster", "abuse"):
                raise ValueError(f"number_in_subject: mail to {name} is for a person")
            if self.mail.from_.lower() in {f"{name}@{domain}" for domain in self.domain}:
                raise ValueError(f"number_in_subject: mail to {self.mail.from_} is for a person: give mail.from another name")
        return self

    @model_validator(mode="after")
    def _keeping(self) -> Config:
        if not timedelta(hours=1) <= self.duplicates <= min(self.keep_records, timedelta(days=60)):
            raise ValueError('duplicates must be from "1h" to "60d", and not longer than keep_records')
        if self.keep_documents < timedelta(days=1):
            raise ValueError('keep_documents must be at least "1d"')
        if self.keep_records < max(self.keep_documents, timedelta(days=3)):
            raise ValueError('keep_records must be at least keep_documents, and at least "3d"')
        if self.keep_records > timedelta(days=36500):
            raise ValueError('keep_records must be at most "100y"')
        return self

    @property
    def documents_folder(self) -> Path:
        """The folder of the documents, where they are not in a bucket. A relative one starts beside the file."""
        return Path(self.file).absolute().parent / self.documents if self.documents else self.spool / "documents"

    @property
    def archive_folder(self) -> Path:
        """The folder of the archive, where it is not in a bucket. A relative one starts beside the file."""
        assert self.archive is not None
        return Path(self.file).absolute().parent / self.archive.folder

    def s3_secret(self) -> str:
        """The secret key of the object store, "" if it has none. Raises ConfigError."""
        return _read_secret(self.file, "s3.secret_key_file", self.s3.secret_key_file) if self.s3.secret_key_file else ""

    @property
    def host(self) -> str:
        return self.hostname or self.domain[0]

    @property
    def paper(self) -> str:
        return self.pages.paper or ("letter" if self.region in ("US", "CA", "MX", "PH", "CL", "CO", "VE") else "a4")

    def presentation(self, account: str) -> Presentation:
        """How the faxes of the account of this name look."""
        return next((section for section in self.account if section.name == account), Presentation())

    def zone_of(self, account: str) -> ZoneInfo:
        """The time zone of the account of this name."""
        return ZoneInfo(self.presentation(account).zone or self.zone)

    def languages_of(self, account: str) -> tuple[str, ...]:
        """The languages in which the account of this name is told, best first: its own, and the house's."""
        return tuple(filter(None, (self.presentation(account).language, self.mail.language)))

    def limits_of(self, account: str) -> LimitSection:
        """How much the account of this name may fax."""
        own = next((section.limits for section in self.account if section.name == account), LimitSection())
        return self.limits.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def reports_of(self, account: str) -> ReportSection:
        """What senders of the account of this name are told. Of what is private no mail has content because all others have:
        the account itself must want that."""
        own = next((section.reports for section in self.account if section.name == account), ReportSection())
        house = {"content": False} if self.is_private(account) else {}
        return self.reports.model_copy(update=house | {name: getattr(own, name) for name in own.model_fields_set})

    def is_private(self, account: str) -> bool:
        """Whether what the account of this name faxes is not to be read in mails."""
        return next((section.private for section in self.account if section.name == account), False)

    def proof_of(self, account: str) -> bool:
        """Whether the senders of the account of this name see the pages before a fax is sent."""
        return any(section.proof for section in self.account if section.name == account)

    def approval_of(self, account: str) -> ApprovalSection | None:
        """Which faxes of the account of this name somebody must agree to."""
        return next((section.approval for section in self.account if section.name == account), None)

    def ocr(self, line: str) -> str:
        """The languages in which faxes to this number (E.164) are read; "" for not at all."""
        return next((section.ocr for section in self.line if section.number == line), "")

    def attached(self, line: str) -> tuple[str, ...]:
        """In which forms a fax to this number goes with its mail: "pdf", "tiff"."""
        return next((section.attach for section in self.line if section.number == line), ("pdf",))

    @property
    def public_url(self) -> str:
        return self.http.public_url or f"http://{self.http.listen}"

    def secret(self, section: MailOut | AccountSection | ImapSection, name: str = "password") -> str:
        """The password (or another secret) of a section, "" if it has none; read at start, so that a bad file stops it."""
        key = "mail"
        if isinstance(section, AccountSection):
            key = f"account[{self.account.index(section) + 1}]"
        elif isinstance(section, ImapSection):
            key = f"imap[{self.imap.index(section) + 1}]"
        written: SecretStr | None = getattr(section, name)
        path: Path | None = getattr(section, f"{name}_file")
        if path is None:
            return written.get_secret_value() if written else ""
        if written is not None:
            raise ConfigError(self.file, f"{key}.{name}", f"set {name} or {name}_file, not both")
        return _read_secret(self.file, f"{key}.{name}_file", path)


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises ConfigError naming file and key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", "is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}") from error
    return parse(data, str(path))


def parse(data: Mapping[str, Any], file: str) -> Config:
    """Check what was read from `file`. Raises ConfigError."""
    if "file" in data:
        raise ConfigError(file, "file", "unknown key")
    config = validated(Config, {**data, "file": file}, file, "")
    _check_references(config)
    return config


def _check_references(config: Config) -> None:
    """What one section says about another, and every secret file."""
    names, logins = set[str](), set[str]()
    for n, account in enumerate(config.account, 1):
        key = f"account[{n}]"
        if account.name in names:
            raise ConfigError(config.file, f"{key}.name", f'there are two accounts called "{account.name}"')
        if account.login and account.login.lower() in logins:
            raise ConfigError(config.file, f"{key}.login", f'two accounts sign in as "{account.login}"')
        names.add(account.name)
        logins.add(account.login.lower())
        config.secret(account, "callback_secret")
        if not config.secret(account) and account.login:
            raise ConfigError(config.file, f"{key}.password_file", "is missing: an account with a login needs a password")
        if not account.countries:
            raise ConfigError(config.file, f"{key}.countries", 'must not be empty; write e.g. ["US"]')
    for n, line in enumerate(config.line, 1):
        if line.account not in names:
            raise ConfigError(config.file, f"line[{n}].account", f'there is no account "{line.account}"')
        if line.carrier not in config.carrier:
            raise ConfigError(config.file, f"line[{n}].carrier", f"there is no [carrier.{line.carrier}]")
    if len({line.number for line in config.line}) < len(config.line):
        raise ConfigError(config.file, "line", "two lines have the same number")
    _check_mailboxes(config)
    _check_routes(config)
    _check_imap(config)
    _check_prices(config)
    _check_limits(config)
    _check_links(config)
    for name, section in config.carrier.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(config.file, f"carrier.{name}", "a carrier's name has letters, digits, - and _ only")
        if not isinstance(section.get("kind"), str):
            raise ConfigError(config.file, f"carrier.{name}.kind", "is missing")
    if not config.carrier:
        raise ConfigError(config.file, "carrier", "needs at least one carrier")
    if not config.smtp.endpoints() and not config.lmtp.listen:
        raise ConfigError(config.file, "smtp.listen", "needs at least one address where no other mail listener has one")
    config.secret(config.mail)
    config.s3_secret()


def _check_mailboxes(config: Config) -> None:
    """Mail for people must not come back to where it is faxed."""
    addresses = [("mail.operator", config.mail.operator)]
    addresses += [(f"account[{n}].approval.by", one.approval.by) for n, one in enumerate(config.account, 1) if one.approval]
    addresses += [(f"line[{n}].mailbox", mailbox) for n, line in enumerate(config.line, 1) for mailbox in line.mailbox]
    addresses += [(f"route[{n}].mailbox", one) for n, route in enumerate(config.route, 1) for one in route.mailbox or ()]
    for key, mailbox in addresses:
        if mailbox.rpartition("@")[2].lower() in config.domain:
            raise ConfigError(config.file, key, f"{mailbox} is at a domain that is faxed: its mail would come back here")


def _check_routes(config: Config) -> None:
    """Every rule can fit some fax, and what it asks for is there."""
    read = {line.number for line in config.line if line.ocr}
    for n, route in enumerate(config.route, 1):
        if route.archive and config.archive is None:
            raise ConfigError(config.file, f"route[{n}].archive", "needs [archive]: where the copies go")
        if route.words and (not read or (route.line and read.isdisjoint(route.line))):
            where = "of these lines" if route.line else "at all"
            raise ConfigError(config.file, f"route[{n}].words", f"can never fit: no line {where} has ocr, which reads them")
        for m, earlier in enumerate(config.route[: n - 1], 1):
            if earlier.covers(route):
                raise ConfigError(config.file, f"route[{n}]", f"can never fit: route[{m}] takes every fax that it would")


def _check_imap(config: Config) -> None:
    """Mailboxes that are read: each once, and what is known of their mails is known as long as they may be taken."""
    places = list[tuple[str, str]]()
    for n, one in enumerate(config.imap, 1):
        key = f"imap[{n}]"
        if any(one.name.lower() == other.name.lower() for other in config.imap[: n - 1]):
            raise ConfigError(config.file, f"{key}.name", f'there are two mailboxes called "{one.name}"')
        if one.max_age > config.keep_records:
            raise ConfigError(config.file, f"{key}.max_age", "must not be longer than keep_records")
        for folder in one.folders:
            if (place := (f"{one.host}:{one.its_port}/{one.username}".lower(), folder)) in places:
                raise ConfigError(config.file, f"{key}.folders", f"{folder} of this mailbox is read twice")
            places.append(place)
        config.secret(one)


def _check_prices(config: Config) -> None:
    """Every number is in one zone."""
    everywhere = [zone for zone, section in config.prices.items() if not section.countries]
    if len(everywhere) != 1:
        raise ConfigError(config.file, "prices", "one zone, and only one, has no countries: it is for all others")
    listed = [country for section in config.prices.values() for country in section.countries]
    if twice := sorted({country for country in listed if listed.count(country) > 1}):
        raise ConfigError(config.file, "prices", f"{twice[0]} is in two zones")
    if any(rate == 0 for rate in config.currencies.values()) or "EUR" in config.currencies:
        raise ConfigError(config.file, "currencies", "a rate is more than 0, and EUR needs none")


def _check_limits(config: Config) -> None:
    """Money is limited where it is known what a page costs; who must agree can be asked, and about something."""
    priced = "prices" in config.model_fields_set
    sections = [("limits", config.limits), *((f"account[{n}].limits", one.limits) for n, one in enumerate(config.account, 1))]
    for key, limits in sections:
        for name in ("money_per_day", "money_per_month"):
            if getattr(limits, name) is not None and not priced:
                raise ConfigError(config.file, f"{key}.{name}", "needs [prices]: what a page costs")
    for n, account in enumerate(config.account, 1):
        if (approval := account.approval) is None:
            continue
        key = f"account[{n}].approval"
        if approval.cost is not None and not priced:
            raise ConfigError(config.file, f"{key}.cost", "needs [prices]: what a page costs")
        if not config.http.public_url:
            raise ConfigError(config.file, f"{key}.by", "needs [http] public_url: the mail to the approver has links in it")
        conditions = approval.always or approval.pages or approval.cost is not None or approval.countries
        if not conditions and config.limits_of(account.name) == LimitSection():
            raise ConfigError(config.file, key, "is about no fax: set always, pages, cost or countries")


def _check_links(config: Config) -> None:
    """A link that nobody can follow is none."""
    for n, account in enumerate(config.account, 1):
        if account.private and not config.reports_of(account.name).content and not config.http.public_url:
            raise ConfigError(config.file, f"account[{n}].private", "needs [http] public_url: its reports have links in them")


def _read_secret(file: str, key: str, path: Path) -> str:
    try:
        return secret_in(path, Path(file).parent)
    except ValueError as error:
        raise ConfigError(file, key, str(error)) from error
