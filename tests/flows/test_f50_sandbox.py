"""F50: the sandbox as a program meets it: ready with one line, both APIs, credit, lines, an inbox, errors that repeat."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import select
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from gateway.cli import main
from tests.flows.house import REPOSITORY

MAIL = b"From: ann@example.com\r\nSubject: x\r\n\r\nhello\r\n"


def pdf(text: str) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, invariant=True)
    canvas.drawString(72, 700, text)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[bytes]]]:
    """What it prints when it is ready."""
    command = [sys.executable, "-m", "gateway", "sandbox", *options, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, "it was not ready in time"
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[dict[str, Any]]:
    with running() as (facts, _):
        yield facts


def pamfax(facts: dict[str, Any], method: str, **said: object) -> dict[str, Any]:
    """One call with the secret in clear; what it answers."""
    api = facts["pamfax"]
    proof = {"apikey": api["apikey"], "apisecret": api["apisecret"], "apioutputformat": "API_FORMAT_JSON"}
    body = urllib.parse.urlencode({**proof, **said}).encode()
    with urllib.request.urlopen(f"{api['url']}/{method}", body, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def signed_in(facts: dict[str, Any]) -> dict[str, Any]:
    api = facts["pamfax"]
    answer = pamfax(facts, "Session/VerifyUser/", username=api["username"], password=api["password"])
    assert answer["result"]["code"] == "success"
    return answer


def hellofax(facts: dict[str, Any], path: str) -> dict[str, Any]:
    api = facts["hellofax"]
    proof = base64.b64encode(f"{api['username']}:{api['password']}".encode()).decode()
    request = urllib.request.Request(f"{api['url']}/Accounts/{api['guid']}{path}", headers={"Authorization": f"Basic {proof}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def entries(shown: object) -> list[dict[str, Any]]:
    """Every object of an answer that is a transmission."""
    if isinstance(shown, list):
        return [found for one in shown for found in entries(one)]
    if not isinstance(shown, dict):
        return []
    return [shown] if "StatusCode" in shown else [found for one in shown.values() for found in entries(one)]


def until(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited for {what}")


def inbox(facts: dict[str, Any], token: str) -> list[dict[str, Any]]:
    answer = pamfax(facts, "FaxHistory/ListInboxFaxes", usertoken=token)
    assert answer["result"]["code"] == "success"
    found: list[dict[str, Any]] = answer["InboxFaxes"].get("content", [])
    return found


def test_the_line_says_where_everything_is(sandbox: dict[str, Any]) -> None:
    assert set(sandbox) == {"pamfax", "hellofax", "smtp"}
    assert set(sandbox["pamfax"]) == {"url", "apikey", "apisecret", "username", "password"}
    assert set(sandbox["hellofax"]) == {"url", "guid", "username", "password"}


def test_an_account_with_credit_and_a_fax_in_the_inbox_waits(sandbox: dict[str, Any]) -> None:
    said = signed_in(sandbox)
    assert 90 < float(said["User"]["credit"]) <= 100, "one fax was sent of a hundred euros"
    assert len(inbox(sandbox, said["UserToken"]["token"])) >= 1


def test_a_wrong_secret_is_refused(sandbox: dict[str, Any]) -> None:
    wrong = {**sandbox, "pamfax": {**sandbox["pamfax"], "apisecret": "wrong"}}
    assert pamfax(wrong, "Common/ListZones")["result"]["code"] != "success"


def test_the_hellofax_api_knows_the_same_account(sandbox: dict[str, Any]) -> None:
    shown = hellofax(sandbox, "/Transmissions")
    assert "4155550123" in json.dumps(shown)


def test_mail_is_faxed_and_paid_for(sandbox: dict[str, Any]) -> None:
    before = float(signed_in(sandbox)["User"]["credit"])
    host, port = sandbox["smtp"].rsplit(":", 1)
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        client.sendmail("ann@example.com", ["+14155550142@fax.example.com"], MAIL)
    until(lambda: "4155550142" in json.dumps(hellofax(sandbox, "/Transmissions")), "the fax")
    until(lambda: float(signed_in(sandbox)["User"]["credit"]) < before, "its price")


def test_a_command_lets_a_fax_come_in(sandbox: dict[str, Any], tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    token = signed_in(sandbox)["UserToken"]["token"]
    before = len(inbox(sandbox, token))
    page = sandbox["hellofax"]["url"].removesuffix("/v1") + "/sandbox"
    file = tmp_path / "fax.pdf"
    file.write_bytes(pdf("from outside"))
    main(["inject", page, str(file), "--caller", "+12125550142", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["line"] == "+14155550100"
    until(lambda: len(inbox(sandbox, token)) == before + 1, "the received fax")
    with pytest.raises(SystemExit):
        main(["inject", page, "--line", "+14155550199"], standalone_mode=False)
    assert "not one of our lines" in capsys.readouterr().err


def test_a_page_lets_a_fax_come_in(sandbox: dict[str, Any]) -> None:
    token = signed_in(sandbox)["UserToken"]["token"]
    before = len(inbox(sandbox, token))
    page = sandbox["hellofax"]["url"].removesuffix("/v1") + "/sandbox"
    with urllib.request.urlopen(page, timeout=30) as answer:
        shown = answer.read().decode()
    assert 'action="/sandbox"' in shown
    assert "+14155550101" in shown
    with urllib.request.urlopen(page, urllib.parse.urlencode({"line": "+14155550101"}).encode(), timeout=30) as answer:
        assert json.load(answer)["line"] == "+14155550101"
    until(lambda: len(inbox(sandbox, token)) == before + 1, "the received fax")


def test_a_program_may_give_itself_credit_here(sandbox: dict[str, Any]) -> None:
    said = signed_in(sandbox)
    token = said["UserToken"]["token"]
    answer = pamfax(sandbox, "Shopping/AddCreditToSandboxUser", usertoken=token, amount="12.5", reason="test")
    assert answer["result"]["code"] == "success"
    assert float(signed_in(sandbox)["User"]["credit"]) - float(said["User"]["credit"]) == pytest.approx(12.5)


def test_every_fax_fails_where_that_is_wanted_and_it_stops_when_told() -> None:
    with running("--error-rate", "1", "--seed", "7") as (facts, process):
        host, port = facts["smtp"].rsplit(":", 1)
        with smtplib.SMTP(host, int(port), timeout=30) as client:
            client.sendmail("ann@example.com", ["+14155550142@fax.example.com"], MAIL)

        def failed() -> bool:
            sent = [one for one in entries(hellofax(facts, "/Transmissions")) if one.get("To") == "14155550142"]
            return [one["StatusCode"] for one in sent] == ["E"]

        until(failed, "the fax")
        process.terminate()
        assert process.wait(30) == 0


def test_programs_that_insist_on_https_verify_its_certificate(tmp_path: Path) -> None:
    certificate = tmp_path / "sandbox.pem"
    with running("--tls", "--certificate", str(certificate)) as (facts, _):
        assert facts["pamfax"]["url"].startswith("https://127.0.0.1:")
        assert set(facts["pamfax"]) == {"url", "apikey", "apisecret", "username", "password"}
        url, trust = f"{facts['pamfax']['url']}/Session/VerifyUser", ssl.create_default_context(cafile=str(certificate))
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        api = facts["pamfax"]
        said = {name: api[name] for name in ("apikey", "apisecret", "username", "password")}
        with urllib.request.urlopen(url, urllib.parse.urlencode(said).encode(), timeout=30, context=trust) as answer:
            assert b"<code>success</code>" in answer.read()
        with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
            urllib.request.urlopen(url, b"", timeout=30)


def test_the_line_for_programs_names_an_address_that_needs_no_certificate(sandbox: dict[str, Any]) -> None:
    assert sandbox["pamfax"]["url"].startswith("http://127.0.0.1:")
