"""What a cover page says and how it looks: a template filled in with the facts of one fax, in one language.

A template is `cover/NAME.txt`, the words of a language are `cover/words/XX.toml`; the operator's folder is looked up
first. The lines of a template are described in `cover/standard.txt`.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import jinja2

from gateway.errors import BadDocument
from gateway.pages import fonts
from gateway.pages.assemble import Cover
from gateway.pages.parts import BROKEN
from gateway.templates import Templates, built_in

ENGLISH = "en"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "align": ("left", "center", "right"),
    "labels": ("left", "above"),
    "lines": ("rules", "boxes", "none"),
    "message": ("open", "framed"),
    "ornament": ("none", "flowers"),
    "logo": ("right", "left", "none"),
}
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "heading": (8, 60),
    "rule": (0, 10),
    "size": (8, 20),
    "text": (8, 20),
}


class BadTemplate(ValueError):
    """A cover template has a line nobody understands, or a language lacks a word."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a cover page is set; sizes in points."""

    heading: float = 38.0
    align: str = "left"
    rule: float = 2.5
    """Thickness of the line under the heading."""
    labels: str = "left"
    lines: str = "rules"
    size: float = 12.5
    """Of the values of the fields."""
    message: str = "open"
    text: float = 10.5
    """Size of the message."""
    ornament: str = "none"
    logo: str = "right"


@dataclass(frozen=True, slots=True)
class Field:
    """One fact with its label."""

    label: str
    value: str
    place: str = "field"
    """"field" in the left column, "right" in the right one, "wide" over both."""


@dataclass(slots=True)
class Wording:
    """The filled-in template."""

    look: Look = field(default_factory=Look)
    letterhead: list[str] = field(default_factory=list)
    heading: str = ""
    fields: list[Field] = field(default_factory=list)
    message: str = ""
    continued: str = ""
    note: Field | None = None
    footer: list[str] = field(default_factory=list)


def fill(cover: Cover, total: int, templates: Sequence[Path], languages: Sequence[str]) -> Wording:
    """Fill in the cover's template. Raises BadTemplate, and BadDocument when nobody knows the template."""
    w = words(tuple(templates), tuple(languages))
    texts = (
        "to_name", "to_number", "organisation", "from_name", "from_address", "reply_to", "from_organisation",
        "from_phone", "subject", "reference", "contact", "confidential",
    )  # fmt: skip
    values = {name: one_line(getattr(cover, name)) for name in texts}
    name = f"cover/{cover.template}.txt"
    unknown = BadDocument(f"there is no cover page called “{cover.template[:40]}”", part="the cover page", reply=BROKEN)
    if not _NAME.fullmatch(cover.template):
        raise unknown
    try:
        filled = _templates(_operators(templates)).render(
            name, **values, pages=total, when=cover.date, date=date_in_words(cover.date, w), w=w
        )
    except jinja2.TemplateNotFound as error:
        if error.name == name:
            raise unknown from error
        raise BadTemplate(f"{name}: there is no {error.name}") from error
    except jinja2.TemplateError as error:
        raise BadTemplate(f"{name}: {error}") from error
    wording = Wording()
    for line in filter(None, (line.strip() for line in filled.splitlines())):
        kind, _, rest = line.partition(" ")
        _take(wording, kind, rest.strip(), name)
    return wording


def _take(wording: Wording, kind: str, rest: str, name: str) -> None:
    """One line of a filled-in template."""
    match kind:
        case "look":
            wording.look = _look(rest, name)
        case "heading":
            wording.heading = rest
        case "letterhead":
            wording.letterhead += [rest] if rest else []
        case "message":
            wording.message = rest
        case "continued":
            wording.continued = rest
        case "footer":
            wording.footer += [rest] if rest else []
        case "field" | "right" | "wide" | "note":
            label, _, value = rest.partition("|")
            entry = Field(label.strip(), value.strip(), kind)
            if entry.value and kind == "note":
                wording.note = entry
            elif entry.value:
                wording.fields.append(entry)
        case _:
            raise BadTemplate(f"{name}: a line begins with {kind!r}")


def _look(text: str, name: str) -> Look:
    chosen: dict[str, object] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        if key in _CHOICES:
            if value not in _CHOICES[key]:
                raise BadTemplate(f"{name}: look {key} is one of {', '.join(_CHOICES[key])}")
            chosen[key] = value
        elif key in _NUMBERS:
            least, most = _NUMBERS[key]
            if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2})?", value) or not least <= float(value) <= most:
                raise BadTemplate(f"{name}: look {key} is a number from {least:g} to {most:g}")
            chosen[key] = float(value)
        else:
            raise BadTemplate(f"{name}: look knows no {key!r}; it knows {', '.join((*_NUMBERS, *_CHOICES))}")
    return Look(**chosen)  # type: ignore[arg-type]  # each was checked against its kind above


@functools.cache
def words(templates: tuple[Path, ...], languages: tuple[str, ...]) -> dict[str, str]:
    """The words of the first of `languages` that has some, else English. Raises BadTemplate."""
    english = _read(ENGLISH, (built_in(),))
    folders = _folders(templates)
    for language in (*languages, ENGLISH):
        own = _read(language, folders)
        if own:
            lacking = english.keys() - own.keys()
            if lacking:
                raise BadTemplate(f"cover/words/{language}.toml: lacks {', '.join(sorted(lacking))}")
            return own
    return english


def speaks(templates: Sequence[Path], language: str) -> bool:
    """Whether there are words of a language."""
    return bool(_read(language, _folders(templates)))


def _folders(templates: Sequence[Path]) -> tuple[Path, ...]:
    """Later ones win."""
    return (built_in(), *(folder for folder in reversed(templates) if folder != built_in()))


def _read(language: str, folders: Sequence[Path]) -> dict[str, str]:
    """The words of one language; later folders win. Empty when there are none."""
    found: dict[str, str] = {}
    if not _NAME.fullmatch(language):
        return found
    for folder in folders:
        path = folder / "cover" / "words" / f"{language}.toml"
        try:
            read = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise BadTemplate(f"cover/words/{language}.toml: {error}") from error
        if not all(isinstance(value, str) for value in read.values()):
            raise BadTemplate(f"cover/words/{language}.toml: has words in quotes only")
        found |= read
    return found


@functools.cache
def _templates(operators: Path | None) -> Templates:
    """Kept, with what it has compiled: the built-in wording is then ready before the first job."""
    return Templates(operators)


def _operators(templates: Sequence[Path]) -> Path | None:
    return templates[0] if templates and templates[0] != built_in() else None


def names(templates: Sequence[Path]) -> list[str]:
    """Every cover page there is."""
    found = (name.removeprefix("cover/") for name in _templates(_operators(templates)).names("cover/"))
    return [name.removesuffix(".txt") for name in found if "/" not in name and name.endswith(".txt")]


def one_line(value: str) -> str:
    """A value as it may stand in a line of the template: printable, and unable to begin a line of its own."""
    return " ".join(fonts.printable(value, any_script=True).text.split())


def date_in_words(date: datetime, w: Mapping[str, str]) -> str:
    """E.g. "22 November 2026, 15:04 CET (UTC+01:00)"."""
    offset = date.strftime("%z")
    zone = f"UTC{offset[:3]}:{offset[3:5]}" if offset.strip("+-0") else "UTC"
    name = date.tzname() or zone
    named = name.isalpha() and name != "UTC"
    months = w["months"].split()
    if len(months) != 12:
        raise BadTemplate("the words of a language need twelve months")
    filled = w["date_form"]
    for key, value in (("DAY", date.day), ("MONTH", months[date.month - 1]), ("YEAR", date.year), ("TIME", f"{date:%H:%M}")):
        filled = filled.replace(key, str(value))
    return f"{filled} {f'{name} ({zone})' if named else zone}"
