"""The spool's disk is full: nothing is accepted that cannot be kept, and what was accepted is not lost."""

import os
import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.house import House, fresh, letter, pdf

SIZE = 24_000_000


@pytest.fixture
def small(house: House) -> Iterator[House]:
    """A house whose spool is a disk of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small disk")
    house.spool.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(house.spool)], check=True)
    try:
        yield house
    finally:
        house.close()
        subprocess.run(["umount", str(house.spool)], check=True)


def fill(spool: Path) -> Path:
    """Take all the room that is left."""
    ballast = spool / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65536):
                pass
        except OSError:
            pass
    return ballast


def hand_in(house: House, number: str) -> int:
    """The answer to one mail."""
    mail = letter(f"Fax to {number}", files=[("a.pdf", "application/pdf", pdf(f"for {number}"))])
    try:
        house.send(mail, number)
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    except smtplib.SMTPRecipientsRefused as error:
        return next(iter(error.recipients.values()))[0]
    return 250


def test_que_05_a_full_disk_refuses_for_now_and_loses_nothing(small: House) -> None:
    small.start()
    first = fresh()
    assert hand_in(small, first) == 250
    small.fax(first)
    slow = fresh("18")
    answers = {number: hand_in(small, number) for number in [fresh() for _ in range(3)]}
    assert set(answers.values()) == {250}
    ballast = fill(small.spool)
    full = {number: hand_in(small, number) for number in [slow, *(fresh() for _ in range(5))]}
    assert set(full.values()) <= {250, 451, 452}
    assert 451 in full.values() or 452 in full.values()
    assert small.get("/healthz")[0] == 200
    ballast.unlink()
    later = fresh()
    assert hand_in(small, later) == 250  # without a restart
    assert small.fax(later)["state"] == "delivered"
    # A step that the full disk cut off is due again when its lease ends; a restart does not wait for that.
    assert small.stop() == 0
    small.start()
    accepted = [number for number, code in {**answers, **full, later: 250}.items() if code == 250]
    small.wait(lambda: small.ask("status")["unfinished"] == {}, 60, "an empty queue")
    called = Counter(call.number for call in small.calls())
    assert called == Counter([first, *accepted])
    assert {fax["state"] for fax in small.faxes()} == {"delivered"}
    assert len(small.faxes()) == len(accepted) + 1


def test_smt_07_a_mail_larger_than_the_room_is_refused_for_now(small: House) -> None:
    small.start()
    number = fresh()
    mail = letter(files=[("large.bin", "application/pdf", pdf("one") + b"\0" * SIZE)])
    with pytest.raises(smtplib.SMTPDataError) as refused:
        small.send(mail, number)
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (452, b"4.3.1")
    assert not list((small.spool / "documents" / "incoming").iterdir())
    assert hand_in(small, number) == 250
    assert small.fax(number)["state"] == "delivered"


@pytest.mark.parametrize("room", [30_000, 60_000, 120_000, 250_000])
def test_que_05_a_disk_that_fills_up_in_the_middle_of_the_work(small: House, room: int) -> None:
    """Some steps still find room, others do not: whatever happens, one call for each accepted fax."""
    small.settings["carrier"]["main"] |= {"call_time": "0.3s"}
    small.start()
    hand_in(small, fresh())
    ballast = fill(small.spool)
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - room)
    answers = {number: hand_in(small, number) for number in [fresh() for _ in range(6)]}
    small.wait(lambda: "put off" in small.log.read_text() or "cannot" in small.log.read_text(), 20, "the disk to be full")
    ballast.unlink()
    assert small.stop() == 0
    small.start()
    small.wait(lambda: small.ask("status")["unfinished"] == {}, 60, "an empty queue")
    accepted = [number for number, code in answers.items() if code == 250]
    called = Counter(call.number for call in small.calls())
    assert {number: called[number] for number in answers} == {number: int(number in accepted) for number in answers}
    assert {fax["state"] for fax in small.faxes()} == {"delivered"}


def test_a_full_disk_is_not_the_fault_of_a_document(small: House) -> None:
    """The database still finds room in its log, the conversion does not: the fax waits, and nobody is told it failed."""
    small.start()
    small.wait(lambda: hand_in(small, fresh()) == 250 and log_is_grown(small), 60, "a grown log of the database")
    small.wait(lambda: small.ask("status")["unfinished"] == {}, 30, "an empty queue")
    reports = len(small.sink.letters)
    ballast = fill(small.spool)
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - 20_000)
    answers = {number: hand_in(small, number) for number in [fresh() for _ in range(4)]}
    accepted = [number for number, code in answers.items() if code == 250]
    assert accepted
    small.wait(lambda: small.log.read_text().count("no room for the conversion") > len(accepted), 20, "several tries")
    assert {fax["state"] for fax in small.faxes() if fax["number"] in accepted} <= {"accepted", "delivered"}
    ballast.unlink()
    for number in accepted:
        assert small.fax(number)["state"] == "delivered"  # without a restart
        assert len(small.calls(number)) == 1
    small.letters(reports + len(accepted))
    assert all("delivered" in one.subject for one in small.sink.letters)


def log_is_grown(house: House) -> bool:
    """Where it is this large it is used again from its beginning, and needs no more room."""
    return (house.spool / "faxgate.db-wal").stat().st_size > 4_100_000
