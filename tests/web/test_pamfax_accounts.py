"""Accounts at the PamFax door: made, removed, their passwords, numbers, messages; and that money adds up whatever they do."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.spool import ledger, schema
from tests.web.pamfax_door import (
    LETTER,
    LINE,
    LOGIN,
    PASSWORD,
    TO,
    Door,
    arrived,
    ended,
    entries,
    maker,
    opened,
    settings,
)
from tests.web.test_pamfax_jobs import count, written

ZOE = {"name": "Zoe", "username": "zoe-zoe", "password": "a password", "email": "zoe@example.net", "culture": "en-US"}


#: What the recorded answers say of a fax (reference/pamfax.md section 8).
IN_BOTH = {
    "uuid",
    "state",
    "status_code",
    "status_message",
    "number",
    "formatted_number",
    "name",
    "country",
    "area_code",
    "zone",
    "number_type",
    "description",
    "pages",
    "price",
    "price_source",
    "created",
    "sent",
    "transmission_report",
}
IN_PROGRESS = {
    "price_per_page",
    "currency",
    "currency_rate",
    "duration",
    "completed",
    "delivery_started",
    "updated",
}
FINISHED = {
    "country_prefix",
    "pages_sent",
    "cost",
    "refunded",
    "sender_name",
    "sender_fax",
    "cover_text",
    "cover_data",
    "fax_provider_id",
    "cancelled",
    "deleted",
    "removed_from_trash",
    "published",
    "visible_until",
    "files_present",
    "outfile_uuid",
}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, maker(tmp_path), own="maker") as made:
        yield made


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


async def alarms(door: Door) -> list[str]:
    """What the operator is told."""
    rows = await door.house.store.read(lambda db: db.execute(select(schema.outbox)).all())
    return [row.text for row in rows if row.kind == "alarm"]


async def create(door: Door, **said: Any) -> dict[str, Any]:
    door.token = ""
    body = await door.call("UserInfo/CreateUser", **{**ZOE, **said})
    door.token = body["UserToken"]["token"]
    return body


async def test_an_application_makes_an_account_that_pays_in_advance(door: Door) -> None:
    user = (await create(door))["User"]
    assert (user["username"], user["email"], user["credit"], user["name"]) == ("zoe-zoe", "zoe@example.net", 0, "Zoe")
    await door.call("FaxJob/Create")
    assert await door.code("FaxJob/AddRecipient", number="+493012345678") == "unsupported_fax_number"  # its countries
    await door.call("FaxJob/AddRecipient", number=TO)
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    assert (await door.ready())["FaxContainer"]["state"] == "not_enough_credit"
    door.token = ""
    assert (await door.call("Session/VerifyUser", username="ZOE-zoe", password="a password"))["User"]["name"] == "Zoe"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"username": LOGIN}, "bad_username"),
        ({"username": "short"}, "bad_username"),
        ({"email": LOGIN}, "user_email_already_exist"),
        ({"email": "nobody"}, "bad_email"),
        ({"email": "zoe@fax.example.com"}, "bad_email"),
        ({"password": "short"}, "bad_password"),
        ({"withconfirmation": "1"}, "missing_right"),
    ],
)
async def test_an_account_that_cannot_be_made_is_none(door: Door, wrong: dict[str, str], code: str) -> None:
    assert await door.code("UserInfo/CreateUser", **{**ZOE, **wrong}) == code
    assert len(await door.house.identity.all()) == 2


async def test_of_two_that_want_the_same_name_at_once_one_gets_it(door: Door) -> None:
    codes = await asyncio.gather(*(door.code("UserInfo/CreateUser", **ZOE) for _ in range(4)))
    assert sorted(codes) == ["bad_username"] * 3 + ["success"]


async def test_an_application_without_countries_makes_and_removes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, settings()) as door:
        assert await door.code("UserInfo/CreateUser", **ZOE) == "missing_right"
        await door.sign_in()
        assert await door.code("UserInfo/DeleteUser") == "missing_right"


async def test_an_account_is_removed_with_its_numbers_and_the_operator_hears_of_its_credit(door: Door) -> None:
    await create(door)
    account = next(one for one in await door.house.identity.all() if one.login == "zoe-zoe")
    await door.call("Shopping/AddCreditToSandboxUser", amount=12, reason="x")
    area = entries((await door.call("Shopping/ListFaxInAreacodes", country_code="US", state="CA"))["AreaCodes"])[0]["id"]
    await door.call("UserInfo/AssignFaxNumber", areacode_id=area)
    (uuid,) = await written(door)
    await door.ready()
    await door.call("FaxJob/Send")
    assert await door.code("UserInfo/DeleteUser") == "access_denied"
    assert len(entries((await door.call("UserInfo/ListInboxes"))["FaxInNumberList"])) == 1  # it is whole
    await ended(door, uuid)
    await door.call("UserInfo/DeleteUser")
    assert await door.code("Session/Ping") == "session_not_found"
    door.token = ""
    assert await door.code("Session/VerifyUser", username="zoe-zoe", password="a password") == "user_not_found"
    assert [line.number for line in await door.house.identity.lines()] == [LINE]
    assert any("12.00 EUR that it had left" in text for text in await alarms(door))
    assert await door.house.store.read(ledger.imbalances) == []
    assert (await door.house.ledger.of(account.id)).balance == 0
    again = await create(door)
    assert again["User"]["credit"] == 0


async def test_nobody_removes_an_account_that_the_operator_made(door: Door) -> None:
    await door.sign_in()
    assert await door.code("UserInfo/DeleteUser") == "missing_right"
    assert len(await door.house.identity.all()) == 2


async def test_a_password_is_changed_and_every_other_session_ends(door: Door) -> None:
    await create(door)
    first = door.token
    await door.call("Session/VerifyUser", username="zoe-zoe", password="a password", usertoken="")
    second = (await door.call("Session/VerifyUser", username="zoe-zoe", password="a password"))["UserToken"]["token"]
    for wrong, code in (
        ({"password": "short"}, "bad_password"),
        ({"password": "another one", "old_password": "wrong"}, "current_password_wrong"),
        ({"password": "another one", "hashFunction": "sha1"}, "bad_password"),
        ({"password": "another one", "hashFunction": "md5"}, "bad_password"),
        ({}, "missing_argument"),
    ):
        assert await door.code("UserInfo/SetPassword", **wrong) == code
    await door.call("UserInfo/SetPassword", password="another one", old_password="a password")
    assert door.token == first
    await door.call("Session/Ping")
    assert await door.code("Session/Ping", usertoken=second) == "session_not_found"
    door.token = ""
    assert await door.code("Session/VerifyUser", username="zoe-zoe", password="a password") == "user_not_found"
    for password in ("another one", md5("another one")):
        await door.call("Session/VerifyUser", username="zoe-zoe", password=password)


async def test_a_password_that_was_set_as_its_md5_is_taken_as_both(door: Door) -> None:
    await create(door, password=md5("first one"))
    await door.call("UserInfo/SetPassword", password=md5("second one"), hashFunction="md5", old_password=md5("first one"))
    door.token = ""
    for password in ("second one", md5("second one")):
        await door.call("Session/VerifyUser", username="zoe-zoe", password=password)
    assert await door.code("Session/VerifyUser", username="zoe-zoe", password=md5(md5("second one"))) == "user_not_found"
    assert await door.house.identity.by_password("zoe-zoe", md5("second one")) is None  # elsewhere only the word itself
    assert await door.house.identity.by_password("zoe-zoe", "second one") is not None


async def test_the_configuration_files_passwords_are_changed_there(tmp_path: Path) -> None:
    async with opened(tmp_path, settings(), sandbox=False) as door:
        await door.sign_in()
        assert await door.code("UserInfo/SetPassword", password="another one") == "missing_right"
        assert await door.code("UserInfo/SendMessage", body="x", recipient="a@example.org") == "missing_right_messaging"
        assert await door.code("UserInfo/SendMessage", body="x", type="sms") == "missing_right_messaging"
        await door.call("UserInfo/SendMessage", body="x")
        await door.call("UserInfo/VerifyPassword", password=PASSWORD)


async def test_an_application_does_not_write_to_strangers_through_accounts_it_makes(tmp_path: Path) -> None:
    async with opened(tmp_path, maker(tmp_path), sandbox=False, own="maker") as door:
        await create(door)
        assert await door.code("UserInfo/SendMessage", body="Buy!") == "missing_right_messaging"


async def test_who_has_forgotten_his_password_makes_the_operator_hear_of_it_once_a_day(door: Door) -> None:
    for _ in range(3):
        await door.call("UserInfo/SendPasswordResetMessage", username=LOGIN)
    assert await door.code("UserInfo/SendPasswordResetMessage", username="nobody") == "user_not_found"
    (text,) = await alarms(door)
    assert "faxgate account password office" in text


async def test_another_number_of_an_account_stands_for_its_line(door: Door) -> None:
    await door.sign_in()
    await door.credit(10)
    alias = "+14155550999"
    await door.call("UserInfo/SetNumberAlias", number=LINE, alias_number=alias)
    await door.call("UserInfo/SetNumberAlias", number=LINE, alias_number=alias)
    (inbox,) = entries((await door.call("UserInfo/ListInboxes"))["FaxInNumberList"])
    assert (inbox["number"], inbox["alias_number"]) == (LINE, alias)
    (uuid,) = await written(door)
    await door.call("FaxJob/SetSenderDetails", number=alias)
    await door.ready()
    await door.call("FaxJob/Send")
    rows = await door.house.store.read(lambda db: db.execute(select(schema.transmission)).all())
    assert [(row.id, row.caller) for row in rows] == [(f"tx_{uuid}", LINE)]
    for said, code in (
        ({"number": LINE, "alias_number": LINE}, "alias_already_assigned"),
        ({"number": LINE, "alias_number": "12"}, "invalid_alias_number"),
        ({"number": TO, "alias_number": alias}, "number_not_assigned_to_user"),
    ):
        assert await door.code("UserInfo/SetNumberAlias", **said) == code
    await create(door)
    area = entries((await door.call("Shopping/ListFaxInAreacodes", country_code="US", state="CA"))["AreaCodes"])[0]["id"]
    number = (await door.call("UserInfo/AssignFaxNumber", areacode_id=area))["FaxInNumber"]["number"]
    assert await door.code("UserInfo/SetNumberAlias", number=number, alias_number=alias) == "alias_already_assigned"
    await door.sign_in()
    await door.call("UserInfo/RemoveNumberAlias", number=LINE, alias_number=alias)
    assert await door.code("UserInfo/RemoveNumberAlias", number=LINE, alias_number=alias) == "alias_not_found"


async def test_a_login_identifier_is_bound_to_an_address_and_may_last(door: Door) -> None:
    await door.sign_in()
    one = (await door.call("Session/CreateLoginIdentifier", user_ip="192.0.2.1"))["UserIdentifier"]["identifier"]
    lasting = (await door.call("Session/CreateLoginIdentifier", timetolifeminutes=0))["UserIdentifier"]["identifier"]
    assert await door.code("Session/VerifyFromIdentifier", identifier=one, user_ip="192.0.2.2") == "invalid_ip"
    await door.call("Session/VerifyFromIdentifier", identifier=one, user_ip="192.0.2.1")
    for _ in range(3):
        await door.call("Session/VerifyFromIdentifier", identifier=lasting)
    await door.call("Session/RemoveLoginIdentifier", identifier=lasting)
    assert await door.code("Session/VerifyFromIdentifier", identifier=lasting) == "identifier_not_found"


async def test_who_signs_in_again_may_send_the_token_that_has_ended(door: Door) -> None:
    await door.sign_in()
    door.clock.forward(3600)
    await door.call("Session/VerifyUser", username=LOGIN, password=PASSWORD)
    assert await door.code("Session/Ping") == "session_not_found"


async def test_what_happened_lately_is_told_in_its_order(door: Door) -> None:
    await door.sign_in()
    await door.call("Shopping/AddCreditToSandboxUser", amount=10, reason="a payment")
    door.clock.forward(60)
    await door.call("FaxJob/Create", user_agent="a program")
    (uuid,) = await written(door)
    await door.ready()
    await door.call("FaxJob/Send")
    door.clock.forward(60)
    came = await arrived(door)
    wall = entries((await door.call("UserInfo/ListWallMessages"))["WallMessages"])
    assert [(one["type"], one["uuid"]) for one in wall] == [("faxin", came), ("faxout", uuid), ("payment", "")]
    assert [one["type"] for one in entries((await door.call("UserInfo/ListWallMessages", count=1))["WallMessages"])] == [
        "faxin"
    ]
    recent = entries((await door.call("FaxHistory/ListRecentFaxes"))["RecentFaxes"])
    assert [(one["uuid"], one["direction"]) for one in recent] == [(came, "in"), (uuid, "out")]
    assert entries((await door.call("FaxHistory/ListRecentFaxes", data_to_list=["sent"]))["RecentFaxes"]) == []
    assert entries((await door.call("UserInfo/ListUserAgents"))["UserAgents"]) == [{"user_agent": "a program", "count": 1}]
    fax = (await door.call("FaxHistory/GetFaxDetails", uuid=uuid))["FaxRecipient"]
    assert fax.keys() >= IN_BOTH | IN_PROGRESS
    await ended(door, uuid)
    fax = (await door.call("FaxHistory/GetFaxDetails", uuid=uuid))["FaxHistoryModel"]
    assert fax.keys() >= IN_BOTH | FINISHED
    report = (await door.raw("FaxHistory/GetTransmissionReport", uuid=uuid)).content
    assert b"/Image" in report
    first = (await door.call("FaxHistory/CountFaxes", type="all"))["Faxes"]
    assert first == {"history": 1, "inbox": 1, "inbox_unread": 1, "outbox": 0, "unpaid": 0}
    gone = await door.call("FaxHistory/DeleteFaxesForPeriod", type="all", date1="2001-01-01", date2="2101-01-01")
    assert {one["uuid"] for one in entries(gone["Faxes"])} == {uuid, came}
    assert sum((await door.call("FaxHistory/CountFaxes", type="all"))["Faxes"].values()) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_accounts_do_at_once_the_book_balances_and_nothing_is_sent_unpaid(door: Door, seed: int) -> None:
    """Accounts come, pay, send and go, all at the same time."""
    dice = random.Random(seed)

    async def live(n: int) -> None:
        name = f"person-{seed}-{n}"
        who = {"username": name, "password": "a password"}
        made = await door.call("UserInfo/CreateUser", name=name, email=f"{name}@example.net", culture="en-US", **who)
        token = made["UserToken"]["token"]
        await asyncio.gather(
            *(door.call("Shopping/AddCreditToSandboxUser", amount="0.1", reason="x", usertoken=token) for _ in range(2))
        )
        calls = [
            *(
                door.code("FaxJob/QuickSend", **who, rec_number=f"+14155550{n}{k:02}", cover_id=1, cover_text="Hi")
                for k in range(20, 23)
            ),
            door.code("Shopping/AddCreditToSandboxUser", amount="-0.05", reason="x", usertoken=token),
            door.code("UserInfo/DeleteUser", usertoken=token),
        ]
        dice.shuffle(calls)
        codes = await asyncio.gather(*calls)
        known = {
            "success",
            "bad_property",
            "not_enough_credit",
            "access_denied",
            "no_fax",
            "session_not_found",
            "user_not_found",
        }
        assert set(codes) <= known, codes

    await asyncio.gather(*(live(n) for n in range(3)))
    assert await door.house.store.read(ledger.imbalances) == []
    rows = await door.house.store.read(lambda db: db.execute(select(schema.transmission)).all())
    for row in rows:
        assert row.held is not None
        assert row.held >= row.price * row.pages > 0
    left = {account.id for account in await door.house.identity.all()}
    assert {row.account_id for row in rows} <= left, "an account went while its fax was on its way"
    assert await count(door) == len(rows)
