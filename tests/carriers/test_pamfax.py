"""The PamFax adapter against a real server that speaks the recorded wire format."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import carriers
from gateway.carriers import http, pamfax_codes
from gateway.carriers.base import Order
from gateway.carriers.pamfax import PamFax
from gateway.carriers.pamfax_session import _of_job, _of_question, _of_send
from gateway.errors import (
    CarrierBusy,
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    ConfigError,
    Outcome,
    Unsupported,
)
from gateway.fax import AttemptState
from tests.carriers.conformance import LONG_AGO, HttpCarrierConformance
from tests.carriers.pamfax_far import KEY, PASSWORD, SECRET, USERNAME, Fault, Members, PamFaxFarEnd
from tests.carriers.server import Server, answers
from tests.carriers.tools import LINE, Clock, tools_for

OTHER = "+14155550101"
SECTION = {"kind": "pamfax", "api_key": KEY, "api_secret": SECRET, "username": USERNAME, "password": PASSWORD}


@asynccontextmanager
async def pamfax(
    folder: Path,
    clock: Callable[[], datetime] | None = None,
    lines: tuple[str, ...] = (LINE,),
    read: float = 1.0,
    **section: Any,
) -> AsyncIterator[PamFaxFarEnd]:
    async with Server() as server, http.client(read=read) as client:
        tools = tools_for(folder, http=client, now=clock, lines=lines)
        keys = {**SECTION, "url": f"{server.url}/pamfax/", "time_limit": "0.5s", **section}
        adapter = carriers.build("main", keys, "gateway.toml", tools)
        assert isinstance(adapter, PamFax)
        await adapter.start()
        yield PamFaxFarEnd(adapter, server, folder)
        await adapter.stop()


class TestPamFax(HttpCarrierConformance):
    @pytest.fixture(params=["json", "xml"])
    async def far(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[PamFaxFarEnd]:
        async with pamfax(tmp_path, format=request.param) as far:
            far.looks = 0
            yield far


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def far(tmp_path: Path, clock: Clock) -> AsyncIterator[PamFaxFarEnd]:
    async with pamfax(tmp_path, clock) as far:
        yield far


def methods(far: PamFaxFarEnd) -> list[str]:
    return [name.partition("/")[2] for name, _ in far.calls]


# A fax going out


async def test_the_job_is_whole_before_it_has_a_name_and_only_send_follows(far: PamFaxFarEnd) -> None:
    order = far.order()
    carrier_ref = await far.adapter.open(order)
    assert far.taken() == 0
    assert methods(far) == [
        "VerifyUser", "Create", "SetSenderDetails", "AddRecipient", "AddFile", "GetFaxState", "GetFaxState",
        "ListRecipients", "ListFaxFiles", "GetPagePrice",
    ]  # fmt: skip
    assert (await far.adapter.submit(order, carrier_ref)).carrier_ref == carrier_ref
    assert methods(far)[10:] == ["Send"]
    (job,) = far.jobs.values()
    assert job["files"] == [order.document.read_bytes()]
    assert far.faxes[0]["sender_fax"] == LINE
    with pytest.raises(CarrierUnavailable):
        await far.adapter.submit(order, carrier_ref)
    assert far.taken() == 1


async def test_faxes_at_the_same_time_do_not_share_a_session(far: PamFaxFarEnd, tmp_path: Path) -> None:
    orders = []
    for n in range(8):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "document.pdf").write_bytes(b"%PDF-1.4 " + str(n).encode())
        orders.append(replace(far.order(), number=f"+1415555012{n}", document=folder / "document.pdf"))
    receipts = await asyncio.gather(*(far.adapter.submit(order) for order in orders))
    assert len({receipt.carrier_ref for receipt in receipts}) == far.taken() == 8
    for job in far.jobs.values():
        (recipient,), (document,) = job["recipients"], job["files"]
        assert document == b"%PDF-1.4 " + recipient["number"][-1:].encode()


async def test_a_sub_address_is_not_dropped_silently(far: PamFaxFarEnd) -> None:
    with pytest.raises(Unsupported):
        await far.adapter.open(replace(far.order(), sub_address="12"))
    assert not far.calls


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("ListRecipients", {"Recipients": []}),
        (
            "ListRecipients",
            {"Recipients": [{"uuid": "r1", "number": "+14155550123"}, {"uuid": "r2", "number": "+14155550124"}]},
        ),
        ("ListRecipients", {"Recipients": [{"number": "+14155550123"}]}),
        ("ListRecipients", {}),
        ("ListFaxFiles", {"Files": []}),
        ("ListFaxFiles", {"Files": [{"size": 7}]}),
        ("ListFaxFiles", {"Files": [{"contentmd5": "0" * 32}]}),
        ("VerifyUser", {"User": {"credit": "1"}}),
    ],
)
async def test_a_job_that_is_not_certainly_ours_is_not_sent(far: PamFaxFarEnd, method: str, answer: Members) -> None:
    far.inside[method] = lambda call: answer
    with pytest.raises(CarrierUnavailable):
        await far.adapter.submit(far.order())
    assert far.taken() == 0


async def test_a_number_that_the_carrier_has_corrected_is_not_called(far: PamFaxFarEnd) -> None:
    far.inside["ListRecipients"] = lambda call: {"Recipients": [{"uuid": "r1", "number": "+4415555501"}]}
    with pytest.raises(CarrierRefused) as caught:
        await far.adapter.submit(far.order())
    assert caught.value.outcome is Outcome.BAD_NUMBER
    assert far.taken() == 0


async def test_a_document_that_never_becomes_ready_ends_in_its_own_time(tmp_path: Path) -> None:
    async with pamfax(tmp_path, ready_limit="0.6s") as far:
        far.looks = 1000
        with pytest.raises(CarrierUnavailable, match="in time"):
            await far.adapter.open(far.order())
        assert 2 <= methods(far).count("GetFaxState") <= 3


@pytest.mark.parametrize(
    ("credit", "per_page", "section", "code"),
    [
        ("0.17", "0.01", {}, "not_enough_credit"),  # the job's own price
        ("0.50", "0.26", {}, "not_enough_credit"),  # pages by price of a page
        ("9", "0.09", {"price_limit": "0.1"}, "price_limit"),
    ],
)
async def test_a_fax_that_cannot_or_must_not_be_paid_is_held_before_send(
    tmp_path: Path, credit: str, per_page: str, section: Members, code: str
) -> None:
    async with pamfax(tmp_path, **section) as far:
        far.credit, far.price_per_page = credit, per_page
        with pytest.raises(CarrierRefused) as caught:
            await far.adapter.open(far.order())
        assert (caught.value.outcome, caught.value.carrier_code) == (Outcome.NO_CREDIT, code)
        assert "Send" not in methods(far)


async def test_what_the_carrier_does_not_say_of_money_stops_nothing(far: PamFaxFarEnd) -> None:
    far.credit, far.price_per_page = "", ""
    await far.adapter.submit(far.order())
    far.credit, far.price_per_page = "0.20", "0.12"
    far.inside["GetPagePrice"] = lambda call: {"Price": {"priceperpage": "0.12", "currency": "USD"}}  # not the account's
    await far.adapter.submit(far.order("at_2"))
    assert far.taken() == 2


async def test_the_credit_of_an_account_that_pays_afterwards_holds_nothing(tmp_path: Path) -> None:
    async with pamfax(tmp_path, postpaid=True) as far:
        far.credit = "0"
        await far.adapter.submit(far.order())
        assert far.taken() == 1


@pytest.mark.parametrize(
    ("state", "outcome"), [("not_enough_credit", Outcome.NO_CREDIT), ("conversion_failed", Outcome.DOCUMENT_REFUSED)]
)
async def test_a_job_that_will_never_be_ready_says_why(far: PamFaxFarEnd, state: str, outcome: Outcome) -> None:
    far.inside["GetFaxState"] = lambda call: {"FaxContainer": {"state": state}, "Files": []}
    with pytest.raises(CarrierRefused) as caught:
        await far.adapter.open(far.order())
    assert (caught.value.outcome, caught.value.carrier_code) == (outcome, state)


@pytest.mark.parametrize("code", [*pamfax_codes.CODES, "invented"])
def test_every_code_means_the_same_everywhere_and_never_that_a_fax_was_sent(code: str) -> None:
    job, send, question = _of_job(code), _of_send(code), _of_question(code)
    assert isinstance(job, (CarrierRefused, CarrierUnavailable))
    assert isinstance(send, CarrierUncertain) == (code in ("500", "invented"))
    if isinstance(job, CarrierRefused) and isinstance(send, CarrierRefused):
        assert job.outcome is send.outcome is pamfax_codes.CODES[code][1]
        assert job.carrier_code == code
    gone = {"fax_not_found", "fax_removed", "file_not_found", "404"}
    assert isinstance(question, CarrierRefused) == (code in gone)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_enough_credit", CarrierRefused),
        ("fax_not_ready", CarrierUnavailable),
        ("user_not_logged_in", CarrierUnavailable),
        ("too_many_requests", CarrierBusy),
        ("500", CarrierUncertain),
        ("verschollen", CarrierUncertain),
    ],
)
async def test_an_error_with_http_200_is_an_error_at_send(far: PamFaxFarEnd, code: str, kind: type[Exception]) -> None:
    def refuses(call: Members) -> Members:
        raise Fault(code)

    far.inside["Send"] = refuses
    with pytest.raises(kind):
        await far.adapter.submit(far.order())
    assert far.taken() == 0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"result": {"code": "no_recipients_in_fax"}}, CarrierRefused),
        (403, {"result": {"code": "403"}}, CarrierRefused),
        (500, {"result": {"code": "500"}}, CarrierUncertain),
        (502, b"<html>", CarrierUncertain),
        (503, {"result": {"code": "success"}}, CarrierUncertain),
    ],
)
async def test_an_http_error_says_what_its_answer_says(
    far: PamFaxFarEnd, status: int, body: Any, kind: type[Exception]
) -> None:
    far.on_send, far.takes = answers(status, body), False
    with pytest.raises(kind):
        await far.adapter.submit(far.order())


async def test_a_wrong_password_is_our_account_there_and_holds_the_fax(tmp_path: Path) -> None:
    async with pamfax(tmp_path) as far:
        far.inside["VerifyUser"] = lambda call: far.do_VerifyUser({**call, "password": "other"})
        with pytest.raises(CarrierRefused) as caught:
            await far.adapter.open(far.order())
        assert caught.value.outcome is Outcome.NO_CREDIT
        with pytest.raises(CarrierUnavailable):  # a question: the fax is still there
            await far.adapter.poll("r1")


async def test_a_session_that_was_silent_is_asked_whether_it_lives(far: PamFaxFarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    order = far.order()
    carrier_ref = await far.adapter.open(order)
    monkeypatch.setattr("gateway.carriers.pamfax_session._STILL", -1.0)
    far.jobs.clear()  # it has ended
    with pytest.raises(CarrierUnavailable):
        await far.adapter.submit(order, carrier_ref)
    assert methods(far)[-1] == "KeepAlive"


# What became of it


async def test_questions_share_a_session_and_begin_it_again_when_it_has_ended(far: PamFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    jobs = dict(far.jobs)
    await asyncio.gather(*(far.adapter.poll(receipt.carrier_ref) for _ in range(5)))
    assert methods(far).count("VerifyUser") == 2
    for token in set(far.jobs) - set(jobs):
        del far.jobs[token]
    far.jobs |= {"elsewhere": {}, "other": {}}  # so that the next token is another one
    await far.adapter.poll(receipt.carrier_ref)
    assert methods(far).count("VerifyUser") == 3


async def test_a_session_that_ends_again_at_once_is_not_begun_for_ever(far: PamFaxFarEnd) -> None:
    def ended(call: Members) -> Members:
        raise Fault("user_not_logged_in")

    far.inside["GetFaxDetails"] = ended
    with pytest.raises(CarrierUnavailable):
        await far.adapter.poll("r1")
    assert methods(far) == ["VerifyUser", "GetFaxDetails", "VerifyUser", "GetFaxDetails"]


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("line busy", Outcome.BUSY),
        ("No answer", Outcome.NO_ANSWER),
        ("the document cannot be faxed: page 2 is blank", Outcome.DOCUMENT_REFUSED),
        ("Leitung gestoert", Outcome.GAVE_UP),
        ("", Outcome.GAVE_UP),
    ],
)
async def test_a_failure_has_the_reason_that_its_text_names(far: PamFaxFarEnd, message: str, outcome: Outcome) -> None:
    receipt = await far.adapter.submit(far.order())
    far.faxes[0] |= {"state": "failure", "status_message": message, "status_code": 1, "pages_sent": 1}
    (event,) = await far.adapter.poll(receipt.carrier_ref)
    assert (event.state, event.outcome, event.pages_sent) == (AttemptState.FAILED, outcome, 1)
    assert event.text == message


async def test_a_word_for_a_fax_on_its_way_that_nobody_documented_ends_nothing(far: PamFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    far.faxes[0]["state"] = "in_queue_2"
    (event,) = await far.adapter.poll(receipt.carrier_ref)
    assert (event.state, event.outcome, event.carrier_code) == (AttemptState.SUBMITTED, None, "in_queue_2")
    far.faxes[0]["state"] = "not_enough_credit"
    assert "Buy credit" in (await far.adapter.poll(receipt.carrier_ref))[0].attention


@pytest.mark.parametrize("answer", [{}, {"FaxRecipient": {"uuid": "another", "state": "success"}}, {"FaxHistoryModel": []}])
async def test_an_answer_about_another_fax_says_nothing(far: PamFaxFarEnd, answer: Members) -> None:
    far.inside["GetFaxDetails"] = lambda call: answer
    with pytest.raises(CarrierUnavailable):
        await far.adapter.poll("r1")


async def test_a_lost_answer_is_asked_for_by_the_name_the_job_had_before(far: PamFaxFarEnd) -> None:
    order = far.order()
    carrier_ref = await far.adapter.open(order)
    assert not await far.adapter.went_out(carrier_ref), "a job that was not sent proves nothing"
    far.lose_answer()
    with pytest.raises(CarrierUncertain):
        await far.adapter.submit(order, carrier_ref)
    assert await far.adapter.went_out(carrier_ref)
    with pytest.raises(CarrierRefused):
        await far.adapter.went_out("never-heard-of")


async def test_a_cancel_that_is_only_promised_is_not_confirmed(far: PamFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    far.inside["Cancel"] = lambda call: {}
    assert await far.adapter.cancel(receipt.carrier_ref) is False


async def test_the_lists_are_read_to_their_ends(far: PamFaxFarEnd) -> None:
    for n in range(230):
        state = "queued" if n % 2 else "success"
        far.faxes.append({"uuid": f"r{n}", "number": f"1415555{n:04d}", "state": state, "created": far.now(), "pages": "1"})
    assert len(await far.adapter.listing(LONG_AGO)) == 230
    assert methods(far)[1:] == ["ListOutboxFaxes"] * 2 + ["ListSentFaxes"] * 2


async def test_a_list_that_repeats_itself_ends(far: PamFaxFarEnd) -> None:
    page = [{"uuid": f"r{n}", "created": far.now()} for n in range(100)]
    far.inside["ListSentFaxes"] = lambda call: {"Odd": page}
    assert len(await far.adapter.listing(LONG_AGO)) == 100
    assert methods(far).count("ListSentFaxes") == 2


async def test_times_are_those_of_the_accounts_zone(tmp_path: Path, clock: Clock) -> None:
    async with pamfax(tmp_path, clock, timezone="Asia/Tokyo") as far:
        far.faxes.append({"uuid": "r1", "number": "+14155550123", "state": "success", "created": "2026-01-02 08:30:00"})
        (listed,) = await far.adapter.listing(LONG_AGO)
        assert listed.submitted_at.isoformat() == "2026-01-01T23:30:00+00:00"


# What the listener hears, and what stays of a fax


async def test_the_listener_tells_which_faxes_moved_on_each_once(far: PamFaxFarEnd) -> None:
    first = await far.adapter.changes()
    assert (set(first.carrier_refs), first.whole) == (set(), False), "whatever happened before it was there is not known"
    receipts = [await far.adapter.submit(far.order(f"at_{n}")) for n in range(5)]
    assert not far.adapter.hears, "it has never told anything"
    for receipt in receipts:
        await far.finish(receipt)
    heard = await far.adapter.changes()
    assert (set(heard.carrier_refs), heard.whole) == ({receipt.carrier_ref for receipt in receipts}, True)
    assert far.adapter.hears
    again = await far.adapter.changes()
    assert (set(again.carrier_refs), again.whole) == (set(), True)
    assert methods(far).count("RegisterListener") == 1


async def test_a_listener_whose_session_has_ended_begins_again_and_says_that_it_missed_something(far: PamFaxFarEnd) -> None:
    await far.adapter.changes()
    for token in list(far.listeners):
        far.jobs[f"gone {token}"] = far.jobs.pop(token)
    assert (await far.adapter.changes()).whole is False
    assert (await far.adapter.changes()).whole is True
    far.inside["ListChanges"] = lambda call: far.do_GetFaxDetails({**call, "uuid": "r0"})  # some error
    with pytest.raises(CarrierUnavailable):
        await far.adapter.changes()
    del far.inside["ListChanges"]
    assert (await far.adapter.changes()).whole is False, "what that answer held is lost"


@pytest.mark.parametrize("code", ["deprecated", "missing_right", "404", "500"])
async def test_a_carrier_without_a_listener_is_no_fault_of_the_fax(far: PamFaxFarEnd, code: str) -> None:
    def refuses(call: Members) -> Members:
        raise Fault(code)

    far.inside["RegisterListener"] = refuses
    with pytest.raises(CarrierUnavailable):
        await far.adapter.changes()
    assert not far.adapter.hears


@pytest.mark.parametrize(
    ("said", "refs", "whole"),
    [
        ({}, set(), True),
        ({"Events": [{"recipient_uuid": "r7", "state": "x"}]}, {"r7"}, True),
        ({"Odd": [{"id": "1"}], "Other": [{"fax_uuid": "r8"}]}, {"r8"}, False),
    ],
)
async def test_a_list_of_changes_in_other_words_loses_nothing(
    far: PamFaxFarEnd, said: Members, refs: set[str], whole: bool
) -> None:
    await far.adapter.changes()
    far.inside["ListChanges"] = lambda call: said
    heard = await far.adapter.changes()
    assert (set(heard.carrier_refs), heard.whole) == (refs, whole)


async def test_a_report_is_a_pdf_or_there_is_none(far: PamFaxFarEnd) -> None:
    receipt = await far.adapter.submit(far.order())
    with pytest.raises(CarrierRefused):
        await far.adapter.report(receipt.carrier_ref)
    far.reports[receipt.carrier_ref] = b"%PDF-1.4 a report"
    assert await far.adapter.report(receipt.carrier_ref) == b"%PDF-1.4 a report"
    far.reports[receipt.carrier_ref] = b"GIF89a"
    with pytest.raises(CarrierRefused, match="no PDF"):
        await far.adapter.report(receipt.carrier_ref)


# Later, unpaid, delayed


async def test_a_fax_may_wait_for_credit_there_and_counts_as_handed_over(tmp_path: Path) -> None:
    async with pamfax(tmp_path, unpaid="queue") as far:
        far.credit = "0.05"
        order = far.order()
        carrier_ref = await far.adapter.open(order)
        assert not await far.adapter.went_out(carrier_ref), "it is not in the list of unpaid faxes yet"
        await far.adapter.submit(order, carrier_ref)
        assert methods(far)[-1] == "SendLater"
        assert await far.adapter.went_out(carrier_ref)
        (event,) = await far.adapter.poll(carrier_ref)
        assert event.state is AttemptState.SUBMITTED
        assert "Buy credit" in event.attention
        far.faxes[0]["state"] = "queued"
        assert await far.adapter.went_out(carrier_ref), "credit came, and it went out by itself"


async def test_credit_that_came_between_sends_nothing_and_the_fax_is_tried_again(tmp_path: Path) -> None:
    async with pamfax(tmp_path, unpaid="queue") as far:
        far.credit = "0.05"
        order = far.order()
        carrier_ref = await far.adapter.open(order)
        far.credit = "5"
        with pytest.raises(CarrierUnavailable):
            await far.adapter.submit(order, carrier_ref)
        assert far.taken() == 0
        await far.adapter.submit(order)
        assert (methods(far)[-1], far.taken()) == ("Send", 1)


async def test_a_lost_answer_to_send_later_is_uncertain(tmp_path: Path) -> None:
    async with pamfax(tmp_path, unpaid="queue") as far:
        far.credit = "0.05"
        order = far.lose_answer()
        with pytest.raises(CarrierUncertain):
            await far.adapter.submit(order)


async def test_a_price_that_nobody_says_is_above_every_limit(tmp_path: Path) -> None:
    async with pamfax(tmp_path, price_limit="5") as far:
        far.price_per_page = ""
        far.inside["GetFaxState"] = lambda call: {"FaxContainer": {"state": "ready_to_send", "pages": 2}, "Files": []}
        with pytest.raises(CarrierRefused) as caught:
            await far.adapter.submit(far.order())
        assert (caught.value.carrier_code, far.taken()) == ("price_limit", 0)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("2026-07-01T10:00:00+00:00", "2026-07-01 12:00:00"),  # summer there
        ("2026-12-01T10:00:00.2+00:00", "2026-12-01 11:00:01"),  # winter, and never too early
        ("2026-10-25T00:30:00+00:00", None),  # 02:30 is there twice that night
        ("2026-10-25T01:30:00+00:00", None),
    ],
)
async def test_the_time_of_a_delayed_fax_is_on_the_clock_of_the_account(tmp_path: Path, written: str, told: str | None) -> None:
    at = datetime.fromisoformat(written)
    async with pamfax(tmp_path, lambda: at - timedelta(hours=3), delayed="carrier", timezone="Europe/Berlin") as far:
        assert far.adapter.delays(at) is (told is not None)
        order = replace(far.order(), send_at=at)
        if told is None:
            with pytest.raises(CarrierUnavailable):
                await far.adapter.submit(order)
            assert far.taken() == 0
            return
        await far.adapter.submit(order)
        assert far.faxes[0]["at"] == told
        assert far.calls[-1][1]["send_at_timezone"] == "Europe/Berlin"


async def test_the_spool_keeps_the_time_unless_it_is_told_otherwise_and_what_is_too_near_or_too_far(tmp_path: Path) -> None:
    async with pamfax(tmp_path) as far:
        assert not far.adapter.capabilities.delays
        assert not far.adapter.delays(far.adapter.tools.now() + timedelta(days=1))
    async with pamfax(tmp_path, delayed="carrier") as far:
        ahead = [timedelta(minutes=5), timedelta(days=1), timedelta(days=13, hours=23, minutes=30)]
        assert far.adapter.capabilities.delays
        assert [far.adapter.delays(far.adapter.tools.now() + time) for time in ahead] == [False, True, False]


# Sessions that end while many faxes are on their way


async def test_twenty_faxes_at_once_over_ending_sessions_mix_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    async with pamfax(tmp_path, read=30.0, time_limit="30s") as far:
        dice, orders = random.Random(7), []
        for n in range(20):
            folder = tmp_path / str(n)
            folder.mkdir()
            (folder / "document.pdf").write_bytes(b"%PDF-1.4 " + str(n).encode())
            orders.append(replace(far.order(f"at_{n}"), number=f"+14155550{n:03}", document=folder / "document.pdf"))
        whole = {
            name: getattr(far, f"do_{name}") for name in ("AddRecipient", "AddFile", "GetFaxState", "ListFaxFiles", "Send")
        }

        def ending(name: str) -> Callable[[Members], Members]:
            def called(call: Members) -> Members:
                if dice.random() < 0.1:  # the session has just ended, and with it the job
                    far.jobs[f"gone {call['usertoken']}"] = far.jobs.pop(call["usertoken"])
                answer: Members = whole[name](call)
                return answer

            return called

        far.inside |= {name: ending(name) for name in whole}

        async def sent(order: Order) -> str:
            for _ in range(50):
                try:
                    return (await far.adapter.submit(order)).carrier_ref
                except CarrierUnavailable:
                    continue
            raise AssertionError("it never went out")

        refs = await asyncio.gather(*(sent(order) for order in orders))
        assert len(set(refs)) == far.taken() == 20
        assert any(token.startswith("gone ") for token in far.jobs), "sessions did end"
        for job in (job for job in far.jobs.values() if job.get("sent")):
            (recipient,), (document,) = job["recipients"], job["files"]
            assert document == b"%PDF-1.4 " + str(int(recipient["number"][-3:])).encode()
        events = await asyncio.gather(*(far.adapter.poll(ref) for ref in refs))
        assert [one.carrier_ref for (one,) in events] == refs


# Faxes coming in


async def test_a_received_fax_is_marked_as_read_once_and_not_listed_again(far: PamFaxFarEnd) -> None:
    ref, _ = await far.arrive(b"%PDF-1.4")
    (fax,) = await far.adapter.list_inbound()
    assert (fax.caller, fax.pages, fax.complete) == ("+14155550123", 1, True)
    assert not far.inbox[0].get("read"), "only when it is safe here"
    for _ in range(2):
        await far.adapter.forget_inbound(ref)
    assert far.inbox[0]["read"] == 1
    assert await far.adapter.list_inbound() == []
    assert methods(far).count("SetFaxRead") == 1


async def test_a_fax_that_somebody_has_read_there_still_comes(far: PamFaxFarEnd) -> None:
    ref, _ = await far.arrive(b"%PDF-1.4")
    far.inbox[0]["read"] = 1
    assert [fax.carrier_ref for fax in await far.adapter.list_inbound()] == [ref]


async def test_a_document_is_found_after_a_restart(far: PamFaxFarEnd) -> None:
    ref, _ = await far.arrive(b"II*\0 a fax")
    assert await far.adapter.fetch_inbound(ref) == b"II*\0 a fax"
    far.documents.clear()
    with pytest.raises(CarrierRefused):
        await far.adapter.fetch_inbound(ref)


@pytest.mark.parametrize(
    ("members", "line", "caller"),
    [
        ({"number": "1 (415) 555-0101", "sender_number": "+493012345678"}, OTHER, "+493012345678"),
        ({"number": OTHER, "sender": "Praxis Dr. Weiß"}, OTHER, ""),
        ({"number": "+14155550199", "sender": LINE}, "", LINE),  # from our line to a number that is not ours
        ({"number": None}, "", ""),
    ],
)
async def test_a_fax_is_for_the_line_that_was_called_or_for_the_operator(
    tmp_path: Path, members: Members, line: str, caller: str
) -> None:
    async with pamfax(tmp_path, lines=(LINE, OTHER)) as far:
        await far.arrive(b"%PDF-1.4")
        far.inbox[0] |= {"sender": "", **members}
        (fax,) = await far.adapter.list_inbound()
        assert (fax.line, fax.caller) == (line, caller)


@pytest.mark.parametrize(("number", "line"), [(None, LINE), ("+14155550199", "")])
async def test_a_fax_without_a_called_number_is_for_the_only_line(tmp_path: Path, number: str | None, line: str) -> None:
    async with pamfax(tmp_path) as far:
        await far.arrive(b"%PDF-1.4")
        far.inbox[0]["number"] = number
        (fax,) = await far.adapter.list_inbound()
        assert fax.line == line


async def test_a_fax_that_is_still_being_received_is_waited_for(far: PamFaxFarEnd) -> None:
    await far.arrive(b"%PDF-1.4")
    far.inbox[0]["file_uuid"] = None
    assert await far.adapter.list_inbound() == []


# The account


async def test_credit_below_the_limit_is_told(tmp_path: Path) -> None:
    async with pamfax(tmp_path, credit_alarm=5) as far:
        assert await far.adapter.attention() == ""
        far.credit = "4.99"
        assert "4.99 EUR" in await far.adapter.attention()
    async with pamfax(tmp_path) as far:
        assert await far.adapter.attention() == ""
        assert not far.calls


async def test_a_price_is_told_in_words_and_the_lines_as_numbers(far: PamFaxFarEnd) -> None:
    assert await far.adapter.price("+14155550123", 3) == "0.27 EUR"
    assert await far.adapter.own_lines() == [LINE]
    far.inside["ListInboxes"] = lambda call: {"FaxInNumberList": [{"fax": LINE}]}
    with pytest.raises(Unsupported):
        await far.adapter.own_lines()


async def test_the_token_is_not_shown(far: PamFaxFarEnd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await far.adapter.open(far.order())
    shown = repr(far.adapter._jobs) + repr(far.adapter._calls._key) + caplog.text
    for secret in (*far.jobs, SECRET, PASSWORD):
        assert secret not in shown


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"url": "http://api.pamfax.biz"}, "carrier.main"),
        ({"url": "http://127.0.0.1.example.com"}, "carrier.main"),
        ({"password": None}, "carrier.main"),
        ({"api_secret": None}, "carrier.main"),
        ({"api_secret_file": "/nowhere/secret"}, "api_secret_file"),
        ({"timezone": "Mars"}, "timezone"),
        ({"ready_limit": "70s"}, "carrier.main"),
        ({"time_limit": "60s"}, "carrier.main"),
        ({"price_limit": 0}, "price_limit"),
        ({"format": "yaml"}, "format"),
    ],
)
def test_a_wrong_section_is_named(section: Members, key: str) -> None:
    carriers.check("main", SECTION, "gateway.toml")
    with pytest.raises(ConfigError) as caught:
        carriers.check(
            "main", {name: value for name, value in {**SECTION, **section}.items() if value is not None}, "gateway.toml"
        )
    assert key in str(caught.value)
    assert SECRET not in str(caught.value)
