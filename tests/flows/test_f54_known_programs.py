"""F54: the programs that are known to call the PamFax API, at the sandbox: what each of them sends, byte for byte where it
matters, and what it and its tests expect of the answers (reference/pamfax.md section 11).

Python    GET with everything in the query, `apisecret` in clear, lists as `name[0]`, `True` for a true flag; the file in
          multipart with the arguments in the query; a status other than 200 is an exception, what is not JSON a file
Ruby      the same with a raw `+`, a host name for `user_ip`, a content type on a GET, name and password on every call
PHP       POST of a form with `apicheck` and an empty token, `0` for what is not given, `file[name]=` on every call
shell     paths that begin and end with a slash, XML read by text tools
"""

from __future__ import annotations

import hashlib
import http.client
import http.server
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.flows.test_f50_sandbox import pdf, running, until

JSON = "API_FORMAT_JSON"
BOUNDARY = "----------Boundary_of_form_part_$"


class Wire:
    """Sends what it is given and nothing else. At the PamFax address of a sandbox."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.api: dict[str, str] = facts["pamfax"]
        self.address = urlsplit(self.api["url"])
        self.proof = urlencode({"apikey": self.api["apikey"], "apisecret": self.api["apisecret"], "apioutputformat": JSON})

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[str, bytes]:
        """Content type and body of an answer with status 200."""
        host, port = self.address.hostname or "", self.address.port
        if self.address.scheme == "https":
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=60, context=trusting)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request(method, self.address.path + target, body, {name.replace("_", "-"): v for name, v in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status == 200, content
        return answer.getheader("content-type", ""), content

    def json(self, method: str, target: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
        """An answer in JSON that is success."""
        kind, content = self.send(method, target, body, **headers)
        assert kind.startswith("application/json"), kind
        found: dict[str, Any] = json.loads(content)
        assert found["result"]["code"] == "success", (target, found["result"])
        return found


class Python:
    """As a1pamfax and dynaptico-pamfax call."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.credentials = wire, f"?{wire.proof}"
        api = wire.api
        token = self("Session/VerifyUser", username=api["username"], password=api["password"])["UserToken"]["token"]
        self.credentials += f"&{urlencode({'usertoken': token})}"

    def target(self, path: str, **said: object) -> str:
        pairs: list[tuple[str, object]] = []
        for name, value in said.items():
            pairs += [(f"{name}[{n}]", one) for n, one in enumerate(value)] if isinstance(value, list) else [(name, value)]
        return f"/{path}{self.credentials}" + (f"&{urlencode(pairs)}" if pairs else "") + "&"

    def __call__(self, path: str, **said: object) -> dict[str, Any]:
        return self.wire.json("GET", self.target(path, **said))

    def file(self, path: str, **said: object) -> bytes:
        """An answer that is not JSON is a file."""
        kind, content = self.wire.send("GET", self.target(path, **said))
        assert not kind.startswith("application/json"), content
        return content

    def upload(self, content: bytes, *part: str) -> dict[str, Any]:
        head = f"--{BOUNDARY}\r\n" + "\r\n".join(('Content-Disposition: form-data; name="filename"', "", "letter.pdf"))
        lines = "".join(f"{line}\r\n" for line in part)
        body = f"{head}\r\n--{BOUNDARY}\r\n{lines}\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.wire.json("POST", self.target("FaxJob/AddFile", filename="letter.pdf"), body, Content_Type=kind)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with running() as (facts, _):
        yield Wire(facts)


@pytest.fixture(scope="module")
def python(wire: Wire) -> Python:
    made = Python(wire)
    made("Shopping/AddCreditToSandboxUser", amount=1000, reason="Testing purposes")
    return made


@pytest.fixture(scope="module")
def shelf() -> Iterator[str]:
    """A web server with a file; its URL."""

    class Shelf(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = pdf("From the web.")
            self.send_response(200)
            self.send_header("Content-Type", "application/pdf")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/files/Tropo.pdf"
        server.shutdown()


def ready(state: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = state()
        if found["FaxContainer"]["state"] == "ready_to_send":
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_a_python_program_asks_about_the_service(python: Python) -> None:
    inbox = python("FaxHistory/ListInboxFaxes")["InboxFaxes"]["content"][0]
    for path, said in (
        ("GetCurrentSettings", {}),
        ("GetGeoIPInformation", {"ip": "192.0.2.1"}),
        ("ListCountries", {}),
        ("ListCountriesForZone", {"zone": 1}),
        ("ListCurrencies", {}),
        ("ListCurrencies", {"code": "JPY"}),
        ("ListLanguages", {}),
        ("ListLanguages", {"min_percent_translated": 50}),
        ("ListStrings", {"ids": ["hello"]}),
        ("ListSupportedFileTypes", {}),
        ("ListTimezones", {}),
        ("ListVersions", {}),
        ("ListZones", {}),
    ):
        python(f"Common/{path}", **said)
    assert python.file("Common/GetFile", file_uuid=inbox["file_uuid"]).startswith(b"%PDF")
    assert python.file("Common/GetPagePreview", uuid=inbox["uuid"], page_no=1).startswith(b"\x89PNG")
    assert python("NumberInfo/GetNumberInfo", faxnumber="+81362763902")["NumberInfo"]["country_code"] == "JP"
    assert float(python("NumberInfo/GetPagePrice", faxnumber="+81362763902")["Price"]["priceperpage"]) > 0


def test_a_python_program_keeps_its_faxes_in_order(python: Python) -> None:
    uuid = python("FaxHistory/ListInboxFaxes")["InboxFaxes"]["content"][0]["uuid"]
    python("FaxHistory/AddFaxNote", fax_uuid=uuid, note="This is my favorite fax")
    assert python("FaxHistory/CountFaxes", type="inbox")["Faxes"]["count"] == 1
    python("FaxHistory/DeleteFaxes", uuids=[uuid])
    python("FaxHistory/RestoreFax", uuid=uuid)
    python("FaxHistory/EmptyTrash")
    python("FaxHistory/GetFaxDetails", uuid=uuid)
    python("FaxHistory/GetInboxFax", uuid=uuid, mark_read=False)
    assert python("FaxHistory/ListFaxNotes", fax_uuid=uuid)["Notes"]["content"][0]["note"] == "This is my favorite fax"
    for path in ("ListInboxFaxes", "ListOutboxFaxes", "ListRecentFaxes", "ListUnpaidFaxes"):
        python(f"FaxHistory/{path}")
    until(lambda: "content" in python("FaxHistory/ListSentFaxes")["SentFaxes"], "a sent fax")
    sent = python("FaxHistory/ListSentFaxes")["SentFaxes"]["content"][0]
    assert python.file("FaxHistory/GetTransmissionReport", uuid=sent["uuid"]).startswith(b"%PDF")
    python("FaxHistory/SetFaxRead", uuid=uuid)
    python("FaxHistory/SetFaxesAsRead", uuids=[uuid])
    python("FaxHistory/SetSpamStateForFaxes", uuids=[uuid], is_spam=False)


def test_a_python_program_sends_a_fax(python: Python, shelf: str) -> None:
    python("FaxJob/Create", user_ip="127.0.1.1", user_agent="dynaptico-pamfax", origin="script")
    covers = python("FaxJob/ListAvailableCovers")["Covers"]["content"]
    python("FaxJob/SetCover", template_id=covers[1]["id"], text="Tomorrow On Demand")
    python("FaxJob/AddRemoteFile", url=shelf)
    # One with a type and the base name, one without a type that calls the file "file".
    name = 'Content-Disposition: form-data; name="file"; filename="letter.pdf"'
    first = python.upload(pdf("A letter."), name, "Content-Type: application/pdf")["FaxContainerFile"]
    assert (first["name"], first["mime"], first["file_order"]) == ("letter.pdf", "application/pdf", 1)
    second = python.upload(pdf("Another."), 'Content-Disposition: form-data; name="file"; filename="file"')
    python("FaxJob/RemoveFile", file_uuid=second["FaxContainerFile"]["file_uuid"])
    python("FaxJob/AddRecipient", number="+81345789554")
    other = python("FaxJob/AddRecipient", number="+81362763902")["FaxRecipient"]["number"]
    python("FaxJob/RemoveRecipient", number=other)
    assert len(python("FaxJob/ListRecipients")["Recipients"]["content"]) == 1
    assert len(python("FaxJob/ListFaxFiles")["Files"]["content"]) == 2
    assert ready(lambda: python("FaxJob/GetFaxState"))["FaxContainer"]["pages"] == 3
    assert len(python("FaxJob/GetPreview")["PreviewPages"]["content"]) == 3
    python("FaxJob/Send")


def test_a_python_program_sends_to_a_number_with_a_zero_too_many(python: Python) -> None:
    python("FaxJob/Create")
    assert python("FaxJob/AddRecipient", number="+4903012345678")["FaxRecipient"]["number"] == "+493012345678"
    python("FaxJob/RemoveAllRecipients")


def test_a_python_program_looks_after_its_session_and_its_user(python: Python) -> None:
    for path, said in (
        ("Session/CreateLoginIdentifier", {"timetolifeminutes": 10}),
        ("Session/ListChanges", {}),
        ("Session/Ping", {}),
        ("Session/RegisterListener", {"listener_types": ["faxsending", "faxfailed"]}),
        ("Session/ReloadUser", {}),
        ("Shopping/GetNearestFaxInNumber", {"ip_address": "192.0.2.1"}),
        ("Shopping/GetShopLink", {"type": "pro_plan"}),
        ("Shopping/ListAvailableItems", {}),
        ("Shopping/ListFaxInAreacodes", {"country_code": "JP"}),
        ("Shopping/ListFaxInCountries", {}),
        ("Shopping/RedeemCreditVoucher", {"vouchercode": "PCPC0815"}),
        ("Shopping/RedeemCreditVoucher", {"vouchercode": "PCPC0815"}),
        ("UserInfo/GetCultureInfo", {}),
        ("UserInfo/HasAvatar", {}),
        ("UserInfo/HasPlan", {}),
        ("UserInfo/ListExpirations", {}),
        ("UserInfo/ListInboxes", {"expired_too": True, "shared_too": True}),
        ("UserInfo/ListOrders", {}),
        ("UserInfo/ListProfiles", {}),
        ("UserInfo/ListUserAgents", {"max": 2}),
        ("UserInfo/ListWallMessages", {"count": 1}),
        ("UserInfo/SaveUser", {}),
        (
            "UserInfo/SendMessage",
            {"body": "Hello, world!", "type": "email", "recipient": "test@example.org", "subject": "Hello"},
        ),
        ("UserInfo/SendPasswordResetMessage", {"username": python.wire.api["username"]}),
        ("UserInfo/SetPassword", {"password": "temppw", "hashFunction": "plain"}),
        ("UserInfo/SetPassword", {"password": python.wire.api["password"], "hashFunction": "plain"}),
        ("UserInfo/ValidateNewUsername", {"username": "bogususername"}),
        ("UserInfo/ValidateNewUsername", {"username": "kaninchen@hoppel.example"}),
    ):
        python(path, **said)
    assert Python(python.wire)("Session/ReloadUser")["User"]["username"] == python.wire.api["username"]


def test_a_ruby_program_sends_a_fax(wire: Wire, shelf: str) -> None:
    api = wire.api
    who = f"&username={api['username']}&password={api['password']}"

    def get(target: str) -> dict[str, Any]:
        return wire.json("GET", target, Content_Type="application/json")

    token = get(f"/Session/VerifyUser/?{wire.proof}{who}")["UserToken"]["token"]
    mine = f"?{wire.proof}&usertoken={token}"
    container = get(f"/FaxJob/Create{mine}&user_ip=some-host&user_agent=pamfax.rb&origin=script")
    assert container["FaxContainer"]["state"] == "editing"
    covers = get(f"/FaxJob/ListAvailableCovers{mine}")["Covers"]["content"]
    said = quote("Foobar is here!")
    get(f"/FaxJob/SetCover{mine}&template_id={covers[1]['template_id']}&text={said}")
    name = get(f"/FaxJob/AddRemoteFile{mine}&url={shelf}")["FaxContainerFile"]["name"]
    assert name == "Tropo.pdf"
    recipient = get(f"/FaxJob/AddRecipient{mine}&number=+14155551212")["FaxRecipient"]
    assert (recipient["number"], recipient["area_code"], recipient["country"]) == ("+14155551212", "415", "US")
    ready(lambda: get(f"/FaxJob/GetFaxState{mine}"))
    get(f"/FaxJob/GetPreview{mine}&uuid={container['FaxContainer']['uuid']}")
    get(f"/FaxJob/Send{mine}")
    details = get(f"/FaxHistory/GetFaxDetails{mine}&uuid={recipient['uuid']}")
    assert "FaxRecipient" in details or "FaxHistoryModel" in details
    # The later one sends name and password with every call, and no token.
    for path in ("NumberInfo/GetNumberInfo", "NumberInfo/GetPagePrice"):
        get(f"/{path}?{wire.proof}{who}&faxnumber=+14155551212")
    for path in ("Common/ListCountries", "Common/ListZones"):
        get(f"/{path}?{wire.proof}{who}")


def php(wire: Wire, path: str, token: str = "", **said: str) -> tuple[str, bytes]:
    """A form in the order and with the members that the reference client sends; the checksum computed as section 3 says."""
    ordered = sorted(said.items(), key=lambda one: one[0].lower())
    values = [("apioutputformat", JSON), *ordered]
    check = "".join(value for _, value in sorted(values, key=lambda one: one[0].lower()) if not value.startswith("@"))
    proof = {
        "apikey": wire.api["apikey"],
        "usertoken": token,
        "file[name]": "",
        "file[mime]": "",
        "file[postname]": "",
        "apicheck": hashlib.md5((check + wire.api["apisecret"]).encode(), usedforsecurity=False).hexdigest(),
    }
    return wire.send(
        "POST",
        f"/{path}",
        urlencode([*said.items(), ("apioutputformat", JSON), *proof.items()]).encode(),
        Content_Type="application/x-www-form-urlencoded",
        X_ClientIP="192.0.2.1",
        User_Agent="PamFax APIClient PHP",
        Accept_Language="de-DE,de;q=0.9",
        Keep_Alive="300",
    )


def test_a_php_program_sends_a_fax(wire: Wire) -> None:
    def call(path: str, token: str = "", **said: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(php(wire, path, token, **said)[1])
        assert found["result"]["code"] == "success", (path, found["result"])
        return found

    who = {"username": wire.api["username"], "password": wire.api["password"]}
    found = call("Session/VerifyUser", **who, remember_me="0", user_ip="", timetolifeminutes="")
    assert {"User", "UserToken"} <= found.keys()
    token = found["UserToken"]["token"]
    call("FaxJob/Create", token, user_ip="127.0.0.1", user_agent="Mozilla/5.0", origin="API Samples")
    assert call("FaxJob/AddRecipient", token, number="+14109875496", name="0")["FaxRecipient"]["name"] == ""
    call("FaxJob/SetCover", token, template_id="1", text="A test.", template_uuid="*", data="0")
    state = ready(lambda: call("FaxJob/GetFaxState", token))["FaxContainer"]
    assert {"uuid", "price", "pages", "currency", "currency_rate"} <= state.keys()
    call("FaxJob/Send", token, send_at="0", send_at_timezone="0", datetime="0")
    call("FaxHistory/ListSentFaxes", token, current_page="1", items_per_page="20", array_for_api="0")
    call("FaxHistory/ListRecentFaxes", token, count="15", data_to_list="0")
    call("UserInfo/ListInboxes", token, expired_too="0", shared_too="1")
    call("Session/KeepAlive", token)
    call("Session/Logout", token)


def test_a_shell_program_sends_a_fax_and_reads_xml_with_text_tools(wire: Wire) -> None:
    proof = urlencode({"apikey": wire.api["apikey"], "apisecret": wire.api["apisecret"]})

    def call(path: str, more: str = "") -> str:
        kind, content = wire.send("GET", f"//{path}/?{proof}{more}")
        assert kind.startswith("text/xml")
        text = content.decode()
        assert "<code>success</code>" in text, text
        return text

    who = urlencode({"username": wire.api["username"], "password": wire.api["password"]})
    token = re.findall(r'token="([^"]*)"', call("Session/VerifyUser", f"&{who}"))[0]
    mine = f"&usertoken={token}"
    call("FaxJob/Create", f"{mine}&user_ip=127.0.0.1&user_agent=bash&origin=shell")
    call("FaxJob/AddRecipient", f"{mine}&number=+14155551213")
    call("FaxJob/SetCover", f"{mine}&template_id=1&text=Hello")
    end = time.monotonic() + 30
    while 'state="ready_to_send"' not in call("FaxJob/GetFaxState", mine):
        assert time.monotonic() < end
        time.sleep(0.1)
    call("FaxJob/Send", mine)


def test_curl_brings_a_file_without_a_form(wire: Wire, python: Python, tmp_path: Any) -> None:
    (tmp_path / "letter.pdf").write_bytes(pdf("A letter."))
    python("FaxJob/Create")
    target = f"{wire.api['url']}{python.target('FaxJob/AddFile', filename='letter.pdf')}"
    command = ["curl", "-sk", "-H", "Content-Type: application/octet-stream", "--data-binary", "@letter.pdf", target]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert json.loads(answer.stdout)["FaxContainerFile"]["ext"] == "pdf"
    python("FaxJob/RemoveAllFiles")
