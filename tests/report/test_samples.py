"""Every mail in every language, as its receiver reads it: text, HTML, HTML in a terminal, subject."""

from __future__ import annotations

import dataclasses
import functools
import re
from email.message import EmailMessage
from pathlib import Path

import inscriptis
import pytest

from gateway.report import samples
from gateway.report.compose import Composer
from gateway.report.words import Catalogue
from gateway.templates import Templates
from tests.report.report_values import html_of, parsed, text_of

TEMPLATES = Templates()
LANGUAGES = list(Catalogue(TEMPLATES.folders).languages)
#: None of these is a word of the other languages, nor stands in the invented facts.
ENGLISH = re.compile(
    r"\b(the|and|your|was|were|will|not|you|this|that|with|from|pages|page|sent|send|again|failed|delivered|received|arrived|"
    r"attached|times|are|answer|questions|call|broke|off|account|waits|waiting|been|nothing|somebody|nobody|operator|why|link|"
    r"subject|accepted|finished|cost|cover|picture|mail|each|hours?|Mon|Tue|Thu|Fri|Sun|Oct|Dec)\b"
)
#: Also words of the language itself.
THEIR_OWN = {
    "de": {"was", "will"},
    "fr": {"page", "pages", "questions"},
    "nl": {"was", "link", "mail", "account"},
    "it": {"link", "account"},
    "es": set(),
}


@functools.cache
def composer(language: str) -> Composer:
    return Composer(TEMPLATES, dataclasses.replace(samples.SENDER, language=language))


@functools.cache
def mail(name: str, language: str) -> EmailMessage:
    return parsed(samples.SAMPLES[name](composer(language), (language,)))


def in_a_terminal(html: str) -> str:
    return " ".join(inscriptis.get_text(html).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_mail_is_readable_in_every_form(name: str, language: str) -> None:
    message = mail(name, language)
    subject, text, html = str(message["Subject"]), text_of(message).replace("\r\n", "\n"), html_of(message)
    assert "\n" not in subject
    assert 5 < len(subject) < 200
    wide = [line for line in text.splitlines() if len(line) > 78 and not line.startswith("https://")]
    assert wide == []
    assert "\n\n\n" not in text
    assert text == text.strip() + "\n"
    assert all(not line.endswith(" ") for line in text.splitlines())
    assert f'<html lang="{language}">' in html
    shown = in_a_terminal(html)
    for line in text.split("\n\n")[0].splitlines():
        assert line.strip() in shown, "what the text says first stands in the HTML, too"
    assert not re.search(r"\{[a-z_]+\}|\{\{|\{%", text + html), "everything is filled in"


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
@pytest.mark.parametrize("name", samples.SAMPLES)
def test_no_english_is_left(name: str, language: str) -> None:
    message = mail(name, language)
    words = text_of(message) + in_a_terminal(html_of(message)) + str(message["Subject"])
    found = set(ENGLISH.findall(re.sub(r"https?://\S+|\S+@\S+|\bfaxgate .*|[\w.-]+\.example\.com", "", words)))
    assert found - THEIR_OWN[language] == set()


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_the_html_asks_nothing_of_a_server_and_survives_the_dark(name: str) -> None:
    html = html_of(mail(name, "en"))
    assert not re.findall(r"(?:src|background)=[\"'](?!cid:)|url\(|@import|<link|<script|<iframe|<form|<video", html)
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media (max-width: 480px)" in html
    colours = re.findall(r'style="[^"]*(?<![-a-z])color:(#[0-9a-f]{6})', html)
    backgrounds = re.findall(r"background:(#[0-9a-f]{6})", html)
    assert colours
    assert backgrounds, "who sets one colour sets both"
    assert len(html.encode()) < 100_000, "Gmail cuts at 102 kB"


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_the_html_is_well_formed_and_laid_out_by_tables(name: str) -> None:
    html = html_of(mail(name, "de"))
    without = re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL)
    for tag in ("table", "tr", "td", "p", "h1", "h2", "a", "strong", "body", "head", "style"):
        assert len(re.findall(rf"<{tag}[ >]", without)) == without.count(f"</{tag}>"), tag
    assert all('role="presentation"' in table for table in re.findall(r"<table[^>]*>", html))
    assert "float:" not in html
    assert "display:flex" not in html


def test_every_kind_of_mail_has_a_sample() -> None:
    kinds = {name.removeprefix("mail/").removesuffix("-subject.txt") for name in TEMPLATES.names("mail/") if "-subject" in name}
    assert {make(composer("en"), ()).kind for make in samples.SAMPLES.values()} == kinds


PASSED_ON = """{% from "mail/base.txt" import prose %}\n{{ prose(fax.nubmer) }}"""


def overridden(folder: Path, name: str, text: str) -> Templates:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Templates(folder)


def test_the_built_in_mails_are_in_order() -> None:
    assert samples.problem(TEMPLATES, samples.SENDER) == ""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mail/failed-subject.txt", "Fax\n{{ fax.nubmer }}\n", "mail/failed-subject.txt, line 2: "),
        ("mail/forwarded-body.html", "\n\n\n{% block body %}{{ w.lable }}{% endblock %}", "mail/forwarded-body.html, line 4"),
        ("mail/held-body.txt", "\n{{ w('headline_held') }}", "mail/held-body.txt, line 2: "),
        ("mail/held-body.txt", "{{ w('no_such_word') }}", "mail/held-body.txt, line 1: nobody knows 'no_such_word'"),
        ("mail/alarm-body.html", "{% extends 'bass.html' %}", "mail/alarm-body.html, line 1: there is no template bass.html"),
        ("mail/message-body.txt", "{{ 1 / 0 }}", "mail/message-body.txt, line 1: division by zero"),
        ("mail/held-body.txt", PASSED_ON, "mail/held-body.txt, line 2"),
        ("mail/words/de.toml", "\nwy = 'x'\n", "mail/words/de.toml, line 2: nobody uses “wy”; did you mean why?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_operators_file_is_named_with_file_and_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    assert samples.problem(overridden(tmp_path, name, text), samples.SENDER).startswith(said)


def test_a_piece_that_lacks_a_name_is_named(tmp_path: Path) -> None:
    problem = samples.problem(overridden(tmp_path, "mail/received-rows.txt", "{% set rows = [] %}"), samples.SENDER)
    assert "the template 'mail/received-rows.txt' (imported on line 2 in 'mail/received-body.txt') does not export" in problem


def test_an_operators_file_is_what_is_sent(tmp_path: Path) -> None:
    own = overridden(tmp_path, "mail/held-subject.txt", "{{ w.label_pages }}!\n")
    assert own.own() == ["mail/held-subject.txt"]
    assert samples.problem(own, samples.SENDER) == ""
    assert parsed(samples.mail("held", own, samples.SENDER, "fr"))["Subject"] == "Pages!"
