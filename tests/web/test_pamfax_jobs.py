"""A fax of the PamFax door from Create to Cancel: what it is made of, when it may be sent, what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pypdf
import pytest
from sqlalchemy import update

from gateway.carriers import pamfax_wire as wire
from gateway.spool import ledger, queries, steering
from gateway.spool.commit import Transaction
from gateway.spool.schema import transmission
from tests.web.pamfax_door import LETTER, LINE, LOGIN, OTHER, PASSWORD, TO, Door, arrived, element, entries, opened, settings


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, settings()) as made:
        await made.sign_in()
        yield made


async def written(door: Door, *numbers: str) -> list[str]:
    """A job with a letter to some numbers, ready to be sent; the recipients' uuids."""
    await door.call("FaxJob/Create")
    added = await door.call("FaxJob/AddRecipients", numbers=list(numbers or [TO]))
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    return [one["uuid"] for one in entries(added["Recipients"])]


async def count(door: Door) -> int:
    """How many faxes the spool has."""
    return sum(n for n, _ in (await door.house.store.read(queries.unfinished)).values())


async def test_before_create_there_is_no_fax(door: Door) -> None:
    for method in ("AddRecipient", "AddFile", "GetFaxState", "Send", "ListRecipients", "SetCover", "RemoveAllFiles"):
        said: dict[str, Any] = {"number": TO} if method == "AddRecipient" else {}
        assert await door.code(f"FaxJob/{method}", upload=LETTER if method == "AddFile" else None, **said) == "no_fax"


async def test_ten_recipients_from_create_to_the_state_of_each(door: Door) -> None:
    await door.credit(100)
    numbers = [f"+1415555{n:04}" for n in range(100, 110)]
    assert (await door.call("FaxJob/Create"))["FaxContainer"]["state"] == "editing"
    first = (await door.call("FaxJob/AddRecipient", number=numbers[0], name="Ann"))["FaxRecipient"]
    assert (first["number"], first["name"], first["country"], first["state"]) == (numbers[0], "Ann", "US", "unknown")
    rest = entries((await door.call("FaxJob/AddRecipients", numbers=numbers[1:], names=["Bob"]))["Recipients"])
    assert [one["name"] for one in rest] == ["Bob", *[""] * 8]
    file = (await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf"))["FaxContainerFile"]
    assert (file["name"], file["ext"], file["file_order"], file["state"]) == ("letter.pdf", "pdf", 0, "")
    await door.call("FaxJob/SetCover", template_id="1", text="Hello {MyVar}", data={"{MyVar}": "you"})
    state = await door.ready()
    assert (state["FaxContainer"]["state"], state["FaxContainer"]["pages"]) == ("ready_to_send", 2)
    assert entries(state["Files"]) == [{"file_order": 0, "state": "converted"}]
    assert state["FaxContainer"]["price"] == pytest.approx(20 * first["price_per_page"])
    await door.call("FaxJob/Send")
    uuids = [first["uuid"], *(one["uuid"] for one in rest)]
    assert await count(door) == 10
    for uuid, number in zip(uuids, numbers, strict=True):
        fax = (await door.call("FaxHistory/GetFaxDetails", uuid=uuid))["FaxRecipient"]
        assert (fax["number"], fax["state"]) == (number, "queued")
    assert len(entries((await door.call("FaxHistory/ListFaxGroup", uuid=uuids[3]))["Faxes"])) == 10
    under_way = entries((await door.call("FaxJob/FaxesInProgress"))["Faxes"])
    assert {one["recipient_uuid"] for one in under_way} == set(uuids)
    assert {one["container_id"] for one in under_way} == {state["FaxContainer"]["uuid"]}
    assert await door.house.store.read(ledger.imbalances) == []


async def test_a_send_whose_answer_was_lost_is_answered_again_and_sends_nothing_twice(door: Door) -> None:
    await door.credit(10)
    await written(door)
    await door.ready()
    await asyncio.gather(*(door.call("FaxJob/Send") for _ in range(5)))
    await door.call("FaxJob/Send")
    assert await count(door) == 1
    assert await door.code("FaxJob/AddRecipient", number="+14155550124") == "no_fax"
    await door.call("FaxJob/Create")
    assert await door.code("FaxJob/Send") == "no_recipients_in_fax"


async def test_what_is_added_while_it_is_sent_is_sent_or_not_added(door: Door) -> None:
    """A success for a recipient whom nobody ever faxes would be a fax lost in silence."""
    await door.credit(100)
    for n in range(12):
        await written(door, f"+1415555{2 * n + 1000:04}")
        await door.ready()

        async def added(number: str, pause: float) -> str:
            await asyncio.sleep(pause)
            answer = await door.raw("FaxJob/AddRecipient", apioutputformat="API_FORMAT_JSON", number=number)
            body = answer.json()
            return str(body["FaxRecipient"]["uuid"]) if body["result"]["code"] == "success" else ""

        sent, uuid = await asyncio.gather(door.code("FaxJob/Send"), added(f"+1415555{2 * n + 1001:04}", n / 500))
        assert sent in ("success", "fax_not_ready")
        if sent == "fax_not_ready":
            await door.call("FaxJob/Send")
        if uuid:
            await door.call("FaxHistory/GetFaxDetails", uuid=uuid)


async def test_what_lacks_is_said_by_its_code(door: Door) -> None:
    await door.call("FaxJob/Create")
    assert await door.code("FaxJob/Send") == "no_recipients_in_fax"
    await door.call("FaxJob/AddRecipient", number=TO)
    assert await door.code("FaxJob/Send") == "no_files_in_fax"
    assert await door.code("FaxJob/AddRecipient", number=TO) == "duplicate_recipient"
    assert await door.code("FaxJob/AddRecipient", number="12") == "invalid_fax_number"
    assert await door.code("FaxJob/AddRecipient", number="+19005550123") == "unsupported_fax_number"
    assert await door.code("FaxJob/AddRecipient", number="+33155501234") == "unsupported_fax_number"
    assert await door.code("FaxJob/SetCover", template_id="77") == "invalid_cover"
    assert await door.code("FaxJob/RemoveFile", file_uuid="nothing") == "file_not_found"
    assert await door.code("FaxJob/RemoveRecipient", number="+14155550199") == "invalid_recipient"


async def test_an_upload_is_checked_against_its_size_and_md5(door: Door) -> None:
    await door.call("FaxJob/Create")
    md5, size = hashlib.md5(LETTER["file"][1], usedforsecurity=False).hexdigest(), len(LETTER["file"][1])

    async def code(content: bytes = LETTER["file"][1], name: str = "letter.pdf", **said: Any) -> str:
        return await door.code("FaxJob/AddFile", upload={"file": (name, content)}, **said)

    assert await code(filename="letter.pdf", file_size=size, file_contentmd5=md5) == "success"
    assert await code(filename="letter.pdf", file_size=size + 1) == "file_wrong_size"
    assert await code(filename="letter.pdf", file_contentmd5="0" * 32) == "file_wrong_checksum"
    assert await code(filename="virus.exe") == "file_extension_not_supported"
    assert await code(filename="x" * 300 + ".pdf") == "filename_too_long"
    assert await code(b"", filename="empty.pdf") == "bad_file"
    assert await code(name="file") == "success"  # one program calls every file so
    assert await code(name=r"C:\letters\a.pdf") == "success"
    names = [file["name"] for file in entries((await door.call("FaxJob/ListFaxFiles"))["Files"])]
    assert names == ["letter.pdf", "file", "a.pdf"]


async def test_a_file_that_cannot_become_pages_ends_the_waiting(door: Door) -> None:
    await door.call("FaxJob/Create")
    await door.call("FaxJob/AddRecipient", number=TO)
    await door.call("FaxJob/AddFile", upload={"file": ("broken.pdf", b"%PDF-1.4 nothing")}, filename="broken.pdf")
    state = await door.ready()
    assert state["FaxContainer"]["state"] == "conversion_failed"
    assert entries(state["Files"])[0]["state"] == "failed"
    assert await door.code("FaxJob/Send") == "conversion_compilefax"
    await door.call("FaxJob/RemoveAllFiles")
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    assert (await door.ready())["FaxContainer"]["pages"] == 1


async def test_without_credit_nothing_is_sent_and_send_later_keeps_it(door: Door) -> None:
    await written(door)
    assert (await door.ready())["FaxContainer"]["state"] == "not_enough_credit"
    assert await door.code("FaxJob/Send") == "not_enough_credit"
    assert await count(door) == 0
    await door.call("FaxJob/SendLater")
    assert await count(door) == 1


async def test_send_later_of_what_can_be_paid_is_enough_credit(door: Door) -> None:
    await door.credit(10)
    await written(door)
    await door.ready()
    assert await door.code("FaxJob/SendLater") == "enough_credit"
    assert await count(door) == 0


async def test_a_change_is_told_once_though_another_node_wrote_it_down_late(door: Door) -> None:
    await door.credit(10)
    uuids = await written(door, "+14155550123", "+14155550124", "+14155550125")
    await door.ready()
    await door.call("FaxJob/Send")
    await door.call("Session/RegisterListener", listener_types=["faxall"])

    async def changed(uuid: str, seconds: float, state: str = "sending") -> None:
        def record(t: Transaction) -> None:
            values = {"state": state, "updated_at": t.now + timedelta(seconds=seconds)}
            t.db.execute(update(transmission).where(transmission.c.id == f"tx_{uuid}").values(**values))

        await door.house.store.write(record)

    async def heard() -> list[str]:
        return [one["uuid"] for one in entries((await door.call("Session/ListChanges"))["Changes"])]

    door.clock.forward(60)
    await changed(uuids[0], 0)
    assert await heard() == [uuids[0]]
    await changed(uuids[1], -5)  # it has an earlier time, and comes later
    assert await heard() == [uuids[1]]
    assert await heard() == []
    await changed(uuids[0], 0, "delivered")  # the same fax again, at the same time
    await changed(uuids[2], 1)
    assert await heard() == [uuids[0], uuids[2]]
    assert await heard() == []
    await changed(uuids[1], 2, "deferred")
    assert await heard() == [uuids[1]]


async def test_pages_are_made_beforehand_as_the_account_wants_its_faxes(tmp_path: Path) -> None:
    office = {"name": "office", "login": LOGIN, "password": PASSWORD, "countries": ["US"], "cover_policy": "message"}
    async with opened(tmp_path, settings(account=[office], line=[])) as door:
        await door.sign_in()
        await written(door)
        await door.call("FaxJob/SetCover", template_id="1", text="")
        assert (await door.ready())["FaxContainer"]["pages"] == 1  # its cover page has nothing to say
        await door.call("FaxJob/SetCover", template_id="1", text="Hello")
        assert (await door.ready())["FaxContainer"]["pages"] == 2


async def test_a_delayed_fax_waits_for_its_time_and_can_be_moved(door: Door) -> None:
    await door.credit(10)
    (uuid,) = await written(door)
    await door.ready()
    for wrong in ("2001-01-01 10:00:00", "2099-01-01 10:00:00"):
        assert await door.code("FaxJob/Send", datetime=wrong) == "invalid_datetime"
    assert await door.code("FaxJob/Send", datetime="tomorrow") == "bad_datetime_value"
    at = door.house.store.now() + timedelta(days=2)
    await door.call("FaxJob/Send", datetime=at.strftime("%Y-%m-%d %H:%M:%S"))
    assert (await door.call("FaxHistory/GetFaxDetails", uuid=uuid))["FaxRecipient"]["state"] == "delayed"
    await door.call("FaxJob/SendDelayedFaxNow", uuid=uuid)
    assert (await door.call("FaxHistory/GetFaxDetails", uuid=uuid))["FaxRecipient"]["state"] == "queued"
    assert await door.code("FaxJob/SendDelayedFaxNow", uuid=uuid) == "fax_removed"


async def test_covers_are_offered_with_pictures(door: Door) -> None:
    await door.call("FaxJob/Create")
    covers = entries((await door.call("FaxJob/ListAvailableCovers"))["Covers"])
    assert [cover["title"] for cover in covers] == ["Basic", "Flowers", "Message", "Simple"]
    pictures = {
        (await door.raw("Common/GetPagePreview", uuid=cover["preview_id"], page_no=1, max_width=300)).content
        for cover in covers
    }
    assert len(pictures) == 4
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    assert entries((await door.call("FaxJob/ListAvailableCovers"))["Covers"])[0]["id"] == 0


async def test_a_cover_with_a_text_is_a_fax_of_its_own(door: Door) -> None:
    await door.credit(10)
    await door.call("FaxJob/Create")
    await door.call("FaxJob/AddRecipient", number=TO)
    await door.call("FaxJob/SetCover", template_id=3, text="Only this.")
    assert (await door.ready())["FaxContainer"]["pages"] == 1
    await door.call("FaxJob/Send")
    assert await count(door) == 1


async def test_the_pages_are_shown_before_they_are_sent(door: Door) -> None:
    await written(door)
    await door.ready()
    preview = await door.call("FaxJob/GetPreview", uuid="something")
    assert preview["Status"] == {"open": 0, "done": 1}
    (page,) = entries(preview["PreviewPages"])
    answer = await door.raw("Common/GetPagePreview", apioutputformat="API_FORMAT_JSON", max_width=0, **page)
    assert answer.headers["content-type"] == "image/png"
    assert await door.code("Common/GetPagePreview", uuid=page["uuid"], page_no=9) == "file_not_found"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("cancelled; nothing was sent", "success"),
        ("not cancelled: the carrier does not confirm it; it may still arrive", "unable_to_cancel"),
    ],
)
async def test_a_fax_is_called_cancelled_only_where_it_is(door: Door, answer: str, code: str) -> None:
    await door.credit(10)
    (uuid,) = await written(door)
    await door.ready()
    await door.call("FaxJob/Send")
    (fax,) = await door.house.store.read(queries.page)

    async def work() -> None:
        while not (wishes := await door.house.store.read(steering.pending, fax.id)):
            await asyncio.sleep(0.02)
        await door.house.store.write(steering.answer, wishes[0].id, answer)

    said, _ = await asyncio.gather(door.raw("FaxJob/Cancel", apioutputformat=wire.JSON, uuid=uuid), work())
    assert said.json()["result"]["code"] == code
    assert code == "success" or answer in said.text


async def test_a_fax_of_another_account_is_unknown(door: Door) -> None:
    await door.credit(10)
    (uuid,) = await written(door)
    await door.ready()
    await door.call("FaxJob/Send")
    await door.sign_in(OTHER)
    for method in ("FaxHistory/GetFaxDetails", "FaxHistory/GetTransmissionReport", "FaxJob/Cancel", "FaxHistory/PublishFax"):
        assert await door.code(method, uuid=uuid) == "fax_not_found"
    assert await door.code("Common/GetFile", file_uuid=uuid) == "file_not_found"
    assert entries((await door.call("FaxHistory/ListOutboxFaxes"))["OutboxFaxes"]) == []


async def test_a_received_fax_is_listed_fetched_read_noted_and_thrown_away(door: Door) -> None:
    await door.call("FaxHistory/ListInboxFaxes")
    uuid = await arrived(door)
    (fax,) = entries((await door.call("FaxHistory/ListInboxFaxes"))["InboxFaxes"])
    assert (fax["uuid"], fax["sender"], fax["number"], fax["read"]) == (uuid, "+14155550177", LINE, 0)
    answer = await door.raw("Common/GetFile", file_uuid=fax["file_uuid"])
    assert answer.headers["content-type"] == "application/pdf"
    assert len(pypdf.PdfReader(io.BytesIO(answer.content)).pages) == 1
    assert (await door.call("FaxHistory/CountFaxes", type="inbox_unread"))["Faxes"]["count"] == 1
    await door.call("FaxHistory/SetFaxRead", uuid=uuid)
    assert (await door.call("FaxHistory/CountFaxes", type="inbox_unread"))["Faxes"]["count"] == 0
    await door.call("FaxHistory/AddFaxNote", fax_uuid=uuid, note="Call back")
    assert [note["note"] for note in entries((await door.call("FaxHistory/ListFaxNotes", fax_uuid=uuid))["Notes"])] == [
        "Call back"
    ]
    changed = await door.call("FaxHistory/SetSpamStateForFaxes", uuids=[uuid, "nothing"], is_spam=True)
    assert (len(entries(changed["Faxes"])), entries(changed["Errors"])[0]["uuid"]) == (1, "nothing")
    await door.call("FaxHistory/DeleteFaxes", uuids=[uuid])
    assert entries((await door.call("FaxHistory/ListInboxFaxes"))["InboxFaxes"]) == []
    assert [one["uuid"] for one in entries((await door.call("FaxHistory/ListTrash"))["TrashFaxes"])] == [uuid]
    await door.call("FaxHistory/RestoreFax", uuid=uuid)
    assert len(entries((await door.call("FaxHistory/ListInboxFaxes"))["InboxFaxes"])) == 1
    await door.call("FaxHistory/DeleteFaxes", uuids=[uuid])
    await door.call("FaxHistory/EmptyTrash")
    assert await door.code("FaxHistory/GetInboxFax", uuid=uuid) == "fax_not_found"


async def test_a_published_fax_is_seen_by_others_until_it_is_not(door: Door) -> None:
    uuid = await arrived(door)
    office = door.token
    await door.sign_in(OTHER)
    assert await door.code("Common/GetFile", file_uuid=uuid) == "file_not_found"
    other, door.token = door.token, office
    await door.call("FaxHistory/PublishFax", uuid=uuid)
    door.token = ""
    assert (await door.call("FaxHistory/GetPublishedFax", uuid=uuid))["PublishedFax"]["uuid"] == uuid
    door.token = other
    assert (await door.raw("Common/GetFile", file_uuid=uuid)).content == LETTER["file"][1]
    assert (await door.raw("Common/GetPagePreview", uuid=uuid, page_no=1)).headers["content-type"] == "image/png"
    assert await door.code("FaxHistory/GetInboxFax", uuid=uuid) == "fax_not_found"
    door.clock.forward(31 * 86_400)
    await door.sign_in()
    assert await door.code("FaxHistory/GetPublishedFax", uuid=uuid) == "fax_not_found"
    await door.call("FaxHistory/PublishFax", uuid=uuid)
    assert (await door.call("FaxHistory/GetPublishedFax", uuid=uuid))["PublishedFax"]["uuid"] == uuid
    await door.call("FaxHistory/DeleteFaxes", uuids=[uuid])
    await door.call("FaxHistory/EmptyTrash")
    assert await door.code("FaxHistory/GetPublishedFax", uuid=uuid) == "fax_not_found"


async def test_a_number_in_a_list_is_read_as_one_alone_is(tmp_path: Path) -> None:
    """Where a national number looks like one with another country's code, a stranger would be faxed."""
    accounts = [{"name": "office", "login": LOGIN, "password": PASSWORD, "countries": ["US", "CN"]}]
    async with opened(tmp_path, settings(account=accounts, line=[], region="CN")) as door:
        await door.sign_in()
        await door.call("FaxJob/Create")
        alone = (await door.call("FaxJob/AddRecipient", number="13812345678"))["FaxRecipient"]["number"]
        await door.call("FaxJob/RemoveAllRecipients")
        listed = await door.call("FaxJob/AddRecipients", numbers=["13812345678", " 14155550123"])
        assert [one["number"] for one in entries(listed["Recipients"])] == [alone, TO]
        assert alone == "+8613812345678"


async def test_a_list_that_is_not_given_may_be_sent_as_false(door: Door) -> None:
    uuid = await arrived(door)
    recent = await door.call("FaxHistory/ListRecentFaxes", data_to_list="False")
    assert [one["uuid"] for one in entries(recent["RecentFaxes"])] == [uuid]
    wall = await door.call("UserInfo/ListWallMessages", data_to_list="False")
    assert [one["uuid"] for one in entries(wall["WallMessages"])] == [uuid]
    await door.call("FaxJob/Create")
    added = await door.call("FaxJob/AddRecipients", numbers=[TO], names="False")
    assert entries(added["Recipients"])[0]["name"] == ""


async def test_a_day_that_has_no_morrow_is_no_fault_of_ours(door: Door) -> None:
    for day in ("9999-12-31", "0001-01-01"):
        code = await door.code("FaxHistory/DeleteFaxesForPeriod", type="history", date1=day, date2=day)
        assert code in ("success", "bad_date_value")


async def test_an_answer_is_the_same_in_both_formats(door: Door) -> None:
    await written(door)
    await door.ready()
    in_json = await door.call("FaxJob/GetFaxState")
    found = element(await door.raw("FaxJob/GetFaxState"))
    container = found.find("FaxContainer")
    assert container is not None
    said = {name: str(value) for name, value in in_json["FaxContainer"].items() if value is not None}
    assert dict(container.attrib) == said
    assert len(found.findall("Files/File")) == len(entries(in_json["Files"])) == 1
