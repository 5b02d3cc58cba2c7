"""Documents of word processors, spreadsheets and slides, through the real LibreOffice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConverterUnavailable
from gateway.pages import landlock, office, sniff
from tests.pages import fax_files as make
from tests.pages import office_files as files

pytestmark = pytest.mark.needs("soffice")

TYPES = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "rtf": "application/rtf",
}
SAMPLES: dict[str, Callable[[str], bytes]] = {
    "docx": files.docx,
    "xlsx": lambda words: files.xlsx(word=words),
    "pptx": files.pptx,
    "odt": lambda words: files.opened("odt", words),
    "ods": lambda words: files.opened("ods", words),
    "odp": lambda words: files.opened("odp", words),
    "rtf": files.rtf,
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_of_office_document_becomes_pages_with_its_words(tmp_path: Path, kind: str) -> None:
    content = SAMPLES[kind]("Delivery note")
    assert sniff.kind(content) == kind
    made = make.fax(tmp_path, make.mail("see", (TYPES[kind], content, f"note.{kind}")))
    assert "Delivery note" in make.texts(made.pdf)[1]
    assert make.sizes(made.pdf) == [(612, 792)] * 2
    assert (made.manifest[1].title, made.manifest[1].first_page) == (f"note.{kind}", 2)


def test_cnt_06_a_broken_office_document_is_refused_with_its_name(tmp_path: Path) -> None:
    content = files.docx("words")
    broken = make.zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": content[:80]})
    error = make.refusal(tmp_path, make.mail("see", (TYPES["docx"], broken, "note.docx")))
    assert (error.reply, error.part) == ("554 5.6.5", "note.docx")


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize("content", [files.opened("odt", "x", enciphered=True), OLE + "EncryptedPackage".encode("utf-16-le")])
def test_cnt_15_a_locked_office_document_is_refused_in_plain_words(tmp_path: Path, content: bytes) -> None:
    error = make.refusal(tmp_path, make.mail("see", ("application/octet-stream", content, "secret.docx")))
    assert (error.reply, error.text) == ("554 5.6.5", "secret.docx is protected by a password")


def test_cnt_06_without_libreoffice_the_refusal_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "program", lambda: "")
    error = make.refusal(tmp_path, make.mail("see", (TYPES["docx"], files.docx("x"), "note.docx")))
    assert (error.reply, error.part) == ("554 5.6.3", "note.docx")
    assert "LibreOffice is not installed" in error.text
    assert "LibreOffice is not installed" in office.describe()


async def convert(folder: Path, kind: str, content: bytes, seconds: float = 60) -> bytes:
    return await office.convert(kind, content, most_pages=9, folder=folder, memory=1_000_000_000, seconds=seconds)


async def test_the_walls_hold_where_bubblewrap_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "bubblewrap", lambda: "")
    assert make.texts(await convert(tmp_path, "rtf", files.rtf("behind our own walls"))) == ["behind our own walls"]
    assert list(tmp_path.iterdir()) == []
    assert office.describe().startswith("LibreOffice without bubblewrap, ")


@pytest.mark.needs("bwrap")
def test_bubblewrap_is_used_where_it_works() -> None:
    assert office.describe() == ("LibreOffice in bubblewrap" if office.bubblewrap() else office.describe())
    assert "network" in office.walls()


SPY = """
import json, os, socket, sys
def attempt(act):
    try:
        return str(act())
    except OSError as error:
        return "refused"
json.dump({
    "secret": attempt(lambda: open(sys.argv[1]).read()),
    "passwd": attempt(lambda: open("/etc/passwd").read() and "read"),
    "internet": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    "elsewhere": attempt(lambda: open(sys.argv[1] + ".new", "w").write("x")),
    "here": attempt(lambda: open("here", "w").write("x")),
}, open("said.json", "w"))
"""


@pytest.mark.parametrize("wrapped", [True, False])
async def test_cnt_12_a_captured_office_program_reaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    if wrapped and not office.bubblewrap():
        pytest.skip("bubblewrap does not work here")
    if not wrapped:
        if not landlock.version():
            pytest.skip("the kernel has no Landlock")
        monkeypatch.setattr(office, "bubblewrap", lambda: "")
    secret, work = tmp_path / "gateway.toml", tmp_path / "work"
    secret.write_text("the secret")
    work.mkdir()
    (work / "spy.py").write_text(SPY)
    monkeypatch.setattr(office, "program", lambda: "/usr/bin/env")
    command = office._command(work, work / "x.rtf", 9)
    at = command.index("/usr/bin/env")
    await office._run([*command[:at], "/usr/bin/python3", "spy.py", str(secret)], work, 1_000_000_000, 20)
    said = json.loads((work / "said.json").read_text())
    assert [said[what] for what in ("secret", "passwd", "internet", "here")] == ["refused", "refused", "refused", "1"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gateway.toml", "work"]  # a sandbox may have its own "elsewhere"


async def test_a_conversion_that_takes_too_long_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    with pytest.raises(ConverterUnavailable, match="too long"):
        await convert(tmp_path, "rtf", files.rtf("x"), seconds=0.3)
    assert list(tmp_path.iterdir()) == []


def test_a_document_cannot_bring_in_files_of_the_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret words")
    source = f'<text:section-source xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="file://{secret}"/>'
    section = f'<text:section text:name="s">{source}<text:p>inside</text:p></text:section>'
    linked = files.opened("odt", f"before</text:p>{section}<text:p>after")
    made = make.fax(tmp_path, make.mail("see", (TYPES["odt"], linked, "note.odt")))
    page = make.texts(made.pdf)[1]
    assert "before" in page
    assert "secret" not in page


def test_a_sheet_of_100000_rows_is_refused_before_it_is_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("LibreOffice was asked")

    monkeypatch.setattr("gateway.pages.child.office", never)
    error = make.refusal(tmp_path, make.mail("see", (TYPES["xlsx"], files.xlsx(rows=100_000), "all.xlsx")))
    assert (error.reply, error.part) == ("554 5.3.4", "all.xlsx")
    assert sniff.rows(files.xlsx(rows=1234), 5000) == 1234
