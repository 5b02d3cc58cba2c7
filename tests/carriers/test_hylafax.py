"""The adapter hylafax against a real hfaxd and its scheduler; only the calls are made up."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.carriers.base import Order
from gateway.carriers.hylafax import event
from gateway.carriers.hylafax_calls import Call
from gateway.carriers.hylafax_job import Name, Told
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, Outcome
from gateway.fax import AttemptState
from tests.carriers.conformance import CarrierConformance
from tests.carriers.hylafax_far import FAILED, Hfaxd, HylaFaxFarEnd, hylafax, missing, pages, running
from tests.carriers.tools import LINE

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def server() -> Iterator[Hfaxd]:
    with running() as server:
        yield server


@pytest.fixture
async def far(server: Hfaxd, tmp_path: Path) -> AsyncIterator[HylaFaxFarEnd]:
    async with hylafax(server, tmp_path) as far:
        yield far
        await server.clear()


class TestHylaFax(CarrierConformance):
    """The suite; the fixture is the module's."""


async def decided(far: HylaFaxFarEnd, name: str) -> bool:
    """Whether it was sent, asked until the server has noticed that a session is gone."""
    for _ in range(100):
        try:
            return await far.adapter.went_out(name)
        except CarrierUnavailable:
            await asyncio.sleep(0.05)
    raise AssertionError("undecided")


async def after_a_break(far: HylaFaxFarEnd, order: Order) -> str:
    """Hand one fax over as the gateway does (the name first, on disk), and decide as it does what became of it."""
    try:
        name = await far.adapter.open(order)
    except CarrierUnavailable:
        return "not opened"
    try:
        await far.adapter.submit(order, name)
    except CarrierUnavailable:
        return "not sent"
    except CarrierUncertain:
        return "sent" if await decided(far, name) else "never sent"
    return "taken"


COMMANDS = ["USER", "PASS", "TZONE", "FORM", "PASV", "STOT", "JNEW", "JPARM JOBINFO", "JPARM DIALSTRING", "JPARM DOCUMENT"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("word", [*COMMANDS, "JSUBM"])
async def test_a_connection_that_is_cut_at_any_command_makes_one_fax(far: HylaFaxFarEnd, word: str, after: bool) -> None:
    far.cutter.word, far.cutter.after = word.encode(), after
    said = await after_a_break(far, far.order())
    if word != "JSUBM":
        assert said == "not opened"
    else:
        assert said == ("sent" if after else "never sent")
    assert far.taken() == (1 if said == "sent" else 0)
    if said != "sent":  # the gateway tries again
        assert await after_a_break(far, far.order("at_2")) == "taken"
    assert far.taken() == 1


async def test_a_job_whose_session_is_gone_is_not_submitted(far: HylaFaxFarEnd) -> None:
    order = far.order()
    name = await far.adapter.open(order)
    await far.cutter.stop()
    await asyncio.sleep(0.1)
    with pytest.raises((CarrierUnavailable, CarrierUncertain)):
        await far.adapter.submit(order, name)
    await far.cutter.start()
    object.__setattr__(far.adapter.config, "port", far.cutter.port)
    assert await decided(far, name) is False
    assert far.taken() == 0


async def test_a_job_that_was_looked_up_is_not_submitted_any_more(far: HylaFaxFarEnd) -> None:
    order = far.order()
    name = await far.adapter.open(order)
    assert await decided(far, name) is False
    with pytest.raises(CarrierUnavailable):
        await far.adapter.submit(order, name)
    assert far.taken() == 0
    assert far.server.states() == {}


async def test_a_job_whose_session_goes_on_is_not_decided(far: HylaFaxFarEnd, tmp_path: Path) -> None:
    order = far.order()
    name = await far.adapter.open(order)
    async with hylafax(far.server, tmp_path) as node:  # another node looks it up
        with pytest.raises(CarrierUnavailable):
            await node.adapter.went_out(name)
        await far.adapter.submit(order, name)
        assert await node.adapter.went_out(name) is True


async def test_nobody_knows_what_became_of_a_job_that_is_gone_for_long(far: HylaFaxFarEnd) -> None:
    with pytest.raises(CarrierRefused):
        await far.adapter.went_out("999.1700000000.at_1")


async def test_the_number_of_a_job_is_not_enough(far: HylaFaxFarEnd) -> None:
    name = (await far.adapter.submit(far.order())).carrier_ref
    job, made, _ = name.split(".")
    for other in (f"{job}.{made}.at_other", f"{job}.{int(made) - 5}.at_1"):
        with pytest.raises(CarrierRefused):
            await far.adapter.poll(other)
        with pytest.raises(CarrierRefused):
            await far.adapter.cancel(other)
    assert (await far.adapter.poll(name))[-1].state is AttemptState.SUBMITTED


async def test_a_job_says_everything_that_was_asked(server: Hfaxd, tmp_path: Path) -> None:
    station_ids = {LINE: "ACME +1"}
    async with hylafax(server, tmp_path, station_ids=station_ids, dial="9,+{digits}", priority=90) as far:
        order = replace(far.order(), sub_address="55#1")
        job = server.job((await far.adapter.submit(order)).carrier_ref.split(".")[0])
        await server.clear()
    assert job["number"] == f"9,{order.number}"
    assert (job["external"], job["jobtag"].split()[0], job["subaddr"]) == (order.number, "at_1", "55#1")
    assert (job["tsi"], job["faxnumber"], job["priority"]) == ("ACME +1", LINE, "90")
    assert (job["maxdials"], job["maxtries"], job["resolution"]) == ("1", "1", "196")
    assert (job["desiredtl"], job["tagline"], job["pagechop"]) == ("1", "", "none")
    assert (job["pagewidth"], job["pagelength"]) == ("216", "280")


async def test_hylafax_redials_or_we_do_and_never_both(server: Hfaxd, tmp_path: Path) -> None:
    async with hylafax(server, tmp_path, redials="hylafax", dials=5, header="theirs") as far:
        job = server.job((await far.adapter.submit(far.order())).carrier_ref.split(".")[0])
        assert (far.adapter.capabilities.redials, far.adapter.capabilities.writes_header) == (True, True)
        await server.clear()
    assert (job["maxdials"], job["maxtries"], job["desiredtl"]) == ("5", "5", "0")
    async with hylafax(server, tmp_path) as far:
        assert (far.adapter.capabilities.redials, far.adapter.capabilities.writes_header) == (False, False)


async def test_a_delayed_fax_waits_there_for_its_time(server: Hfaxd, tmp_path: Path) -> None:
    async with hylafax(server, tmp_path, delayed="hylafax") as far:
        at = far.clock() + timedelta(hours=3)
        assert far.adapter.delays(at)
        name = (await far.adapter.submit(replace(far.order(), send_at=at))).carrier_ref
        job = server.job(name.split(".")[0])
        assert at.timestamp() <= int(job["tts"]) < at.timestamp() + 61
        assert await far.adapter.cancel(name) is True


@pytest.mark.parametrize(
    ("pages", "code", "text", "outcome"),
    [(0, 1, "Busy signal detected", Outcome.BUSY), (0, 333, "No answer from remote; too many", Outcome.NO_ANSWER),
     (1, 128, "Remote fax disconnected prematurely", Outcome.LINE_TROUBLE), (0, 999, "?", Outcome.UNKNOWN),
     (0, 333, "Failure to receive silence (synchronization failure).; too many attempts to dial", Outcome.LINE_TROUBLE),
     (0, 333, "No response to EOP repeated 3 tries; too many attempts to dial", Outcome.UNKNOWN),
     (0, 325, "Kill time expired", Outcome.GAVE_UP)],
)  # fmt: skip
async def test_a_failed_call_says_why(far: HylaFaxFarEnd, pages: int, code: int, text: str, outcome: Outcome) -> None:
    name = (await far.adapter.submit(far.order())).carrier_ref
    job = name.split(".")[0]
    far.server.ends(job, FAILED, pages, code, text)
    await far.server.ended(job)
    last = (await far.adapter.poll(name))[-1]
    assert (last.state, last.outcome, last.pages_sent, last.text) == (AttemptState.FAILED, outcome, pages, text)


@pytest.mark.parametrize(
    ("code", "pages", "total", "speed", "state", "outcome"),
    [("E345", 0, 3, None, AttemptState.CANCELLED, Outcome.CANCELLED),
     ("E345", 0, 3, 14400, AttemptState.CANCELLED, Outcome.CANCELLED),
     ("E345", 1, 3, 14400, AttemptState.FAILED, Outcome.PARTLY_SENT),
     ("E345", 2, 3, 14400, AttemptState.FAILED, Outcome.UNKNOWN),
     ("E345", 0, 1, 14400, AttemptState.FAILED, Outcome.UNKNOWN),
     ("E345", 0, 1, None, AttemptState.CANCELLED, Outcome.CANCELLED),
     ("E147", 1, 4, 14400, AttemptState.FAILED, Outcome.PARTLY_SENT),
     ("E147", 3, 4, 14400, AttemptState.FAILED, Outcome.UNKNOWN),
     ("E147", 0, 4, 14400, AttemptState.FAILED, Outcome.UNKNOWN)],
)  # fmt: skip
def test_a_call_that_broke_off_is_unknown_only_where_the_last_page_may_have_arrived(
    code: str, pages: int, total: int, speed: int | None, state: AttemptState, outcome: Outcome
) -> None:
    told = Told(job="1", tag="at_1 1", state="FAILED", code=code, status="", pages=0, total=total, dials=1, raw=b"")
    said = event(Name(1, 1, "at_1"), told, Call(kind="SEND", pages=pages, speed=speed), datetime.now(UTC))
    assert (said.state, said.outcome, said.pages_sent) == (state, outcome, pages)


async def test_a_call_that_ends_is_told_at_once(far: HylaFaxFarEnd) -> None:
    first = await far.adapter.changes()
    assert (first.whole, far.adapter.hears) == (False, True)
    receipt = await far.adapter.submit(far.order())
    await far.finish(receipt)
    heard = await far.adapter.changes()
    assert receipt.carrier_ref in heard.carrier_refs
    assert heard.whole


async def test_where_the_server_cannot_reach_us_each_job_is_waited_for(far: HylaFaxFarEnd) -> None:
    far.cutter.word = b"EPRT"
    receipt = await far.adapter.submit(far.order())
    assert (await far.adapter.changes()).whole is False
    assert far.adapter.hears is False
    await far.finish(receipt)
    for _ in range(200):
        if receipt.carrier_ref in (await far.adapter.changes()).carrier_refs:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the end of the job was not heard of")
    assert [command for command in far.cutter.commands if command.startswith("JWAIT")]


async def test_a_fax_that_is_coming_in_is_not_taken_yet_and_then_once(far: HylaFaxFarEnd) -> None:
    path = far.server.receive(pages(1), "fax000000007.tif")
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await far.adapter.list_inbound() == []
    (one,) = await far.adapter.list_inbound()
    assert await far.adapter.fetch_inbound(one.carrier_ref) == pages(1)
    await far.adapter.forget_inbound(one.carrier_ref)
    assert await far.adapter.list_inbound() == []
    assert path.exists()
    os.utime(path, (1_700_000_000, 1_700_000_000))  # another fax of the same name
    far.adapter._recvq.close()
    assert [fax.carrier_ref for fax in await far.adapter.list_inbound()] == ["fax000000007.tif.1700000000"]
    with pytest.raises(CarrierRefused):
        await far.adapter.fetch_inbound(one.carrier_ref)


async def test_what_is_safe_here_is_removed_there_where_that_is_wished(server: Hfaxd, tmp_path: Path) -> None:
    async with hylafax(server, tmp_path, forget="delete") as far:
        path = far.server.receive(pages(1), "fax000000008.tif")
        (one,) = await far.adapter.list_inbound()
        await far.adapter.fetch_inbound(one.carrier_ref)
        await far.adapter.forget_inbound(one.carrier_ref)
        assert not path.exists()
        with pytest.raises(CarrierRefused):
            await far.adapter.fetch_inbound(one.carrier_ref)


async def test_thousands_of_received_faxes_are_looked_at_once(far: HylaFaxFarEnd) -> None:
    document = pages(1)
    for n in range(3000):
        far.server.receive(document, f"fax{n:09}.tif")
    first = await far.adapter.list_inbound()
    assert len(first) == 3000
    for one in first[1:]:
        await far.adapter.forget_inbound(one.carrier_ref)
    began = time.monotonic()
    assert [one.carrier_ref for one in await far.adapter.list_inbound()] == [first[0].carrier_ref]
    assert time.monotonic() - began < 10
    assert sum(command.startswith("USER") for command in far.cutter.commands) == 1


async def test_a_received_fax_is_for_the_line_of_its_modem(server: Hfaxd, tmp_path: Path) -> None:
    record = server.spool / "log" / "xferfaxlog"
    row = ["11/22/26 13:46", "RECV", "", "ttyT0", "recvq/fax000000009.tif", '""', "fax", '"4155550101"', '"+1 415"', "2220073"]
    record.write_text("\t".join([*row, "1", "0:00:18", "0:00:18", '""']) + "\n")
    shutil.chown(record, "uucp", "uucp")
    async with hylafax(server, tmp_path, lines=(LINE, "+14155550101")) as far:
        far.server.receive(pages(1), "fax000000009.tif")
        far.server.receive(pages(1), "fax000000010.tif")
        assert {one.carrier_ref.split(".")[0]: one.line for one in await far.adapter.list_inbound()} == {
            "fax000000009": "+14155550101",
            "fax000000010": "",
        }
    record.unlink()


async def test_the_modems_are_told(far: HylaFaxFarEnd) -> None:
    assert "Running" in (await far.adapter.equipment())[0]
