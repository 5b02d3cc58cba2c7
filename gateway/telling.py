"""`[reports]` for every account, and `[account.reports]`, whose keys win: what senders are told of their faxes, and how."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from gateway.units import Duration

NEVER: Literal["never"] = "never"


class ReportSection(BaseModel):
    """What senders of an account are told."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    delivered: bool = True
    """Good news is told where the mail did not say by NOTIFY what it wants. Bad news always is."""
    delayed: Duration | Literal["never"] = timedelta(minutes=30)
    """A fax that has not ended after this gets one report that it is still being tried; "never": none does."""
    digest: Duration | None = None
    """The faxes of one mail to several numbers are reported together, when all have ended, at the latest after this; what
    ends later gets a report of its own. Default: one report for each fax."""
    content: bool | None = None
    """Reports of faxes that have ended show the first page and have the fax attached as PDF. Default: no; of private
    accounts only their own key counts."""
    link: Duration = timedelta(days=7)
    """So long the link to the pages holds that reports of private accounts have instead. At most "90d"."""
    receipts: bool = True
    """Mail that came by IMAP and asks for a disposition notification gets one; else a plain mail."""

    @model_validator(mode="after")
    def _times(self) -> ReportSection:
        for name, value in (("delayed", self.delayed), ("digest", self.digest), ("link", self.link)):
            if isinstance(value, timedelta) and value <= timedelta(0):
                raise ValueError(f'{name} is a time, like "30m"')
        if self.link > timedelta(days=90):
            raise ValueError('link must be at most "90d"')
        return self
