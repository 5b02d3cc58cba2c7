"""What an operator types, over the control socket and while nothing is running."""

import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.certificate import self_signed
from tests.flows.house import OWN_LINE, REPOSITORY, House, addresses, as_bytes, fresh, letter, pdf


def told(house: House, *words: str) -> Any:
    """What a command says to programs."""
    return json.loads(house.cli(*words, "--json").stdout)


def complaint(house: House, *words: str, code: int = 1, stdin: str = "") -> str:
    """The one line on stderr of a command that is refused."""
    done = house.cli(*words, check=False, stdin=stdin)
    assert done.returncode == code, done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("faxgate: ")
    return lines[0]


def test_a_file_is_sent_looked_up_and_reported(open_house: House, tmp_path: Path) -> None:
    number = fresh()
    document = tmp_path / "con tract.pdf"
    document.write_bytes(pdf("clause one"))
    said = told(
        open_house, "send", number, str(document), "--subject", "Grüße", "--message", "See below.", "--from", "ann@example.com"
    )
    fax = open_house.fax(number)
    assert fax["submission"] == said["submission"]
    assert fax["state"] == "delivered"
    pages = open_house.pages(fax)
    assert "See below." in pages[0]
    assert "Grüße" in pages[0]
    assert "clause one" in pages[1]
    open_house.wait(
        lambda: [one for one in open_house.sink.letters if number in one.text and one.recipients == ["ann@example.com"]],
        what="the report",
    )
    assert [one["id"] for one in told(open_house, "queue", "--state", "delivered")].count(fax["id"]) == 1
    case = told(open_house, "show", fax["id"])
    assert case["transmission"]["number"] == number
    assert [entry["what"] for entry in case["history"]][:2] == ["accepted", "ready"]
    assert [attempt["state"] for attempt in case["attempts"]] == ["delivered"]
    text = open_house.cli("show", fax["id"]).stdout
    assert "2 of 2 confirmed" in text
    assert "con tract.pdf" in text
    assert fax["id"] in open_house.cli("queue", "--all").stdout
    assert told(open_house, "show", fax["id"][:-4])["transmission"]["id"] == fax["id"]  # people shorten them


def test_a_fax_is_held_released_and_cancelled(house: House) -> None:
    house.settings["retry"]["busy"] = ["1h", "1h"]
    house.start()
    number, mail = fresh("17"), letter()
    house.send(mail, number)
    identity = house.fax(number, "deferred")["id"]
    assert told(house, "hold", identity) == {"id": identity, "answer": "held"}
    assert "it is held already" in house.cli("hold", identity).stdout
    assert "release it instead" in house.cli("retry", identity).stdout
    assert "released" in house.cli("release", identity).stdout
    house.wait(lambda: len(house.calls(number)) == 2, what="the second call")
    house.fax(number, "deferred")
    assert "dialled now" in house.cli("retry", identity).stdout
    assert house.fax(number)["state"] == "delivered"
    assert len(house.calls(number)) == 3
    other = fresh("11")
    house.send(letter(), other)
    second = house.fax(other, "deferred")["id"]
    assert "cancelled; nothing was sent" in house.cli("cancel", second).stdout
    assert house.fax(other, "cancelled")["outcome"] == "cancelled"
    assert len(house.calls(other)) == 1
    assert "cancelled already" in complaint(house, "hold", second)


def test_a_call_in_progress_is_cancelled_at_the_carrier(house: House) -> None:
    house.settings["carrier"]["main"] |= {"slow_time": "60s"}
    house.start()
    number, mail = fresh("18"), letter()
    house.send(mail, number)
    identity = house.fax(number, "sending")["id"]
    house.wait(lambda: house.sql("SELECT 1 FROM attempt WHERE state = 'submitted'"), what="the call")
    assert "cancel it instead" in house.cli("hold", identity).stdout
    assert "the carrier confirms it" in house.cli("cancel", identity).stdout
    (report,) = house.reports(mail)
    assert "cancelled" in report.subject
    (call,) = house.calls(number)
    assert call.cancelled_at is not None
    assert house.fax(number)["state"] == "cancelled"


def test_a_failed_fax_is_sent_again_as_a_new_one(open_house: House) -> None:
    number, mail = fresh("13"), letter()
    open_house.send(mail, number)
    failed = open_house.fax(number)
    assert failed["state"] == "failed"
    answer = told(open_house, "retry", failed["id"])["answer"]
    open_house.wait(lambda: len(open_house.calls(number)) == 2, what="the second call")
    again = next(fax for fax in open_house.faxes(number) if fax["id"] != failed["id"])
    assert again["id"] in answer
    assert again["submission"] == failed["submission"]
    open_house.reports(mail, 2)
    assert "delivered already" in complaint(open_house, "retry", delivered(open_house))


def delivered(house: House) -> str:
    """A fax that needs nothing any more."""
    number = fresh()
    house.send(letter(), number)
    return str(house.fax(number)["id"])


@pytest.mark.parametrize("running", [True, False], ids=["running", "not running"])
def test_accounts_and_lines_are_kept(house: House, tmp_path: Path, running: bool) -> None:
    certificate, key = self_signed(tmp_path)
    house.settings["smtp"] |= {"tls_cert": str(certificate), "tls_key": str(key)}
    house.write_settings()
    if running:
        house.start()
    options = [
        "--login",
        "lab@lab.example",
        "--sender",
        "*@lab.example",
        "--network",
        "192.0.2.0/24",
        "--country",
        "US",
        "--dmarc",
    ]
    house.cli("account", "add", "lab", *options, stdin="first secret\n")
    assert "already" in complaint(house, "account", "add", "lab", *options, stdin="x\n")
    house.cli("account", "password", "lab", stdin="second secret\n")
    assert told(house, "line", "add", "+14155550300", "--account", "lab", "--mailbox", "lab@lab.example") == {
        "line": "+14155550300"
    }
    shown = {one["name"]: one for one in told(house, "account", "list")}
    assert (shown["lab"]["login"], shown["lab"]["password"], shown["lab"]["declared"]) == ("lab@lab.example", True, False)
    assert (shown["lab"]["dmarc"], shown["lab"]["bulk"]) == (True, False)
    assert "password_hash" not in shown["lab"]
    assert [one["number"] for one in told(house, "line", "list") if not one["declared"]] == ["+14155550300"]
    assert "lab" in house.cli("account", "list").stdout
    assert "+14155550300" in house.cli("line", "list").stdout
    assert "declared in" in complaint(house, "account", "remove", "office")
    assert "declared in" in complaint(house, "line", "remove", OWN_LINE)
    if not running:
        house.start()
    assert sign_in(house, certificate, "first secret") == 535
    number, mail = fresh(), letter()
    mail.replace_header("From", "Lab <one@lab.example>")
    assert sign_in(house, certificate, "second secret", mail, number) == 235
    assert house.fax(number)["caller"] == "+14155550300"
    if not running:
        house.stop()
    house.cli("line", "remove", "+14155550300")
    house.cli("account", "remove", "lab")
    assert [one["name"] for one in told(house, "account", "list")] == ["office"]
    assert "no account" in complaint(house, "account", "remove", "lab")
    assert "no line" in complaint(house, "line", "remove", "+14155550300")


def sign_in(house: House, certificate: Path, password: str, mail: Any = None, number: str = "") -> int:
    with house.smtp() as client:
        client._host = "localhost"  # type: ignore[attr-defined]  # the name the certificate is checked against
        client.starttls(context=ssl.create_default_context(cafile=str(certificate)))
        try:
            code, _ = client.login("lab@lab.example", password)
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code
        client.sendmail("one@lab.example", addresses(number), as_bytes(mail))
        return code


def test_a_number_is_bought_and_given_back(house: House) -> None:
    house.start()
    assert "415" in told(house, "line", "areas", "--state", "CA")
    assert "every month" in complaint(house, "line", "buy", "--area", "415")
    bought = told(house, "line", "buy", "--area", "415", "--account", "office", "--yes")["line"]
    assert bought.startswith("+1415")
    (line,) = [one for one in told(house, "line", "list", "--at-carrier") if one["number"] == bought]
    assert (line["account"], line["at_carrier"]) == ("office", True)
    assert "yes" in house.cli("line", "list", "--at-carrier").stdout
    house.cli("line", "remove", bought)
    assert "carrier only" in house.cli("line", "list", "--at-carrier").stdout, "what nobody uses and somebody pays"
    house.cli("line", "add", bought, "--account", "office")
    assert "nobody, or whoever gets the number next" in complaint(house, "line", "release", bought)
    assert told(house, "line", "release", bought, "--yes") == {"line": bought}
    assert "no line" in complaint(house, "line", "release", bought, "--yes")
    assert "declared" in complaint(house, "line", "release", OWN_LINE, "--yes")
    assert "on sale" in complaint(house, "line", "buy", "--area", "000", "--yes")
    house.stop()
    assert "running service" in complaint(house, "line", "areas", "--state", "CA")


def test_faxes_are_sent_and_steered_while_nothing_is_running(house: House, tmp_path: Path) -> None:
    house.write_settings()
    document = tmp_path / "a.txt"
    document.write_text("Good morning.\n")
    number, other = fresh(), fresh()
    for called in (number, other):
        house.cli("send", called, str(document))
    waiting = {fax["number"]: fax for fax in told(house, "queue")}
    assert {fax["state"] for fax in waiting.values()} == {"accepted"}
    assert "noted" in house.cli("cancel", waiting[other]["id"]).stdout
    assert told(house, "carriers")["main"]["cancels"] is True
    assert told(house, "show", waiting[number]["id"])["attempts"] == []
    house.start()
    assert house.fax(number)["state"] == "delivered"
    assert house.fax(other)["state"] == "cancelled"
    assert [len(house.calls(called)) for called in (number, other)] == [1, 0]
    assert "Good morning." in " ".join(house.pages(house.fax(number)))


def test_what_cannot_be_done_is_one_clear_line(open_house: House, tmp_path: Path) -> None:
    document = tmp_path / "a.pdf"
    document.write_bytes(pdf("one"))
    assert "no fax tx_nothing" in complaint(open_house, "show", "tx_nothing")
    assert "no fax tx_nothing" in complaint(open_house, "cancel", "tx_nothing")
    assert "too short" in complaint(open_house, "cancel", "tx_")
    common = open_house.faxes()[0]["id"][:7]  # the first characters are the time
    assert "begins more than one" in complaint(open_house, "show", common)
    assert "GB" in complaint(open_house, "send", "+442079460123", str(document))
    assert "fax number" in complaint(open_house, "send", "12x", str(document))
    assert "office" in complaint(open_house, "send", fresh(), str(document), "--account", "nobody")
    assert "country" in complaint(open_house, "account", "add", "x")
    assert "networks" in complaint(open_house, "account", "add", "x", "--country", "US", "--network", "300.1.1.1/8")
    assert "countries" in complaint(open_house, "account", "add", "x", "--country", "Mars")
    assert "named domains" in complaint(open_house, "account", "add", "x", "--country", "US", "--sender", "*", "--dmarc")
    assert "password" in complaint(open_house, "account", "add", "x", "--country", "US", "--login", "x")
    assert "no account" in complaint(open_house, "account", "password", "nobody", stdin="x\n")
    assert "carrier" in complaint(open_house, "line", "add", "+14155550399", "--carrier", "nobody")
    assert "already" in complaint(open_house, "line", "add", OWN_LINE)
    assert "mailbox" in complaint(open_house, "line", "add", "+14155550399", "--mailbox", "not an address")
    for words in (["--state", "nothing"], ["--limit", "0"], ["--limit", "9" * 20]):
        done = open_house.cli("queue", *words, check=False)
        assert (done.returncode, "Invalid value" in done.stderr) == (2, True), done.stderr


HOSTILE = (
    b"not json",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b"{}",
    b'{"verb": []}',
    b'{"verb": "show"}',
    b'{"verb": "queue", "limit": 100000000000000000000}',
    b'{"verb": "queue", "before": 5}',
    b'{"verb": "received", "limit": {}}',
    b'{"verb": "send", "number": "+14155550123", "sender": "x", "mail": "!"}',
    b'{"verb": "account-save", "new": true, "name": "", "countries": ["US"]}',
    b'{"verb": "account-save", "new": true, "name": "x", "countries": ["US"], "networks": ["all"]}',
)


def test_a_request_that_makes_no_sense_is_answered_and_the_next_one_is_served(open_house: House) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(open_house.spool / "control.sock"))
        client.settimeout(20)
        with client.makefile("rwb") as lines:
            for request in (*HOSTILE, b'{"verb": "status"}'):
                lines.write(request + b"\n")
                lines.flush()
                answer = json.loads(lines.readline())
                assert list(answer) == (["ok"] if b"status" in request else ["error"]), request


def test_a_spool_far_down_has_a_control_socket_too(house: House) -> None:
    house.settings["spool"] = str(house.spool / ("deep" * 40))
    house.write_settings()
    assert told(house, "queue") == []
    house.start()
    assert told(house, "queue") == []


def test_root_does_not_serve_the_spool_of_somebody_else(house: House) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it gives a folder away")
    house.write_settings()
    house.spool.mkdir(exist_ok=True)
    os.chown(house.spool, 65534, 65534)
    assert "run the service as that user" in complaint(house, "serve")
    assert list(house.spool.iterdir()) == [], "nothing was left that its owner could not read"


@pytest.fixture
def public() -> Iterator[House]:
    """A house whose configuration everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = House(Path(folder))
        try:
            yield made
        finally:
            made.close()


def test_a_stranger_may_not_speak_to_the_service(public: House) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it becomes somebody else")
    public.start()
    public.file.chmod(0o644)
    program = (
        "import os, sys; from gateway.cli import main; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        f"main(['queue', '-c', {str(public.file)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "faxgate: You may not speak to the service: run this as root or as its user.\n"
    assert (public.spool / "control.sock").stat().st_mode & 0o777 == 0o600
    assert public.spool.stat().st_mode & 0o077 == 0


def test_explain_says_what_would_become_of_a_mail(open_house: House, tmp_path: Path) -> None:
    before = (len(open_house.faxes()), len(open_house.calls()))
    good = tmp_path / "good.eml"
    mail = letter(files=[("a.pdf", "application/pdf", pdf("one", "two"))])
    mail["To"] = "+14155550123@fax.example.com, someone@elsewhere.example"
    good.write_bytes(as_bytes(mail))
    verdict = told(open_house, "explain", str(good))
    assert (verdict["faxed"], verdict["pages"], verdict["account"]) == (True, 3, "office")
    assert [one["number"] for one in verdict["recipients"]] == ["+14155550123"]
    assert [(part["title"], part["first_page"]) for part in verdict["manifest"]][-1] == ("a.pdf", 2)
    assert "would be faxed" in open_house.cli("explain", str(good)).stdout
    for words, word in (
        (["--to", "+442079460123"], "GB"),
        (["--from", "mallory@elsewhere.example"], "mallory@elsewhere.example"),
    ):
        done = open_house.cli("explain", str(good), *words, "--json", check=False)
        assert done.returncode == 1
        refused = json.loads(done.stdout)
        assert refused["faxed"] is False
        assert word in refused["recipients"][0]["reason"]
        assert refused["recipients"][0]["reply"].startswith("550 5.7.1")
    for name, value, word in (("Auto-Submitted", "auto-replied", "Automatic"), ("List-Id", "<a.example.com>", "lists")):
        mail = letter()
        mail[name] = value
        good.write_bytes(as_bytes(mail))
        done = open_house.cli("explain", str(good), "--to", "+14155550123", "--json", check=False)
        assert done.returncode == 1
        assert word in json.loads(done.stdout)["reason"], "the door would say the same"
    bad = tmp_path / "bad.eml"
    mail = letter(files=[("song.mp3", "audio/mpeg", b"ID3\x03\x00" + b"\x00" * 200)])
    bad.write_bytes(as_bytes(mail))
    done = open_house.cli("explain", str(bad), "--to", "+14155550123", "--json", check=False)
    assert done.returncode == 1
    assert "song.mp3" in json.loads(done.stdout)["reason"]
    assert (len(open_house.faxes()), len(open_house.calls())) == before


def test_explain_leaves_the_cover_page_to_a_carrier_that_makes_it(house: House, tmp_path: Path) -> None:
    house.settings["carrier"]["main"] = {
        "kind": "hellofax", "login": "a@example.com", "password": "x", "guid": "0" * 40, "cover": "theirs",
    }  # fmt: skip
    house.write_settings()
    mail = tmp_path / "good.eml"
    mail.write_bytes(as_bytes(letter(text=None, files=[("a.pdf", "application/pdf", pdf("one", "two"))])))
    verdict = told(house, "explain", str(mail), "--to", "+14155550123")
    assert (verdict["faxed"], verdict["pages"], verdict["cover"]) == (True, 2, "the carrier's")
    assert "2 pages and a cover page of the carrier's" in house.cli("explain", str(mail), "--to", "+14155550123").stdout
