"""A large mail must not be held many times: three copies at most, the client's own not counted."""

from __future__ import annotations

import smtplib
import subprocess
import sys
from pathlib import Path

# A process of its own, because the peak of a process never falls: it serves one mail, which the parent sends.
SERVER = """
import asyncio, resource, sys
from tests.intake.recorder import NOW, Recorder, configured
from gateway.intake.door import MailDoor

async def main():
    desk = Recorder()
    door = MailDoor(configured({}), identity=desk, throttle=desk, desk=desk, now=lambda: NOW)
    await door.start()
    print(door.addresses()[0][1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    while not desk.taken:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    print(len(desk.taken[0].content), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    await door.stop()

asyncio.run(main())
"""


def test_a_mail_of_25_megabytes_is_held_three_times_at_most() -> None:
    root = Path(__file__).parent.parent.parent
    environment = {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        port, before = map(int, server.stdout.readline().split())
        header = b"From: ann@corp.example\r\n\r\n"
        mail = header + (b"x" * 76 + b"\r\n") * (25_000_000 // 78)
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("ann@corp.example", ["14155550123@fax.example"], mail)
        size, after = map(int, server.stdout.readline().split())
    assert size == len(mail)
    assert (after - before) * 1024 < 3 * len(mail)
