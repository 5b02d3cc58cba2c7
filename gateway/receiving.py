"""The sections of the configuration file about received faxes: where they go, and the archive.

What they say about other sections is checked in `config`.
"""

from __future__ import annotations

import re
import string
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gateway import number
from gateway.errors import Refused
from gateway.sections import Section
from gateway.units import Mail, Text

#: A caller whose number the network did not give, in rules and lists.
UNKNOWN = "unknown"
#: What a path in the archive may be made of.
PLACEHOLDERS = ("id", "line", "caller", "station", "sub_address", "account", "year", "month", "day", "time")


def _many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _e164(value: str) -> str:
    if not value.startswith("+"):
        raise ValueError('write it with + and country code, like "+14155550100"')
    try:
        return number.parse(value, "US").e164
    except Refused as error:
        raise ValueError(error.text) from error


def caller_pattern(value: str) -> str:
    """A number as it is compared: E.164, its beginning and `*`, or `unknown`. Raises ValueError."""
    if value == UNKNOWN or re.fullmatch(r"\+[0-9]{1,14}\*", value):
        return value
    if not re.fullmatch(r"\+[0-9 ().-]{3,30}", value):
        raise ValueError('write a caller like "+14155550123", "+1900*" or "unknown"')
    return _e164(value)


Number = Annotated[str, AfterValidator(_e164)]
Caller = Annotated[str, AfterValidator(caller_pattern)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_many)]


class RouteSection(Section):
    """`[[route]]`: where received faxes go. The first that fits decides: of every condition that it names one value has to
    fit. What is not known of a fax fits nothing."""

    name: str = ""
    """For people: in logs and in the story of a fax."""
    line: Annotated[tuple[Number, ...], BeforeValidator(_many)] = ()
    """Our numbers."""
    caller: Annotated[tuple[Caller, ...], BeforeValidator(_many)] = ()
    """Numbers, beginnings like "+49*", or "unknown"."""
    station: Texts = ()
    """What the sending machine calls itself; `*` stands for anything."""
    sub_address: Texts = ()
    """`*` stands for anything."""
    code: Texts = ()
    """Contents of a bar code or QR code on the first page; `*` stands for anything."""
    words: Texts = ()
    """Words or phrases on the first three pages, where the line has `ocr`."""
    mailbox: Annotated[tuple[Mail, ...], BeforeValidator(_many)] | None = None
    """Who gets the fax. Default: as if there were no rule; [] is nobody: it goes into the archive only."""
    archive: bool | None = None
    """Whether a copy goes into the archive. Default: as `archive.every` says."""
    then: Literal["deliver", "hold", "drop"] = "deliver"
    """`hold`: it waits until a person releases it; `drop`: nobody gets it. Its pages are kept for `keep_documents`."""

    @model_validator(mode="after")
    def _sensible(self) -> RouteSection:
        if self.then == "drop" and (self.mailbox is not None or self.archive is not None):
            raise ValueError('then = "drop" is for nobody: leave mailbox and archive out')
        if self.mailbox == () and not self.archive:
            raise ValueError("nobody would get these faxes: name a mailbox, or set archive = true")
        return self

    @property
    def conditions(self) -> dict[str, tuple[str, ...]]:
        """Those it names, with their values."""
        every = {name: getattr(self, name) for name in CONDITIONS}
        return {name: values for name, values in every.items() if values}

    def covers(self, other: RouteSection) -> bool:
        """Whether it fits wherever the other one fits, as far as can be said without a fax."""
        theirs = other.conditions
        return all(name in theirs and set(theirs[name]) <= set(values) for name, values in self.conditions.items())


CONDITIONS = ("line", "caller", "station", "sub_address", "code", "words")


class ArchiveSection(Section):
    """`[archive]`: a copy of received faxes in a folder or a bucket, each as PDF with a JSON file beside it."""

    folder: Text
    """A folder, or "s3://bucket/prefix" (signed in to as `[s3]` says)."""
    path: Text = "{year}/{month}/{line}/{time}-{caller}-{id}"
    """Where in it, without the ending: {year}, {month}, {day}, {time}, {line}, {caller}, {station}, {sub_address}, {account}
    and {id}, which must be in its last part. Times are in `zone`."""
    every: bool = True
    """Every fax that is delivered; else those whose rule says `archive = true`."""

    @field_validator("path")
    @classmethod
    def _template(cls, value: str) -> str:
        try:
            fields = [(name, form, how) for _, name, form, how in string.Formatter().parse(value) if name is not None]
        except ValueError as error:
            raise ValueError(f"cannot be read: {error}") from error
        for name, form, how in fields:
            if name not in PLACEHOLDERS or form or how:
                raise ValueError(f"knows no {{{name}}}; there are {', '.join(PLACEHOLDERS)}")
        if "{id}" not in value.rpartition("/")[2]:
            raise ValueError("needs {id} in its last part: each fax has a file of its own")
        if any(part in ("", ".", "..") for part in value.split("/")) or re.search(r"[^ -~]|\\", value):
            raise ValueError("is a path below the folder, like {year}/{line}/{id}, in ASCII")
        return value


CallerNames = dict[Number, Annotated[str, Field(min_length=1, max_length=60)]]
