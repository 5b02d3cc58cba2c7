"""The loopback network: it conforms, ends calls by their number, keeps its journal, and calls back over real HTTP."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.carriers import announcer, http, network
from gateway.carriers.base import CallbackRequest, Event, Order, Receipt
from gateway.carriers.loopback import STATUSES, Loopback, LoopbackConfig, calls
from gateway.errors import (
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    ConverterUnavailable,
    Outcome,
)
from gateway.fax import AttemptState
from tests.carriers.conformance import CarrierConformance, FarEnd, Signer
from tests.carriers.tools import LINE, PDF, PRINTED, Clock, order, running, tools_for

LIMIT = 3
SECRET, OLD_SECRET = "current-0123456789abcdef", "replaced-0123456789abcdef"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def adapter(tmp_path: Path, clock: Clock) -> AsyncIterator[Loopback]:
    async with running(tmp_path, clock) as adapter:
        yield adapter


class LoopbackFarEnd(FarEnd):
    statuses = STATUSES
    documented = frozenset(
        {"sending", "delivered", "busy", "no answer", "person answered", "disconnected", "unallocated", "line dropped"}
        | {"partly sent", "conversion error", "blocked", "on hold, no credit", "cancelled"}
    )
    secrets = (SECRET, OLD_SECRET)

    adapter: Loopback

    def __init__(self, adapter: Loopback, folder: Path, clock: Clock) -> None:
        self.adapter = adapter
        self.folder, self.clock = folder, clock
        self._arrived = ""

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, reference=reference)

    def taken(self) -> int:
        return len(calls(self.adapter.tools.folder))

    async def finish(self, receipt: Receipt) -> None:
        self.clock.forward(60)

    def refuse(self) -> tuple[Order, Outcome]:
        return order(self.folder, content=b"GIF89a"), Outcome.DOCUMENT_REFUSED

    def cut_off(self) -> None:
        self.adapter.outage = True

    async def overload(self, seconds: float) -> None:
        assert seconds == 7, "that is how long a call takes here"
        for n in range(LIMIT):
            await self.adapter.submit(self.order(f"at_before_{n}"))

    def lose_answer(self) -> Order:
        return order(self.folder, number="+14155550119")

    def callback(self, word: str, carrier_ref: str = "ref-1", *, signed_by: Signer = "current") -> CallbackRequest:
        said = {"what": "status", "carrier_ref": carrier_ref, "reference": "at_1", "status": word, "at": "2026-03-02T09:00:00Z"}
        return self._request(json.dumps(said).encode(), signed_by)

    def arrival(self) -> CallbackRequest | None:
        fax = self.adapter.network.inbound[self._arrived]
        return self._request(fax.model_dump_json().encode(), "current")

    def _request(self, body: bytes, signed_by: Signer) -> CallbackRequest:
        secret = {"current": SECRET, "old": OLD_SECRET}.get(signed_by, "somebody-elses-secret").encode()
        headers = {} if signed_by == "nobody" else {announcer.HEADER: announcer.sign(secret, body, self.clock())}
        return CallbackRequest(
            method="POST", url="https://fax.example.com/callback/main/x", path="", headers=headers, body=body
        )

    async def arrive(self, document: bytes) -> tuple[str, str]:
        self._arrived = await self.adapter.receive(LINE, "+442079460123", document, "ACME")
        return self._arrived, LINE


class TestLoopback(CarrierConformance):
    @pytest.fixture
    async def far(self, tmp_path: Path, clock: Clock) -> AsyncIterator[FarEnd]:
        async with running(tmp_path, clock, secret=SECRET, old_secret=OLD_SECRET, call_time="7s", limit=LIMIT) as adapter:
            yield LoopbackFarEnd(adapter, tmp_path, clock)


# The numbers


async def ended(adapter: Loopback, clock: Clock, to: Order, seconds: float = 20.0) -> Event:
    """Submit, let the call end, and ask how."""
    receipt = await adapter.submit(to)
    clock.forward(seconds)
    return (await adapter.poll(receipt.carrier_ref))[0]


@pytest.mark.parametrize(
    ("digits", "outcome", "pages_sent"),
    [
        ("11", Outcome.BUSY, 0),
        ("12", Outcome.NO_ANSWER, 0),
        ("13", Outcome.NOT_A_FAX, 0),
        ("14", Outcome.DISCONNECTED, 0),
        ("15", Outcome.BAD_NUMBER, 0),
        ("16", Outcome.PARTLY_SENT, 1),
        ("20", Outcome.DOCUMENT_REFUSED, 0),
        ("21", Outcome.RECIPIENT_BLOCKED, 0),
        ("22", Outcome.NO_CREDIT, 0),
        ("10", Outcome.DELIVERED, 2),
        ("23", Outcome.DELIVERED, 2),
        ("99", Outcome.DELIVERED, 2),
    ],
)
async def test_the_last_two_digits_decide(
    adapter: Loopback, clock: Clock, tmp_path: Path, digits: str, outcome: Outcome, pages_sent: int
) -> None:
    event = await ended(adapter, clock, order(tmp_path, f"+141555512{digits}"))
    assert (event.outcome, event.pages_sent, event.seconds) == (outcome, pages_sent, 20.0)
    assert event.station_id == (f"+141555512{digits}" if pages_sent else "")


async def test_a_call_that_breaks_off_on_its_only_page_confirms_none(adapter: Loopback, clock: Clock, tmp_path: Path) -> None:
    event = await ended(adapter, clock, order(tmp_path, "+14155551216", pages=1))
    assert (event.outcome, event.pages_sent) == (Outcome.LINE_TROUBLE, 0)


async def test_17_is_busy_twice_and_then_delivered_across_a_restart(tmp_path: Path, clock: Clock) -> None:
    outcomes = []
    for n in range(7):
        async with running(tmp_path, clock) as adapter:
            outcomes.append((await ended(adapter, clock, order(tmp_path, "+14155551217", f"at_{n}"))).outcome)
            other = await ended(adapter, clock, order(tmp_path, f"+1415555{n:02d}17"))
            assert other.outcome is Outcome.BUSY, "another number counts for itself"
    assert outcomes == [Outcome.BUSY, Outcome.BUSY, Outcome.DELIVERED] * 2 + [Outcome.BUSY]


async def test_17_counts_calls_that_are_made_at_the_same_time(adapter: Loopback, clock: Clock, tmp_path: Path) -> None:
    receipts = await asyncio.gather(*(adapter.submit(order(tmp_path, "+14155551217", f"at_{n}")) for n in range(6)))
    clock.forward(20)
    outcomes = [(await adapter.poll(receipt.carrier_ref))[0].outcome for receipt in receipts]
    assert Counter(outcomes) == {Outcome.BUSY: 4, Outcome.DELIVERED: 2}


async def test_18_takes_thirty_seconds(adapter: Loopback, clock: Clock, tmp_path: Path) -> None:
    receipt = await adapter.submit(order(tmp_path, "+14155551218"))
    clock.forward(28)
    assert (await adapter.poll(receipt.carrier_ref))[0].state is AttemptState.SUBMITTED
    clock.forward(2)
    assert (await adapter.poll(receipt.carrier_ref))[0].outcome is Outcome.DELIVERED


async def test_19_loses_the_answer_but_not_the_call(adapter: Loopback, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(CarrierUncertain):
        await adapter.submit(order(tmp_path, "+14155551219"))
    assert [call.reference for call in calls(adapter.tools.folder)] == ["at_1"]
    found = await adapter.find("at_1")
    assert found is not None
    clock.forward(20)
    assert (await adapter.poll(found.carrier_ref))[0].outcome is Outcome.DELIVERED


async def test_a_fax_submitted_twice_is_two_calls_and_the_first_is_found(adapter: Loopback, tmp_path: Path) -> None:
    first = await adapter.submit(order(tmp_path))
    second = await adapter.submit(order(tmp_path))
    assert first != second
    assert await adapter.find("at_1") == first
    assert [call.reference for call in calls(adapter.tools.folder)] == ["at_1", "at_1"]


async def test_pages_take_their_time(tmp_path: Path, clock: Clock) -> None:
    async with running(tmp_path, clock, call_time="2s", page_time="3s") as adapter:
        assert (await ended(adapter, clock, order(tmp_path, pages=4))).seconds == 14.0
        assert (await ended(adapter, clock, order(tmp_path, "+14155551216", pages=4))).seconds == 5.0
        assert (await ended(adapter, clock, order(tmp_path, "+14155551211", pages=4))).seconds == 2.0


async def _random_outcomes(folder: Path, clock: Clock, seed: int, number: str = "+14155551299") -> list[Outcome | None]:
    folder.mkdir()
    async with running(folder, clock, error_rate=0.3, seed=seed) as adapter:
        return [(await ended(adapter, clock, order(folder, number, f"at_{n}"))).outcome for n in range(60)]


async def test_random_errors_repeat_with_their_seed(tmp_path: Path, clock: Clock) -> None:
    first, again, other = [
        await _random_outcomes(tmp_path / name, clock, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    assert first == again != other
    assert 5 <= sum(outcome is not Outcome.DELIVERED for outcome in first) <= 35
    assert {Outcome.BUSY, Outcome.NO_ANSWER} <= set(first)


async def test_random_errors_do_not_depend_on_the_order_of_calls_to_other_numbers(tmp_path: Path, clock: Clock) -> None:
    numbers = [f"+1415555{n:02}99" for n in range(30)]
    found = []
    for name, ordered in (("a", numbers), ("b", numbers[::-1])):
        (tmp_path / name).mkdir()
        async with running(tmp_path / name, clock, error_rate=0.5, seed=7) as adapter:
            ends = {one: (await ended(adapter, clock, order(tmp_path / name, one, f"at_{one}"))).outcome for one in ordered}
        found.append([ends[one] for one in numbers])
    assert found[0] == found[1]
    assert len(set(found[0])) > 2


async def test_random_errors_leave_the_numbers_of_the_table_alone(tmp_path: Path, clock: Clock) -> None:
    async with running(tmp_path, clock, error_rate=1.0) as adapter:
        expected = {"11": Outcome.BUSY, "13": Outcome.NOT_A_FAX, "18": Outcome.DELIVERED, "22": Outcome.NO_CREDIT}
        for digits, outcome in expected.items():
            assert (await ended(adapter, clock, order(tmp_path, f"+141555512{digits}"), 30)).outcome is outcome
        assert (await ended(adapter, clock, order(tmp_path, "+14155551299"))).outcome is not Outcome.DELIVERED


def test_every_word_of_the_network_is_in_the_status_table() -> None:
    assert {*network.BY_DIGITS.values(), *network.RANDOM_ERRORS, "delivered", "sending", "cancelled"} == set(STATUSES)


# Our own lines


async def test_a_fax_to_our_own_line_arrives_there_as_a_fax_machine_prints_it(
    adapter: Loopback, clock: Clock, tmp_path: Path
) -> None:
    receipt = await adapter.submit(replace(order(tmp_path, LINE), sub_address="42", caller="+442079460123"))
    assert not await adapter.list_inbound()
    clock.forward(20)
    assert (await adapter.poll(receipt.carrier_ref))[0].outcome is Outcome.DELIVERED
    [fax] = await adapter.list_inbound()
    assert (fax.line, fax.caller, fax.station_id, fax.sub_address) == (LINE, "+442079460123", "+442079460123", "42")
    assert (fax.pages, fax.seconds, fax.document) == (2, 20.0, None)
    assert await adapter.fetch_inbound(fax.carrier_ref) == PRINTED + PDF


async def test_our_own_line_wins_over_the_table(tmp_path: Path, clock: Clock) -> None:
    async with http.client() as client:
        tools = tools_for(tmp_path, http=client, now=clock, lines=["+14155550111", "+14155550119"])
        adapter = Loopback(tools, LoopbackConfig(kind="loopback"))
        await adapter.start()
        for line in ("+14155550111", "+14155550119"):
            assert (await ended(adapter, clock, order(tmp_path, line))).outcome is Outcome.DELIVERED
        assert [fax.line for fax in await adapter.list_inbound()] == ["+14155550111", "+14155550119"]
        await adapter.stop()


async def test_a_cancelled_call_to_our_own_line_does_not_arrive(adapter: Loopback, clock: Clock, tmp_path: Path) -> None:
    receipt = await adapter.submit(order(tmp_path, LINE))
    assert await adapter.cancel(receipt.carrier_ref)
    clock.forward(60)
    assert not await adapter.list_inbound()
    [call] = calls(adapter.tools.folder)
    assert call.cancelled_at is not None


async def test_received_faxes_outlive_a_restart_until_they_are_forgotten(tmp_path: Path, clock: Clock) -> None:
    async with running(tmp_path, clock) as adapter:
        await adapter.submit(order(tmp_path, LINE))
        kept = await adapter.receive(LINE, "+442079460123", b"II*\0 a TIFF", "A\x00\nB", pages=3)
        gone = await adapter.receive(LINE, "", b"%PDF-1.4 second")
        await adapter.forget_inbound(gone)
        (tmp_path / "document.pdf").unlink()
        clock.forward(20)
    async with running(tmp_path, clock) as adapter:
        faxes = {fax.carrier_ref: fax for fax in await adapter.list_inbound()}
        assert len(faxes) == 2
        assert faxes[kept].station_id == "A??B"
        assert faxes[kept].pages == 3
        documents = {await adapter.fetch_inbound(ref) for ref in faxes}
        assert documents == {b"II*\0 a TIFF", PRINTED + PDF}
        with pytest.raises(CarrierRefused):
            await adapter.fetch_inbound(gone)
        with pytest.raises(CarrierRefused):
            await adapter.receive("+14155550999", "", b"%PDF-1.4")


async def test_a_fax_that_cannot_be_printed_now_can_be_fetched_later(tmp_path: Path, clock: Clock) -> None:
    async def fails(pdf: bytes) -> bytes:
        raise ConverterUnavailable

    async with http.client() as client:
        tools = replace(tools_for(tmp_path, http=client, now=clock), rasterise=fails)
        adapter = Loopback(tools, LoopbackConfig(kind="loopback"))
        await adapter.start()
        await adapter.submit(order(tmp_path, LINE))
        clock.forward(20)
        [fax] = await adapter.list_inbound()
        with pytest.raises(CarrierUnavailable):
            await adapter.fetch_inbound(fax.carrier_ref)
        await adapter.stop()


async def test_numbers_are_bought_and_given_back(tmp_path: Path, clock: Clock) -> None:
    async with running(tmp_path, clock) as adapter:
        assert "415" in await adapter.area_codes("ca")
        assert await adapter.area_codes("ZZ") == ()
        assert await asyncio.gather(*(adapter.buy_line("415") for _ in range(3))) == [
            "+14155550101",  # the first one is configured as ours
            "+14155550102",
            "+14155550103",
        ]
        await adapter.release_line("+14155550102")
    async with running(tmp_path, clock) as adapter:
        assert await adapter.own_lines() == [LINE, "+14155550101", "+14155550103"]
        assert await adapter.buy_line("415") == "+14155550102"
        for number in (LINE, "+14155550177"):
            with pytest.raises(CarrierRefused):
                await adapter.release_line(number)
        with pytest.raises(CarrierRefused):
            await adapter.buy_line("999")
        await asyncio.gather(*(adapter.buy_line("509") for _ in range(100)))
        with pytest.raises(CarrierRefused):
            await adapter.buy_line("509")


async def test_a_price_is_said_in_words(tmp_path: Path) -> None:
    async with running(tmp_path, page_price=0.07) as adapter:
        assert await adapter.price("+14155551299", 3) == "0.21 EUR"


# Refusing and being full


async def test_what_the_network_does_not_take_is_not_dialled(adapter: Loopback, tmp_path: Path) -> None:
    for changes in ({"content": b"not a PDF"}, {"pages": 0}):
        bad = order(tmp_path, **changes)
        with pytest.raises(CarrierRefused) as caught:
            await adapter.submit(bad)
        assert caught.value.outcome is Outcome.DOCUMENT_REFUSED
    with pytest.raises(CarrierUnavailable):
        await adapter.submit(replace(order(tmp_path), document=tmp_path / "gone.pdf"))
    assert not calls(adapter.tools.folder)


async def test_a_full_network_names_the_time_until_a_line_is_free(tmp_path: Path, clock: Clock) -> None:
    async with running(tmp_path, clock, limit=2) as adapter:
        results = await asyncio.gather(
            *(adapter.submit(order(tmp_path, reference=f"at_{n}")) for n in range(5)), return_exceptions=True
        )
        waits = [result.retry_after for result in results if isinstance(result, CarrierUnavailable)]
        assert len(waits) == 3
        assert all(wait is not None and 19 < wait <= 20 for wait in waits)
        clock.forward(20)
        await adapter.submit(order(tmp_path, reference="at_9"))
    assert len(calls(tmp_path / "carrier")) == 3


async def test_a_call_that_was_held_up_until_its_time_was_over_is_not_written(tmp_path: Path, clock: Clock) -> None:
    """What a frozen process does: the check before the call was long ago, the write comes when it wakes."""
    over = False
    async with running(tmp_path, clock) as adapter:
        with (adapter.tools.folder / "journal.jsonl").open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)  # the journal's thread waits here
            late = asyncio.create_task(adapter.submit(replace(order(tmp_path), in_time=lambda: not over)))
            await asyncio.sleep(0.2)
            assert not late.done()
            over = True
        with pytest.raises(CarrierUnavailable):
            await late
        assert await adapter.find("at_1") is None
        assert calls(adapter.tools.folder) == []
