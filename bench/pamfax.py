"""Faxes through our PamFax carrier into our PamFax door, next to the SMTP door: `python -m bench.pamfax [--faxes N]`.

One real program has both doors. The same one-page PDF is handed over N times by the adapter (sign-in, whole job, price, Send:
eleven calls a fax), then N times by mail, ten at a time. By the API a fax is taken when its pages are made, by mail before, so
both are told: until it was taken, durably, and until it had ended. CPU is that of the program with its converters until its
faxes have ended, and that of the client beside it.

Everything runs on loopback, is bounded by --faxes, and stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import smtplib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from gateway import carriers
from gateway.carriers import http
from tests.carriers.tools import order, tools_for
from tests.flows.house import DOMAIN, SENDER, House, fresh, letter, pdf

KEY, WORD, LOGIN, PASSWORD = "bench-program", "a word of the bench", "office@example.com", "correct horse"
AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one door."""

    taken: float
    """Faxes a second until each was durable."""
    ended: float
    """The same until each had ended."""
    cpu: float
    """Milliseconds a fax, of the program."""
    own_cpu: float
    """The same, of the client."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--faxes", type=int, default=100)
    faxes = arguments.parse_args().faxes
    with tempfile.TemporaryDirectory(prefix="faxgate-bench-") as name:
        folder = Path(name)
        house = _house(folder)
        try:
            house.start()
            document = pdf("One page.")
            for some in (AT_ONCE, faxes):  # the first round starts converters and checks passwords
                api = _measured(house, some, lambda n: asyncio.run(_by_api(house, folder, document, n)))
                mail = _measured(house, some, lambda n: _by_mail(house, document, n))
        finally:
            house.close()
    for name, one in (("PamFax", api), ("SMTP", mail)):
        speed = f"{one.taken:6.1f} faxes/s taken  {one.ended:6.1f} faxes/s ended"
        print(f"{name:7} {speed}  gateway {one.cpu:6.1f} ms CPU a fax  client {one.own_cpu:5.1f} ms")
    ratios = (api.taken / mail.taken, api.ended / mail.ended, api.cpu / mail.cpu)
    print("ratio   {:6.2f} taken  {:6.2f} ended  {:6.2f} CPU of the gateway".format(*ratios))


def _house(folder: Path) -> House:
    house = House(folder)
    (folder / "word").write_text(WORD)
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.settings["door.pamfax.application"] = [{"key": KEY, "secret_file": str(folder / "word")}]
    house.settings["carrier"]["main"] |= {"call_time": "0.01s", "calls": 100}
    house.settings["log_level"] = "warning"
    return house


def _measured(house: House, faxes: int, send: Callable[[int], None]) -> Measured:
    own, theirs = psutil.Process(), _cpu(house)
    before, began = _of(own), time.perf_counter()
    send(faxes)
    taken, mine = time.perf_counter() - began, _of(own) - before
    house.wait(lambda: not _unfinished(house), 60 + faxes, "the faxes to end")
    ended = time.perf_counter() - began
    cpu = 1000 * (_cpu(house) - theirs) / faxes
    return Measured(taken=faxes / taken, ended=faxes / ended, cpu=cpu, own_cpu=1000 * mine / faxes)


async def _by_api(house: House, folder: Path, document: bytes, faxes: int) -> None:
    keys = {
        "kind": "pamfax", "url": f"http://127.0.0.1:{house.http_port}/pamfax", "api_key": KEY, "api_secret": WORD,
        "username": LOGIN, "password": PASSWORD, "postpaid": True,
    }  # fmt: skip
    free, whole = asyncio.Semaphore(AT_ONCE), order(folder, pages=1, content=document)
    async with http.client() as client:
        adapter = carriers.build("main", keys, "bench", tools_for(folder, http=client))

        async def one(n: int) -> None:
            async with free:
                await adapter.submit(replace(whole, number=fresh(), reference=f"at_{n}"))

        await asyncio.gather(*(one(n) for n in range(faxes)))


def _by_mail(house: House, document: bytes, faxes: int) -> None:
    def client(share: int) -> None:
        with smtplib.SMTP("127.0.0.1", house.smtp_port, timeout=60) as smtp:
            for _ in range(share):
                mail = letter("One page", None, files=[("one.pdf", "application/pdf", document)])
                smtp.sendmail(SENDER, [f"{fresh()}@{DOMAIN}"], mail.as_bytes())

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(client, [len(range(n, faxes, AT_ONCE)) for n in range(AT_ONCE)]))


def _cpu(house: House) -> float:
    assert house.process is not None
    program = psutil.Process(house.process.pid)
    return sum(_of(one) for one in (program, *program.children(recursive=True)))


def _of(process: psutil.Process) -> float:
    """Seconds, with those of children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _unfinished(house: House) -> int:
    return int(house.sql("select count(*) from transmission where finished_at is null")[0][0])


if __name__ == "__main__":
    main()
