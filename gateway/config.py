"""`gateway.toml` read into frozen models. Wrong means: refuse to start, naming file and key.

Every key is documented where it is defined, with unit and default. Durations are written "90s", "15m", "20h", "30d";
sizes "500kB", "40MB". A key nobody knows is an error that names the nearest known one. Nothing else in the gateway
reads the environment; there is no reload.

Carrier sections are kept as they are: their models belong to the adapters (`carriers.build`).
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import phonenumbers
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from gateway import number
from gateway.errors import ConfigError, Outcome, Refused
from gateway.faults import validated
from gateway.lifecycle import TRAITS, Kind, Retry
from gateway.units import Beside, Domain, Duration, Endpoint, Mail, Size, Text, Zone


def _minutes(*values: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=value) for value in values)


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Smtp(Section):
    """`[smtp]`: where mail comes in."""

    listen: tuple[Endpoint, ...] = ("127.0.0.1:2525",)
    """Addresses to listen on. At least one."""
    tls_cert: Beside | None = None
    """PEM certificate chain; with `tls_key` it switches STARTTLS, and with it AUTH, on."""
    tls_key: Beside | None = None
    max_size: Size = 50_000_000
    """Largest mail taken, at least 64 KiB. Attachments grow by a third on the way in."""
    max_recipients: Annotated[int, Field(ge=100, le=10_000)] = 100
    """Recipients of one mail."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Connections at the same time; further ones are answered 421."""
    timeout: Duration = timedelta(minutes=5)
    """A client that says nothing for this long is cut off."""

    @model_validator(mode="after")
    def _together(self) -> Smtp:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or neither")
        if self.max_size < 65536:
            raise ValueError("max_size must be at least 64 KiB (65536 B)")
        if not self.listen:
            raise ValueError("listen needs at least one address")
        return self


class Http(Section):
    """`[http]`: callbacks, health, metrics."""

    listen: Endpoint = "127.0.0.1:8025"
    public_url: str = ""
    """How carriers reach it from outside, e.g. "https://fax.example.com". Default: http:// and the listen address."""

    @field_validator("public_url")
    @classmethod
    def _web(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+", value):
            raise ValueError('write it like "https://fax.example.com"')
        return value.rstrip("/")


class MailOut(Section):
    """`[mail]`: where reports and received faxes are handed over."""

    smarthost: Text = "smtp://127.0.0.1:25"
    """`smtp://host:port` (STARTTLS when offered), `smtp+starttls://` (required) or `smtps://`."""
    username: str = ""
    password: SecretStr | None = None
    password_file: Path | None = None
    from_: Annotated[Mail, Field(alias="from")]
    """Sender shown in reports; answers to it should reach a person."""
    operator: Mail
    """Postmaster, alarms, and what nobody else may be told."""
    retry: Annotated[tuple[Duration, ...], Field(min_length=1)] = _minutes(1, 5, 15, 30)
    """Waits before a mail that the smarthost did not take is offered again; the last one repeats (QUE-17)."""
    give_up: Duration = timedelta(days=5)
    """A report that cannot be handed over for this long is given up, and the operator told."""

    @field_validator("smarthost")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if not re.fullmatch(r"(smtp|smtp\+starttls|smtps)://(\[[0-9a-fA-F:]+\]|[^/:@\s\[\]]+)(:[0-9]{1,5})?/?", value):
            raise ValueError('write it like "smtp://127.0.0.1:25"; user and password have keys of their own')
        return value


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


class Work(Section):
    """`[work]`: how much is done at the same time."""

    convert: Annotated[int, Field(ge=1, le=256)] = 2
    """Conversions at once."""
    calls: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Hand-overs at once for each carrier."""
    mails: Annotated[int, Field(ge=1, le=256)] = 4
    """Mails sent at once."""
    lease: Duration = timedelta(minutes=3)
    """How long a claim on a fax lasts; work of a dead process is taken up again after this. More than a carrier's
    time limit for one hand-over."""
    poll: Duration = timedelta(seconds=30)
    """First wait before a carrier is asked for a result that no callback brought; it doubles up to 15 minutes."""
    drain: Duration = timedelta(seconds=20)
    """How long a stop waits for work in hand."""


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
    language: Text = "en"
    """Of the cover page and the header line; a mail's Content-Language wins where there are words in it."""
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

    @field_validator("cover", "language")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value):
            raise ValueError("is a name of small letters and digits")
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
    countries: tuple[Text, ...]
    """ISO codes of the countries it may fax, e.g. ["US", "CA"]."""

    @field_validator("networks")
    @classmethod
    def _cidr(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("countries")
    @classmethod
    def _countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for country in value:
            if country not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(f'"{country}" is not a country code; write "US", "DE" …')
        return value


class LineSection(Section):
    """`[[line]]`: a fax number we hold."""

    number: Text
    account: Text
    carrier: Text
    mailbox: tuple[Mail, ...] = ()
    """Who gets what arrives here; empty: the operator."""
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


class Config(Section):
    """The whole file."""

    domain: tuple[Domain, ...]
    """Mail to NUMBER@ this domain (or one of a list) is faxed."""
    region: Text
    """ISO country: national numbers are read as dialled from here."""
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
    templates: Beside | None = None
    """Looked up before the built-in ones."""
    hostname: str = ""
    """Our name in SMTP greetings and reports. Default: the first domain."""
    log_numbers: Literal["masked", "full"] = "masked"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    smtp: Smtp = Smtp()
    http: Http = Http()
    mail: MailOut
    pages: Pages = Pages()
    work: Work = Work()
    s3: S3 = S3()
    account: tuple[AccountSection, ...] = ()
    line: tuple[LineSection, ...] = ()
    carrier: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"main": {"kind": "loopback"}}, repr=False)
    """Any here is TOML as it came; the adapter's own model gives it types. The first carrier is the default one."""
    retry: RetrySection = RetrySection()
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
    def _keeping(self) -> Config:
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

    def ocr(self, line: str) -> str:
        """The languages in which faxes to this number (E.164) are read; "" for not at all."""
        return next((section.ocr for section in self.line if section.number == line), "")

    @property
    def public_url(self) -> str:
        return self.http.public_url or f"http://{self.http.listen}"

    def secret(self, section: MailOut | AccountSection) -> str:
        """The password of a section, "" if it has none; read at start, so that a bad file stops it."""
        key = f"account[{self.account.index(section) + 1}]" if isinstance(section, AccountSection) else "mail"
        if section.password_file is None:
            return section.password.get_secret_value() if section.password else ""
        if section.password is not None:
            raise ConfigError(self.file, f"{key}.password", "set password or password_file, not both")
        return _read_secret(self.file, f"{key}.password_file", section.password_file)


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
    for name, section in config.carrier.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(config.file, f"carrier.{name}", "a carrier's name has letters, digits, - and _ only")
        if not isinstance(section.get("kind"), str):
            raise ConfigError(config.file, f"carrier.{name}.kind", "is missing")
    if not config.carrier:
        raise ConfigError(config.file, "carrier", "needs at least one carrier")
    config.secret(config.mail)
    config.s3_secret()


def _check_mailboxes(config: Config) -> None:
    """Mail for people must not come back to where it is faxed."""
    addresses = [("mail.operator", config.mail.operator)]
    addresses += [(f"line[{n}].mailbox", mailbox) for n, line in enumerate(config.line, 1) for mailbox in line.mailbox]
    for key, mailbox in addresses:
        if mailbox.rpartition("@")[2].lower() in config.domain:
            raise ConfigError(config.file, key, f"{mailbox} is at a domain that is faxed: its mail would come back here")


def _read_secret(file: str, key: str, path: Path) -> str:
    """One line from a secret file. `$CREDENTIALS_DIRECTORY` (systemd) may stand in its path."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    real = Path(str(path).replace("$CREDENTIALS_DIRECTORY", folder))
    if not real.is_absolute():
        real = Path(file).parent / real
    try:
        secret = real.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(file, key, f"{path} cannot be read ({why})") from error
    if not secret:
        raise ConfigError(file, key, f"{path} is empty")
    return secret
