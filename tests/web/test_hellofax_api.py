"""The HelloFax door: who may call it, what it says, what it refuses. Real sockets, a real spool."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import sqlite3
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.spool import accounts, inbounds
from gateway.spool.inbounds import News
from gateway.web import hellofax_api
from gateway.web.guid import guid_of
from tests.flows.house import pdf
from tests.web.conftest import LINE, LOGIN, OTHER, PASSWORD, SECOND, Door, opened, settings

TO = "14155550123"
FILES = {"file": ("contract.pdf", pdf("A contract."), "application/pdf")}
NOBODY = "0" * 40


def message(answer: httpx.Response, status: int) -> str:
    """The text of an error; that it has the one shape all errors have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["Error"]
    assert error["Code"] == status
    return str(error["Message"])


def parsed_mail(mail: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(mail, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def parts(mail: bytes) -> list[tuple[str | None, str, Any]]:
    """File name, type and content of each part."""
    parsed = parsed_mail(mail)
    return [(p.get_filename(), p.get_content_type(), p.get_payload(decode=True)) for p in parsed.iter_parts()]


# Who may call


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"no colon").decode(), "Basic /w=="],
)
async def test_without_a_readable_login_the_answer_is_401_with_what_to_do(door: Door, header: str) -> None:
    async with httpx.AsyncClient(base_url=door.client.base_url, trust_env=False) as client:
        for path in (door.path(), "/v1/AreaCodes?StateCode=CA", "/v1/nothing", "/apiapp.php/v1/AreaCodes?StateCode=CA"):
            answer = await client.get(path, headers={"authorization": header} if header else {})
            assert "HTTP Basic" in message(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Basic realm=")


async def test_a_wrong_password_is_401_and_after_some_429_with_retry_after(door: Door) -> None:
    async with httpx.AsyncClient(base_url=door.client.base_url, auth=(OTHER, "wrong"), trust_env=False) as client:
        for _ in range(10):
            message(await client.get(door.path()), 401)
        answer = await client.get(door.path())
        assert "Too many failed sign-ins" in message(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert (await door.client.get(door.path())).status_code == 200


async def test_another_accounts_guid_is_403_and_after_some_429(door: Door) -> None:
    for guid in [door.other.guid, NOBODY, "x", door.office.guid[:39]] * 5:
        message(await door.client.get(f"/v1/Accounts/{guid}"), 403)
    assert "another account" in message(await door.client.get(door.path("", door.other)), 429)
    assert (await door.client.get(door.path())).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nothing_of_another_account_can_be_read_or_changed(door: Door, method: str) -> None:
    for rest in ("", "/FaxLines", "/FaxLines/14155550199", "/Transmissions", f"/Transmissions/{NOBODY}"):
        message(await door.client.request(method, door.path(rest, door.other)), 403)
    assert [line.number for line in await door.identity.lines()] == [LINE, SECOND, "+14155550199"]


async def test_another_accounts_fax_is_as_unknown_as_one_that_does_not_exist(door: Door) -> None:
    guid = (await door.send(data={"To": TO}, files=FILES)).json()["Transmission"]["Guid"]
    answer = await door.client.get(door.path(f"/Transmissions/{guid}", door.other), auth=(OTHER, PASSWORD))
    unknown = await door.client.get(door.path(f"/Transmissions/{NOBODY}", door.other), auth=(OTHER, PASSWORD))
    assert message(answer, 404) == message(unknown, 404)


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/Transmissions/..%2f..%2f", "/Transmissions/%00", "/Transmissions/a/b"],
)
async def test_path_tricks_lead_nowhere(door: Door, path: str) -> None:
    reader, writer = await asyncio.open_connection(*door.address)
    login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    request = f"GET {door.path()}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_a_method_that_is_not_possible_is_405_and_says_which_are(door: Door) -> None:
    answer = await door.client.delete(door.path("/Transmissions"))
    message(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


# Accounts


async def test_an_account_says_its_settings_with_escaped_slashes(door: Door) -> None:
    answer = await door.client.post(door.path(), data={"DefaultOutboundFaxCallbackUrl": "https://www.example.com/out?a=b"})
    assert b"https:\\/\\/www.example.com\\/out?a=b" in answer.content
    assert (await door.client.get("/apiapp.php" + door.path())).json() == {
        "Account": {
            "Guid": door.office.guid,
            "DefaultInboundFaxCallbackUrl": "",
            "DefaultOutboundFaxCallbackUrl": "https://www.example.com/out?a=b",
            "ShouldSendOutboundConfEmails": False,
            "ShouldIncludePdfsInReceivedFaxEmails": True,
        }
    }


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("POST", {"data": {"ShouldSendOutboundConfEmails": "true"}}),
        ("PUT", {"data": {"ShouldSendOutboundConfEmails": "1"}}),
        ("PUT", {"data": {"shouldsendconfemails": "True"}}),
        ("POST", {"json": {"ShouldSendOutboundConfEmails": True, "DefaultInboundFaxCallbackUrl": None}}),
        ("POST", {"params": {"ShouldSendOutboundConfEmails": "yes"}}),
        ("POST", {"files": {"ShouldSendOutboundConfEmails": (None, "on")}}),
    ],
)
async def test_an_account_is_changed_in_every_way_that_clients_use(door: Door, method: str, arguments: dict[str, Any]) -> None:
    answer = await door.client.request(method, door.path(), **arguments)
    assert answer.status_code == 200, answer.text
    assert answer.json()["Account"]["ShouldSendOutboundConfEmails"] is True


@pytest.mark.parametrize(
    "data",
    [
        {"DefaultInboundFaxCallbackUrl": "ftp://example.com/"},
        {"DefaultInboundFaxCallbackUrl": "https://user:word@example.com/"},
        {"DefaultInboundFaxCallbackUrl": "https://example.com/\x00"},
        {"ShouldSendOutboundConfEmails": "perhaps"},
        {"ShouldSendOutboundConfEmails": "true", "ShouldSendConfEmails": "false"},
        {"DefaultCallback": "https://example.com/"},
    ],
)
async def test_a_wrong_setting_is_400_and_nothing_changes(door: Door, data: dict[str, str]) -> None:
    before = (await door.client.get(door.path())).json()
    message(await door.client.post(door.path(), data=data), 400)
    assert (await door.client.get(door.path())).json() == before


# Lines


async def test_lines_are_bought_listed_and_given_back(door: Door) -> None:
    assert (await door.client.get("/v1/AreaCodes", params={"StateCode": "ca"})).json()["AreaCodes"] == [
        "213",
        "310",
        "415",
        "510",
        "619",
    ]
    bought = (await door.client.post(door.path("/FaxLines"), data={"AreaCode": "213"})).json()["FaxLine"]
    assert bought == {"Number": bought["Number"], "Uri": door.path(f"/FaxLines/{bought['Number']}")}
    listed = (await door.client.get(door.path("/FaxLines"))).json()["FaxLines"]
    assert [line["Number"] for line in listed] == [LINE[1:], SECOND[1:], bought["Number"]]
    assert bought["Number"].startswith("1213")
    answer = await door.client.delete(door.path(f"/FaxLines/{bought['Number'][1:]}"))
    assert answer.json() == {"FaxLine": bought}
    message(await door.client.delete(bought["Uri"]), 404)
    assert len((await door.client.get(door.path("/FaxLines"))).json()["FaxLines"]) == 2


async def test_an_account_buys_no_more_lines_than_it_may_hold(door: Door) -> None:
    answers = await asyncio.gather(*(door.client.post(door.path("/FaxLines"), data={"AreaCode": "310"}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 403, 403], "it had two of five"
    assert "5 fax lines" in message(await door.client.post(door.path("/FaxLines"), data={"AreaCode": "213"}), 403)


async def test_a_statecode_in_the_body_of_a_get_is_read(door: Door) -> None:
    answer = await door.client.request("GET", "/v1/AreaCodes", data={"statecode": "NY"})
    assert answer.json() == {"AreaCodes": ["212", "315", "716"]}


async def test_lines_of_others_and_declared_ones_stay(door: Door) -> None:
    message(await door.client.delete(door.path("/FaxLines/14155550199")), 404)
    message(await door.client.delete(door.path("/FaxLines/nonsense")), 404)
    assert "configuration file" in message(await door.client.delete(door.path("/FaxLines/14155550100")), 403)
    assert len(await door.identity.lines()) == 3


@pytest.mark.parametrize("area", ["", "41", "4155", "115", "４１５", "999"])
async def test_an_area_code_that_is_none_is_400(door: Door, area: str) -> None:
    message(await door.client.post(door.path("/FaxLines"), data={"AreaCode": area}), 400)


# Sending


async def test_a_send_answers_the_transmission_and_it_can_be_read(door: Door) -> None:
    answer = await door.send(params={"To": TO}, files=FILES)
    assert answer.status_code == 200
    sent = answer.json()["Transmission"]
    assert {**sent, "Guid": "", "CreatedAt": "", "UpdatedAt": "", "Uri": ""} == {
        "Guid": "",
        "To": TO,
        "From": LINE[1:],
        "IsInbound": False,
        "IsDraft": False,
        "TypeCode": "F",
        "StatusCode": "P",
        "ErrorCode": None,
        "CreatedAt": "",
        "UpdatedAt": "",
        "Uri": "",
        "NumPagesBilled": 0,
    }
    assert sent["CreatedAt"].isdigit()
    assert sent["Uri"] == door.path(f"/Transmissions/{sent['Guid']}")
    assert b'"Uri":"\\/v1\\/Accounts\\/' in answer.content
    assert (await door.client.get(sent["Uri"])).json() == {"Transmission": sent}
    case = await door.case(sent["Guid"])
    assert case.submission.envelope.login == LOGIN
    assert not case.submission.cover.wanted
    assert parts(await door.mail(sent["Guid"])) == [("contract.pdf", "application/pdf", FILES["file"][1])]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("4155550123", "14155550123"),
        ("14155550123", "14155550123"),
        ("+1 (415) 555-0123", "14155550123"),
        ("415.555.0123", "14155550123"),
        ("442079460123", "442079460123"),
        ("+442079460123", "442079460123"),
    ],
)
async def test_numbers_are_read_with_and_without_country_code_plus_and_punctuation(
    door: Door, written: str, number: str
) -> None:
    answer = await door.send(data={"To": written}, files=FILES)
    assert answer.json()["Transmission"]["To"] == number
    unescaped = await door.send(url=door.path(f"/Transmissions?To={written.replace(' ', '%20')}"), files=FILES)
    assert unescaped.json()["Transmission"]["To"] == number


async def test_ten_digits_that_are_a_number_in_two_countries_are_refused(door: Door) -> None:
    """361 is an area code in Texas, and 36 1 is Budapest."""
    answer = await door.send(data={"To": "3612345678"}, files=FILES)
    assert answer.json()["Transmission"]["To"] == "13612345678", "this account may not fax Hungary"
    with_blank = await door.send(url=door.path("/Transmissions?To=+3612345678"), files=FILES)
    assert "%2B" in message(with_blank, 400)
    await door.store.write(accounts.save_account, replace(door.office, countries=("US", "HU")))
    door.identity.forget()
    assert "one in HU" in message(await door.send(data={"To": "3612345678"}, files=FILES), 400)
    for written, number in (("+3612345678", "3612345678"), ("13612345678", "13612345678"), ("0113612345678", "3612345678")):
        answer = await door.send(data={"To": written}, files=FILES)
        assert answer.json()["Transmission"]["To"] == number


@pytest.mark.parametrize("to", ["555", "nobody", "19005550123", "4930123456789", "٤١٥٥٥٥٠١٢٣"])
async def test_a_number_that_cannot_be_faxed_is_refused_at_once(door: Door, to: str) -> None:
    message(await door.send(data={"To": to}, files=FILES), 400)
    assert await door.sent() == 0


async def test_several_numbers_and_files_keep_their_order(door: Door) -> None:
    content = [("file[1]", ("b.txt", b"second", "text/plain")), ("file[0]", ("a.txt", b"first", "text/plain"))]
    answer = await door.send(data={"To[1]": "14155550125", "To[0]": "14155550124"}, files=content)
    sent = answer.json()["Transmissions"]
    assert "Transmission" not in answer.json()
    assert [fax["To"] for fax in sent] == ["14155550124", "14155550125"]
    assert [name for name, _, _ in parts(await door.mail(sent[0]["Guid"]))] == ["a.txt", "b.txt"]
    unnumbered = [("file[]", ("1.pdf", pdf("1"), "application/pdf")), ("file[]", ("2.txt", b"2", "text/plain"))]
    answer = await door.send(params={"To": TO}, files=unnumbered)
    assert [name for name, _, _ in parts(await door.mail(answer.json()["Transmission"]["Guid"]))] == ["1.pdf", "2.txt"]


async def test_a_number_named_twice_gets_one_fax(door: Door) -> None:
    answer = await door.send(data={"To[0]": TO, "To[1]": "4155550123"}, files=FILES)
    first, second = answer.json()["Transmissions"]
    assert first["Guid"] == second["Guid"]
    assert await door.sent() == 1


async def test_the_line_it_is_sent_from_must_be_the_accounts(door: Door) -> None:
    for written in (SECOND[1:], SECOND[2:], SECOND):
        answer = await door.send(data={"To": TO, "From": written}, files=FILES)
        assert answer.json()["Transmission"]["From"] == SECOND[1:]
    for foreign in ("14155550199", "14155559999"):
        assert "fax lines" in message(await door.send(data={"To": TO, "From": foreign}, files=FILES), 400)
    message(await door.send(data={"To": TO, "From": "me"}, files=FILES), 400)


async def test_cover_parameters_make_a_cover_and_blank_ones_none(door: Door) -> None:
    data = {"To": TO, "CoverPageTo": "Bob\tBuilder", "CoverPageMessage": "Two\r\nlines"}
    cover = (await door.case((await door.send(data=data, files=FILES)).json()["Transmission"]["Guid"])).submission.cover
    assert (cover.wanted, cover.to, cover.sender, cover.message) == (True, "Bob Builder", "", "Two\nlines")
    blank = {"To": TO, "CoverPageTo": "", "CoverPageMessage": "  "}
    cover = (await door.case((await door.send(data=blank, files=FILES)).json()["Transmission"]["Guid"])).submission.cover
    assert not cover.wanted
    message(await door.send(data={"To": TO, "CoverPageFrom": "x" * 201}, files=FILES), 400)


async def test_a_file_as_a_form_value_is_taken_as_text(door: Door) -> None:
    answer = await door.send(data={"to": TO, "file": "Grüße aus dem Formular"})
    ((name, kind, content),) = parts(await door.mail(answer.json()["Transmission"]["Guid"]))
    assert (name, kind, content.decode()) == ("text.txt", "text/plain", "Grüße aus dem Formular")


async def test_a_document_as_a_form_value_keeps_its_octets(door: Door) -> None:
    document = bytes(range(256)) * 3
    body = b"to=" + TO.encode() + b"&file=" + b"".join(b"%%%02X" % octet for octet in document)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await door.send(content=body, headers=kind)
    ((_, _, content),) = parts(await door.mail(answer.json()["Transmission"]["Guid"]))
    assert content == document


async def test_a_part_with_headers_of_its_own_is_read_as_the_ruby_gem_sends_it(door: Door) -> None:
    document = pdf("From Ruby.")
    body = b"\r\n".join(
        [
            b"--b1",
            b'Content-Disposition: form-data; name="To"',
            b"",
            TO.encode(),
            b"--b1",
            b'Content-Disposition: form-data; name="file"; filename="fax.pdf"',
            b"Content-Length: %d" % len(document),
            b"Content-Type: application/octet-stream",
            b"Content-Transfer-Encoding: binary",
            b"",
            document,
            b"--b1--",
            b"",
        ]
    )
    answer = await door.send(content=body, headers={"content-type": "multipart/form-data; boundary=b1"})
    assert parts(await door.mail(answer.json()["Transmission"]["Guid"])) == [("fax.pdf", "application/pdf", document)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"files": FILES}, "To is missing"),
        ({"data": {"To": " "}, "files": FILES}, "To is missing"),
        ({"data": {"To": TO}}, "file is missing"),
        ({"data": {"To": TO}, "files": {"file": ("", b"", "application/octet-stream")}}, "file is missing"),
        ({"data": {"To": TO}, "files": {"file": ("a.pdf", b"", "application/pdf")}}, "empty"),
        ({"data": {"To": TO, "Too": TO}, "files": FILES}, "no parameter “Too”"),
        ({"data": {"To": TO, "From[]": LINE}, "files": FILES}, "no parameter “From[]”"),
        ({"params": {"To": TO}, "data": {"To": "14155550124"}, "files": FILES}, "To is given more than once"),
        ({"data": {"To": TO, "To[0]": "14155550124"}, "files": FILES}, "one value and as a list"),
        ({"data": {"To": TO}, "files": [("file", ("a", b"1")), ("file", ("b", b"2"))]}, "write file[]"),
        ({"data": {"To": TO}, "files": [(f"file[{n}]", (f"{n}.txt", b"1")) for n in range(11)]}, "10 files"),
        ({"data": {"file": "text"}, "files": {"To": ("to.txt", b"14155550123")}}, "To is a text"),
        ({"data": {"To": TO, "CoverPageTo": "a\x00b"}, "files": FILES}, "no text"),
        ({"json": [1]}, "must be an object"),
        ({"json": {"To": {"a": 1}}}, "must be a text"),
        ({"content": b"{" * 5000, "headers": {"content-type": "application/json"}}, "not JSON"),
        ({"content": b"[" * 50000, "headers": {"content-type": "application/json"}}, "not JSON"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "cannot be read"),
        ({"content": b"--b\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=b"}}, "multipart"),
        ({"content": b"&".join(b"a=1" for _ in range(10_000)), "headers": {"content-type": ""}}, "too many fields"),
    ],
)
async def test_a_call_that_makes_no_sense_is_400_and_says_why(door: Door, arguments: dict[str, Any], said: str) -> None:
    assert said in message(await door.send(**arguments), 400)
    assert await door.sent() == 0


async def test_ten_thousand_parts_are_refused(door: Door) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="To[]"\r\n\r\n14155550123\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert "Too many fields" in message(await door.send(content=part * 10_000 + b"--b--\r\n", headers=headers), 400)


async def test_a_multipart_body_that_was_cut_off_sends_nothing(door: Door) -> None:
    """Its last file would be missing from the fax."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="To"\r\n\r\n14155550123\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file[0]"; filename="1.txt"\r\n\r\nfirst\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file[1]"; filename="2.txt"\r\n\r\nsecond, cut o'
    )
    answer = await door.send(content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert "cut off" in message(answer, 400)
    assert await door.sent() == 0


async def test_another_kind_of_body_is_415(door: Door) -> None:
    message(await door.send(content=b"<To/>", headers={"content-type": "application/xml"}), 415)


async def test_a_body_over_thirty_megabytes_is_413(door: Door) -> None:
    files = {"file": ("large.txt", b"x" * 31_500_001, "text/plain")}
    assert "31 MB" in message(await door.send(data={"To": TO}, files=files), 413)
    assert await door.sent() == 0


async def test_a_file_name_is_data_and_never_a_header_or_a_path(door: Door) -> None:
    name = '../../etc/x"\r\nBcc: evil@example.com\r\n\r\n.txt'
    body = (
        b'--b\r\nContent-Disposition: form-data; name="To"\r\n\r\n14155550123\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="..\\..\\x\x0bBcc: evil@example.com.txt"\r\n\r\n'
        b"text\r\n--b--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for arguments in ({"content": body, "headers": headers}, {"data": {"To": TO}, "files": {"file": (name, b"text")}}):
        answer = await door.send(**arguments)
        if answer.status_code == 200:
            mail = parsed_mail(await door.mail(answer.json()["Transmission"]["Guid"]))
            assert mail["Bcc"] is None
            assert len(list(mail.iter_parts())) == 1
        else:
            message(answer, 400)


async def test_the_same_idempotency_key_and_content_is_the_same_fax(door: Door) -> None:
    async def send(key: str, content: bytes = b"one", **more: str) -> str:
        files = {"file": ("a.txt", content, "text/plain")}
        answer = await door.send(data={"To": TO, **more}, files=files, headers={"idempotency-key": key})
        return str(answer.json()["Transmission"]["Guid"])

    first = await send("k1")
    door.clock.forward(3600)
    assert await send("k1") == first
    others = [await send("k2"), await send("k1", b"two"), await send("k1", CoverPageTo="Bob"), await send("k1", From=SECOND)]
    assert len({first, *others}) == 5
    assert await door.sent() == 5


async def test_without_a_key_nothing_is_a_repetition(door: Door) -> None:
    guids = {(await door.send(data={"To": TO}, files=FILES)).json()["Transmission"]["Guid"] for _ in range(3)}
    assert len(guids) == 3


async def test_beyond_the_limit_of_pending_faxes_the_answer_is_429_in_the_known_words(tmp_path: Path) -> None:
    async with opened(tmp_path, settings(pending=3)) as door:
        for _ in range(2):
            assert (await door.send(data={"To": TO}, files=FILES)).status_code == 200
        several = {"To[0]": "14155550124", "To[1]": "14155550125"}
        message(await door.send(data=several, files=FILES), 429)
        assert (await door.send(data={"To": TO}, files=FILES)).status_code == 200
        answer = await door.send(data={"To": TO}, files=FILES)
        assert message(answer, 429) == (
            "Please wait. You already have at least 3 transmissions that are currently pending or transmitting."
        )
        assert answer.headers["retry-after"] == "30"
        assert await door.sent() == 3
        other = await door.send(
            url=door.path("/Transmissions", door.other), data={"To": TO}, files=FILES, auth=(OTHER, PASSWORD)
        )
        assert other.status_code == 200


async def test_the_limit_holds_for_calls_at_the_same_moment(tmp_path: Path) -> None:
    async with opened(tmp_path, settings(pending=5)) as door:
        answers = await asyncio.gather(*(door.send(data={"To": TO}, files=FILES) for _ in range(12)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 7
        assert await door.sent() == 5


async def test_a_spool_that_cannot_be_written_is_503_and_never_200(door: Door, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "spool" / "faxgate.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        answer = await door.send(data={"To": TO}, files=FILES)
    finally:
        other.close()
    message(answer, 503)
    assert answer.headers["retry-after"] == "30"
    assert await door.sent() == 0
    assert (await door.send(data={"To": TO}, files=FILES)).status_code == 200


async def _spoken(door: Door, *pieces: bytes, headers: str = "", wait: float = 10) -> bytes:
    """What is answered to a POST of these pieces, sent half a second apart; the connection stays open."""
    login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    reader, writer = await asyncio.open_connection(*door.address)
    head = f"POST {door.path('/Transmissions')} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n{headers}\r\n"
    writer.write(head.encode())
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.5)
    try:
        async with asyncio.timeout(wait):
            return await reader.read(4096)
    finally:
        writer.close()


async def test_a_body_that_does_not_come_is_408(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hellofax_api, "_BODY_TIME", 0.3)
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n"
    assert (await _spoken(door, b"To=1", headers=form)).startswith(b"HTTP/1.1 408 ")
    assert await door.sent() == 0


async def test_a_client_that_waits_to_be_told_is_told_at_once_that_it_is_too_large(door: Door) -> None:
    headers = "Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 99000000\r\n"
    assert (await _spoken(door, headers=headers)).startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_waits_to_be_told_is_told_to_go_on(door: Door) -> None:
    headers = "Expect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 24\r\n"
    assert (await _spoken(door, headers=headers)).startswith(b"HTTP/1.1 100 ")


# Lists


async def _sent(door: Door, count: int) -> list[str]:
    guids = []
    for n in range(count):
        guids.append((await door.send(data={"To": f"141555501{n:02}"}, files=FILES)).json()["Transmission"]["Guid"])
        door.clock.forward(1)
    return guids


async def _received(door: Door, account_line: str, ref: str) -> str:
    news = News(
        carrier_ref=ref,
        line=account_line,
        caller="+12125550177",
        station_id="",
        sub_address="",
        pages=2,
        complete=True,
        seconds=None,
        received_at=door.clock(),
        document=None,
    )
    assert await door.store.write(inbounds.announced, "main", news)
    states = await door.store.read(inbounds.by_carrier_ref, "main", [ref])
    assert states
    found = await door.store.read(
        lambda db: db.exec_driver_sql(f"select id from inbound where carrier_ref = '{ref}'").scalar_one()
    )
    return guid_of(str(found))


async def test_a_list_has_sent_and_received_faxes_newest_first(door: Door) -> None:
    sent = await _sent(door, 2)
    arrived = await _received(door, SECOND, "r1")
    await _received(door, "+14155550199", "foreign")
    door.clock.forward(1)
    sent += await _sent(door, 1)
    page = (await door.client.get(door.path("/Transmissions"))).json()
    assert [fax["Guid"] for fax in page["Transmissions"]] == [sent[2], arrived, sent[1], sent[0]]
    inbound = page["Transmissions"][1]
    assert (inbound["IsInbound"], inbound["To"], inbound["From"]) == (True, SECOND[1:], "12125550177")
    assert (page["Page"], page["PageSize"], page["NumPages"], page["Total"]) == (0, 20, 1, 4)
    assert page["NextPageUri"] is page["PreviousPageUri"] is None
    assert (await door.client.get(inbound["Uri"])).json()["Transmission"] == inbound


async def _walk(door: Door, uri: str, key: str = "NextPageUri") -> list[str]:
    """Every GUID from a page on."""
    guids: list[str] = []
    while uri:
        page = (await door.client.get(uri)).json()
        guids += [fax["Guid"] for fax in page["Transmissions"]]
        uri = page[key]
    return guids


async def test_pages_are_followed_to_the_end_and_back(door: Door) -> None:
    newest_first = (await _sent(door, 7))[::-1]
    first = door.path("/Transmissions?Page=0&PageSize=3")
    assert await _walk(door, first) == newest_first
    page = (await door.client.get(first)).json()
    assert page["FirstPageUri"] == first
    last = (await door.client.get(page["LastPageUri"])).json()
    assert [fax["Guid"] for fax in last["Transmissions"]] == newest_first[6:]
    assert last["Page"] == 2
    assert await _walk(door, page["LastPageUri"], "PreviousPageUri") == [
        *newest_first[6:],
        *newest_first[3:6],
        *newest_first[:3],
    ]


async def test_a_fax_that_comes_while_pages_are_followed_moves_nothing(door: Door) -> None:
    before = (await _sent(door, 5))[::-1]
    page = (await door.client.get(door.path("/Transmissions?PageSize=2"))).json()
    await _sent(door, 3)
    assert await _walk(door, page["NextPageUri"]) == before[2:]


async def test_an_empty_list_has_its_uris(door: Door) -> None:
    page = (await door.client.get(door.path("/Transmissions"))).json()
    assert (page["Transmissions"], page["Total"], page["NumPages"]) == ([], 0, 0)
    assert page["LastPageUri"] == page["FirstPageUri"]


@pytest.mark.parametrize(
    "query",
    ["Page=-1", "Page=x", "PageSize=0", "Page=９", "Sort=1", "Page=9999999&PageSize=100", "Page=1&Page=2", "After=x", "After="],
)
async def test_a_page_that_cannot_be_is_400(door: Door, query: str) -> None:
    message(await door.client.get(door.path(f"/Transmissions?{query}")), 400)


async def test_a_page_has_at_most_a_hundred_and_says_so(door: Door) -> None:
    assert (await door.client.get(door.path("/Transmissions?PageSize=5000"))).json()["PageSize"] == 100


async def test_after_another_accounts_fax_nothing_of_it_is_told(door: Door) -> None:
    await _sent(door, 3)
    theirs = await door.client.post(
        door.path("/Transmissions", door.other), data={"To": TO}, files=FILES, auth=(OTHER, PASSWORD)
    )
    guid = theirs.json()["Transmission"]["Guid"]
    page = (await door.client.get(door.path(f"/Transmissions?After={guid}"))).json()
    assert len(page["Transmissions"]) == 3
    assert guid not in json.dumps(page)
