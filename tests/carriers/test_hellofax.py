"""The HelloFax adapter against a real server that speaks the recorded wire format."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Announcement, Event
from gateway.carriers.hellofax import HelloFax
from gateway.carriers.hellofax_wire import e164
from gateway.errors import (
    CallbackRejected,
    CarrierBusy,
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    ConfigError,
    Outcome,
    Unsupported,
)
from gateway.fax import AttemptState, CoverPage
from gateway.lifecycle import TRAITS, Kind
from gateway.number import parse
from gateway.spool.transmissions import Ending
from gateway.work.conclude import judged
from tests.carriers.conformance import LONG_AGO, FarEnd, HttpCarrierConformance
from tests.carriers.hellofax_far import BASIC, GUID, LOGIN, PASSWORD, HelloFaxFarEnd, callback, fax_guid, said
from tests.carriers.server import Server, answers
from tests.carriers.tools import LINE, Clock, order, tools_for

URL = "https://gateway.example/callback/main/0123456789secret"


@asynccontextmanager
async def hellofax(
    folder: Path, prefix: str = "/v1", clock: Clock | None = None, **section: Any
) -> AsyncIterator[HelloFaxFarEnd]:
    """A far end; the adapter is not started yet."""
    async with Server() as server, http.client(read=1.0) as client:
        keys = {"kind": "hellofax", "url": server.url + prefix, "login": LOGIN, "password": PASSWORD, "guid": GUID}
        tools = tools_for(folder, http=client, now=clock, callback_url=URL)
        adapter = carriers.build("main", {**keys, "time_limit": "0.5s", **section}, "gateway.toml", tools)
        assert isinstance(adapter, HelloFax)
        yield HelloFaxFarEnd(adapter, server, folder, prefix)
        await adapter.stop()


class TestHelloFax(HttpCarrierConformance):
    @pytest.fixture(params=["/v1", "/apiapp.php/v1"])
    async def far(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[HelloFaxFarEnd]:
        async with hellofax(tmp_path, request.param) as far:
            await far.adapter.start()
            yield far

    async def test_a_received_fax_is_listed_fetched_and_forgotten(self, far: FarEnd) -> None:
        """Not here: it comes once, in a callback, and cannot be fetched."""
        with pytest.raises(CarrierRefused, match="documents screen"):
            await far.adapter.fetch_inbound("never-heard-of")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def far(tmp_path: Path, clock: Clock) -> AsyncIterator[HelloFaxFarEnd]:
    async with hellofax(tmp_path, clock=clock) as far:
        await far.adapter.start()
        yield far


async def test_a_fax_goes_out_as_digits_from_the_line_as_the_carrier_writes_it(far: HelloFaxFarEnd) -> None:
    order = far.order()
    await far.adapter.submit(order)
    far.lines = ["4155550100"]  # ten digits, as one edition shows them
    assert await far.adapter.own_lines() == [LINE]
    await far.adapter.submit(order)
    first, second = far.posted
    assert first == {"To": b"14155550123", "From": b"14155550100", "file": order.document.read_bytes()}
    assert second["From"] == b"4155550100"


async def test_a_sub_address_is_not_dropped_silently(far: HelloFaxFarEnd) -> None:
    with pytest.raises(Unsupported):
        await far.adapter.submit(replace(far.order(), sub_address="12"))
    assert far.taken() == 0


async def test_it_is_given_black_and_white_pages_and_what_the_operator_sets_instead(tmp_path: Path) -> None:
    async with hellofax(tmp_path) as far:
        assert far.adapter.document == "fax-pdf"
    async with hellofax(tmp_path, document="tiff") as far:
        assert far.adapter.document == "tiff"
        await far.adapter.submit(replace(far.order(), content_type="image/tiff"))
        body = far.server.seen[-1].body
        assert b'filename="fax.tif"' in body
        assert b"Content-Type: image/tiff" in body


async def test_their_cover_page_gets_its_parameters_and_ours_none(tmp_path: Path) -> None:
    async with hellofax(tmp_path, cover="theirs") as far:
        assert far.adapter.makes_cover
        cover = CoverPage(to="Bob", sender="Ann", message="Today's order")
        await far.adapter.submit(replace(far.order(), cover=cover))
        sent = far.posted[0]
        assert (sent["CoverPageTo"], sent["CoverPageFrom"], sent["CoverPageMessage"]) == (b"Bob", b"Ann", b"Today's order")
        await far.adapter.submit(far.order())
        assert set(far.posted[1]) == {"To", "From", "file"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.NOT_AUTHORISED),
        (401, Outcome.NO_CREDIT),
        (402, Outcome.NO_CREDIT),
        (403, Outcome.NO_CREDIT),
        (404, Outcome.NO_CREDIT),
        (413, Outcome.DOCUMENT_REFUSED),
    ],
)
async def test_a_refusal_says_whether_it_is_about_the_fax_or_our_account(
    far: HelloFaxFarEnd, status: int, outcome: Outcome
) -> None:
    far.next_submit = answers(status, {"Error": {"Message": PASSWORD}})
    with pytest.raises(CarrierRefused) as caught:
        await far.adapter.submit(far.order())
    assert caught.value.outcome is outcome
    assert PASSWORD not in caught.value.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Error": {"Code": 400, "Message": "This account may not fax to GB.\x07"}}, "may not fax to GB"),
        ({"Error": "no"}, "none that it takes"),
        (b"<html>", "none that it takes"),
    ],
)
async def test_a_refused_number_is_a_clear_refusal_and_holds_nothing(far: HelloFaxFarEnd, body: object, words: str) -> None:
    far.next_submit = answers(400, body)
    with pytest.raises(CarrierRefused, match=words) as caught:
        await far.adapter.submit(far.order())
    assert caught.value.text.isprintable()
    assert TRAITS[caught.value.outcome].kind is Kind.PERMANENT


@pytest.mark.parametrize("number", ["+3612345678", "+4722123456", "+6561234567"])
async def test_a_foreign_number_of_ten_digits_is_not_taken_for_one_in_north_america(far: HelloFaxFarEnd, number: str) -> None:
    await far.adapter.submit(order(far.folder, number=number))
    written = far.posted[0]["To"].decode()
    assert written == "011" + number[1:]
    assert parse(written, "US").e164 == number, "so our own door reads it"
    assert e164(written) == number


async def test_sent_is_sent_in_full_whatever_is_billed(far: HelloFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    far.faxes[0] |= {"StatusCode": "S", "NumPagesBilled": 1}
    (event,) = await far.adapter.poll(receipt.carrier_ref)
    ending = judged(Ending(state=event.state, outcome=event.outcome, pages_sent=event.pages_sent, text=event.text), 2)
    assert (ending.outcome, ending.pages_sent, ending.text) == (Outcome.DELIVERED, 2, "The carrier bills 1 page.")


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 302])
async def test_an_answer_after_which_nobody_knows_is_uncertain(far: HelloFaxFarEnd, status: int) -> None:
    far.next_submit = answers(status)
    with pytest.raises(CarrierUncertain):
        await far.adapter.submit(far.order())


async def test_two_hundred_pending_faxes_are_a_busy_carrier(far: HelloFaxFarEnd) -> None:
    far.next_submit = answers(429, b"Please wait. You already have at least 200 transmissions that are currently pending.")
    with pytest.raises(CarrierBusy) as caught:
        await far.adapter.submit(far.order())
    assert caught.value.retry_after is None
    assert far.taken() == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"Transmissions": [{"Guid": fax_guid(1), "StatusCode": "P"}]},
        {"Transmissions": [{"Transmission": {"Guid": fax_guid(1)}}]},
        {"Transaction": {"Guid": fax_guid(1), "ErrorCode": None, "CreatedAt": 1500000000, "NumPagesBilled": None}},
        {"Guid": fax_guid(1)},
    ],
)
async def test_the_answer_to_a_send_is_read_in_each_shape_it_may_have(far: HelloFaxFarEnd, answer: object) -> None:
    far.next_submit = answers(200, answer)
    assert (await far.adapter.submit(far.order())).carrier_ref == fax_guid(1)


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"Transmission": {}}, {"Transmission": {"Guid": ""}}, {"Transmission": {"Guid": "a b\n"}}, {"Transmissions": []},
     {"Transmissions": [{"Guid": fax_guid(1)}, {"Guid": fax_guid(2)}]}],
)  # fmt: skip
async def test_an_answer_that_names_not_one_fax_is_uncertain(far: HelloFaxFarEnd, answer: object) -> None:
    far.next_submit = answers(200, answer)
    with pytest.raises(CarrierUncertain):
        await far.adapter.submit(far.order())


async def test_only_404_says_that_a_fax_is_not_known(far: HelloFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    for status in (400, 401, 403, 429, 500):
        far.next_ask = answers(status)
        with pytest.raises(CarrierUnavailable):
            await far.adapter.poll(receipt.carrier_ref)
    for status in (404, 410):
        far.next_ask = answers(status)
        with pytest.raises(CarrierRefused):
            await far.adapter.poll(receipt.carrier_ref)
    far.next_ask = answers(200, {"Transmission": {"Guid": fax_guid(99), "StatusCode": "S"}})
    with pytest.raises(CarrierUnavailable):
        await far.adapter.poll(receipt.carrier_ref)


@pytest.mark.parametrize("letter", ["H", "O"])
async def test_a_fax_on_hold_is_not_over_and_asks_for_a_person(far: HelloFaxFarEnd, letter: str) -> None:
    receipt = await far.adapter.submit(far.order())
    far.faxes[0]["StatusCode"] = letter
    (event,) = await far.adapter.poll(receipt.carrier_ref)
    assert (event.state, event.outcome, event.carrier_code) == (AttemptState.SUBMITTED, None, letter)
    assert "buy pages" in event.attention
    far.faxes[0]["StatusCode"] = "T"
    assert not (await far.adapter.poll(receipt.carrier_ref))[0].attention


# The list


async def test_the_list_is_read_to_its_end(far: HelloFaxFarEnd) -> None:
    for n in range(45):
        far.add(To=f"1415555{n:04d}", IsInbound=n % 9 == 0)
    far.add(IsDraft=True)
    far.faxes.append(far.faxes[1])  # has moved from one page to the next
    listed = await far.adapter.listing(LONG_AGO)
    assert len(listed) == 40
    assert {one.caller for one in listed} == {LINE}
    assert len(far.server.seen) == 3


async def test_pages_that_are_older_are_not_read(far: HelloFaxFarEnd, clock: Clock) -> None:
    long_ago = str(int((clock() - timedelta(days=9)).timestamp()))
    for _ in range(200):
        far.add(CreatedAt=long_ago)
    far.add()
    assert len(await far.adapter.listing(clock() - timedelta(hours=1))) == 1
    assert len(far.server.seen) == 1
    far.faxes.reverse()  # oldest first: then only the end of the list is its end
    far.server.seen.clear()
    assert len(await far.adapter.listing(clock() - timedelta(hours=1))) == 1
    assert len(far.server.seen) == 11


@pytest.mark.parametrize(
    "uri",
    [
        "https://elsewhere.example/v1/Accounts/x/Transmissions",
        "//elsewhere.example/v1",
        "http://user:secret@127.0.0.1/v1/x",
        "ftp://127.0.0.1/x",
        f"/v1/Accounts/{GUID}/Transmissions?PageSize=100",
        "?PageSize=100",
    ],
)
async def test_a_next_page_that_leads_elsewhere_or_in_a_circle_is_not_followed(far: HelloFaxFarEnd, uri: str) -> None:
    far.next_ask = answers(200, {"Transmissions": [far.add()], "NextPageUri": uri})
    with pytest.raises(CarrierUnavailable):
        await far.adapter.listing(LONG_AGO)
    assert len(far.server.seen) <= 3


async def test_a_list_without_an_end_is_given_up(far: HelloFaxFarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.carriers.hellofax._MOST_PAGES", 5)
    far.page_size = 1
    for _ in range(7):
        far.add()
    with pytest.raises(CarrierUnavailable, match="no end"):
        await far.adapter.listing(LONG_AGO)
    assert len(far.server.seen) == 5


@pytest.mark.parametrize("answer", [[], {"Total": 0}, {"Transmissions": [{"Guid": None}]}, "x", None])
async def test_a_list_that_makes_no_sense_is_no_list(far: HelloFaxFarEnd, answer: object) -> None:
    far.next_ask = answers(200, json.dumps(answer).encode())
    with pytest.raises(CarrierUnavailable):
        await far.adapter.listing(LONG_AGO)


# Received faxes


async def test_a_received_fax_that_was_never_posted_is_announced_after_its_last_retry(
    far: HelloFaxFarEnd, clock: Clock, tmp_path: Path
) -> None:
    clock.forward(60)
    ref, line = await far.arrive(b"%PDF-1.4")
    far.add()
    assert await far.adapter.list_inbound() == []
    clock.forward(16.9 * 3600)
    assert await far.adapter.list_inbound() == []
    clock.forward(600)
    assert await far.adapter.list_inbound() == (), "it was asked a moment ago"
    clock.forward(600)
    (fax,) = await far.adapter.list_inbound()
    assert (fax.carrier_ref, fax.line, fax.document) == (ref, line, None)


async def test_what_arrived_before_the_gateway_came_is_not_lost(tmp_path: Path, clock: Clock) -> None:
    async with hellofax(tmp_path, clock=clock) as far:
        await far.arrive(b"%PDF-1.4")
        clock.forward(5)
        await far.adapter.start()
        clock.forward(48 * 3600)
        assert await far.adapter.list_inbound() == []
    async with hellofax(tmp_path, clock=clock) as far:  # and a restart does not forget when that was
        clock.ahead -= timedelta(hours=24)
        await far.arrive(b"%PDF-1.4")
        clock.forward(24 * 3600)
        await far.adapter.start()
        assert len(await far.adapter.list_inbound()) == 1


# Lines


async def test_a_line_is_bought_and_given_back(far: HelloFaxFarEnd) -> None:
    assert await far.adapter.area_codes("CA") == ["213", "415"]
    assert await far.adapter.buy_line("213") == "+12135550177"
    assert await far.adapter.own_lines() == sorted([LINE, "+12135550177"])
    await far.adapter.release_line("+12135550177")
    assert far.lines == [LINE.removeprefix("+")]
    with pytest.raises(CarrierRefused):
        await far.adapter.release_line("+12135550177")


@pytest.mark.parametrize("answer", [{}, {"Number": "13105550188"}, {"FaxLines": []}, b"[]"])
async def test_a_bought_line_is_known_whatever_the_answer_looks_like(
    far: HelloFaxFarEnd, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = far._lines

    def buys(seen: Any, number: str) -> Any:
        if seen.method != "POST":
            return real(seen, number)
        far.lines.append("13105550188")
        return answers(200, answer)

    monkeypatch.setattr(far, "_lines", buys)
    assert await far.adapter.buy_line("310") == "+13105550188"


async def test_a_purchase_that_nobody_can_see_is_uncertain(far: HelloFaxFarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    real = far._lines
    for answer in (answers(200, {}), answers(502)):
        monkeypatch.setattr(
            far, "_lines", lambda seen, number, answer=answer: answer if seen.method == "POST" else real(seen, number)
        )
        with pytest.raises(CarrierUncertain):
            await far.adapter.buy_line("310")


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        ({"AreaCodes": [213, 415]}, ["213", "415"]),
        ([{"AreaCode": "213", "City": "LA"}], ["213"]),
        ({"Areas": ["213"]}, ["213"]),
    ],
)
async def test_area_codes_are_read_in_each_shape_they_may_have(far: HelloFaxFarEnd, answer: object, codes: list[str]) -> None:
    far.next_ask = answers(200, answer)
    assert await far.adapter.area_codes("CA") == codes


# Start


async def test_callback_urls_are_set_once_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with hellofax(tmp_path, set_callbacks=True) as far:
        far.account["DefaultInboundFaxCallbackUrl"] = "https://old.example/in?token=hidden"
        for _ in range(2):
            await far.adapter.start()
        assert far.account["DefaultInboundFaxCallbackUrl"] == f"{URL}/inbound"
        assert far.account["DefaultOutboundFaxCallbackUrl"] == f"{URL}/outbound"
        assert [seen.method for seen in far.server.seen] == ["GET", "POST", "GET"]
        assert caplog.text.count("set both callback URLs") == 1
        assert "old.example" in caplog.text
        assert "hidden" not in caplog.text
        assert "0123456789secret" not in caplog.text


async def test_a_carrier_that_cannot_be_reached_does_not_stop_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with hellofax(tmp_path, set_callbacks=True) as far:
        far.next_ask = answers(503)
        await far.adapter.start()
        assert "could not be set" in caplog.text
        far.next_ask = None
        for _ in range(2):
            assert not await far.adapter.list_inbound()
        assert far.account["DefaultInboundFaxCallbackUrl"] == f"{URL}/inbound", "when it could be"
        assert [seen.method for seen in far.server.seen].count("POST") == 1


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"guid": "123"}, "guid"),
        ({"calls": 201}, "calls"),
        ({"password": None}, "carrier.main"),
        ({"password_file": "/nowhere/secret"}, "password_file"),
        ({"time_limit": "60s"}, "time_limit"),
        ({"url": "ftp://x"}, "url"),
        ({"cover": "nobody's"}, "cover"),
    ],
)
def test_a_wrong_section_is_named(section: dict[str, Any], key: str) -> None:
    good = {"kind": "hellofax", "login": LOGIN, "password": PASSWORD, "guid": GUID}
    carriers.check("main", good, "gateway.toml")
    with pytest.raises(ConfigError) as caught:
        carriers.check(
            "main", {name: value for name, value in {**good, **section}.items() if value is not None}, "gateway.toml"
        )
    assert key in caught.value.text
    assert PASSWORD not in caught.value.text


async def test_the_password_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    section = {"kind": "hellofax", "login": LOGIN, "password_file": "secret", "guid": GUID}
    async with http.client() as client:
        tools = tools_for(tmp_path, http=client)
        adapter = carriers.build("main", section, str(tmp_path / "gateway.toml"), tools)
    assert isinstance(adapter, HelloFax)
    assert adapter._account.auth == (LOGIN, PASSWORD)
    assert PASSWORD not in repr(adapter._account)
    assert PASSWORD not in str(adapter.config)
    assert BASIC not in repr(adapter)


# Callbacks beyond the suite


def event(far: HelloFaxFarEnd, text: str) -> Event:
    (one,), _ = far.adapter.parse_callback(callback(text))
    assert isinstance(one, Event)
    return one


async def test_a_recorded_callback_is_read(far: HelloFaxFarEnd) -> None:
    read = event(far, said())
    assert (read.key, read.outcome, read.believed) == (f"{fax_guid(0x89AB)}:E/B", Outcome.BUSY, False)
    assert (read.at.timestamp(), read.pages_sent) == (1500000040, 0)
    assert event(far, said().replace("Transaction", "Transmission")).key == read.key


@pytest.mark.parametrize(
    "text",
    [
        '{"event": {"event_type": "transmission_disconnected", "event_time": "1", "event_hash": "x"}, "account_guid": "x",'
        ' "transmission": {"guid": "x"}}',
        "{}",
        '{"Transaction": null}',
    ],
)
async def test_a_foreign_event_is_passed_over(far: HelloFaxFarEnd, text: str) -> None:
    said, answer = far.adapter.parse_callback(callback(text))
    assert (list(said), answer.status) == ([], 200)


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "null", '"x"', '{"Transaction": []}', '{"Transaction": {}}',
     said(NumPagesBilled=-1), said(NumPagesBilled=10**30), said(Guid="a\x00b"), said(Guid="\ud800"), said(To={"a": 1}),
     said(IsInbound=[]), said(StatusCode={}), "[" * 100_000, '{"Transaction":' * 5000, said(To="1" * 5000)],
)  # fmt: skip
async def test_a_callback_that_makes_no_sense_is_rejected(far: HelloFaxFarEnd, text: str) -> None:
    with pytest.raises(CallbackRejected):
        far.adapter.parse_callback(callback(text))


@pytest.mark.parametrize(
    "members",
    [{"CreatedAt": "never", "UpdatedAt": None}, {"CreatedAt": "9" * 40, "UpdatedAt": "1e5"}, {"UpdatedAt": 1500000040},
     {"To": None, "From": None}, {"NumPagesBilled": None}, {"NumPagesBilled": "3"}, {"Unknown": [1]}],
)  # fmt: skip
async def test_what_the_reference_does_not_promise_is_not_insisted_on(far: HelloFaxFarEnd, members: dict[str, Any]) -> None:
    assert event(far, said(**members)).outcome is Outcome.BUSY


async def test_a_received_fax_is_the_first_part_with_a_file_name(far: HelloFaxFarEnd) -> None:
    text = said(IsInbound=True, To="4155550100", From="+442079460123", StatusCode="S", ErrorCode=None, NumPagesBilled=3)
    files = {"a": ("first.pdf", b"%PDF-1.4 first"), "b": ("second.pdf", b"%PDF-1.4 second")}
    (fax,), _ = far.adapter.parse_callback(callback(text, files))
    assert isinstance(fax, Announcement)
    assert (fax.line, fax.caller, fax.pages, fax.complete) == (LINE, "+442079460123", 3, True)
    assert fax.document == b"%PDF-1.4 first"
    with pytest.raises(CallbackRejected, match="without its document"):  # then the carrier posts it again
        far.adapter.parse_callback(callback(text))


async def test_a_document_without_a_file_name_is_found_by_its_beginning(far: HelloFaxFarEnd) -> None:
    text = said(IsInbound=True, StatusCode="S", ErrorCode=None)
    plain = callback(text, {"f": ("x", b"II*\0 tiff")})
    plain = replace(plain, body=plain.body.replace(b'; filename="x"', b""))
    (fax,), _ = far.adapter.parse_callback(plain)
    assert isinstance(fax, Announcement)
    assert fax.document == b"II*\0 tiff"


async def test_a_urlencoded_callback_is_read_too(far: HelloFaxFarEnd) -> None:
    from urllib.parse import urlencode

    request = callback("")
    body, headers = urlencode({"x": "y", "json": said()}).encode(), {"content-type": "application/x-www-form-urlencoded"}
    (read,), _ = far.adapter.parse_callback(replace(request, headers=headers, body=body))
    assert isinstance(read, Event)
    assert read.outcome is Outcome.BUSY
    for bad in (b"&".join(b"a=%d" % n for n in range(10_000)), b"json=%ff\xff", b"", b"nothing=here"):
        with pytest.raises(CallbackRejected):
            far.adapter.parse_callback(replace(request, headers=headers, body=bad))


async def test_forms_that_no_carrier_sends_are_rejected(far: HelloFaxFarEnd) -> None:
    good = callback(said())
    many = callback(said(), {f"f{n}": ("x", b"") for n in range(10_000)})
    deep = replace(good, headers={"content-type": f"multipart/form-data; boundary={'x' * 5000}"})
    for bad in (
        many,
        deep,
        replace(good, headers={}),
        replace(good, headers={"content-type": "multipart/form-data"}),
        replace(good, headers={"content-type": "application/json"}),
        replace(good, body=good.body[:-10]),
        replace(good, body=b""),
        replace(good, body=good.body.replace(b"form-data", b"X" * 100_000)),
        replace(good, body=good.body.replace(b'name="json"', b'name="jso"')),
    ):
        with pytest.raises(CallbackRejected):
            far.adapter.parse_callback(bad)
