"""Sends a second at the HelloFax door, and their time, next to the SMTP door: `python -m bench.door [--sends N]`.

Both doors of one real program get the same one-page PDF, in turn, so that both meet the same machine: first one client
after the other's answer (the time of a single send), then ten clients at once (sends a second). A send counts when its 200,
or 250, has come: the fax is durable then. The program works on the faxes meanwhile, as it would.

Everything runs on loopback, is bounded by --sends, and stops by itself.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import smtplib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.flows.house import DOMAIN, SENDER, House, letter, pdf

LOGIN, PASSWORD = "office@example.com", "correct horse"
NUMBER = "14155550123"
CLIENTS = 10
Send = Callable[[], None]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sends", type=int, default=300)
    sends = arguments.parse_args().sends
    with tempfile.TemporaryDirectory(prefix="faxgate-bench-") as folder:
        house = House(Path(folder))
        house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD, "confirmations": False}
        house.settings["door"] = {"hellofax": {"pending": 100_000}}
        house.settings["carrier"]["main"]["call_time"] = "0.01s"
        house.settings["log_level"] = "warning"
        try:
            house.start()
            _measured(house, sends)
        finally:
            house.close()


def _measured(house: House, sends: int) -> None:
    guid = str(house.sql("select guid from account")[0][0])
    document = pdf("One page.")

    @contextmanager
    def by_http() -> Iterator[Send]:
        connection = http.client.HTTPConnection("127.0.0.1", house.http_port, timeout=60)
        yield lambda: _http(connection, guid, document)
        connection.close()

    @contextmanager
    def by_mail() -> Iterator[Send]:
        with smtplib.SMTP("127.0.0.1", house.smtp_port, timeout=60) as client:
            yield lambda: _mail(client, document)

    doors = {"HelloFax": by_http, "SMTP": by_mail}
    for door in doors.values():
        _times([door], 5)  # passwords checked, converters started
    single = _times(list(doors.values()), max(20, sends // 5))
    for name, times in zip(doors, single, strict=True):
        print(f"{name:9} one at a time   p50 {statistics.median(times) * 1000:6.1f} ms   p99 {_p99(times) * 1000:6.1f} ms")
    for name, door in doors.items():
        took, times = _at_once(door, sends)
        print(
            f"{name:9} {CLIENTS} at once      {sends / took:6.1f} sends/s"
            f"   p50 {statistics.median(times) * 1000:6.1f} ms   p99 {_p99(times) * 1000:6.1f} ms"
        )
        house.wait(lambda: not _unfinished(house), 60 + sends, "the faxes to be sent")


def _times(doors: list[Callable[[], AbstractContextManager[Send]]], n: int) -> list[list[float]]:
    """Seconds of n sends by each door, in turn."""
    times: list[list[float]] = [[] for _ in doors]
    for _ in range(n):
        for door, kept in zip(doors, times, strict=True):
            with door() as send:
                kept.append(_timed(send))
    return times


def _at_once(door: Callable[[], AbstractContextManager[Send]], sends: int) -> tuple[float, list[float]]:
    """Seconds for all, and of each one."""

    def client(_: int) -> list[float]:
        with door() as send:
            return [_timed(send) for _ in range(sends // CLIENTS)]

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        times = [one for some in threads.map(client, range(CLIENTS)) for one in some]
    return time.perf_counter() - began, times


def _timed(send: Send) -> float:
    began = time.perf_counter()
    send()
    return time.perf_counter() - began


def _http(connection: http.client.HTTPConnection, guid: str, document: bytes) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="one.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n" + document + b"\r\n--b--\r\n"
    )
    login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "multipart/form-data; boundary=b"}
    connection.request("POST", f"/v1/Accounts/{guid}/Transmissions?To={NUMBER}", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    assert json.loads(content)["Transmission"]["Guid"]


def _mail(client: smtplib.SMTP, document: bytes) -> None:
    mail = letter("One page", None, files=[("one.pdf", "application/pdf", document)])
    client.sendmail(SENDER, [f"{NUMBER}@{DOMAIN}"], mail.as_bytes())


def _unfinished(house: House) -> int:
    return int(house.sql("select count(*) from transmission where finished_at is null")[0][0])


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


if __name__ == "__main__":
    main()
