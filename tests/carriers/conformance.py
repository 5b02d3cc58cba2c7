"""What every adapter must do. An adapter's test file supplies a `FarEnd` and inherits the cases.

    class TestMyCarrier(HttpCarrierConformance):
        @pytest.fixture
        async def far(self, tmp_path): ...yield a FarEnd

`CarrierConformance` is for every adapter, `HttpCarrierConformance` adds what can go wrong between us and an HTTP carrier.
A capability that is missing is not skipped: the method behind it must raise Unsupported.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.carriers.base import Announcement, CallbackRequest, Carrier, Event, Order, Receipt, Statuses
from gateway.errors import (
    CallbackRejected,
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    Outcome,
    Unsupported,
)
from gateway.fax import AttemptState

Signer = Literal["current", "old", "stranger", "nobody"]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FINAL_ATTEMPT = {AttemptState.DELIVERED, AttemptState.FAILED, AttemptState.CANCELLED}


class FarEnd(ABC):
    """A started adapter, and a carrier that does what the test says."""

    adapter: Carrier
    statuses: Statuses
    """The adapter's own table."""
    documented: frozenset[str]
    """Every status word in the carrier's documentation, written down here a second time."""
    secrets: Sequence[str]
    """Keys, passwords and signing secrets that the adapter was given."""
    received = b"%PDF-1.4 received"
    """A fax that arrives."""
    confirms_pages = True
    """The carrier says how many pages arrived, not only how many it bills."""

    @abstractmethod
    def order(self, reference: str = "at_1") -> Order:
        """A fax that the carrier takes and delivers, of two pages."""

    @abstractmethod
    def taken(self) -> int:
        """How many faxes the carrier has taken, doubles counted twice."""

    @abstractmethod
    async def finish(self, receipt: Receipt) -> None:
        """The call ends: delivered."""

    @abstractmethod
    def refuse(self) -> tuple[Order, Outcome]:
        """An order that the carrier refuses, and why."""

    @abstractmethod
    def cut_off(self) -> None:
        """From now on the carrier cannot be reached."""

    @abstractmethod
    async def overload(self, seconds: float) -> None:
        """The next submit is sent away for so long."""

    @abstractmethod
    def lose_answer(self) -> Order:
        """An order that the carrier takes, and whose answer never comes."""

    # Where the adapter takes callbacks

    def callback(self, word: str, carrier_ref: str = "ref-1", *, signed_by: Signer = "current") -> CallbackRequest:
        """What the carrier posts when it says `word` about a fax. "old": a secret that is being replaced."""
        raise NotImplementedError

    def events(self, word: str) -> Sequence[Event]:
        """What the adapter makes of the carrier saying `word`; overridden where there are no callbacks."""
        said, _ = self.adapter.parse_callback(self.callback(word))
        return [one for one in said if isinstance(one, Event)]

    # Where the carrier receives

    async def arrive(self, document: bytes) -> tuple[str, str]:
        """A fax arrives; its carrier_ref, and our line."""
        raise NotImplementedError

    def arrival(self) -> CallbackRequest | None:
        """The callback that announces a received fax; None where there is no such callback."""
        return None


class HttpFarEnd(FarEnd):
    """A far end behind HTTP."""

    @abstractmethod
    def garble(self) -> None:
        """The next submit is taken, and answered with something that makes no sense."""

    @abstractmethod
    def stall(self) -> None:
        """The next submit is never answered; the adapter's time limit is short."""


def _calls_back(adapter: Carrier) -> bool:
    return type(adapter).parse_callback is not Carrier.parse_callback


class CarrierConformance:
    """Inherited by the test class of each adapter, which supplies the fixture `far`."""

    async def test_a_fax_is_taken_and_ends_delivered(self, far: FarEnd) -> None:
        receipt = await far.adapter.submit(far.order(), await far.adapter.open(far.order()))
        assert receipt.carrier_ref
        assert far.taken() == 1
        await far.finish(receipt)
        if not far.adapter.capabilities.polls:
            with pytest.raises(Unsupported):
                await far.adapter.poll(receipt.carrier_ref)
            return
        last = (await far.adapter.poll(receipt.carrier_ref))[-1]
        assert (last.state, last.outcome) == (AttemptState.DELIVERED, Outcome.DELIVERED)
        assert last.carrier_ref == receipt.carrier_ref
        assert last.pages_sent == (2 if far.confirms_pages else 0)
        assert last.at.tzinfo is not None
        assert last.raw

    async def test_a_fax_in_progress_is_not_final(self, far: FarEnd) -> None:
        receipt = await far.adapter.submit(far.order())
        if far.adapter.capabilities.polls:
            events = await far.adapter.poll(receipt.carrier_ref)
            assert all(event.state is AttemptState.SUBMITTED and event.outcome is None for event in events)

    async def test_a_fax_that_the_carrier_does_not_know_is_refused(self, far: FarEnd) -> None:
        if far.adapter.capabilities.polls:
            with pytest.raises(CarrierRefused):
                await far.adapter.poll("never-heard-of")

    async def test_a_refused_fax_has_the_carriers_reason(self, far: FarEnd) -> None:
        order, outcome = far.refuse()
        with pytest.raises(CarrierRefused) as caught:
            await far.adapter.submit(order)
        assert caught.value.outcome is outcome
        assert caught.value.carrier_code
        assert far.taken() == 0

    async def test_a_fax_whose_time_is_over_is_not_sent(self, far: FarEnd) -> None:
        order = replace(far.order(), in_time=lambda: False)
        with pytest.raises(CarrierUnavailable):
            await far.adapter.submit(order)
        assert far.taken() == 0

    async def test_a_carrier_that_cannot_be_reached_is_unavailable(self, far: FarEnd) -> None:
        far.cut_off()
        with pytest.raises(CarrierUnavailable):
            await far.adapter.submit(far.order())
        assert far.taken() == 0
        if far.adapter.capabilities.polls:
            with pytest.raises(CarrierUnavailable):
                await far.adapter.poll("ref-1")
        if far.adapter.capabilities.finds:
            with pytest.raises(CarrierUnavailable):
                await far.adapter.find("at_1")

    async def test_a_busy_carrier_is_unavailable_for_the_time_it_names(self, far: FarEnd) -> None:
        await far.overload(7)
        before = far.taken()
        with pytest.raises(CarrierUnavailable) as caught:
            await far.adapter.submit(far.order())
        assert caught.value.retry_after == pytest.approx(7, abs=1)
        assert far.taken() == before

    async def test_a_lost_answer_is_uncertain_and_the_fax_is_found(self, far: FarEnd) -> None:
        order = far.lose_answer()
        with pytest.raises(CarrierUncertain):
            await far.adapter.submit(order)
        assert far.taken() == 1
        if not far.adapter.capabilities.finds:
            assert not far.adapter.capabilities.absence_proves_unsent
            with pytest.raises(Unsupported):
                await far.adapter.find(order.reference)
            return
        found = await far.adapter.find(order.reference)
        assert found is not None
        if far.adapter.capabilities.polls:
            assert await far.adapter.poll(found.carrier_ref)
        assert await far.adapter.find("at_of_somebody_else") is None

    async def test_the_listing_names_what_was_taken(self, far: FarEnd) -> None:
        order = far.order()
        receipt = await far.adapter.submit(order)
        if type(far.adapter).listing is Carrier.listing:
            with pytest.raises(Unsupported):
                await far.adapter.listing(LONG_AGO)
            return
        listed = await far.adapter.listing(LONG_AGO)
        reference = order.reference if far.adapter.capabilities.finds else ""  # then it is matched by number and time
        assert [(one.carrier_ref, one.reference, one.number) for one in listed] == [
            (receipt.carrier_ref, reference, order.number)
        ]
        assert not await far.adapter.listing(far.adapter.tools.now() + timedelta(days=1))

    async def test_a_call_is_cancelled_only_before_its_end(self, far: FarEnd) -> None:
        receipt = await far.adapter.submit(far.order())
        if not far.adapter.capabilities.cancels:
            with pytest.raises(Unsupported):
                await far.adapter.cancel(receipt.carrier_ref)
            return
        assert await far.adapter.cancel(receipt.carrier_ref) is True
        if far.adapter.capabilities.polls:
            last = (await far.adapter.poll(receipt.carrier_ref))[-1]
            assert (last.state, last.outcome) == (AttemptState.CANCELLED, Outcome.CANCELLED)
        other = await far.adapter.submit(far.order("at_2"))
        await far.finish(other)
        assert await far.adapter.cancel(other.carrier_ref) is False
        with pytest.raises(CarrierRefused):
            await far.adapter.cancel("never-heard-of")

    def test_every_documented_status_has_a_meaning(self, far: FarEnd) -> None:
        assert set(far.statuses) == far.documented
        for word, (state, outcome) in far.statuses.items():
            event = far.events(word)[-1]
            assert (event.state, event.outcome) == (state, outcome), word
            assert event.carrier_code, word
            assert (event.outcome is not None) == (event.state in FINAL_ATTEMPT), word
            assert (event.outcome is Outcome.DELIVERED) == (event.state is AttemptState.DELIVERED), word

    def test_an_invented_status_is_unknown_and_logged(self, far: FarEnd, caplog: pytest.LogCaptureFixture) -> None:
        event = far.events("verschollen\n\x1b[31m")[-1]
        assert (event.state, event.outcome) == (AttemptState.FAILED, Outcome.UNKNOWN)
        assert b"verschollen" in event.raw
        assert "verschollen" in caplog.text
        assert "\x1b" not in caplog.text
        assert "\x1b" not in event.carrier_code

    def test_only_authentic_callbacks_are_taken(self, far: FarEnd) -> None:
        adapter, word = far.adapter, next(iter(far.statuses))
        if not _calls_back(adapter):
            with pytest.raises(Unsupported):
                adapter.parse_callback(
                    CallbackRequest(method="POST", url="https://fax.example.com/callback/main/x", path="", headers={}, body=b"")
                )
            return
        if not adapter.capabilities.signs_callbacks:
            if adapter.capabilities.polls:  # a hint only: the fax is read again from the carrier
                assert not any(event.believed for event in far.events(word))
            return
        adapter.verify_callback(far.callback(word))
        adapter.verify_callback(far.callback(word, signed_by="old"))
        good = far.callback(word)
        forged: dict[str, CallbackRequest] = {
            "stranger": far.callback(word, signed_by="stranger"),
            "nobody": far.callback(word, signed_by="nobody"),
            "changed": replace(good, body=good.body + b" "),
            "empty": replace(good, body=b""),
        }
        for name, request in forged.items():
            with pytest.raises(CallbackRejected):
                adapter.verify_callback(request)
                pytest.fail(f"a forged callback was taken: {name}")

    def test_a_repeated_callback_has_the_same_key_and_another_one_has_not(self, far: FarEnd) -> None:
        if not _calls_back(far.adapter):
            return
        keys = {}
        for word in far.documented:
            once, twice = far.events(word), far.events(word)
            assert [event.key for event in once] == [event.key for event in twice]
            keys[word] = once[-1].key
        assert len(set(keys.values())) == len(keys)
        elsewhere, _ = far.adapter.parse_callback(far.callback(word, "ref-2"))
        assert isinstance(elsewhere[-1], Event)
        assert elsewhere[-1].key not in keys.values()

    def test_no_callback_can_break_the_parser(self, far: FarEnd) -> None:
        if not _calls_back(far.adapter):
            return
        good = far.callback(next(iter(far.statuses)))

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(body=st.binary(max_size=200), at=st.integers(0, len(good.body)), swap=st.booleans())
        def parse(body: bytes, at: int, swap: bool) -> None:
            hostile = good.body[:at] + body + good.body[at + len(body) :] if swap else body
            try:
                said, _ = far.adapter.parse_callback(replace(good, body=hostile))
            except CallbackRejected:
                return
            assert all(isinstance(one, (Event, Announcement)) for one in said)

        parse()

    async def test_a_received_fax_is_listed_fetched_and_forgotten(self, far: FarEnd) -> None:
        adapter = far.adapter
        if not adapter.capabilities.receives:
            with pytest.raises(Unsupported):
                await adapter.list_inbound()
            with pytest.raises(Unsupported):
                await adapter.fetch_inbound("ref-1")
            return
        ref, line = await far.arrive(far.received)
        listed = await adapter.list_inbound()
        assert [(fax.carrier_ref, fax.line) for fax in listed] == [(ref, line)]
        assert listed[0].received_at.tzinfo is not None
        for _ in range(2):
            assert await adapter.fetch_inbound(ref) == far.received
        await adapter.forget_inbound(ref)
        await adapter.forget_inbound(ref)
        with pytest.raises(CarrierRefused):
            await adapter.fetch_inbound("never-heard-of")

    async def test_a_received_fax_is_announced(self, far: FarEnd) -> None:
        if not far.adapter.capabilities.receives:
            return
        ref, line = await far.arrive(far.received)
        request = far.arrival()
        if request is None:
            return
        far.adapter.verify_callback(request)
        said, answer = far.adapter.parse_callback(request)
        assert [(fax.carrier_ref, fax.line) for fax in said if isinstance(fax, Announcement)] == [(ref, line)]
        assert answer.status == 200

    async def test_no_secret_is_shown_or_logged(self, far: FarEnd, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        receipt = await far.adapter.submit(far.order())
        if far.adapter.capabilities.polls:
            await far.adapter.poll(receipt.carrier_ref)
        shown = [repr(far.adapter), repr(far.adapter.tools), str(far.adapter.config), caplog.text]
        if _calls_back(far.adapter):
            shown.append(repr(far.callback(next(iter(far.statuses)))))
        if far.adapter.capabilities.signs_callbacks:
            with pytest.raises(CallbackRejected) as caught:
                far.adapter.verify_callback(far.callback(next(iter(far.statuses)), signed_by="stranger"))
            shown.append(repr(caught.value))
        far.cut_off()
        with pytest.raises(CarrierUnavailable) as failed:
            await far.adapter.submit(far.order("at_2"))
        shown.append(repr(failed.value))
        assert far.secrets
        for secret in far.secrets:
            assert secret not in " ".join(shown)

    def test_what_the_adapter_says_about_itself_fits_together(self, far: FarEnd) -> None:
        can = far.adapter.capabilities
        assert can.polls or _calls_back(far.adapter) or not can.final_results, "nobody would ever hear of a result"
        assert can.finds or not can.absence_proves_unsent, "absence proves nothing where one cannot look"
        assert can.submit_limit > 0
        assert can.sells == (type(far.adapter).buy_line is not Carrier.buy_line)
        assert not can.lists or type(far.adapter).listing is not Carrier.listing
        assert not can.reports or type(far.adapter).report is not Carrier.report
        assert can.delays or not far.adapter.delays(far.adapter.tools.now() + timedelta(days=1))
        assert not far.adapter.listens or type(far.adapter).changes is not Carrier.changes


class HttpCarrierConformance(CarrierConformance):
    """For adapters that speak HTTP; the fixture `far` is an HttpFarEnd."""

    async def test_an_answer_that_makes_no_sense_is_uncertain(self, far: HttpFarEnd) -> None:
        far.garble()
        with pytest.raises(CarrierUncertain):
            await far.adapter.submit(far.order())
        assert far.taken() == 1, "and it is not repeated"

    async def test_a_submit_that_is_never_answered_is_uncertain(self, far: HttpFarEnd) -> None:
        far.stall()
        with pytest.raises(CarrierUncertain):
            await far.adapter.submit(far.order())
        assert far.taken() <= 1, "and it is not repeated"
