"""`[carrier.NAME]` with `kind = "pamfax"`."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from gateway.carriers.base import CarrierConfig
from gateway.carriers.pamfax_session import Key
from gateway.carriers.pamfax_wire import JSON, XML
from gateway.units import Duration, SecretFile, Text, WebAddress, Zone

SUBMIT_LIMIT = 75.0  # seconds
_LOCAL = re.compile(r"localhost|127\.[0-9.]+|::1")


class PamFaxConfig(CarrierConfig):
    """The keys."""

    url: WebAddress = "https://api.pamfax.biz"
    """Where the API is; another gateway's is `https://…/pamfax`."""
    api_key: Text
    """The application's key."""
    api_secret: SecretStr | None = None
    api_secret_file: SecretFile | None = None
    username: Text
    password: SecretStr | None = None
    password_file: SecretFile | None = None
    format: Literal["json", "xml"] = "json"
    """In which format it is asked to answer."""
    timezone: Zone = "UTC"
    """The account's time zone there."""
    price_limit: Annotated[Decimal, Field(gt=0)] | None = None
    """The most that one fax may cost, in the account's currency; a dearer one is held, and one of unknown price."""
    postpaid: bool = False
    """The account there pays afterwards: its credit is no reason to hold a fax."""
    unpaid: Literal["hold", "queue"] = "hold"
    """What becomes of a fax that the credit there does not cover: it is held here, or waits for credit there (SendLater)."""
    credit_alarm: Annotated[Decimal, Field(gt=0)] | None = None
    """Credit below which the operator is told, in the account's currency."""
    delayed: Literal["spool", "carrier"] = "spool"
    """Who keeps the time of a fax that is to be sent at one: we, or the carrier."""
    listen_every: Duration = timedelta(seconds=10)
    """How often it is asked what has changed while it has a fax of ours; "0s": never, every fax is asked for by itself."""
    reports: bool = True
    """Its transmission reports are fetched, and kept with their faxes."""
    ready_limit: Duration = timedelta(seconds=45)
    """How long the carrier may take to make a document ready."""
    time_limit: Duration = timedelta(seconds=25)
    """For one call of the API."""
    listing_lag: Duration = timedelta(seconds=60)
    """After this time a fax that was sent certainly says so."""

    @model_validator(mode="after")
    def _whole(self) -> PamFaxConfig:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("set password or password_file, one of them")
        if (self.api_secret is None) == (self.api_secret_file is None):
            raise ValueError("set api_secret or api_secret_file, one of them")
        where = urlsplit(self.url)
        if where.scheme != "https" and not _LOCAL.fullmatch(where.hostname or ""):
            raise ValueError("url must begin with https://: whoever hears a call could repeat it")
        if self.ready_limit.total_seconds() > SUBMIT_LIMIT - 15:
            raise ValueError(f"ready_limit must be at most {SUBMIT_LIMIT - 15:.0f}s")
        if self.time_limit.total_seconds() > SUBMIT_LIMIT / 2 - 5:
            raise ValueError(f"time_limit must be at most {SUBMIT_LIMIT / 2 - 5:.0f}s")
        return self

    def who(self) -> Key:
        """Who we are there."""
        secret, password = self.api_secret or self.api_secret_file, self.password or self.password_file
        assert secret is not None
        assert password is not None
        return Key(
            url=self.url.rstrip("/"),
            api=self.api_key,
            secret=secret.get_secret_value(),
            username=self.username,
            password=password.get_secret_value(),
            format=JSON if self.format == "json" else XML,
        )
