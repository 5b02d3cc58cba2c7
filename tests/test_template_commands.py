"""`faxgate template`, and what `check-config` says of mails."""

from __future__ import annotations

import email
import email.policy
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

GATEWAY = """
domain = "fax.example.com"
region = "US"
spool = "spool"
templates = "own"
[mail]
from = "fax@fax.example.com"
operator = "operator@example.com"
language = "it"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    (tmp_path / "own" / "mail" / "words").mkdir(parents=True)
    file = tmp_path / "gateway.toml"
    file.write_text(GATEWAY)
    return file


def run(gateway: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "-c", str(gateway)])


def test_every_mail_and_language_is_listed_and_what_is_the_operators_own(gateway: Path) -> None:
    (gateway.parent / "own" / "mail" / "failed-subject.txt").write_text("{{ w.label_pages }}")
    listed = json.loads(run(gateway, "template", "list", "--json").stdout)
    assert "mail/delivered-body.html" in listed["mails"][0]["files"]
    assert {"delivered", "failed", "received", "alarm"} <= {one["name"] for one in listed["mails"]}
    assert [one["language"] for one in listed["languages"]] == ["de", "en", "es", "fr", "it", "nl"]
    assert listed["own"] == ["mail/failed-subject.txt"]
    shown = run(gateway, "template", "list").stdout
    assert "mail/failed-body.html" in shown
    assert "Your own: mail/failed-subject.txt" in shown


def test_a_preview_is_a_mail_in_the_language_of_the_house_or_as_asked(gateway: Path) -> None:
    out = gateway.parent / "failed.eml"
    done = run(gateway, "template", "preview", "failed", "--out", str(out))
    assert (done.exit_code, done.stdout) == (0, f"{out}: the mail “failed” in “it”.\n")
    mail = email.message_from_bytes(out.read_bytes(), policy=email.policy.default)
    assert mail["Subject"].startswith("Fax a +1 415-555-0123 non riuscito")
    assert mail["From"] == "Faxgate <fax@fax.example.com>"
    written = run(gateway, "template", "preview", "received", "--language", "nl").stdout_bytes
    mail = email.message_from_bytes(written, policy=email.policy.default)
    assert mail["Subject"].startswith("Fax van +44 20 7946 0123")
    assert [part.get_content_type() for part in mail.walk()].count("image/png") == 1


def test_a_program_gets_the_mail_or_where_it_is(gateway: Path) -> None:
    told = json.loads(run(gateway, "template", "preview", "held", "--language", "de", "--json").stdout)
    assert (told["mail"], told["language"]) == ("held", "de")
    assert "Subject: Fax an" in told["content"]
    out = gateway.parent / "held.eml"
    told = json.loads(run(gateway, "template", "preview", "held", "--out", str(out), "--json").stdout)
    assert told == {"mail": "held", "language": "it", "file": str(out)}
    assert out.read_bytes().startswith(b"From: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "There is no mail “nothing”. There are delivered,"),
        (("failed", "--language", "xx"), "there are no mails in “xx”; there are de, en, es, fr, it, nl"),
        (("failed", "--out", "/no/such/folder/x.eml"), "cannot be written"),
    ],
)
def test_what_cannot_be_previewed_is_said(gateway: Path, words: tuple[str, ...], said: str) -> None:
    done = run(gateway, "template", "preview", *words)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("failed-body.txt", "\n{{ fax.nubmer }}", "templates: mail/failed-body.txt, line 2: "),
        ("base.html", "{% if %}", "templates: mail/base.html, line 1: "),
        ("words/fr.toml", "why = 'Motif : {raison}'", "templates: mail/words/fr.toml, line 1: why: nothing fills in {raison}"),
        ("words/pl.toml", "why = 'Dlaczego: {reason}'", "templates: mail/words/pl.toml: lacks "),
    ],
)
def test_check_config_names_file_and_line_of_what_is_wrong(gateway: Path, name: str, text: str, said: str) -> None:
    (gateway.parent / "own" / "mail" / name).write_text(text)
    done = run(gateway, "check-config")
    assert done.exit_code == 78
    assert said in " ".join(done.stderr.split())


def test_check_config_refuses_a_language_nobody_wrote(gateway: Path) -> None:
    assert run(gateway, "check-config").exit_code == 0
    gateway.write_text(GATEWAY.replace('"it"', '"xx"'))
    done = run(gateway, "check-config")
    assert done.exit_code == 78
    assert "mail.language: there are no mails in “xx”; there are de, en" in " ".join(done.stderr.split())
