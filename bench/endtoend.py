"""The whole way of a fax, measured on the real program: `python -m bench.endtoend [--faxes N]`.

    250           time from the final dot to the reply, 100 kB mail, idle; peer: aiosmtpd that fsyncs one file a mail
    250 to call   from the reply to the submit at the carrier, idle, one-page text fax
    throughput    one-page faxes a second from the first mail to the last report, and CPU seconds a fax
    database      bytes by which database and its log grow a fax
    memory        idle, and the growth while a 25 MB mail is taken

Everything runs on loopback, is bounded by --faxes, and stops by itself. CPU counts the gateway and its converters.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import smtplib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.flows.house import DOMAIN, SENDER, House, letter
from tests.ports import free_port


class OneFileAMail:
    """The peer: what the least durable mail server does."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._n = folder, 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self._n += 1
        await asyncio.to_thread(self._write, self._folder / str(self._n), envelope.original_content or b"")
        return "250 2.0.0 kept"

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--faxes", type=int, default=200)
    faxes = arguments.parse_args().faxes
    with tempfile.TemporaryDirectory(prefix="faxgate-bench-") as folder:
        house = House(Path(folder))
        house.settings["carrier"]["main"]["call_time"] = "0.01s"
        house.settings["log_level"] = "warning"
        house.settings["work"] = {"poll": "5s"}
        try:
            house.start()
            gateway = psutil.Process(house.process.pid if house.process else 0)
            _idle(house, gateway)
            _replies(house, Path(folder))
            _to_the_call(house)
            _throughput(house, gateway, faxes)
            _large(house, gateway)
        finally:
            house.close()


def _idle(house: House, gateway: psutil.Process) -> None:
    _one(house)  # the converters are started by the first fax
    time.sleep(1)
    print(f"memory idle             {_memory(gateway) / 1e6:8.1f} MB   (PSS of the gateway and its converters)")


def _one(house: House, subject: str = "warm") -> float:
    """Hand one text mail in; the time of the 250."""
    before = len(house.sink.letters)
    house.send(letter(subject, "One page.\n"), "14155550123")
    accepted = time.time()
    house.letters(before + 1)
    return accepted


def _replies(house: House, folder: Path) -> None:
    peer_folder = folder / "peer"
    peer_folder.mkdir()
    peer = Controller(OneFileAMail(peer_folder), hostname="127.0.0.1", port=free_port())
    peer.start()
    mails = [letter(f"reply {n}", "word " * 20_000).as_bytes() for n in range(30)]
    ours, theirs = list[float](), list[float]()
    for mail in mails:  # in turn, so that both meet the same machine
        ours.append(_reply(house.smtp_port, mail))
        theirs.append(_reply(peer.port, mail))
    peer.stop()
    house.wait(lambda: len(house.sink.letters) >= 31, 120, "the faxes of the reply times")
    our, their = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
    print(
        f"250, 100 kB, median     {our:8.1f} ms   peer {their:.1f} ms   ratio {our / their:.2f}"
        f"   (p95 {_p95(ours) * 1000:.1f} ms)"
    )


def _reply(port: int, mail: bytes) -> float:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt(f"14155550123@{DOMAIN}")
        began = time.perf_counter()
        code, _ = client.data(mail)
        assert code == 250
        return time.perf_counter() - began


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _to_the_call(house: House) -> None:
    waits = []
    for n in range(10):
        accepted = _one(house, f"idle {n}")
        waits.append(house.calls()[-1].submitted_at.timestamp() - accepted)
    print(f"250 to call, idle       {statistics.median(waits) * 1000:8.1f} ms   (median of {len(waits)}, one page of text)")


def _throughput(house: House, gateway: psutil.Process, faxes: int) -> None:
    before, cpu, written = len(house.sink.letters), _cpu(gateway), _stored(house)
    mails = [letter(f"many {n}", "One page.\n").as_bytes() for n in range(faxes)]
    began = time.perf_counter()
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda mail: house.send(mail, "14155550123"), mails))
    accepted = time.perf_counter() - began
    house.wait(lambda: len(house.sink.letters) >= before + faxes, 30 + faxes, "the reports")
    took = time.perf_counter() - began
    print(f"accepted                {faxes / accepted:8.1f} mails/s   (10 connections)")
    print(f"mail to report          {faxes / took:8.1f} faxes/s   ({faxes} one-page faxes in {took:.1f} s)")
    print(f"CPU                     {(_cpu(gateway) - cpu) / faxes * 1000:8.1f} ms a fax   (gateway and converters)")
    print(f"database                {(_stored(house) - written) / faxes / 1000:8.1f} kB a fax")


def _cpu(gateway: psutil.Process) -> float:
    """CPU seconds of the process tree, ended children included."""
    total = 0.0
    for process in (gateway, *gateway.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _stored(house: House) -> int:
    return sum(path.stat().st_size for path in house.spool.glob("faxgate.db*"))


def _memory(gateway: psutil.Process) -> float:
    return sum(float(process.memory_full_info().pss) for process in (gateway, *gateway.children(recursive=True)))


def _large(house: House, gateway: psutil.Process) -> None:
    """Peak growth of the gateway itself while a 25 MB mail comes in."""
    mail = letter("large", "text\n", files=[("big.txt", "text/plain", os.urandom(18_250_000).hex().encode()[:18_250_000])])
    content = mail.as_bytes()
    resting = gateway.memory_info().rss
    peak = _watched(lambda: house.send(content, "14155550123"), lambda: gateway.memory_info().rss)
    size = len(content)
    grown = peak - resting
    print(f"memory, {size / 1e6:.0f} MB mail      {grown / 1e6:8.1f} MB more at the peak = {grown / size:.2f} copies")


def _watched(work: Callable[[], object], look: Callable[[], int]) -> int:
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, look())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak


if __name__ == "__main__":
    main()
