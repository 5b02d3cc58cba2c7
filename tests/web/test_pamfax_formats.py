"""The same call gives the same content in both formats: every method that is served, in two gateways that live through the
same, one asked in XML and one in JSON."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.carriers import pamfax_wire as wire
from gateway.web.pamfax.absent import ABSENT, processors
from tests.web.pamfax_door import LETTER, LINE, LOGIN, PASSWORD, TO, Door, arrived, ended, maker, opened, settings

Say = Callable[..., Awaitable[Any]]
_FRESH = re.compile(r"\b(?:[0-9a-z]{32}|(?:[a-z]{2,3}_)?[0-9a-z]{26})\b|[0-9-]{10} [0-9:]{8}")
_COVER = {"file": ("own.txt", b"Dear {ToName},\n{Message}", "text/plain")}


async def story(door: Door, say: Say) -> None:
    """Every method once at least. `say` makes a call and returns its members, None where it answers a file."""
    await say("Session/VerifyUser", username=LOGIN, password=PASSWORD)
    for method in ("KeepAlive", "Ping", "ReloadUser", "ListChanges"):
        await say(f"Session/{method}")
    await say("Session/RegisterListener", listener_types=["faxall"])
    identifier = (await say("Session/CreateLoginIdentifier"))["UserIdentifier"]["identifier"]
    await say("Session/RemoveLoginIdentifier", identifier=identifier)
    await say("Session/VerifyFromIdentifier", identifier=identifier)
    await in_common(say)
    await say("Shopping/AddCreditToSandboxUser", amount=50, reason="test")
    await say("Shopping/RedeemCreditVoucher", vouchercode="PCPC0815")
    fax = await a_job(door, say)
    await a_history(door, say, fax)
    await a_user(say)


async def in_common(say: Say) -> None:
    for method in (
        "GetCurrencyByLang",
        "GetCurrentCultureInfo",
        "GetCurrentSettings",
        "GetFormattedPrice",
        "GetGeoIPInformation",
        "ListCountries",
        "ListCountriesPrices",
        "ListCountryStates",
        "ListCurrencies",
        "ListLanguages",
        "ListStrings",
        "ListSupportedFileTypes",
        "ListTimezones",
        "ListVersions",
        "ListZones",
        "SetCulture",
    ):
        await say(f"Common/{method}", lang="en", ip="192.0.2.1", language="en", ids=["hello"])
    for method in ("ListCountriesForZone", "ListDestinationsForZone"):
        await say(f"Common/{method}", zone=1)
    for method in ("GetNumberInfo", "GetPagePrice"):
        await say(f"NumberInfo/{method}", faxnumber=TO)
    for method in (
        "ListAvailableItems",
        "ListAvailableItemsForPFCredit",
        "ListFaxInCountries",
        "GetNearestFaxInNumber",
        "GetShopLink",
    ):
        await say(f"Shopping/{method}")
    await say("Shopping/ListFaxInAreacodes", country_code="US", state="CA")


async def a_job(door: Door, say: Say) -> str:
    await say("FaxJob/Create", user_agent="a program")
    first = (await say("FaxJob/AddRecipient", number=TO, name="Ann"))["FaxRecipient"]["uuid"]
    await say("FaxJob/AddRecipients", numbers=["+14155550124", "+14155550125"])
    await say("FaxJob/ListRecipients")
    await say("FaxJob/RemoveRecipient", number="+14155550125")
    own = (await say("UserInfo/AddCover", upload=_COVER, title="My own"))["Cover"]["template_id"]
    await say("FaxJob/ListAvailableCovers")
    await say("UserInfo/ListCovers")
    await say("FaxJob/SetCover", template_uuid=own, text="Hello")
    await say("FaxJob/RemoveCover")
    for uuid in (own, "1"):
        await say("UserInfo/DeleteCover", uuid=uuid)
    await say("UserInfo/RestoreDefaultCovers")
    file = (await say("FaxJob/AddFile", upload=LETTER, filename="letter.pdf"))["FaxContainerFile"]["file_uuid"]
    await say("Common/GetFile", file_uuid=file)
    await say("FaxJob/ListFaxFiles")
    await say("FaxJob/RemoveFile", file_uuid=file)
    await say("FaxJob/AddRemoteFile", url="http://127.0.0.1:1/nothing.pdf")
    await say("FaxJob/RemoveAllFiles")
    await say("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    await say("FaxJob/SetSenderDetails", number=LINE, name="Office")
    await say("FaxJob/SetNotifications", notifications={"email": True}, error_notification=True)
    await say("FaxJob/ResetNotifications")
    await door.ready()
    await say("FaxJob/GetFaxState")
    page = (await say("FaxJob/GetPreview"))["PreviewPages"][0]
    await say("FaxJob/StartPreviewCreation")
    await say("Common/GetPagePreview", **page)
    await say("FaxJob/SendLater")
    await say("FaxJob/Send")
    await say("FaxJob/SetRecipients", numbers=[TO])
    await say("FaxJob/RemoveAllRecipients")
    await say("FaxJob/FaxesInProgress")
    for method in ("SendUnpaidFaxes", "SendUnpaid"):
        await say(f"FaxJob/{method}", uuids=[first])
    await say("FaxJob/EditDelayedFax", fax_uuid=first)
    await say("FaxJob/SendDelayedFaxNow", uuid=first)
    await say("FaxJob/QuickSend", username=LOGIN, password=PASSWORD, rec_number=TO, rec_name="Bob", cover_id=1, cover_text="Hi")
    await say("FaxHistory/GetFaxDetails", uuid=first)
    await say("FaxJob/Cancel", uuid=first)
    return str(first)


async def a_history(door: Door, say: Say, sent: str) -> None:
    await say("FaxHistory/ListRecentFaxes")
    await say("FaxHistory/ListOutboxFaxes")
    await ended(door, sent, "delivered")
    came = await arrived(door)
    await say("FaxJob/CloneFax", uuid=came, user_ip="x", user_agent="y")
    await say("FaxJob/AddAnotherFax", fax_uuid=came)
    for method in (
        "ListInboxFaxes",
        "ListInboxFax",
        "ListSentFaxes",
        "ListRecentFaxes",
        "ListUnpaidFaxes",
        "ListRecentRecipients",
    ):
        await say(f"FaxHistory/{method}")
    for method in ("GetFaxDetails", "GetFaxGroup", "ListFaxGroup", "GetTransmissionReport"):
        await say(f"FaxHistory/{method}", uuid=sent)
    await say("FaxHistory/GetInboxFax", uuid=came)
    await say("FaxHistory/CountFaxes", type="all")
    await say("FaxHistory/CountFaxes", type="inbox")
    await say("FaxHistory/AddFaxNote", fax_uuid=came, note="A < note & more")
    await say("FaxHistory/ListFaxNotes", fax_uuid=came)
    for method in ("SetFaxRead", "PublishFax", "GetPublishedFax", "UnPublishFax", "DeleteFax", "RestoreFax"):
        await say(f"FaxHistory/{method}", uuid=came)
    for method in ("SetFaxesAsRead", "SetSpamStateForFaxes", "DeleteFaxes"):
        await say(f"FaxHistory/{method}", uuids=[came, "nothing"], is_spam=True)
    await say("FaxHistory/ListTrash")
    await say("FaxHistory/DeleteFaxFromTrash", uuid="nothing")
    await say("FaxHistory/DeleteFaxesFromTrash", uuids=[came])
    await say("FaxHistory/EmptyTrash")
    await say("FaxHistory/DeleteFaxesForPeriod", type="all", date1="2001-01-01", date2="2001-01-02")
    await say("FaxHistory/DeleteFromListRecentRecipients", number=TO)


async def a_user(say: Say) -> None:
    for method in (
        "GetCultureInfo",
        "GetNotifySettings",
        "HasAvatar",
        "HasPlan",
        "IsSkypeBotConnected",
        "ListExpirations",
        "ListInboxes",
        "ListOrders",
        "ListProfiles",
        "ListTransactions",
        "ListUserAgents",
        "ListWallMessages",
        "SaveUser",
    ):
        await say(f"UserInfo/{method}")
    await say("UserInfo/isEmailConfirmed", email=LOGIN)
    await say("UserInfo/SetProfileProperties", profile="user", properties={"city": "Köln"})
    await say("UserInfo/SetNotifyProviderSettings", provider="email", success=0, failure=1, inbox=1)
    await say("UserInfo/SetNumberAlias", number=LINE, alias_number="+14155550999")
    await say("UserInfo/RemoveNumberAlias", number=LINE, alias_number="+14155550999")
    area = (await say("Shopping/ListFaxInAreacodes", country_code="US", state="CA"))["AreaCodes"][0]["id"]
    number = (await say("UserInfo/AssignFaxNumber", areacode_id=area))["FaxInNumber"]["number"]
    await say("UserInfo/CancelNumber", number=number)
    await say("UserInfo/SendMessage", body="Hello, world!", type="email", recipient="test@example.org", subject="Hello")
    await say("UserInfo/SendPasswordResetMessage", username=LOGIN)
    await say("UserInfo/SetPassword", password="another word", hashFunction="plain")
    await say("UserInfo/VerifyPassword", password="another word")
    await say("UserInfo/ValidateNewUsername", username="bogususername")
    await say(
        "UserInfo/CreateUser", name="Zoe", username="zoe-zoe", password="a password", email="zoe@example.net", culture="en-US"
    )
    await say("UserInfo/DeleteUser")
    await say("Session/VerifyUser", username=LOGIN, password="another word")
    await say("Session/Logout")


def plain(value: Any) -> Any:
    """An answer without what is made anew each time."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return _FRESH.sub("…", value)


async def lived(folder: Path, format_: str) -> list[tuple[str, str, Any]]:
    """Every call of the story with its code and what it said."""
    told = list[tuple[str, str, Any]]()
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(opened(folder, maker(folder), own="maker"))

        async def say(path: str, **arguments: Any) -> Any:
            answer = await door.raw(path, apioutputformat=format_, **arguments)
            kind = answer.headers["content-type"].partition(";")[0]
            if kind not in ("text/xml", "application/json"):
                told.append((path, kind, answer.content[:4]))
                return None
            assert (kind == "application/json") == (format_ == wire.JSON)
            read = wire.parse(answer.content)
            told.append((path, read.code, plain(read.members)))
            if "UserToken" in read.members:
                door.token = read.members["UserToken"]["token"]
            return read.members

        await story(door, say)
    return told


async def test_every_method_says_the_same_in_both_formats(tmp_path: Path) -> None:
    for name in ("xml", "json"):
        (tmp_path / name).mkdir()
    in_xml, in_json = await asyncio.gather(lived(tmp_path / "xml", wire.XML), lived(tmp_path / "json", wire.JSON))
    for one, other in zip(in_xml, in_json, strict=True):
        assert one == other
    absent = {f"{name}/{one}" for name, codes in ABSENT.items() for methods in codes.values() for one in methods.split()}
    every = {f"{one.processor}/{one.name}" for processor in processors().values() for one in processor.methods.values()}
    assert every - absent == {path for path, _, _ in in_xml}
    failed = {path: code for path, code, _ in in_xml if code not in ("success", "image/png", "application/pdf")}
    assert failed == {
        "Session/VerifyFromIdentifier": "identifier_not_found",
        "Common/ListCountryStates": "country_has_no_states",
        "FaxJob/AddRemoteFile": "download_failed",
        "FaxJob/SendLater": "enough_credit",
        "FaxJob/Cancel": "unable_to_cancel",  # nobody works here, so nobody confirms it
        "FaxJob/SetRecipients": "no_fax",
        "FaxJob/RemoveAllRecipients": "no_fax",
        "FaxJob/SendUnpaidFaxes": "fax_not_found",
        "FaxJob/SendUnpaid": "fax_not_found",
        "FaxJob/EditDelayedFax": "fax_removed",
        "FaxJob/SendDelayedFaxNow": "fax_removed",
        "FaxHistory/DeleteFaxFromTrash": "fax_not_found",
    }


@pytest.mark.parametrize("format_", [wire.XML, wire.JSON])
async def test_a_file_is_its_octets_whatever_format_is_asked_for(tmp_path: Path, format_: str) -> None:
    async with opened(tmp_path, settings()) as door:
        await door.sign_in()
        came = await arrived(door)
        for path, said, kind, start in (
            ("Common/GetFile", {"file_uuid": came}, "application/pdf", b"%PDF"),
            ("Common/GetPagePreview", {"uuid": came, "page_no": 1}, "image/png", b"\x89PNG"),
        ):
            answer = await door.raw(path, apioutputformat=format_, **said)
            assert answer.headers["content-type"] == kind
            assert "attachment; filename=" in answer.headers["content-disposition"]
            assert answer.content.startswith(start)
