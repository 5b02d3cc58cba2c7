"""`[carrier.NAME]` with `kind = "hylafax"`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.carriers.base import CarrierConfig
from gateway.units import Duration, SecretFile, Text

SUBMIT_LIMIT = 75.0  # seconds


def _dials(value: str) -> str:
    if value.count("{digits}") != 1 or not set(value.replace("{digits}", "")) <= set("0123456789+*#,;@TPWw- "):
        raise ValueError('write a dial string with {digits} in it, like "+{digits}" or "0,00{digits}"')
    return value


class HylaFaxConfig(CarrierConfig):
    """The keys."""

    host: Text = "127.0.0.1"
    """Where hfaxd is. It speaks no TLS: this machine, or a network of its own."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 4559
    """Its port."""
    username: Text = "faxgate"
    """Who we are there: whose jobs they are."""
    password: SecretStr | None = None
    password_file: SecretFile | None = None
    admin_password: SecretStr | None = None
    """Of an administrator there: for speed, station and seconds of a call, for the line on which a fax came in where there are
    several, and for `forget = "delete"`."""
    admin_password_file: SecretFile | None = None
    dial: Annotated[str, AfterValidator(_dials)] = "+{digits}"
    """What is dialled; `{digits}` is the number in international form. HylaFAX's DialStringRules apply to it."""
    modem: Text = "any"
    """Which modem calls, of those there; "any": the next free one."""
    modems: Mapping[str, str] = Field(default_factory=dict)
    """A line of ours and the modem it is on: its faxes go out there."""
    station_ids: Mapping[str, Annotated[str, Field(max_length=20)]] = Field(default_factory=dict)
    """A line of ours and its station id (TSI), at most 20 characters. Default: its number."""
    redials: Literal["ours", "hylafax"] = "ours"
    """Who dials again: we, by `[retry]`, so that one job is one call; or HylaFAX, so that we do not."""
    dials: Annotated[int, Field(ge=1, le=100)] = 12
    """Calls for one job, with `redials = "hylafax"`."""
    header: Literal["ours", "theirs"] = "ours"
    """Who writes the line on top of each page: we, and HylaFAX's tag line is off; or HylaFAX, and ours is off."""
    priority: Annotated[int, Field(ge=0, le=255)] = 127
    """Of our jobs among the others there; a lower number goes first."""
    delayed: Literal["spool", "hylafax"] = "spool"
    """Who keeps the time of a fax that is to be sent at one."""
    kill_after: Duration = timedelta(hours=3)
    """A job that has not ended so long after the time it was to be sent at is given up there."""
    called: Annotated[int, Field(ge=0, le=9)] = 0
    """Where several lines share a modem: in which value of HylaFAX's call id (CallIDPattern, counted from 1) the called
    number stands. 0: the modem's own number (FAXNumber there) says which line it is."""
    forget: Literal["keep", "delete"] = "keep"
    """Whether a received fax that is safe here is removed there; that needs an administrator."""
    events: bool = True
    """Have its events told: at once by a connection that it opens to us (EPRT), else by waiting for each job."""
    listen_every: Duration = timedelta(seconds=2)
    """How often it is looked what the events were, while there is a fax; "0s": never, jobs are only asked for."""
    time_limit: Duration = timedelta(seconds=20)
    """For one command, or one silence while a document goes over."""
    busy_wait: Duration = timedelta(seconds=60)
    """How long a server that takes nothing just now (421, or no scheduler) is left alone."""

    @model_validator(mode="after")
    def _whole(self) -> HylaFaxConfig:
        if self.password is not None and self.password_file is not None:
            raise ValueError("set password or password_file, one of them")
        if self.admin_password is not None and self.admin_password_file is not None:
            raise ValueError("set admin_password or admin_password_file, one of them")
        if self.forget == "delete" and not self.admin:
            raise ValueError('forget = "delete" needs admin_password')
        if self.time_limit.total_seconds() > SUBMIT_LIMIT / 3:
            raise ValueError(f"time_limit must be at most {SUBMIT_LIMIT / 3:.0f}s")
        if self.document not in (None, "tiff"):
            raise ValueError('document can only be "tiff": a server that draws the pages again spoils them')
        return self

    @property
    def secret(self) -> str:
        """The password, or ""."""
        given = self.password or self.password_file
        return given.get_secret_value() if given else ""

    @property
    def admin(self) -> str:
        """The administrator's password, or ""."""
        given = self.admin_password or self.admin_password_file
        return given.get_secret_value() if given else ""
