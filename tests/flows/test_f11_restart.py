"""Stopping and starting with work in the spool."""

import json
import signal
import subprocess
import sys
import time

from tests.flows.house import REPOSITORY, House, fresh, letter


def test_work_in_every_state_goes_on_after_a_restart(house: House) -> None:
    house.settings["carrier"]["main"] |= {"slow_time": "2s"}
    house.settings["retry"] = {"busy": ["2s", "0.1s", "0.1s"]}
    house.start()
    slow, deferred, held, new = fresh("18"), fresh("17"), fresh("22"), [fresh() for _ in range(4)]
    mails = {number: letter(f"Fax to {number}") for number in (slow, deferred, held, *new)}
    for number in (slow, deferred, held):
        house.send(mails[number], number)
    house.fax(slow, "sending")
    house.fax(deferred, "deferred")
    house.fax(held, "held")
    for number in new:
        house.send(mails[number], number)
    assert house.stop() == 0
    (row,) = house.sql(f"SELECT state FROM transmission WHERE number = '{slow}'")
    assert row == ("sending",)
    house.start()
    for number in (slow, deferred, *new):
        assert house.fax(number)["outcome"] == "delivered"
        assert house.reports(mails[number])
    assert house.fax(held, "held")["outcome"] == "no_credit"
    assert [len(house.calls(number)) for number in (slow, deferred, held, *new)] == [1, 3, 1, 1, 1, 1, 1]


def test_a_stop_waits_for_work_in_hand_and_ends_with_zero(house: House) -> None:
    house.start()
    numbers = [fresh() for _ in range(6)]
    for number in numbers:
        house.send(letter(), number)
    assert house.stop() == 0
    assert house.sql("SELECT count(*) FROM step WHERE token IS NOT NULL") == [(0,)]
    assert house.sql("SELECT count(*) FROM attempt WHERE state IN ('opening', 'uncertain')") == [(0,)]
    assert house.faults() == ""
    assert not (house.spool / "control.sock").exists()
    house.start()
    for number in numbers:
        assert house.fax(number)["state"] == "delivered"
    assert [len(house.calls(number)) for number in numbers] == [1] * 6


def test_ctrl_c_is_a_stop_too(house: House) -> None:
    house.start()
    assert house.process is not None
    house.process.send_signal(signal.SIGINT)
    assert house.process.wait(30) == 0
    house.process = None


def test_a_stop_does_not_wait_for_a_client_that_says_nothing(house: House) -> None:
    house.settings["work"]["drain"] = "20s"
    house.start()
    idle, busy = house.smtp(), house.smtp()
    for client in (idle, busy):
        client.ehlo()
    busy.mail("ann@example.com")
    began = time.monotonic()
    assert house.stop() == 0
    assert time.monotonic() - began < 5
    for client in (idle, busy):
        assert client.getreply()[0] == 421
        client.close()


def test_a_second_gateway_on_the_same_spool_is_refused(house: House) -> None:
    house.start()
    settings = json.loads(json.dumps(house.settings))
    other = House(house.folder / "other")
    try:
        other.folder.mkdir()
        settings |= {"smtp": other.settings["smtp"], "http": other.settings["http"]}
        other.settings = settings
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", "-c", str(other.write_settings())],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=REPOSITORY,
            check=False,
        )
    finally:
        other.close()
    assert done.returncode == 75
    assert done.stderr.count("\n") <= 2
    assert str(house.spool) in done.stderr
    assert "another process owns the spool" in done.stderr.lower()
    mail = letter()
    house.send(mail, fresh())
    assert house.reports(mail)
    assert house.ask("status")["unfinished"] == {}


def test_an_address_in_use_is_one_clear_line(house: House) -> None:
    house.start()
    other = House(house.folder / "other")
    try:
        other.folder.mkdir()
        for section in ("smtp", "http"):
            settings = dict(other.settings)
            settings[section] = house.settings[section]
            other.file.write_text("")
            house_settings, other.settings = other.settings, settings
            done = subprocess.run(
                [sys.executable, "-m", "gateway", "serve", "-c", str(other.write_settings())],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=REPOSITORY,
                check=False,
            )
            other.settings = house_settings
            assert done.returncode in (75, 78), section
            assert "Traceback" not in done.stderr
            listen = house.settings[section]["listen"]
            assert (listen if isinstance(listen, str) else listen[0]) in done.stderr
            assert "address already in use" in done.stderr.lower()
    finally:
        other.close()
