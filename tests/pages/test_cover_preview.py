"""faxgate cover: what an operator sees before the first fax."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from PIL import Image

from gateway.cli import main
from tests.pages import fax_files as make

SETTINGS = """
domain = "fax.example.com"
region = "DE"
spool = "spool"
templates = "templates"
[mail]
from = "fax@fax.example.com"
operator = "operator@example.com"
[[account]]
name = "office"
countries = ["DE"]
cover = "ours"
language = "de"
organisation = "Muster GmbH"
logo = "logo.png"
"""


def said(*words: str) -> tuple[int, str]:
    """Exit code, and what was printed on both."""
    out, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(list(words), prog_name="faxgate")
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "templates" / "cover"
    folder.mkdir(parents=True)
    (folder / "ours.txt").write_text("heading RUNDBRIEF\nfield {{ w.subject }} | {{ subject }}\nmessage\n", encoding="utf-8")
    Image.new("L", (300, 100), 0).save(tmp_path / "logo.png")
    (tmp_path / "gateway.toml").write_text(SETTINGS, encoding="utf-8")
    return tmp_path / "gateway.toml"


def test_a_built_in_cover_is_shown_without_a_configuration(tmp_path: Path) -> None:
    out = tmp_path / "x.pdf"
    assert said("cover", "preview", "--template", "formal", "--language", "fr", "--out", str(out))[0] == 0
    (page,) = make.texts(out)
    assert "Télécopie" in page
    assert "3 (cette page comprise)" in page
    assert make.sizes(out) == [(612, 792)]


def test_an_operators_own_cover_is_shown_with_the_facts_of_the_account(tmp_path: Path, file: Path) -> None:
    out = tmp_path / "x.pdf"
    assert said("cover", "preview", "--account", "office", "--out", str(out), "-c", str(file))[0] == 0
    (page,) = make.texts(out)
    assert page.startswith("RUNDBRIEF Betreff Your order")
    assert make.sizes(out) == [(595, 842)]
    assert said("cover", "preview", "--template", "standard", "--account", "office", "--out", str(out), "-c", str(file))[0] == 0
    assert "Bob Sender, Muster GmbH" in make.texts(out)[0]
    assert "ours" in said("cover", "list", "-c", str(file))[1].split()
    assert said("check-config", "-c", str(file))[0] == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--template", "fromal"), "There is no cover page called “fromal”"),
        (("--language", "xx"), 'There are no words for the language "xx"'),
        (("--account", "nobody"), "declares no account “nobody”"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, file: Path, words: tuple[str, ...], reason: str) -> None:
    out = tmp_path / "x.pdf"
    code, printed = said("cover", "preview", *words, "--out", str(out), "-c", str(file))
    assert code == 1
    assert reason in printed
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    code, printed = said("cover", "preview", "--out", str(tmp_path / "nowhere" / "x.pdf"))
    assert (code, "cannot be written" in printed) == (1, True)
    assert said("cover", "preview", "--out", str(tmp_path / "x.pdf"), "-c", str(tmp_path / "none.toml"))[0] == 78
