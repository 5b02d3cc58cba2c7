"""What the HelloFax API says, as values: its status words, its JSON answers and callbacks, its numbers and its times.

Lenient where the wire reference does not know (section 12): members may be missing, null, a number or a text; strict
where a wrong value would do harm. Source of each shape: the section named with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_pascal

from gateway.carriers.base import Statuses
from gateway.errors import Outcome
from gateway.fax import AttemptState

#: Every `StatusCode`, with its `ErrorCode` where it is `E`. Source: wire reference, section 7; `H` and `B` in the older
#: editions, `O` and `R` in that of 2025 with the same texts. `E` alone: inferred, nobody documents it.
STATUSES: Statuses = {
    "P": (AttemptState.SUBMITTED, None),  # pending, converting
    "T": (AttemptState.SUBMITTED, None),  # transmitting
    "H": (AttemptState.SUBMITTED, None),  # on hold: unconfirmed account, or out of pages
    "O": (AttemptState.SUBMITTED, None),  # the same
    "S": (AttemptState.DELIVERED, Outcome.DELIVERED),
    "E": (AttemptState.FAILED, Outcome.UNKNOWN),
    "E/B": (AttemptState.FAILED, Outcome.BUSY),
    "E/R": (AttemptState.FAILED, Outcome.BUSY),
    "E/N": (AttemptState.FAILED, Outcome.NO_ANSWER),
    "E/A": (AttemptState.FAILED, Outcome.BAD_NUMBER),  # unallocated
    "E/D": (AttemptState.FAILED, Outcome.DISCONNECTED),  # disconnected or unreachable
    "E/L": (AttemptState.FAILED, Outcome.RECIPIENT_BLOCKED),  # on the vendor's block list
    "E/U": (AttemptState.FAILED, Outcome.UNKNOWN),  # often a person, or a transmission fault
}
ON_HOLD = frozenset({"H", "O"})
_DIGITS = re.compile(r"[0-9]{7,15}")
_NORTH_AMERICA = 10  # digits of a number without its country code
_EXIT_CODE = "011"


def _given(value: object) -> object:
    """null is the same as nothing."""
    return "" if value is None else value


def _counted(value: object) -> object:
    """Pages, a number or a text; null and "" are none."""
    return value or 0


_Text = Annotated[str, BeforeValidator(_given), Field(max_length=2000)]
_Ref = Annotated[str, Field(pattern=r"^[!-~]{1,80}$")]


class _Said(BaseModel):
    """Base: members are written in PascalCase; more of them than we know are passed over."""

    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, coerce_numbers_to_str=True, populate_by_name=True)


class Fax(_Said):
    """The transmission object (6)."""

    guid: _Ref
    to: _Text = ""
    from_: Annotated[_Text, Field(alias="From")] = ""
    is_inbound: bool = False
    is_draft: bool = False
    status_code: _Text = "P"
    error_code: _Text = ""
    created_at: _Text = ""
    updated_at: _Text = ""
    num_pages_billed: Annotated[int, BeforeValidator(_counted), Field(ge=0, le=100_000)] = 0


_WRAPPERS = ("Transmission", "Transaction")


def _unwrapped(value: object) -> object:
    """An object in one of its two wrappers (6), or as it is."""
    if isinstance(value, dict):
        return next((value[name] for name in _WRAPPERS if isinstance(value.get(name), dict)), value)
    return value


def _lists(value: dict[str, Any], inner: type = dict) -> Iterable[list[Any]]:
    """Members that are lists of objects (or of `inner`): the name of the one we want is not known (8, 4)."""
    return (member for member in value.values() if isinstance(member, list) and all(isinstance(one, inner) for one in member))


class Sent(BaseModel):
    """An answer about one fax: wrapped, or the only one of a list (5)."""

    fax: Fax

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        found = _unwrapped(value)
        if found is value and isinstance(value, dict) and "Guid" not in value:
            several = next((members for members in _lists(value) if members), [])
            found = _unwrapped(several[0]) if len(several) == 1 else None
        return {"fax": found}


class Callback(BaseModel):
    """What a callback's `json` says (9); None: it speaks of something else."""

    fax: Fax | None = None

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {"fax": next((value[name] for name in ("Transaction", "Transmission") if name in value), None)}


class Problem(_Said):
    """What an error says (10: its shape is not known; this is our door's)."""

    message: _Text = ""


class ErrorAnswer(_Said):
    """An answer that is an error."""

    error: Problem = Problem()


class Page(BaseModel):
    """One page of the list of faxes (8)."""

    faxes: list[Fax]
    next_page_uri: _Text = ""

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        named = [value[name] for name in ("Transmissions", "Transactions") if isinstance(value.get(name), list)]
        members = next(iter([*named, *_lists(value)]), None)
        faxes = members if members is None else [_unwrapped(one) for one in members]
        return {"faxes": faxes, "next_page_uri": value.get("NextPageUri")}


class FaxLine(_Said):
    """One of our numbers (4)."""

    number: Annotated[str, Field(pattern=r"^\+?[0-9]{7,15}$")]
    uri: _Text = ""


class FaxLines(BaseModel):
    """The list of our numbers, or the new one in any of the shapes it may have (4)."""

    lines: list[FaxLine]

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if not isinstance(value, dict):
            return {"lines": value if isinstance(value, list) else []}
        one = value.get("FaxLine", value)
        if isinstance(one, dict) and "Number" in one:
            return {"lines": [one]}
        return {"lines": next(iter(_lists(value)), [])}


class AreaCodes(BaseModel):
    """Area codes on sale: texts, numbers, or objects with `AreaCode` (4, inferred)."""

    codes: list[Annotated[str, Field(pattern=r"^[0-9]{1,6}$")]]

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        found = next(iter(_lists(value, object)), None) if isinstance(value, dict) else value
        if not isinstance(found, list):
            return {"codes": found}
        return {"codes": [one.get("AreaCode") if isinstance(one, dict) else one for one in found]}


class Account(_Said):
    """The account's settings, as far as we change them (3)."""

    default_inbound_fax_callback_url: _Text = ""
    default_outbound_fax_callback_url: _Text = ""

    def callbacks(self) -> dict[str, str]:
        """Both callback URLs by their names."""
        return self.model_dump(by_alias=True)


class AccountAnswer(_Said):
    """The answer about an account (3)."""

    account: Account


def digits(number: str) -> str:
    """E.164 as it goes over the wire: without the plus. Ten digits would be read as a number in North America (5), and
    foreign numbers may have ten: the exit code there stands before those, with which no number there begins."""
    bare = number.removeprefix("+")
    return _EXIT_CODE + bare if len(bare) == _NORTH_AMERICA else bare


def e164(written: str) -> str:
    """A number of theirs in E.164; ten digits are North American (4, 5). "" where it is none."""
    bare = written.removeprefix("+").removeprefix(_EXIT_CODE)
    if not _DIGITS.fullmatch(bare):
        return ""
    return f"+1{bare}" if len(bare) == _NORTH_AMERICA and bare == written else f"+{bare}"


def moment(written: str) -> datetime | None:
    """A time of theirs, Unix seconds as text (6); None where it is none."""
    return datetime.fromtimestamp(int(written), UTC) if re.fullmatch(r"[0-9]{1,11}", written) else None
