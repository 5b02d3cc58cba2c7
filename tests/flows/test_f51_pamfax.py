"""The PamFax API of the real program: at the root of its own TLS address, from signing in to the transmission report."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.certificate import self_signed
from tests.flows.house import House, fresh, pdf
from tests.ports import free_port

LOGIN, PASSWORD, KEY, SECRET = "office@example.com", "correct horse", "demo-key", "swordfish"
JSON = "API_FORMAT_JSON"


class Program:
    """Calls as most programs do: GET with the secret in the query, POST for files."""

    def __init__(self, port: int, certificate: Path) -> None:
        trust = ssl.create_default_context(cafile=str(certificate))
        self.client = httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False, timeout=30)
        self.said = {"apikey": KEY, "apisecret": SECRET, "apioutputformat": JSON}

    def call(self, path: str, files: Any = None, **arguments: Any) -> dict[str, Any]:
        said = {**self.said, **arguments}
        if files:
            answer = self.client.post(f"{self.client.base_url}/{path}/", params=said, files=files)
        else:
            answer = self.client.get(f"/{path}", params=said)
        body: dict[str, Any] = answer.json()
        assert body["result"]["code"] == "success", body
        return body

    def written(self, number: str) -> str:
        """A letter, ready to be sent; the recipient's uuid."""
        self.call("FaxJob/Create")
        recipient = self.call("FaxJob/AddRecipient", number=number)["FaxRecipient"]
        self.call("FaxJob/AddFile", files={"file": ("file", pdf("A letter."))}, filename="letter.pdf")
        return str(recipient["uuid"])

    def details(self, uuid: str) -> dict[str, Any]:
        body = self.call("FaxHistory/GetFaxDetails", uuid=uuid)
        return dict(body.get("FaxHistoryModel") or body["FaxRecipient"])


@pytest.fixture
def program(house: House, tmp_path: Path) -> Iterator[Program]:
    certificate, key = self_signed(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    port = free_port()
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.settings["door"] = {"pamfax": {"listen": f"127.0.0.1:{port}", "tls_cert": str(certificate), "tls_key": str(key)}}
    house.settings["door.pamfax.application"] = [{"key": KEY, "secret_file": str(tmp_path / "secret")}]
    house.start()
    made = Program(port, certificate)
    token = made.call("Session/VerifyUser", username=LOGIN, password=PASSWORD)["UserToken"]["token"]
    made.said["usertoken"] = token
    yield made
    made.client.close()


def test_a_fax_is_followed_from_the_first_call_to_its_report(house: House, program: Program) -> None:
    program.call("Session/RegisterListener", **{"listener_types[0]": "faxsucceeded"})
    number = fresh()
    uuid = program.written(number)
    house.wait(lambda: program.call("FaxJob/GetFaxState")["FaxContainer"]["state"] == "ready_to_send", what="the pages")
    program.call("FaxJob/Send")
    fax = house.wait(lambda: (told := program.details(uuid))["state"] == "success" and told, what="the result")
    assert (fax["pages"], fax["pages_sent"], fax["status_message"]) == (1, 1, "ok")
    assert [call.number for call in house.calls(number)] == [number]
    report = program.client.get("/FaxHistory/GetTransmissionReport", params={**program.said, "uuid": uuid})
    assert report.headers["content-type"] == "application/pdf"
    assert report.content.startswith(b"%PDF")
    changes = program.call("Session/ListChanges")["Changes"]["content"]
    assert [(change["uuid"], change["type"]) for change in changes] == [(uuid, "faxsucceeded")]
    assert "content" not in program.call("Session/ListChanges")["Changes"]


def test_what_was_answered_success_is_sent_once_though_the_program_is_killed(house: House, program: Program) -> None:
    number = fresh()
    uuid = program.written(number)
    house.wait(lambda: program.call("FaxJob/GetFaxState")["FaxContainer"]["state"] == "ready_to_send", what="the pages")
    program.call("FaxJob/Send")
    house.kill()
    house.start()
    program.call("FaxJob/Send")  # its answer was lost, the program thinks; the session is still there
    house.wait(lambda: program.details(uuid)["state"] == "success", what="the result")
    assert len(house.calls(number)) == 1


def test_a_delayed_fax_is_not_sent_before_its_time_and_can_be_cancelled(house: House, program: Program) -> None:
    number = fresh()
    uuid = program.written(number)
    house.wait(lambda: program.call("FaxJob/GetFaxState")["FaxContainer"]["state"] == "ready_to_send", what="the pages")
    program.call("FaxJob/Send", datetime=_tomorrow())
    assert program.details(uuid)["state"] == "delayed"
    house.kill()
    house.start()
    assert program.details(uuid)["state"] == "delayed"
    program.call("FaxJob/Cancel", uuid=uuid)
    assert program.details(uuid)["state"] == "cancelled"
    assert house.calls(number) == []


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")


def test_nothing_else_is_served_there(house: House, program: Program) -> None:
    assert program.client.get("/metrics").text.startswith("<?xml")
    assert house.get("/healthz")[0] == 200


def test_what_is_mailed_is_what_the_program_asked_for(house: House, program: Program) -> None:
    def sent(number: str, **wishes: object) -> str:
        uuid = program.written(number)
        program.call(
            "FaxJob/SetNotifications", **{f"notifications[{name}]": on for name, on in wishes.items()}, error_notification=0
        )
        house.wait(lambda: program.call("FaxJob/GetFaxState")["FaxContainer"]["state"] == "ready_to_send", what="the pages")
        program.call("FaxJob/Send")
        house.wait(lambda: program.details(uuid)["state"] == "success", what="the result")
        return uuid

    silent, told = sent(fresh(), email=0), sent(fresh(), email=1)
    program.call("UserInfo/SendMessage", body="Hello,\nworld!", subject="A word", type="email")
    letters = house.letters(2)
    message = next(letter for letter in letters if letter.subject == "A word")
    (report,) = (letter for letter in letters if letter.subject != "A word")
    assert message.recipients == report.recipients == [LOGIN]
    assert message.text.splitlines()[:2] == ["Hello,", "world!"]
    assert told in report.flat
    assert silent not in report.flat
