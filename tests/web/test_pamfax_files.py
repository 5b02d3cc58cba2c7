"""Files of a fax at the PamFax door: in every form they may come, and from the web; QuickSend, which takes one too."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pypdf
import pytest

from gateway.carriers import pamfax_wire as wire
from gateway.fax import TransmissionId
from gateway.spool import ledger, pamfax, queries
from tests.flows.house import pdf
from tests.web.pamfax_door import LETTER, LOGIN, PASSWORD, TO, Door, arrived, entries, opened, settings
from tests.web.test_outbound import Far, answer
from tests.web.test_pamfax_jobs import count

CONTENT = pdf("A letter.")
PACKED = base64.encodebytes(CONTENT)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, settings(http={"callback_networks": ["127.0.0.0/8"]})) as made:
        await made.sign_in()
        await made.call("FaxJob/Create")
        yield made


async def kept(door: Door) -> list[bytes]:
    """The files of the job."""
    listed = entries((await door.call("FaxJob/ListFaxFiles"))["Files"])
    return [(await door.raw("Common/GetFile", file_uuid=file["uuid"])).content for file in listed]


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/pdf"])
async def test_a_file_is_the_whole_body(door: Door, kind: str) -> None:
    said = {"apikey": door.application.key, "usertoken": door.token, "filename": "letter.pdf", "file_size": str(len(CONTENT))}
    said["file_contentmd5"] = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    said["apicheck"] = wire.apicheck(said, door.application.secret)
    told = await door.client.post("/pamfax/FaxJob/AddFile", params=said, content=CONTENT, headers={"content-type": kind})
    assert "<code>success</code>" in told.text
    assert await kept(door) == [CONTENT]


@pytest.mark.parametrize(
    "part",
    [
        ("letter.pdf", PACKED, "application/pdf", {"Content-Transfer-Encoding": "base64"}),
        ("letter.pdf", PACKED, "application/pdf", {}),
        ("letter.pdf", base64.b64encode(CONTENT), "", {}),
    ],
)
async def test_a_part_may_be_in_base64(door: Door, part: Any) -> None:
    await door.call("FaxJob/AddFile", upload={"file": part}, filename="letter.pdf", file_size=len(CONTENT))
    assert await kept(door) == [CONTENT]


async def test_a_text_is_not_taken_for_base64_unless_it_says_so(door: Door) -> None:
    await door.call("FaxJob/AddFile", upload={"file": ("note.txt", b"abcd")}, filename="note.txt")
    packed = ("note.txt", b"aGVsbG8=", "text/plain", {"Content-Transfer-Encoding": "base64"})
    await door.call("FaxJob/AddFile", upload={"file": packed}, filename="note.txt")
    assert await kept(door) == [b"abcd", b"hello"]


@pytest.mark.parametrize("counts", [True, False])
async def test_a_file_in_base64_may_be_a_text_that_counts_in_the_checksum_or_does_not(door: Door, counts: bool) -> None:
    said = {"apikey": door.application.key, "usertoken": door.token, "filename": "letter.pdf"}
    file = {"file": base64.b64encode(CONTENT).decode()}
    said["apicheck"] = wire.apicheck(said | file if counts else said, door.application.secret)
    told = await door.client.post("/pamfax/FaxJob/AddFile", data={**said, **file})
    assert "<code>success</code>" in told.text
    assert await kept(door) == [CONTENT]
    said["apicheck"] = "0" * 32
    assert "<code>403</code>" in (await door.client.post("/pamfax/FaxJob/AddFile", data={**said, **file})).text


async def test_what_is_no_base64_is_a_bad_file(door: Door) -> None:
    assert await door.code("FaxJob/AddFile", filename="letter.pdf", file="no base64!") == "bad_file"
    assert await door.code("FaxJob/AddFile", filename="letter.pdf") == "no_file_uploaded"


async def test_a_file_from_the_web_becomes_a_file_of_the_fax(door: Door) -> None:
    far = Far(answer("200 OK", "Content-Type: application/pdf", body=CONTENT))
    server = await far.start()
    for path, name in (("files/Tropo.pdf", "Tropo.pdf"), ("download", "download.pdf")):
        url = f"http://127.0.0.1:{far.port}/{path}"
        assert (await door.call("FaxJob/AddRemoteFile", url=url))["FaxContainerFile"]["name"] == name
    server.close()
    assert await kept(door) == [CONTENT, CONTENT]


@pytest.mark.parametrize("url", ["http://192.168.1.1/x.pdf", "file:///etc/passwd", "http://127.0.0.1:1/x.pdf", "x"])
async def test_what_cannot_be_fetched_is_download_failed(door: Door, url: str) -> None:
    assert await door.code("FaxJob/AddRemoteFile", url=url) == "download_failed"


async def test_only_what_the_operator_allows_is_fetched_from_this_machine(tmp_path: Path) -> None:
    async with opened(tmp_path, settings()) as door:
        await door.sign_in()
        await door.call("FaxJob/Create")
        far = Far(answer("200 OK", body=CONTENT))
        server = await far.start()
        assert await door.code("FaxJob/AddRemoteFile", url=f"http://localhost:{far.port}/x.pdf") == "download_failed"
        server.close()
        assert far.requests == []


QUICK = {"username": LOGIN, "password": PASSWORD, "rec_number": TO, "rec_name": "Ann"}


async def test_a_quick_fax_is_signed_in_made_and_sent_in_one_call(door: Door) -> None:
    await door.credit(10)
    door.token = ""
    sent = await door.call("FaxJob/QuickSend", upload=LETTER, filename="letter.pdf", cover_id=1, cover_text="Hi", **QUICK)
    assert (sent["FaxContainer"]["state"], sent["FaxContainer"]["pages"]) == ("sent", 2)
    (one,) = entries(sent["Recipients"])
    await door.sign_in()
    fax = (await door.call("FaxHistory/GetFaxDetails", uuid=one["uuid"]))["FaxRecipient"]
    assert (fax["number"], fax["name"], fax["state"]) == (TO, "Ann", "queued")
    assert await door.house.store.read(ledger.imbalances) == []


async def test_a_text_of_a_cover_that_is_not_given_may_be_sent_as_0(door: Door) -> None:
    await door.call("FaxJob/Create")
    await door.call("FaxJob/SetCover", template_id="1", text="0", data="0")
    container = (await door.call("FaxJob/GetFaxState"))["FaxContainer"]
    assert (container["cover_id"], container["cover_text"]) == (1, None)


async def test_a_quick_fax_that_lacks_something_is_not_sent(door: Door) -> None:
    door.token = ""
    for said, code in (
        ({**QUICK, "password": "wrong"}, "user_not_found"),
        ({**QUICK, "rec_number": "12"}, "invalid_fax_number"),
        ({**QUICK, "cover_id": 77}, "invalid_cover"),
        (QUICK, "no_files_in_fax"),
        ({**QUICK, "cover_id": 1, "cover_text": "Hi"}, "not_enough_credit"),
    ):
        assert await door.code("FaxJob/QuickSend", **said) == code
    assert await count(door) == 0


async def test_of_many_quick_faxes_at_once_those_are_sent_that_can_be_paid(door: Door) -> None:
    price = (await door.house.store.read(ledger.of, door.office.id)).available
    assert price == 0
    await door.house.ledger.credit(door.office.id, 3 * 90_000, "test")
    door.token = ""
    codes = await asyncio.gather(
        *(
            door.code("FaxJob/QuickSend", **{**QUICK, "rec_number": f"+141555501{n}"}, cover_id=1, cover_text="Hi")
            for n in range(40, 46)
        )
    )
    assert sorted(codes) == ["not_enough_credit"] * 3 + ["success"] * 3
    assert await count(door) == 3
    assert await door.house.store.read(ledger.imbalances) == []


async def test_create_gives_the_job_again_until_it_is_sent(door: Door) -> None:
    await door.credit(10)
    first = (await door.call("FaxJob/Create"))["FaxContainer"]["uuid"]
    await door.call("FaxJob/AddRecipient", number=TO, name="x" * 100)
    assert (await door.call("FaxJob/Create"))["FaxContainer"]["uuid"] == first
    (one,) = entries((await door.call("FaxJob/ListRecipients"))["Recipients"])
    assert one["name"] == "x" * 80
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    await door.ready()
    await door.call("FaxJob/Send")
    assert (await door.call("FaxJob/Create"))["FaxContainer"]["uuid"] != first
    (sent,) = entries((await door.call("FaxHistory/ListOutboxFaxes"))["OutboxFaxes"])
    assert sent["name"] == "x" * 80


async def test_fifteen_spam_marks_of_a_number_send_its_next_fax_to_the_trash(door: Door) -> None:
    spammer, friend = "+14155550666", "+14155550177"
    uuids = [await arrived(door, f"spam{n}", spammer) for n in range(15)]
    await door.call("FaxHistory/SetSpamStateForFaxes", uuids=uuids[:14], is_spam=1)
    known = await arrived(door, "before", spammer)
    await door.call("FaxHistory/SetSpamStateForFaxes", uuids=uuids[14:], is_spam=1)
    last, other = await arrived(door, "after", spammer), await arrived(door, "friend", friend)
    nobody = await arrived(door, "nobody", "")
    inbox = [fax["uuid"] for fax in entries((await door.call("FaxHistory/ListInboxFaxes", items_per_page=100))["InboxFaxes"])]
    assert last not in inbox
    assert {known, other, nobody} <= set(inbox)
    assert [fax["uuid"] for fax in entries((await door.call("FaxHistory/ListTrash"))["TrashFaxes"])] == [last]
    assert (await door.call("FaxHistory/CountFaxes", type="inbox"))["Faxes"]["count"] == len(inbox)
    errors = (await door.call("FaxHistory/SetSpamStateForFaxes", uuids=[nobody], is_spam=1))["Errors"]
    assert entries(errors) == [{"uuid": nobody, "code": "empty_sender"}]
    await door.call("FaxHistory/SetSpamStateForFaxes", uuids=uuids[:1], is_spam=0)
    assert await arrived(door, "again", spammer) in {
        fax["uuid"] for fax in entries((await door.call("FaxHistory/ListInboxFaxes", items_per_page=100))["InboxFaxes"])
    }
    await door.sign_in("other@example.net")
    assert entries((await door.call("FaxHistory/ListTrash"))["TrashFaxes"]) == []


async def test_a_cover_says_the_facts_of_each_fax_where_its_text_has_placeholders(door: Door) -> None:
    own = {"file": ("own.txt", "Für {ToName} ({FaxNumber})\n{Message}\n{Unknown} {Page}/{Pages}".encode())}
    cover = (await door.call("UserInfo/AddCover", upload=own, title="Own"))["Cover"]
    assert (cover["title"], cover["creator"], cover["id"]) == ("Own", 1, 101)
    await door.call("FaxJob/AddRecipient", number=TO, name="Ann")
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    await door.call("FaxJob/SetCover", template_id=101, text="Dear {ToName}, {What}!", data={"{What}": "{FromName}"})
    assert (await door.ready())["FaxContainer"]["pages"] == 2
    shown = await pages(door)
    assert "Für Ann (+1 415-555-0123)" in shown[0]
    assert "Dear Ann, office!" in shown[0]
    assert "{Unknown} 1/2" in shown[0]
    assert "A letter." in shown[1]
    await door.call("FaxJob/SetCover", template_id=1, text="Pages: {Pages}")
    await door.ready()
    assert "Pages: 2" in (await pages(door))[0]


async def pages(door: Door) -> list[str]:
    """What stands on the pages of the job."""
    store = door.house.store
    uuid = (await door.call("FaxJob/GetPreview"))["PreviewPages"]["content"][0]["uuid"]
    job = (await door.call("FaxJob/Create"))["FaxContainer"]["uuid"]
    document = (await store.read(pamfax.files, job))[uuid]
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(await door.house.documents.get(document))).pages]


async def test_covers_are_added_shown_taken_away_and_restored(door: Door) -> None:
    for content in (b"\xff\xfe", b"", b"x" * 10_001, b"a\0b"):
        assert await door.code("UserInfo/AddCover", upload={"file": ("x.txt", content)}) == "bad_cover_file"
    cover = (await door.call("UserInfo/AddCover", upload={"file": ("mine.txt", b"Hello")}))["Cover"]
    assert cover["title"] == "mine"
    picture = await door.raw("Common/GetPagePreview", uuid=cover["preview_id"], page_no=1)
    assert picture.content.startswith(b"\x89PNG")
    for uuid in ("1", "2", "3", "4", cover["template_id"]):
        await door.call("UserInfo/DeleteCover", uuid=uuid)
    assert await door.code("UserInfo/DeleteCover", uuid="1") == "invalid_cover"
    assert entries((await door.call("FaxJob/ListAvailableCovers", defaults_if_empty=0))["Covers"]) == []
    assert len(entries((await door.call("FaxJob/ListAvailableCovers"))["Covers"])) == 4
    await door.call("UserInfo/RestoreDefaultCovers")
    assert entries((await door.call("UserInfo/ListCovers"))["Covers"])[0]["title"] == "Basic"
    for n in range(20):
        await door.call("UserInfo/AddCover", upload={"file": ("mine.txt", b"Hello")}, title=f"n{n}")
    assert await door.code("UserInfo/AddCover", upload={"file": ("mine.txt", b"Hello")}) == "too_many_covers"


async def test_who_wants_to_be_told_of_what_stands_with_each_fax(door: Door) -> None:
    await door.credit(10)

    async def told() -> tuple[str, ...]:
        await door.call("FaxJob/Create")
        added = await door.call("FaxJob/AddRecipient", number=TO)
        await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
        await door.ready()
        await door.call("FaxJob/Send")
        case = await door.house.store.read(queries.case, TransmissionId(f"tx_{added['FaxRecipient']['uuid']}"))
        assert case is not None
        return case.recipients[0].notify

    assert await told() == ()
    await door.call("FaxJob/Create")
    await door.call("FaxJob/SetNotifications", notifications={"email": 1, "sms": 0}, error_notification=1)
    state = (await door.call("FaxJob/GetFaxState"))["FaxContainer"]
    assert (state["send_mail"], state["error_notification"]) == (1, 1)
    assert await told() == ("FAILURE",)
    assert await told() == ()
    await door.call("FaxJob/Create")
    await door.call("FaxJob/SetNotifications", notifications={"Email": 0}, save_defaults=1)
    assert await told() == ("NEVER",)
    assert await told() == ("NEVER",)
    await door.call("UserInfo/SetNotifyProviderSettings", provider="email", success=1, failure=0, inbox=1, group=0)
    assert await told() == ("SUCCESS",)
    settings_ = entries((await door.call("UserInfo/GetNotifySettings"))["NotifySettings"])
    assert settings_ == [{"provider": "email", "success": 1, "failure": 0, "inbox": 1, "group": 0}]
    for path, said in (
        ("FaxJob/SetNotifications", {"notifications": {"sms": 1}}),
        ("FaxJob/SetNotifications", {"notifications": {"email": 1}, "group_notification": 1}),
        ("UserInfo/SetNotifyProviderSettings", {"provider": "skypechat", "success": 1}),
        ("UserInfo/SetNotifyProviderSettings", {"provider": "email", "inbox": 0}),
    ):
        await door.call("FaxJob/Create")
        assert await door.code(path, **said) == "missing_right_messaging"
