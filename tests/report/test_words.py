"""The words of mails: whole, the same in every language, and an operator's own."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.errors import Outcome
from gateway.report.words import BadWords, Catalogue, Words
from gateway.templates import Templates, built_in

LANGUAGES = ("de", "en", "es", "fr", "it", "nl")
FOLDER = built_in() / "mail" / "words"
CATALOGUE = Catalogue(Templates().folders)
ROME = ZoneInfo("Europe/Rome")


def read(language: str) -> dict[str, str]:
    return {k: v for k, v in tomllib.loads((FOLDER / f"{language}.toml").read_text()).items() if isinstance(v, str)}


def said(language: str) -> dict[str, str]:
    phrases = tomllib.loads((FOLDER / f"{language}.toml").read_text()).get("said", {})
    assert isinstance(phrases, dict)
    return phrases


def holes(text: str) -> set[str]:
    return set(re.findall(r"\{([^{}]*)\}", text))


def written(folder: Path, text: str, language: str = "de") -> Catalogue:
    path = folder / "mail" / "words" / f"{language}.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return Catalogue(Templates(folder).folders)


def test_there_are_six_languages() -> None:
    assert tuple(sorted(CATALOGUE.languages)) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_words_and_fills_in_the_same(language: str) -> None:
    english, here = read("en"), read(language)
    assert list(here) == list(english), "in the same order, too, so that two files can be compared"
    for word, text in here.items():
        assert holes(text) == holes(english[word]), word
        assert text == text.strip(), word


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_language_has_the_same_phrases(language: str) -> None:
    here = said(language)
    assert list(here) == list(said("de"))
    for phrase, text in here.items():
        assert holes(text) <= holes(phrase), phrase
        assert text != phrase or language != "de", phrase


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_nothing_is_left_in_english(language: str) -> None:
    english, here = read("en"), read(language)
    same = {word for word, text in here.items() if text == english[word] and re.search(r"[A-Za-z]{4,} [A-Za-z]{3,}", text)}
    assert same == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_outcome_has_words_in_every_language(language: str) -> None:
    w = CATALOGUE.of([language])
    for outcome in Outcome:
        assert w.sentence(outcome).endswith((".", ":")), outcome
        assert len(w.sentence(outcome)) > 40, "what happened, and what to do"
        assert 3 < len(w.short(outcome)) < 64


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_are_narrow_enough_for_a_column(language: str) -> None:
    labels = {word: text for word, text in read(language).items() if word.startswith("label_")}
    assert {word: text for word, text in labels.items() if len(text) > 22} == {}


@pytest.mark.parametrize(
    ("language", "time"),
    [
        ("en", "Sun 1 Mar 2026, 10:00 CET"),
        ("de", "So., 1. März 2026, 10:00 Uhr CET"),
        ("fr", "dim. 1er mars 2026, 10:00 CET"),
        ("es", "dom, 1 de marzo de 2026, 10:00 CET"),
        ("nl", "zo 1 maart 2026, 10:00 uur CET"),
        ("it", "dom 1º marzo 2026, ore 10:00 CET"),
    ],
)
def test_a_time_names_its_month_and_its_zone(language: str, time: str) -> None:
    assert CATALOGUE.of([language]).moment(datetime(2026, 3, 1, 9, 0, tzinfo=UTC), ROME) == time


@pytest.mark.parametrize(("language", "money"), [("en", "2.25 EUR"), ("de", "2,25 EUR"), ("it", "2,25 EUR")])
def test_an_amount_has_the_decimal_mark_of_its_language(language: str, money: str) -> None:
    assert CATALOGUE.of([language]).money("2.25 EUR") == money
    assert CATALOGUE.of([language]).money("") == ""


def test_one_and_many_have_words_of_their_own() -> None:
    german = CATALOGUE.of(["de"])
    assert (german.pages(1), german.pages(4)) == ("1 Seite", "4 Seiten")
    assert (german.duration(71), german.duration(9.2), german.duration(None)) == ("1 min 11 s", "9 s", "")


@pytest.mark.parametrize(
    ("asked", "language"), [((), "it"), (("de", "fr"), "de"), (("xx", "fr"), "fr"), (("xx",), "it"), (("", "en"), "en")]
)
def test_the_first_language_that_is_known_wins_else_the_houses(asked: tuple[str, ...], language: str) -> None:
    assert Catalogue(Templates().folders, "it").of(asked).language == language


def test_a_house_language_without_words_is_refused() -> None:
    with pytest.raises(BadWords, match="there are no words of “xx”; there are de, en"):
        Catalogue(Templates().folders, "xx")


def german() -> Words:
    return CATALOGUE.of(["de"])


@pytest.mark.parametrize(
    ("english", "here"),
    [
        ("25 pages, more than 20; to CH", "25 Seiten, mehr als 20; nach CH"),
        ("2.25 EUR, more than 2.00 EUR", "2,25 EUR, mehr als 2,00 EUR"),
        (
            "logo.svg: SVG needs WeasyPrint, which is not installed",
            "logo.svg: SVG benötigt WeasyPrint, das nicht installiert ist",
        ),
        ("2026 report.pdf is protected by a password", "2026 report.pdf ist mit einem Kennwort geschützt"),
        (
            "This account may fax 20 pages in one hour, and there is not enough left; send it again after "
            "Mon 2 Mar 2026, 10:00 CET, when the next hour begins.",
            "Dieses Konto darf nur 20 Seiten je Stunde faxen, und davon ist nicht genug übrig; bitte senden Sie es nach "
            "Mo., 2. März 2026, 10:00 Uhr CET noch einmal.",
        ),
        ("to Smith", "to Smith"),
        ("nobody: has translated this", "nobody: has translated this"),
        ("", ""),
    ],
)
def test_what_the_spool_keeps_in_english_is_said_here(english: str, here: str) -> None:
    assert german().said(english) == here
    assert CATALOGUE.of(["en"]).said(english) == english


def test_an_operator_changes_single_words_and_phrases(tmp_path: Path) -> None:
    own = written(tmp_path, 'label_fax_to = "Telefax an"\n[said]\n"code {n}" = "Fehler {n}"\n').of(["de"])
    assert own["label_fax_to"] == "Telefax an"
    assert own["label_pages"] == "Seiten"
    assert (own.said("code 42"), own.said("every fax of this account")) == ("Fehler 42", "jedes Fax dieses Kontos")


def test_an_operators_language_needs_every_word(tmp_path: Path) -> None:
    with pytest.raises(BadWords, match=r"mail/words/pl\.toml: lacks answer_asked, .* and [0-9]+ more"):
        written(tmp_path, 'label_fax_to = "Faks do"\n', "pl")


def test_an_operators_language_that_has_them_all_is_spoken(tmp_path: Path) -> None:
    whole = (FOLDER / "en.toml").read_text().replace('label_fax_to = "Fax to"', 'label_fax_to = "Faks do"')
    assert written(tmp_path, whole, "pl").of(["pl"])["label_fax_to"] == "Faks do"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('\nlabel_fax_too = "x"\n', r"mail/words/de\.toml, line 2: nobody uses “label_fax_too”; did you mean label_fax_to"),
        ('label_fax_to = "x"\nsubject_held = "Fax {nubmer}"\n', r"line 2: subject_held: nothing fills in \{nubmer\}"),
        ('months = "Januar Februar"\n', "line 1: months: needs 12 words"),
        ('why = ""\n', "line 1: why: needs one line of text"),
        ('why = "a\\nb"\n', "line 1: why: needs one line of text"),
        ("label_pages = 3\n", "line 1: label_pages: has to be text in quotes"),
        ('said = "x"\n', "line 1: said: is a table of phrases"),
        ('[said]\n"a {b}" = "{c}"\n', r"line 2: a \{b\}: nothing fills in \{c\}"),
        ("label_pages = \n", r"mail/words/de\.toml: .*line 1"),
    ],
)
def test_a_wrong_word_is_named_with_its_file_and_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(BadWords, match=fault):
        written(tmp_path, text)
