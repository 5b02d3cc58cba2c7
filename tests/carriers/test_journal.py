"""The far end's journal: on disk before the answer, shared fsyncs, torn lines, several processes."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.carriers.loopback import calls
from gateway.errors import CarrierUnavailable, Outcome, SpoolUnavailable
from tests.carriers.tools import LINE, Clock, order, running

ROOT = Path(__file__).parents[2]
#: Submits for ever; a line on stdout is an answer that the gateway has had.
SENDER = """
import asyncio
import sys
from pathlib import Path
from tests.carriers.tools import order, running

async def main(folder):
    async with running(folder) as adapter:
        async def send(lane):
            for n in range(1_000_000):
                receipt = await adapter.submit(order(folder / lane, reference=f"at_{lane}_{n}"))
                print(receipt.carrier_ref, flush=True)
        for lane in "abcdefgh":
            (folder / lane).mkdir(exist_ok=True)
        await asyncio.gather(*(send(lane) for lane in "abcdefgh"))

asyncio.run(main(Path(sys.argv[1])))
"""


def journal(folder: Path) -> Path:
    return folder / "carrier" / "journal.jsonl"


async def test_submits_at_the_same_time_share_an_fsync(tmp_path: Path) -> None:
    async with running(tmp_path) as adapter:
        fax = order(tmp_path)
        receipts = await asyncio.gather(*(adapter.submit(fax) for _ in range(200)))
        assert 1 <= adapter.network.journal.fsyncs <= 60
        assert {call.carrier_ref for call in calls(tmp_path / "carrier")} == {receipt.carrier_ref for receipt in receipts}
        assert sorted(call.n for call in calls(tmp_path / "carrier")) == list(range(1, 201))
    assert len({receipt.carrier_ref for receipt in receipts}) == 200


@pytest.mark.parametrize("answers", [1, 40, 200])
async def test_what_was_answered_is_in_the_journal_after_kill_9(tmp_path: Path, answers: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(answers)]
    process.send_signal(signal.SIGKILL)
    answered += process.stdout.read().splitlines()[:-1]  # the last line may be half of one
    process.stdout.close()
    process.wait()
    written = {call.carrier_ref for call in calls(tmp_path / "carrier")}
    assert set(answered) <= written
    assert len(written) - len(answered) <= 9, "a call for each lane at most was not answered yet"
    async with running(tmp_path) as adapter:
        assert set(adapter.network.calls) == written
        await adapter.submit(order(tmp_path))
    assert len(calls(tmp_path / "carrier")) == len(written) + 1


@pytest.mark.parametrize("torn", [b'{"what":"call","carrier_ref":"call_x', b"{", b"\xff\xfe", b"\0\0\0"])
async def test_a_torn_last_line_is_overlooked_and_cut_off(tmp_path: Path, torn: bytes) -> None:
    async with running(tmp_path) as adapter:
        first = await adapter.submit(order(tmp_path, reference="at_1"))
    with journal(tmp_path).open("ab") as file:
        file.write(torn)
    assert len(calls(tmp_path / "carrier")) == 1
    async with running(tmp_path) as adapter:
        assert await adapter.find("at_1") == first
        await adapter.submit(order(tmp_path, reference="at_2"))
    assert [call.reference for call in calls(tmp_path / "carrier")] == ["at_1", "at_2"]
    assert torn not in journal(tmp_path).read_bytes() or torn == b"{"


async def test_a_damaged_journal_stops_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as adapter:
        await adapter.submit(order(tmp_path))
    journal(tmp_path).write_bytes(b"not JSON\n" + journal(tmp_path).read_bytes())
    with pytest.raises(SpoolUnavailable, match="byte 0"):
        async with running(tmp_path):
            pytest.fail("it started")
    with pytest.raises(SpoolUnavailable):
        calls(tmp_path / "carrier")


async def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "carrier").write_text("in the way")
    with pytest.raises(SpoolUnavailable):
        async with running(tmp_path):
            pytest.fail("it started")


async def test_a_call_that_cannot_be_written_down_was_never_made(tmp_path: Path) -> None:
    async with running(tmp_path, limit=3) as adapter:
        await adapter.submit(order(tmp_path, reference="at_1"))
        size = journal(tmp_path).stat().st_size
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, old[1]))  # the disk is full in the middle of a line
        try:
            for _ in range(3):
                with pytest.raises(CarrierUnavailable):
                    await adapter.submit(order(tmp_path, "+14155551217", reference="at_2"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert journal(tmp_path).stat().st_size == size
        assert await adapter.find("at_2") is None
        busy = await adapter.submit(order(tmp_path, "+14155551217", reference="at_3"))
        assert adapter.network.calls[busy.carrier_ref].status == "busy", "calls that were never made are not counted"
    assert [call.reference for call in calls(tmp_path / "carrier")] == ["at_1", "at_3"]


async def test_a_submit_that_was_cancelled_is_found_or_was_never_made(tmp_path: Path) -> None:
    """Whoever gives up waiting must be able to ask what became of it."""
    async with running(tmp_path) as adapter:
        for n in range(20):
            task = asyncio.create_task(adapter.submit(order(tmp_path, reference=f"at_{n}")))
            for _ in range(n):
                await asyncio.sleep(0.0005)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            found = await adapter.find(f"at_{n}")
            await asyncio.sleep(0.01)
            written = {call.reference for call in calls(tmp_path / "carrier")}
            assert (found is not None) == (f"at_{n}" in written)


async def test_two_processes_on_one_folder_see_each_others_calls(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock) as one, running(tmp_path, clock) as two:
        first = await one.submit(order(tmp_path, "+14155551217", "at_1"))
        assert await two.find("at_1") == first
        await two.submit(order(tmp_path, "+14155551217", "at_2"))
        third = await one.submit(order(tmp_path, "+14155551217", "at_3"))
        assert await two.cancel(third.carrier_ref)
        await two.submit(order(tmp_path, LINE, "at_4"))
        clock.forward(20)
        assert [(await one.poll(ref))[0].outcome for ref in (first.carrier_ref, third.carrier_ref)] == [
            Outcome.BUSY,
            Outcome.CANCELLED,
        ]
        [fax] = await one.list_inbound()
        await two.forget_inbound(fax.carrier_ref)
        assert not await one.list_inbound()
        number = await one.buy_line("415")
        assert await two.buy_line("415") != number
        await asyncio.gather(*(side.submit(order(tmp_path)) for side in (one, two) for _ in range(50)))
        for side in (one, two):
            assert len(await side.listing(clock().replace(year=2000))) == 104
        assert list(one.network.calls) == list(two.network.calls) == [c.carrier_ref for c in calls(tmp_path / "carrier")]


async def test_nobody_else_may_read_the_folder(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with running(tmp_path) as adapter:
            await adapter.receive(LINE, "", b"%PDF-1.4")
    finally:
        os.umask(old)
    folder = tmp_path / "carrier"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop("carrier") == 0o700
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


async def test_a_stopped_network_takes_no_calls(tmp_path: Path) -> None:
    async with running(tmp_path) as adapter:
        pass
    with pytest.raises(CarrierUnavailable):
        await adapter.submit(order(tmp_path))
