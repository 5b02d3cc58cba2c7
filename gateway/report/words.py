"""The words of mails in one language: sentences, labels, and how times, durations and amounts are written.

They stand in `templates/mail/words/XX.toml`, the operator's folder over the built-in one, word by word. English says which
words there are and what is filled into each; a language that lacks one, or fills in something else, is refused by name and
line when the gateway starts, so that no report is lost for want of a word.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.errors import Outcome
from gateway.templates import built_in

ENGLISH = "en"
_FOLDER = Path("mail", "words")
_HOLE = re.compile(r"\{([a-z_]+)\}")
_LANGUAGE = re.compile(r"[a-z]{2,3}\Z")
_LISTS = {"weekdays": 7, "months": 12}
_SAID = "said"
"""The table of what the spool keeps in English (reasons, notes): phrases with {names}."""
_KINDS = {"n": "[0-9]+", "m": "[0-9]+", "country": "[A-Z]{2}"}
"""What these names stand for; any other for any text."""
_NUMBER = re.compile(r"[0-9]+\.[0-9]+\Z")
_MOMENT = re.compile(r"[A-Z][a-z]{2} ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}), ([0-9:]{5}) (\S+)\Z")
_JOINTS = ("; ", ": ")


class BadWords(ValueError):
    """A language lacks a word or has a wrong one; says file and line."""


@dataclass(frozen=True, slots=True)
class Words:
    """One language. `w.word` in a template, `w("word", name=…)` where something is filled in."""

    language: str
    _texts: Mapping[str, str]
    _phrases: Mapping[str, str]
    """English, and what is said instead."""

    def __call__(self, word: str, /, **values: object) -> str:
        return _filled(self._texts[word], values)

    def __getitem__(self, word: str) -> str:
        return self(word)

    def count(self, word: str, n: int, **values: object) -> str:
        """`word_one` or `word_other`, with `n` filled in."""
        return self(f"{word}_one" if n == 1 else f"{word}_other", n=n, **values)

    def pages(self, n: int) -> str:
        """ "1 page", "4 pages"."""
        return self.count("pages", n)

    def short(self, outcome: Outcome) -> str:
        """An outcome in a few words, for subjects and the list of attempts."""
        return self(f"short_{outcome.value}")

    def sentence(self, outcome: Outcome) -> str:
        """For the sender: what happened and what to do."""
        return self(f"sentence_{outcome.value}")

    def moment(self, time: datetime, zone: ZoneInfo) -> str:
        """e.g. "Mon 2 Mar 2026, 10:00 CET"."""
        local = time.astimezone(zone)
        return self._dated(local, f"{local:%H:%M}", f"{local:%Z}")

    def _dated(self, date: datetime, time: str, zone: str) -> str:
        return self(
            "date",
            weekday=self["weekdays"].split()[date.weekday()],
            day=self["first_of_month"] if date.day == 1 else date.day,
            month=self["months"].split()[date.month - 1],
            year=date.year,
            time=time,
            zone=zone,
        )

    def said(self, english: str) -> str:
        """What the spool keeps in English, as it is said here; what nobody has translated stays."""
        return self._known(english) or "; ".join(self._known(part) or self._tail(part) for part in english.split("; "))

    def _tail(self, english: str) -> str:
        """What stands behind the name of a file."""
        head, colon, tail = english.partition(": ")
        return f"{head}{colon}{self._known(tail) or tail}"

    def _known(self, english: str) -> str:
        """One phrase, amount or time; "" where nobody has translated it."""
        for phrase, here in self._phrases.items():
            if found := _pattern(phrase).fullmatch(english):
                return _filled(here, {name: self.said(part) for name, part in found.groupdict().items()})
        if self._phrases and _NUMBER.match(english):
            return self.decimal(english)
        found = _MOMENT.match(english) if self._phrases else None
        return self._moment(found) if found else ""

    def _moment(self, found: re.Match[str]) -> str:
        """A time as English writes it."""
        day, month, year, time, zone = found.groups()
        months = english_words()["months"].split()
        if month not in months:
            return found[0]
        date = datetime(int(year), months.index(month) + 1, int(day))  # noqa: DTZ001  # its day of the week is wanted
        return self._dated(date, time, zone)

    def duration(self, seconds: float | None) -> str:
        """e.g. "2 min 11 s"; "" when nobody knows."""
        if seconds is None or seconds < 0:
            return ""
        minutes, rest = divmod(round(seconds), 60)
        return self("duration", minutes=minutes, seconds=rest) if minutes else self("duration_short", seconds=rest)

    def decimal(self, written: str) -> str:
        """A number written with a point."""
        return written.replace(".", self["decimal_mark"])

    def money(self, written: str) -> str:
        """An amount as `units.eur` writes it, e.g. "0.09 EUR"; "" stays."""
        return self("money", amount=self.decimal(written.removesuffix(" EUR"))) if written else ""


def _filled(text: str, values: Mapping[str, object]) -> str:
    return _HOLE.sub(lambda hole: str(values[hole[1]]), text)


class Catalogue:
    """Every language there are words of. Raises BadWords."""

    def __init__(self, folders: Sequence[Path], house: str = ENGLISH) -> None:
        """`folders`: of templates, the first wins; `house`: for who asked for none that is here."""
        english = english_words()
        self.languages = {name: _words(name, folders, english) for name in _names(folders)}
        if house not in self.languages:
            raise BadWords(f"there are no words of “{house}”; there are {', '.join(sorted(self.languages))}")
        self.house = self.languages[house]

    def of(self, languages: Iterable[str]) -> Words:
        """The first of `languages` that is here, else the house's."""
        return next((self.languages[one] for one in languages if one in self.languages), self.house)


@functools.cache
def english_words() -> Words:
    """The built-in English: what other languages are measured by, and what pages and programs are told in."""
    return Words(ENGLISH, _read(built_in() / _FOLDER / "en.toml").words, {})


@dataclass(frozen=True, slots=True)
class _File:
    """One file of words, and the line of each."""

    words: dict[str, str]
    said: dict[str, str]
    lines: dict[str, int]


def _names(folders: Sequence[Path]) -> list[str]:
    found = {path.stem for folder in folders for path in (folder / _FOLDER).glob("*.toml")}
    return sorted(name for name in found if _LANGUAGE.match(name))


def _words(language: str, folders: Sequence[Path], english: Words) -> Words:
    """One language, checked."""
    texts: dict[str, str] = {}
    said: dict[str, str] = {}
    for folder in reversed(folders):
        path = folder / _FOLDER / f"{language}.toml"
        if path.exists():
            file = _read(path)
            faults = [(word, _fault(word, text, english._texts)) for word, text in file.words.items()]
            faults += [(phrase, _strange(phrase, text, phrase)) for phrase, text in file.said.items()]
            for word, fault in faults:
                if fault:
                    raise BadWords(f"{_called(path)}, line {file.lines.get(word, 1)}: {fault}")
            texts |= file.words
            said |= file.said
    lacking = sorted(english._texts.keys() - texts.keys())
    if lacking:
        more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
        raise BadWords(f"{_FOLDER}/{language}.toml: lacks {', '.join(lacking[:8])}{more}")
    return Words(language, texts, said)


@functools.cache
def _pattern(written: str) -> re.Pattern[str]:
    """A phrase with holes as a pattern."""
    parts = _HOLE.split(written)
    holes = [f"(?P<{name}>{_KINDS.get(name, '.+?')})" for name in parts[1::2]]
    return re.compile("".join(re.escape(text) + hole for text, hole in zip(parts[::2], [*holes, ""], strict=True)))


def _fault(word: str, text: str, english: Mapping[str, str]) -> str:
    """What is wrong with one word; "" = nothing."""
    if word not in english:
        near = difflib.get_close_matches(word, english, 1)
        return f"nobody uses “{word}”" + (f"; did you mean {near[0]}?" if near else "")
    if word in _LISTS and len(text.split()) != _LISTS[word]:
        return f"{word}: needs {_LISTS[word]} words"
    more = english[f"{word.removesuffix('_one')}_other"] if word.endswith("_one") else ""
    return _strange(word, text, english[word] + more)


def _strange(word: str, text: str, filled: str) -> str:
    if strange := set(_HOLE.findall(text)) - set(_HOLE.findall(filled)):
        return f"{word}: nothing fills in {{{min(strange)}}}"
    return f"{word}: needs one line of text" if "\n" in text or not text.strip() else ""


def _read(path: Path) -> _File:
    """One file. Raises BadWords."""
    try:
        written = path.read_text(encoding="utf-8")
        words = tomllib.loads(written)
    except (OSError, ValueError) as error:
        raise BadWords(f"{_called(path)}: {error}") from error
    lines = {line.partition(" = ")[0].strip().strip('"'): n for n, line in enumerate(written.splitlines(), 1)}
    said = words.pop(_SAID, {})
    if not isinstance(said, dict):
        raise BadWords(f"{_called(path)}, line {lines.get(_SAID, 1)}: {_SAID}: is a table of phrases")
    for word, text in [*words.items(), *said.items()]:
        if not isinstance(text, str):
            raise BadWords(f"{_called(path)}, line {lines.get(word, 1)}: {word}: has to be text in quotes")
    return _File(words, said, lines)


def _called(path: Path) -> str:
    return str(_FOLDER / path.name)
