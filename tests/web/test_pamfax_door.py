"""The PamFax door: who may call it, the seed's call, and the habits of programs (reference/pamfax.md sections 1 to 5, 11)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.carriers import pamfax_wire as wire
from gateway.carriers.pamfax_codes import NAMES
from gateway.fax import Account
from gateway.spool import retention
from gateway.web import pamfax_api
from gateway.web.pamfax.absent import ABSENT, processors, table
from tests.web.pamfax_door import LETTER, LINE, LOGIN, OTHER, PASSWORD, TO, Door, element, entries, opened, settings


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, settings()) as made:
        yield made


async def test_the_seeds_example_call_is_answered_in_the_seeds_shape(door: Door) -> None:
    said = {"username": LOGIN, "password": PASSWORD}
    check = wire.apicheck(said, door.application.secret)
    answer = await door.client.post(
        "/pamfax/Session/VerifyUser/", data={"apikey": door.application.key, "apicheck": check, **said}
    )
    assert answer.status_code == 200
    assert answer.text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<Session>\n<result><code>success</code></result>')
    root = element(answer)
    user, rights = root.find("User"), root.find("UserRights")
    assert user is not None
    assert user.get("username") == LOGIN
    assert user.get("credit") == "0"
    assert len(root.find("UserToken").get("token")) == 32  # type: ignore[union-attr, arg-type]  # an AttributeError is a failure
    assert rights is not None
    assert rights.get("type") == "list"
    names = [right.get("name") for right in rights.findall("UserRight")]
    assert names[:2] == ["see_credit", "buy_credit"]


@pytest.mark.parametrize("sandbox", [True, False])
async def test_the_rights_are_what_would_not_be_refused(tmp_path: Path, sandbox: bool) -> None:
    async with opened(tmp_path, settings(), sandbox=sandbox) as door:
        body = await door.call("Session/VerifyUser", username=LOGIN, password=PASSWORD)
        rights = {right["name"]: bool(right["allowed"]) for right in body["UserRights"]["content"]}
        voucher = await door.code("Shopping/RedeemCreditVoucher", vouchercode="PCPC0815", usertoken=body["UserToken"]["token"])
    assert rights["buy_credit"] is sandbox is (voucher == "success")
    assert rights["see_credit"]
    assert not rights["transfer_credit"]


@pytest.mark.parametrize("path", ["Session/VerifyUser", "/Session//VerifyUser/", "session/verifyuser"])
@pytest.mark.parametrize("get", [True, False])
async def test_slashes_and_methods_are_as_programs_write_them(door: Door, path: str, get: bool) -> None:
    answer = await door.raw(path, get=get, username=LOGIN, password=PASSWORD)
    assert element(answer).findtext("result/code") == "success"


async def test_the_secret_in_clear_is_taken_by_get_with_a_query_that_ends_in_an_ampersand(door: Door) -> None:
    query = f"username={LOGIN}&password={PASSWORD}&apikey={door.application.key}&apisecret={door.application.secret}"
    answer = await door.client.get(
        f"/pamfax/Session/VerifyUser?{query}&apioutputformat=API_FORMAT_JSON&", headers={"content-type": "application/json"}
    )
    assert answer.json()["result"] == {"code": "success", "type": "", "count": 4, "message": ""}


async def test_the_secret_in_clear_is_refused_where_the_operator_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, settings(door={"pamfax": {"clear_secret": False}})) as door:
        said = {"apikey": door.application.key, "apisecret": door.application.secret}
        answer = await door.client.get("/pamfax/Common/ListZones", params=said)
        assert element(answer).findtext("result/code") == "403"
        assert (await door.raw("Common/ListZones")).status_code == 200


@pytest.mark.parametrize("wrong", [{"apicheck": "0" * 32}, {"apikey": "nobody"}, {"apisecret": "x"}, {}])
async def test_a_wrong_key_or_proof_is_403_in_the_envelope(door: Door, wrong: dict[str, str]) -> None:
    said = {"apikey": door.application.key, "apioutputformat": wire.JSON, **wrong}
    body = (await door.client.get("/pamfax/Common/ListZones", params=said)).json()
    assert (body["result"]["code"], body["result"]["type"]) == ("403", "error")


async def test_who_guesses_secrets_has_to_wait(door: Door) -> None:
    codes = []
    for _ in range(22):
        answer = await door.client.get("/pamfax/Common/ListZones", params={"apikey": "nobody", "apisecret": "x"})
        codes.append(element(answer).findtext("result/code"))
    assert codes == ["403"] * 20 + ["too_many_requests"] * 2


async def test_who_was_right_before_is_not_stopped_by_the_guesses_of_others(door: Door) -> None:
    await door.call("Common/ListZones")
    for _ in range(30):
        await door.client.get("/pamfax/Common/ListZones", params={"apikey": "nobody", "apisecret": "x"})
    await door.call("Common/ListZones")
    said = {"apikey": door.application.key, "apisecret": "x"}
    codes = [element(await door.client.get("/pamfax/Common/ListZones", params=said)).findtext("result/code") for _ in range(30)]
    assert codes == ["403"] * 30  # a program's own mistakes are many when somebody writes it
    await door.call("Common/ListZones")


async def test_only_so_many_large_bodies_are_read_at_a_time(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows who sends them before they are read: all of them stand in memory."""
    monkeypatch.setattr(pamfax_api, "_ROOM_TIME", 0.2)
    url = door.client.base_url
    head = f"POST /pamfax/FaxJob/AddFile HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 2000000\r\n\r\n".encode()
    strangers = [await asyncio.open_connection(url.host, url.port) for _ in range(pamfax_api._LARGE_AT_ONCE)]
    for _, writer in strangers:
        writer.write(head + b"x")
        await writer.drain()
    for _ in range(100):
        answer = await door.client.post("/pamfax/FaxJob/AddFile", content=b"y" * 1_500_000)
        if answer.status_code == 503:
            break
    assert element(answer).findtext("result/code") == "too_many_requests"
    await door.call("Common/ListZones")  # small ones need no place
    for _, writer in strangers:
        writer.close()
    for _ in range(100):
        answer = await door.client.post("/pamfax/FaxJob/AddFile", content=b"y" * 1_500_000)
        if answer.status_code == 200:
            break
    assert answer.status_code == 200


async def test_name_and_password_may_come_as_md5(door: Door) -> None:
    name, password = (hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (LOGIN, PASSWORD))
    body = await door.call("Session/VerifyUser", username=name, password=password)
    assert body["User"]["username"] == LOGIN


async def test_a_wrong_password_is_user_not_found_and_after_some_too_many_requests(door: Door) -> None:
    codes = [await door.code("Session/VerifyUser", username=OTHER, password="wrong") for _ in range(11)]
    assert codes == ["user_not_found"] * 10 + ["too_many_requests"]


async def test_a_session_ends_after_ten_minutes_without_a_call(door: Door) -> None:
    assert await door.code("Session/KeepAlive") == "no_user_logged_in"
    await door.sign_in()
    for _ in range(3):
        door.clock.forward(540)
        await door.call("Session/KeepAlive")
    door.clock.forward(600)
    assert await door.code("Session/KeepAlive") == "session_not_found"


async def test_after_logout_the_token_is_worth_nothing(door: Door) -> None:
    await door.sign_in()
    await door.call("Session/Logout")
    assert await door.code("Session/ReloadUser") == "session_not_found"


async def test_a_login_identifier_signs_in_once(door: Door) -> None:
    await door.sign_in()
    identifier = (await door.call("Session/CreateLoginIdentifier"))["UserIdentifier"]["identifier"]
    door.token = ""
    assert (await door.call("Session/VerifyFromIdentifier", identifier=identifier))["User"]["username"] == LOGIN
    assert await door.code("Session/VerifyFromIdentifier", identifier=identifier) == "identifier_not_found"


async def test_of_two_that_use_a_login_identifier_at_once_one_signs_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.sign_in()
    identifier = (await door.call("Session/CreateLoginIdentifier"))["UserIdentifier"]["identifier"]
    door.token = ""
    both, by_id = asyncio.Barrier(2), door.house.identity.by_id

    async def together(identity: str) -> Account | None:
        await both.wait()  # each has found the identifier
        return await by_id(identity)

    monkeypatch.setattr(door.house.identity, "by_id", together)
    codes = await asyncio.gather(*(door.code("Session/VerifyFromIdentifier", identifier=identifier) for _ in range(2)))
    assert sorted(codes) == ["identifier_not_found", "success"]


async def test_what_does_not_exist_is_404_in_the_envelope(door: Door) -> None:
    for path in ("Session/Nothing", "Nothing/VerifyUser", "Session", "", "Session/VerifyUser/more"):
        assert await door.code(path) == "404"


async def test_every_method_that_belongs_to_another_business_says_so(door: Door) -> None:
    for processor, codes in ABSENT.items():
        for code, methods in codes.items():
            for method in methods.split():
                assert await door.code(f"{processor}/{method}") == code


async def test_every_method_of_a_user_wants_one(door: Door) -> None:
    for processor in processors().values():
        for method in processor.methods.values():
            if method.user:
                assert await door.code(f"{processor.name}/{method.name}") == "no_user_logged_in"


def test_every_code_that_is_answered_is_a_documented_one() -> None:
    web = Path(pamfax_api.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in (*(web / "pamfax").glob("*.py"), web / "pamfax_api.py")]
    codes = {code for text in sources for code in re.findall(r'(?:Fault\(\s*|code=)"(\w+)"', text)}
    assert len(codes) > 50
    assert codes - {"403", "404", "500"} <= set(NAMES.values())


def test_the_readme_has_the_table_of_methods() -> None:
    assert table() in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


async def test_a_plus_that_became_a_blank_is_put_back(door: Door) -> None:
    said = f"apikey={door.application.key}&apisecret={door.application.secret}&apioutputformat=API_FORMAT_JSON"
    answer = await door.client.get(f"/pamfax/NumberInfo/GetNumberInfo?faxnumber={TO}&{said}")
    info = answer.json()["NumberInfo"]
    assert (info["number"], info["country_code"], info["area_code"], info["number_type"]) == (TO, "US", "415", "FIXED")


async def test_a_page_price_is_told_in_the_currency_of_who_signed_in(door: Door) -> None:
    in_euro = (await door.call("NumberInfo/GetPagePrice", faxnumber=TO))["Price"]
    await door.sign_in()
    await door.call("UserInfo/SetProfileProperties", profile="user", properties={"currency": "USD"})
    in_dollars = (await door.call("NumberInfo/GetPagePrice", faxnumber=TO))["Price"]
    assert (in_euro["currency"], in_dollars["currency"]) == ("EUR", "USD")
    assert float(in_dollars["priceperpage"]) == pytest.approx(float(in_euro["priceperpage"]) / 0.75, abs=1e-6)
    assert await door.code("UserInfo/SetProfileProperties", profile="user", properties={"currency": "XXX"}) == "bad_currency"


async def test_times_are_in_the_applications_zone_or_the_accounts_own(door: Door) -> None:
    await door.sign_in()
    first = (await door.call("FaxJob/Create"))["FaxContainer"]["created"]
    await door.call("UserInfo/SetProfileProperties", profile="user", properties={"timezone": "Asia/Tokyo"})
    assert (await door.call("Common/GetCurrentSettings"))["Settings"]["timezone"] == "Asia/Tokyo"
    assert (await door.call("FaxJob/Create"))["FaxContainer"]["created"] != first


async def test_the_lists_of_common_are_lists_in_both_formats(door: Door) -> None:
    for method, name in (("ListCountries", "CountryList"), ("ListZones", "ZoneList"), ("ListCurrencies", "CurrencyList")):
        in_json = entries((await door.call(f"Common/{method}"))[name])
        found = element(await door.raw(f"Common/{method}")).find(name)
        assert found is not None
        assert found.get("type") == "list"
        assert len(found) == len(in_json) > 0


async def test_credit_and_the_voucher_of_the_sandbox(door: Door) -> None:
    await door.sign_in()
    await door.call("Shopping/AddCreditToSandboxUser", amount="12.5", reason="test")
    await door.call("Shopping/RedeemCreditVoucher", vouchercode="PCPC0815")
    await door.call("Shopping/RedeemCreditVoucher", vouchercode="pcpc-0815")
    assert (await door.call("Session/ReloadUser"))["User"]["credit"] == 32.5
    await door.call("Shopping/AddCreditToSandboxUser", amount="-2.5", reason="test")
    assert (await door.call("Session/ReloadUser"))["User"]["credit"] == 30
    assert await door.code("Shopping/AddCreditToSandboxUser", amount="-31", reason="test") == "bad_property"


async def test_nobody_gives_himself_credit_outside_the_sandbox(tmp_path: Path) -> None:
    async with opened(tmp_path, settings(), sandbox=False) as door:
        await door.sign_in()
        assert await door.code("Shopping/AddCreditToSandboxUser", amount="1", reason="x") == "missing_right"
        assert await door.code("Shopping/RedeemCreditVoucher", vouchercode="PCPC0815") == "voucher_invalid"


async def test_a_number_is_bought_listed_and_given_back(door: Door) -> None:
    await door.sign_in()
    area = entries((await door.call("Shopping/ListFaxInAreacodes", country_code="US", state="CA"))["AreaCodes"])[0]["id"]
    bought = (await door.call("UserInfo/AssignFaxNumber", areacode_id=area, fullname="Ann"))["FaxInNumber"]["number"]
    inboxes = entries((await door.call("UserInfo/ListInboxes"))["FaxInNumberList"])
    assert [inbox["number"] for inbox in inboxes] == [LINE, bought]
    await door.sign_in(OTHER)
    assert await door.code("UserInfo/CancelNumber", number=bought) == "number_not_assigned_to_user"
    await door.sign_in()
    await door.call("UserInfo/CancelNumber", number=bought)
    assert await door.code("UserInfo/CancelNumber", number=LINE) == "unable_to_cancel"  # the configuration file has it
    assert await door.code("UserInfo/AssignFaxNumber", areacode_id="1") == "no_faxin_available"


async def test_what_everybody_has_forgotten_lets_go_of_its_files(door: Door) -> None:
    await door.sign_in()
    await door.call("FaxJob/Create")
    await door.call("FaxJob/AddFile", upload=LETTER, filename="letter.pdf")
    document = (await door.house.documents.put(LETTER["file"][1])).sha256
    assert await door.house.store.read(retention.needed, [document]) == {document}
    door.clock.forward(90_000)
    await door.sign_in()
    await door.call("FaxJob/Create")
    assert await door.house.store.read(retention.needed, [document]) == set()
