"""Received faxes in people's mailboxes: through a real Postfix into a real Dovecot, read back by IMAP; and in the archive."""

from __future__ import annotations

import email
import email.policy
import io
import json
import os
import shutil
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pypdf
import pytest
from PIL import Image

from tests.flows import dovecot, postfix
from tests.flows.caller import arrived, call, page, settled
from tests.flows.dovecot import CLINIC, OFFICE, Dovecot
from tests.flows.house import OWN_LINE, House

pytestmark = [
    pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing()),
    pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing()),
]
READ_LINE, TIFF_LINE, CALLER, STRANGER = "+14155550101", "+14155550102", "+442079460123", "+19005550123"
OPERATOR = "office+operator@example.com"
_SIZE = 200_000  # bytes: what the mail server takes


@pytest.fixture(scope="module")
def mailboxes() -> Iterator[Dovecot]:
    with dovecot.running() as server:
        yield server


@pytest.fixture(scope="module")
def house(mailboxes: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("received"))
    (made.folder / "archive").mkdir()
    line = made.settings["line"][0]
    made.settings["line"] += [
        {**line, "number": READ_LINE, "ocr": "eng"},
        {**line, "number": TIFF_LINE, "attach": ["pdf", "tiff"]},
    ]
    made.settings |= {
        "archive": {"folder": str(made.folder / "archive"), "path": "{line}/{station}-{id}"},
        "callers": {f'"{CALLER}"': "Müller & Söhne"},
        "route": [
            {"sub_address": "77", "name": "clinic", "mailbox": [OFFICE, CLINIC], "archive": False},
            {"station": "ACME*", "mailbox": ["office+acme@example.com"], "archive": False},
            {"code": "RX-*", "mailbox": [CLINIC], "archive": False},
            {"words": ["purchase order"], "mailbox": ["office+orders@example.com"], "archive": False},
        ],
    }
    made.settings["mail"] |= {"operator": OPERATOR, "retry": ["0.5s"]}
    with postfix.running(
        {"example.com": f"lmtp:inet:127.0.0.1:{mailboxes.lmtp}"}, message_size_limit=str(_SIZE), lmtp_host_lookup="native"
    ) as server:
        made.settings["mail"]["smarthost"] = f"smtp://127.0.0.1:{server.port}"
        try:
            made.start()
            with mailboxes.telling():
                yield made
        finally:
            made.close()


def mails(house: House, server: Dovecot, fax: dict[str, Any], user: str, n: int = 1) -> list[EmailMessage]:
    """The mails about a fax in a mailbox, once there are `n`."""
    house.wait(lambda: len(_about(server, fax, user)) >= n, 60, f"{n} mails about {fax['id']} for {user}")
    return _about(server, fax, user)


def _about(server: Dovecot, fax: dict[str, Any], user: str) -> list[EmailMessage]:
    found = [email.message_from_bytes(content, policy=email.policy.default) for content in server.mails(user)]
    return [mail for mail in found if isinstance(mail, EmailMessage) and fax["id"] in mail.as_string()]


def text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def files(mail: EmailMessage) -> dict[str, bytes]:
    return {part.get_content_type(): part.get_content() for part in mail.iter_attachments()}


def test_onr_01_a_sub_address_leads_to_two_mailboxes(house: House, mailboxes: Dovecot) -> None:
    fax = settled(house, call(house, OWN_LINE, CALLER, page("Prescription"), "ACME LTD", sub_address="77"))
    assert fax["route"] == "rule 1 (clinic)"
    for user in (OFFICE, CLINIC):
        (mail,) = mails(house, mailboxes, fax, user)
        assert mail["To"] == user
        assert mail["From"] == f"Müller & Söhne <FAX={CALLER}@fax.example.com>"  # ONR-03
        assert mail["Subject"] == "Fax from Müller & Söhne, +44 20 7946 0123 to +1 415-555-0100: 1 page"
        assert mail["Return-Path"].startswith("<bounce+out_")  # ONR-06
        assert f"from {CALLER} by fax.example.com via GSTN with T30 id {fax['id']};" in " ".join(
            mail.get_all("Received", [])[-1].split()
        )  # ONR-12: the oldest of them
        told = {name: mail[f"X-Fax-{name}"] for name in ("Caller", "Line", "Sub-Address", "Pages", "Complete", "Resolution")}
        assert told == {
            "Caller": CALLER, "Line": OWN_LINE, "Sub-Address": "77", "Pages": "1", "Complete": "yes", "Resolution": "204x196",
        }  # fmt: skip
        assert mail["X-Fax-Station-Id"] == "ACME LTD (a claim of the sending machine)"  # ONR-14
        assert list(files(mail)) == ["application/pdf"]  # ONR-10
        assert "204 × 196 dots an inch" in text(mail)
    messages = {mails(house, mailboxes, fax, user)[0]["Message-ID"] for user in (OFFICE, CLINIC)}
    assert len(messages) == 2, "each mail is one of its own"


def test_onr_14_a_rule_may_believe_a_station_id_and_the_mail_says_that_it_is_a_claim(house: House, mailboxes: Dovecot) -> None:
    fax = settled(house, call(house, OWN_LINE, "+442079460999", page("Hello"), "Acme Ltd"))
    (mail,) = mails(house, mailboxes, fax, OFFICE)
    assert mail["To"] == "office+acme@example.com"
    assert mail["From"] == '"Acme Ltd (unverified)" <FAX=+442079460999@fax.example.com>'


def test_a_code_on_the_first_page_leads_to_its_mailbox(house: House, mailboxes: Dovecot, tmp_path: Path) -> None:
    document = page("Prescription", code="RX-2026/4711")
    fax = settled(house, call(house, OWN_LINE, "", document))
    assert fax["route"] == "rule 3"
    (mail,) = mails(house, mailboxes, fax, CLINIC)
    assert mail["From"] == "Unknown caller <no-reply@fax.example.com>"  # ONR-04
    source = tmp_path / "fax.tif"
    source.write_bytes(document)
    said = json.loads(house.cli("route", str(source), "--json").stdout)
    assert (said["mailboxes"], said["arrival"]["codes"]) == ([CLINIC], ["RX-2026/4711"])
    said = house.cli("route", "--station", "Acme", "--caller", CALLER).stdout
    assert "rule 1   does not fit: there is no sub-address (clinic)" in said
    assert said.splitlines()[-1] == "rule 2: to office+acme@example.com"


@pytest.mark.needs("tesseract")
def test_words_that_were_read_lead_to_their_mailbox(house: House, mailboxes: Dovecot) -> None:
    read = settled(house, call(house, READ_LINE, CALLER, page("Purchase Order 4711", "twelve boxes of gloves")))
    assert read["route"] == "rule 4"
    (mail,) = mails(house, mailboxes, read, OFFICE)
    assert mail["To"] == "office+orders@example.com"
    found = pypdf.PdfReader(io.BytesIO(files(mail)["application/pdf"])).pages[0].extract_text()
    assert "gloves" in found, "the PDF can be searched"
    unread = settled(house, call(house, OWN_LINE, CALLER, page("Purchase Order 4711")))
    assert unread["route"] == "the line's mailboxes", "nobody has read that line's faxes"


def test_onr_09_a_line_may_have_its_faxes_as_tiff(house: House, mailboxes: Dovecot) -> None:
    fax = settled(house, call(house, TIFF_LINE, CALLER, page("As it came", copies=2)))
    (mail,) = mails(house, mailboxes, fax, OFFICE)
    found = files(mail)
    assert list(found) == ["application/pdf", "image/tiff"]
    with Image.open(io.BytesIO(found["image/tiff"])) as tiff:
        assert getattr(tiff, "n_frames", 1) == 2
        assert (tiff.size[0], tiff.tag_v2[259], tiff.tag_v2[266]) == (1728, 3, 2), "profile S: MH, low bit first"  # type: ignore[attr-defined]
        assert found["image/tiff"][:8] == b"II*\0\x08\0\0\0"


def test_onr_18_a_fax_that_broke_off_is_delivered_and_marked(house: House, mailboxes: Dovecot) -> None:
    fax = settled(house, call(house, OWN_LINE, CALLER, page("Two of five", copies=2), complete=False))
    (mail,) = mails(house, mailboxes, fax, OFFICE)
    assert mail["Subject"].startswith("Incomplete fax from Müller & Söhne")
    assert mail["X-Fax-Complete"] == "no"
    assert "The call broke off." in text(mail)
    assert len(pypdf.PdfReader(io.BytesIO(files(mail)["application/pdf"])).pages) == 2


def test_onr_02_a_fax_for_no_line_of_ours_is_kept_until_somebody_says_whose_it_is(house: House, mailboxes: Dovecot) -> None:
    fax = settled(house, call(house, "+14155550999", CALLER, page("For whom?")), "held")
    (alarm,) = mails(house, mailboxes, fax, OFFICE)
    assert alarm["To"] == OPERATOR
    assert f"faxgate release {fax['id']}" in text(alarm)
    assert "+14155550999 is none of our lines" in house.cli("show", fax["id"]).stdout
    assert "goes on" in house.cli("release", fax["id"], "--to", CLINIC).stdout
    settled(house, fax)
    (mail,) = mails(house, mailboxes, fax, CLINIC)
    assert mail["X-Fax-Id"] == fax["id"]
    assert len(_about(mailboxes, fax, OFFICE)) == 1, "nobody else has got it"


def test_onr_15_a_blocked_caller_reaches_nobody_and_is_not_forgotten(house: House, mailboxes: Dovecot) -> None:
    assert "blocked +1900* as a caller" in house.cli("block", "+1900*", "--incoming", "--reason", "spam").stdout
    fax = settled(house, call(house, OWN_LINE, STRANGER, page("Cheap toner")), "refused")
    assert "the caller is blocked (+1900*)" in house.cli("show", fax["id"]).stdout
    (alarm,) = mails(house, mailboxes, fax, OFFICE)
    assert (alarm["To"], "received faxes are dropped" in alarm["Subject"]) == (OPERATOR, True)
    (line,) = [row for row in house.log.read_text().splitlines() if '"event": "dropped"' in row]
    assert fax["id"] in line
    assert STRANGER not in line
    assert [one["pattern"] for one in json.loads(house.cli("blocked", "--incoming", "--json").stdout)] == ["+1900*"]
    house.cli("fetch", fax["id"], "--out", str(house.folder / "dropped.pdf"))
    house.cli("unblock", "+1900*", "--incoming")
    settled(house, call(house, OWN_LINE, STRANGER, page("Cheap toner")))


def test_onr_19_a_fax_too_large_for_the_mail_server_is_told_of_without_it(house: House, mailboxes: Dovecot) -> None:
    noise = Image.effect_noise((1728, 2200), 120).convert("1")
    out = io.BytesIO()
    noise.save(out, "TIFF", compression="group4", dpi=(204, 196))
    fax = settled(house, call(house, OWN_LINE, CALLER, out.getvalue()))
    (mail,) = mails(house, mailboxes, fax, OFFICE)
    assert files(mail) == {}
    assert "It is too large for the mail server of this mailbox." in text(mail)
    assert "too large" in house.cli("show", fax["id"]).stdout


def test_a_copy_is_in_the_archive_before_the_carrier_forgets_across_a_crash(house: House, mailboxes: Dovecot) -> None:
    archive, journal = house.folder / "archive", house.spool / "loopback" / "main" / "journal.jsonl"
    away = archive.with_name("away")
    os.rename(archive, away)
    fax = call(house, OWN_LINE, CALLER, page("Keep this"), "../../etc/passwd")
    (mail,) = mails(house, mailboxes, fax, OFFICE)
    house.wait(lambda: "is not in the archive" in house.log.read_text(), what="the archive to be missed")
    assert arrived(house, fax["carrier_ref"])["state"] == "fetched", "the mail alone is not enough"
    house.kill()
    os.rename(away, archive)
    house.start()
    settled(house, fax)
    gone = f'"forgotten","carrier_ref":"{fax["carrier_ref"]}"'
    house.wait(lambda: gone in journal.read_text().replace(" ", ""), 90, "the carrier's copy to be forgotten")
    (kept,) = archive.rglob(f"*{fax['id']}.pdf")
    assert kept.relative_to(archive).parts == (OWN_LINE, f"etc_passwd-{fax['id']}.pdf")
    assert kept.read_bytes() == files(mail)["application/pdf"]
    told = json.loads(kept.with_suffix(".json").read_text())
    assert (told["caller_name"], told["station_id"]) == ("Müller & Söhne", "../../etc/passwd")
    assert told["route"] == "the line's mailboxes"
    assert len(mails(house, mailboxes, fax, OFFICE)) == 1
    assert not list(archive.rglob("*.part"))


def test_no_step_has_failed_unexpectedly(house: House) -> None:
    assert house.faults() == ""
    shutil.rmtree(house.folder / "archive")
