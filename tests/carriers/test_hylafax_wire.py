"""What a hostile or broken fax server may answer: it ends, in time, as not sent or as not known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Order
from gateway.carriers.hylafax import HylaFax
from gateway.carriers.hylafax_calls import calls
from gateway.carriers.hylafax_job import Told, entries
from gateway.carriers.hylafax_received import call_id, received
from gateway.carriers.hylafax_wire import Reply, quoted
from gateway.errors import CarrierBusy, CarrierUnavailable, CarrierUncertain
from tests.carriers.hylafax_far import pages
from tests.carriers.tools import order, tools_for

USUAL = {
    "USER": b"230 in\r\n",
    "LIST": b"150 here\r\n",
    "STOT": b"150 FILE: /tmp/doc1.tif (x).\r\n",
    "JNEW": b"200 New job created: jobid: 7 groupid: 7.\r\n",
}
ENDLESS = b"213-more\r\n" * 20_000


class Fake:
    """A server that says what a test wants to one command, and what is usual to the others."""

    def __init__(self, word: str, answer: bytes, *, hang: bool = False) -> None:
        self.word, self.answer, self.hang = word, answer, hang
        self.port = 0
        self.heard: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._servers.append(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # for what is being closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._guarded(self._commands(reader, writer), writer)

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._guarded(self._content(reader, writer), writer)

    async def _guarded(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        await asyncio.wait({task})
        with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):
            task.result()
        writer.close()

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.answer if self.word == "greeting" else b"220 ready\r\n")
        while line := await reader.readline():
            self.heard.append(line.decode().strip())
            word = self.heard[-1].split()[0]
            if word == "PASV":
                self._servers.append(await asyncio.start_server(self._data, "127.0.0.1", 0))
                port = self._servers[-1].sockets[0].getsockname()[1]
                writer.write(b"227 (10,1,2,3,%d,%d)\r\n" % divmod(port, 256))  # another host: it is not asked
            elif word == self.word:
                writer.write(self.answer)
                if not self.hang and not self.answer.endswith(b"\r\n"):
                    break
            else:
                writer.write(USUAL.get(word, b"200 ok\r\n"))
                if word == "STOT":
                    writer.write(b"226 done\r\n")

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.word == "data" and self.hang:
            await asyncio.sleep(30)
        while self.word == "data":
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        await reader.read()


@contextlib.asynccontextmanager
async def against(folder: Path, fake: Fake) -> AsyncIterator[HylaFax]:
    await fake.start()
    keys = {"kind": "hylafax", "port": fake.port, "password": "x", "time_limit": "1s"}
    async with http.client() as client:
        adapter = carriers.build("main", keys, "gateway.toml", tools_for(folder, http=client))
        assert isinstance(adapter, HylaFax)
        try:
            yield adapter
        finally:
            await adapter.stop()
            await fake.stop()


def fax(folder: Path) -> Order:
    return replace(order(folder, content=pages(1)), content_type="image/tiff")


BROKEN = {
    "nothing": b"",
    "half a line": b"200 o",
    "no code": b"hello\r\n",
    "no end": ENDLESS,
    "a line without end": b"200 " + b"x" * 100_000 + b"\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("word", ["greeting", "USER", "TZONE", "STOT", "JNEW", "JPARM"])
async def test_a_broken_answer_before_the_job_is_submitted_has_sent_nothing(tmp_path: Path, word: str, answer: bytes) -> None:
    fake = Fake(word, answer)
    async with against(tmp_path, fake) as adapter:
        with pytest.raises(CarrierUnavailable):
            await asyncio.wait_for(adapter.open(fax(tmp_path)), 20)
    assert "JSUBM" not in fake.heard


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_to_the_submission_leaves_it_open(tmp_path: Path, answer: bytes) -> None:
    fake = Fake("JSUBM", answer)
    async with against(tmp_path, fake) as adapter:
        with pytest.raises(CarrierUncertain):
            await asyncio.wait_for(adapter.submit(fax(tmp_path)), 20)
    assert fake.heard.count("JSUBM") == 1


async def test_a_server_that_hangs_at_the_submission_leaves_it_open(tmp_path: Path) -> None:
    async with against(tmp_path, Fake("JSUBM", b"", hang=True)) as adapter:
        with pytest.raises(CarrierUncertain):
            await asyncio.wait_for(adapter.submit(fax(tmp_path)), 20)


async def test_a_refused_submission_is_taken_back_and_certain(tmp_path: Path) -> None:
    fake = Fake("JSUBM", b"460 Failed to submit job 7: scheduler NAK'd request.\r\n")
    async with against(tmp_path, fake) as adapter:
        with pytest.raises(CarrierUnavailable):
            await adapter.submit(fax(tmp_path))
    assert "JDELE 7" in fake.heard


async def test_a_server_that_closes_down_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with against(tmp_path, Fake("USER", b"421 Closing.\r\n")) as adapter:
        with pytest.raises(CarrierBusy) as caught:
            await adapter.open(fax(tmp_path))
    assert caught.value.retry_after == 60


async def test_a_wrong_password_is_no_reason_to_give_a_fax_up(tmp_path: Path) -> None:
    async with against(tmp_path, Fake("USER", b"530 Login incorrect.\r\n")) as adapter:
        with pytest.raises(CarrierUnavailable):
            await adapter.open(fax(tmp_path))


@pytest.mark.parametrize("hang", [True, False], ids=["hangs", "has no end"])
async def test_a_list_that_never_ends_is_given_up(tmp_path: Path, hang: bool) -> None:
    fake = Fake("data", b"", hang=hang)
    async with against(tmp_path, fake) as adapter:
        with pytest.raises(CarrierUnavailable):
            await asyncio.wait_for(adapter.list_inbound(), 30)


def test_a_status_of_several_lines_hides_nothing() -> None:
    lines = ("Job state: jobid 7", "    STATE: FAILED", "    STATUSCODE: 001", '    STATUS: Busy \\"', "", "    STATE: DONE",
             "    JOBINFO: at_1 5", "    JOBID: 7", "    NPAGES: 99999999999", "    TOTDIALS: 1")  # fmt: skip
    told = Told.of(Reply(217, "End", lines))
    assert (told.word, told.tag, told.pages, told.dials) == ("E001", "at_1 5", 0, 1)


def test_a_value_cannot_be_a_second_command() -> None:
    assert quoted('a"\r\nJSUBM\\') == '"aJSUBM"'


def test_lists_are_read_in_both_encodings_and_what_is_no_entry_is_passed_over() -> None:
    row = "fax1.tif| |1795355213|1952|2|196|0:15|4155550100|Gew\u00fcrz|Haus"
    for coded in (row.encode(), row.encode("latin-1")):
        (one,) = received(b"garbage\r\n" + coded + b"\r\n../etc/passwd| |1|1|1|1|0|0|x\r\n")
        assert (one.station, one.seconds, one.carrier_ref) == ("Gew\u00fcrz|Haus", 15.0, "fax1.tif.1795355213")
    assert [str(one.name) for one in entries("7|R|2|+1|at_1 5\nx|R|2|+1|at_2 5\n8|R|2|+1|fax for mum\n")] == ["7.5.at_1"]


def test_the_record_of_calls_is_read_as_hylafax_writes_it() -> None:
    row = '11/22/26 13:49|SEND|000000002|ttyS0|3|"at_1 5"|gate|"+14155550101"|"+1 415 555 0101"|2220073|2|0:00:22|0:00:19|""'
    (one,) = calls(b"nonsense\n" + row.replace("|", "\t").encode() + b"\n")
    assert (one.about, one.tag, one.station, one.seconds) == ("3", "at_1 5", "+1 415 555 0101", 19.0)
    assert (one.speed, one.resolution, one.words, one.pages) == (14_400, "fine", "error correction, MMR", 2)


def test_a_broken_document_has_no_call_id() -> None:
    for broken in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        assert call_id(broken, 1) == ""
