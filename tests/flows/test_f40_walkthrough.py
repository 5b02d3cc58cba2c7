"""The vendor's walkthrough, command by command: real curl against the real program, from the account to its line's deletion.

Host and credentials are changed, and what the article got wrong for a shell is put right: missing backslashes at line ends,
a stray backquote, and `%40` for the `@` before the host of a URL, which must stay an `@`.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import OWN_LINE, House, fresh, letter, pdf

LOGIN, PASSWORD = "myemail@hellofax.com", "fakepassword"
Json = dict[str, Any]


@dataclass(slots=True)
class Caller:
    """What stands at the callback URLs: it keeps what is posted, and answers 200."""

    posted: list[tuple[str, Json, dict[str, bytes]]] = field(default_factory=list)
    """Path, the object in the part `json`, the other parts by name."""
    server: ThreadingHTTPServer = field(init=False)

    def start(self) -> None:
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
                parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
                parts = {}
                for part in parsed.walk():
                    if not part.is_multipart():
                        name = part.get_param("name", header="content-disposition")
                        parts[str(name)] = bytes(part.get_payload(decode=True))
                posted.append((self.path, json.loads(parts.pop("json"))["Transaction"], parts))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller()
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def walk(house: House) -> House:
    """A house that serves the API, with the files of the walkthrough."""
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.settings["line"][0]["mailbox"] = []
    house.settings["door"] = {"hellofax": {}}
    house.settings["http"]["callback_networks"] = ["127.0.0.0/8"]
    for name, text in (("myfile.pdf", "My file."), ("1.pdf", "One."), ("file1.pdf", "File one."), ("file2.pdf", "File two.")):
        (house.folder / name).write_bytes(pdf(text))
    (house.folder / "2.txt").write_text("Two, as text.\n")
    house.start()
    return house


@dataclass(slots=True)
class Shell:
    """Runs the article's commands after putting our host, credentials and numbers into them."""

    house: House
    words: dict[str, str]

    def run(self, command: str, **words: str) -> Json:
        """The JSON of an answer that must be 200."""
        status, body = self.answer(command, **words)
        assert status == 200, (command, body)
        assert isinstance(body, dict)
        return body

    def answer(self, command: str, **words: str) -> tuple[int, Any]:
        host = f"127.0.0.1:{self.house.http_port}"
        command = command.replace("https://", "http://").replace("api.hellofax.com", host)
        for placeholder, value in {**self.words, **words}.items():
            command = command.replace(f"[{placeholder}]", value)
        assert "[your" not in command
        done = subprocess.run(
            ["bash", "-c", command.replace("curl", r"curl -sS -w '\n%{http_code}'", 1)],
            cwd=self.house.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)


@pytest.fixture
def shell(walk: House) -> Shell:
    guid = str(walk.sql("select guid from account")[0][0])
    return Shell(
        walk,
        {
            "your username": LOGIN,
            "your password": PASSWORD,
            "Your Account GUID": guid,
            "Account GUID": guid,
            "Your account GUID": guid,
        },
    )


SEND = """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions?To=[destination phone number]" \\
-F "file=@myfile.pdf"
"""
STATUS = """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions/[Transmission GUID]"
"""
LIST = """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions"
"""
LINES = """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/FaxLines"
"""


def ended(shell: Shell, guid: str) -> Json:
    """Step 9, until it is S or E."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        fax = shell.run(STATUS, **{"Transmission GUID": guid})["Transmission"]
        if fax["StatusCode"] in "SE":
            return dict(fax)
        assert fax["StatusCode"] in "PT"
        time.sleep(0.1)
    raise AssertionError(f"{guid} does not end: {shell.house.log.read_text()[-2000:]}")


@pytest.mark.needs("curl")
def test_every_command_of_the_walkthrough_works_in_order(shell: Shell, caller: Caller) -> None:
    account = steps_3_and_4(shell, caller)
    bought = steps_5_to_7(shell)
    sent = step_8(shell, bought)
    steps_9_and_10(shell, caller, sent, account["Guid"])
    step_11(shell, caller)
    steps_12_and_13(shell, bought)


def steps_3_and_4(shell: Shell, caller: Caller) -> Json:
    first = shell.run("""curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]"
""")
    second = shell.run("""curl -u "myemail@hellofax.com:fakepassword" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]"
""")
    third = shell.run("""curl "https://myemail%40hellofax.com:fakepassword@api.hellofax.com/v1/Accounts/[Your Account GUID]"
""")
    assert first == second == third
    assert first["Account"]["Guid"] == shell.words["Account GUID"]
    urls = {
        "https://www.example.com/inboundFax": caller.url + "/inboundFax?key=in",
        "https://www.example.com/outboundFax": caller.url + "/outboundFax?key=out",
    }
    command = """curl -u"[your username]:[your password]" \\
-d "DefaultInboundFaxCallbackUrl=https://www.example.com/inboundFax" \\
-d "DefaultOutboundFaxCallbackUrl=https://www.example.com/outboundFax" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]"
"""
    for url, ours in urls.items():
        command = command.replace(url, ours)
    account = shell.run(command)["Account"]
    assert [account["DefaultInboundFaxCallbackUrl"], account["DefaultOutboundFaxCallbackUrl"]] == list(urls.values())
    return dict(account)


def steps_5_to_7(shell: Shell) -> Json:
    """The line that was bought."""
    assert [line["Number"] for line in shell.run(LINES)["FaxLines"]] == [OWN_LINE[1:]]
    areas = shell.run("""curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/AreaCodes?StateCode=CA"
""")["AreaCodes"]
    bought = shell.run(
        """curl -u "[your username]:[your password]" \\
-d "AreaCode=[area code from step 7]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/FaxLines"
""",
        **{"area code from step 7": areas[0]},
    )["FaxLine"]
    assert bought["Number"].startswith("1" + areas[0])
    return dict(bought)


def step_8(shell: Shell, bought: Json) -> dict[str, tuple[Json, str, list[str]]]:
    """What was sent, by number: the fax, from which line, and what must stand on its pages."""
    one, two, three, four, five, six = (fresh()[1:] for _ in range(6))
    own = OWN_LINE[1:]
    plain = shell.run(SEND, **{"destination phone number": one})
    from_line = shell.run(
        """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions?To=[destination phone number]&From=[your fax line phone number]" \\
-F file=@myfile.pdf""",  # noqa: E501  # as it stands in the article
        **{"destination phone number": two, "your fax line phone number": bought["Number"]},
    )
    files = shell.run(
        """curl -u "[your username]:[your password]" \\
-F file[]="@1.pdf" -F file[]="@2.txt" \\
"https://api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions?To=[phone number in all digits]"
""",
        **{"phone number in all digits": three},
    )
    several = shell.run(
        """curl -X POST https://[your username]:[your password]@api.hellofax.com/v1/Accounts/[Your Account GUID]/Transmissions -F 'file[0]=@file1.pdf' \\
-F 'file[1]=@file2.pdf' \\
-F 'To[0]=[destination fax number 0]' \\
-F 'To[1]=[destination fax number 1]'
""",  # noqa: E501  # as it stands in the article
        **{"destination fax number 0": four, "destination fax number 1": five, "your username": LOGIN.replace("@", "%40")},
    )["Transmissions"]
    cover = shell.run(
        SEND.rstrip() + ' -F "CoverPageTo=Bob" -F "CoverPageFrom=Ann" -F "CoverPageMessage=Please read."',
        **{"destination phone number": six},
    )
    return {
        one: (plain["Transmission"], own, ["My file."]),
        two: (from_line["Transmission"], bought["Number"], ["My file."]),
        three: (files["Transmission"], own, ["One.", "Two, as text."]),
        four: (several[0], own, ["File one.", "File two."]),
        five: (several[1], own, ["File one.", "File two."]),
        six: (cover["Transmission"], own, ["Please read.", "My file."]),
    }


def steps_9_and_10(shell: Shell, caller: Caller, sent: dict[str, tuple[Json, str, list[str]]], guid: str) -> None:
    """Status, list, callback; and the far end's journal: each number was called once, from the right line."""
    final = {}
    for number, (fax, line, pages) in sent.items():
        assert (fax["To"], fax["From"], fax["StatusCode"]) == (number, line, "P")
        final[fax["Guid"]] = ended(shell, fax["Guid"])
        assert final[fax["Guid"]]["StatusCode"] == "S"
        assert final[fax["Guid"]]["NumPagesBilled"] == len(pages)
        (call,) = shell.house.calls("+" + number)
        assert (call.caller, call.pages) == ("+" + line, len(pages))
    listed = shell.run(LIST)
    assert {fax["Guid"]: fax for fax in listed["Transmissions"]} == final
    assert followed(shell, f'{LIST.rstrip()[:-1]}?PageSize=4"') == [fax["Guid"] for fax in listed["Transmissions"]]
    shell.house.wait(lambda: len(caller.posted) >= len(sent), 30, "the callbacks")
    told = {transaction["Guid"]: transaction for _, transaction, _ in caller.posted}
    assert told == final
    assert {path for path, _, _ in caller.posted} == {"/outboundFax?key=out"}
    assert all(fax["Uri"] == f"/v1/Accounts/{guid}/Transmissions/{fax['Guid']}" for fax in final.values())


def followed(shell: Shell, first: str) -> list[str]:
    """Every GUID of a list, page by page."""
    guids: list[str] = []
    page = shell.run(first)
    while True:
        guids += [fax["Guid"] for fax in page["Transmissions"]]
        if page["NextPageUri"] is None:
            return guids
        page = shell.run(f'curl -u "[your username]:[your password]" "https://api.hellofax.com{page["NextPageUri"]}"')


def step_11(shell: Shell, caller: Caller) -> None:
    """A fax to one's own number comes back: both callbacks, the received one with the document."""
    before = len(caller.posted)
    sent = shell.run(SEND, **{"destination phone number": OWN_LINE[1:]})["Transmission"]
    assert ended(shell, sent["Guid"])["StatusCode"] == "S"
    shell.house.wait(lambda: len(caller.posted) >= before + 2, 60, "both callbacks")
    by_path = {path: (transaction, parts) for path, transaction, parts in caller.posted[before:]}
    outbound, _ = by_path["/outboundFax?key=out"]
    assert outbound["Guid"] == sent["Guid"]
    inbound, parts = by_path["/inboundFax?key=in"]
    assert (inbound["IsInbound"], inbound["To"], inbound["From"]) == (True, OWN_LINE[1:], OWN_LINE[1:])
    assert parts["file"].startswith(b"%PDF-")
    listed = shell.run(STATUS, **{"Transmission GUID": inbound["Guid"]})["Transmission"]
    assert (listed["IsInbound"], listed["StatusCode"]) == (True, "S")


def steps_12_and_13(shell: Shell, bought: Json) -> None:
    lines = """curl -u "[your username]:[your password]" \\
"https://api.hellofax.com/v1/Accounts/[Account GUID]/FaxLines"
"""
    assert bought in shell.run(lines)["FaxLines"]
    delete = """curl -u "[your username]:[your password]" \\
-X DELETE "https://api.hellofax.com/v1/Accounts/[Account GUID]/FaxLines/2132935579"
""".replace("2132935579", bought["Number"][1:])
    shell.run(delete)
    assert [line["Number"] for line in shell.run(lines)["FaxLines"]] == [OWN_LINE[1:]]
    assert shell.answer(delete)[0] == 404


@pytest.mark.needs("curl")
def test_every_end_of_a_fax_has_its_letter(shell: Shell) -> None:
    """The loopback network's endings, as the walkthrough's codes; a fax on hold is H, and it is not dialled again by us."""
    letters = {"11": "B", "12": "N", "15": "A", "14": "D", "21": "L", "13": "U"}
    sent = {
        ending: shell.run(SEND, **{"destination phone number": fresh(ending)[1:]})["Transmission"]["Guid"]
        for ending in (*letters, "22")
    }
    for ending, code in letters.items():
        fax = ended(shell, sent[ending])
        assert (fax["StatusCode"], fax["ErrorCode"], fax["NumPagesBilled"]) == ("E", code, 0)
        assert len(shell.house.calls("+" + fax["To"])) == 1
    status = {"Transmission GUID": sent["22"]}
    shell.house.wait(lambda: shell.run(STATUS, **status)["Transmission"]["StatusCode"] == "H", 30, "the fax to be held")


@pytest.mark.needs("curl")
def test_a_document_that_cannot_become_pages_is_e_and_u(shell: Shell) -> None:
    (shell.house.folder / "myfile.pdf").write_bytes(b"%PDF-1.4 broken")
    fax = ended(shell, shell.run(SEND, **{"destination phone number": fresh()[1:]})["Transmission"]["Guid"])
    assert (fax["StatusCode"], fax["ErrorCode"]) == ("E", "U")
    assert shell.house.calls("+" + fax["To"]) == []


@pytest.mark.needs("curl")
def test_what_was_answered_200_is_sent_once_though_the_program_is_killed_at_once(shell: Shell) -> None:
    house = shell.house
    guids = []
    for _ in range(4):
        sent = shell.run(SEND, **{"destination phone number": fresh()[1:]})["Transmission"]
        house.kill()
        guids.append((sent["Guid"], sent["To"]))
        house.start()
    for guid, number in guids:
        assert ended(shell, guid)["StatusCode"] == "S"
        assert len(house.calls("+" + number)) == 1


@pytest.mark.needs("curl")
def test_faxes_of_programs_cause_no_mail_and_mails_cause_no_callback(shell: Shell, caller: Caller) -> None:
    url = f"DefaultOutboundFaxCallbackUrl={caller.url}/out"
    shell.run(f'curl -u "[your username]:[your password]" -d "{url}" "https://api.hellofax.com/v1/Accounts/[Account GUID]"')
    by_call = shell.run(SEND, **{"destination phone number": fresh()[1:]})["Transmission"]
    assert ended(shell, by_call["Guid"])["StatusCode"] == "S"
    mail = letter("By mail")
    number = fresh()
    shell.house.send(mail, number)
    shell.house.reports(mail)
    shell.house.wait(lambda: len(caller.posted) >= 1, 30, "the callback")
    assert [transaction["Guid"] for _, transaction, _ in caller.posted] == [by_call["Guid"]]
    assert [letter.mail["In-Reply-To"] for letter in shell.house.sink.letters] == [mail["Message-ID"]]


def test_the_door_is_closed_without_its_section(house: House, tmp_path: Path) -> None:
    house.start()
    assert house.get("/v1/AreaCodes?StateCode=CA") == (404, "Not Found")
    assert house.get("/v1/openapi.json") == (404, "Not Found")
