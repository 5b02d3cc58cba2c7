"""kill -9 at any moment: what got its 250 is faxed exactly once, and its sender is told.

One spool goes through all the kills. In each run mails are handed in one after the other while the gateway is killed at
some moment; it is started again, mails that got no 250 are handed in again as a mail server would do, and everything has
to end: one call for each fax, and a report for each, recognisable as the same one where it came twice.
"""

import contextlib
import email.message
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.flows.house import House, Letter, addresses, as_bytes, fresh, letter, pdf

MAILS = 5  # before a kill at the clock; a kill at a stage goes on until the stage is seen
MOST = 60


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Between two runs it keeps its spool."""
    made = House(tmp_path_factory.mktemp("killed"))
    try:
        yield made
    finally:
        made.close()


class Client:
    """Hands mails in, one after the other, and remembers which got their 250."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.mails: dict[str, email.message.EmailMessage] = {}
        self.taken: set[str] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        """Until told to stop, or until the gateway is gone."""
        while not self.stop.is_set() and len(self.mails) < MOST:
            number = fresh("23")
            self.mails[number] = letter(f"Fax to {number}", files=[("a.pdf", "application/pdf", pdf(f"for {number}"))])
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self.hand_in(number)
            if number not in self.taken:
                return

    def hand_in(self, number: str) -> None:
        with self.house.smtp() as client:
            client.sendmail("ann@example.com", addresses(number), as_bytes(self.mails[number]))
            self.taken.add(number)


def killed(house: House, moment: Callable[[Client], None]) -> Client:
    """Start, hand in, kill when `moment` returns, start again, hand in the rest."""
    house.sink.letters.clear()
    if house.process is None:
        house.start()
    assert house.process is not None
    helpers = psutil.Process(house.process.pid).children(recursive=True)
    client = Client(house)
    feeder = threading.Thread(target=client.run)
    feeder.start()
    try:
        moment(client)
    finally:
        client.stop.set()
        if house.process is not None:
            helpers += psutil.Process(house.process.pid).children(recursive=True)
            house.kill()
        feeder.join(30)
    _, alive = psutil.wait_procs(helpers, timeout=10)
    assert not alive, "processes of a killed gateway are still there"
    house.start()
    for number in client.mails.keys() - client.taken:
        client.hand_in(number)
    return client


def check(house: House, client: Client) -> None:
    """Everything ends, each fax was called once, each sender told."""
    assert client.mails
    house.wait(lambda: house.ask("status")["unfinished"] == {}, 60, "an empty queue")
    house.wait(lambda: house.sql("SELECT count(*) FROM outbox WHERE state = 'waiting'") == [(0,)], 30, "an empty outbox")
    called = Counter(call.number for call in house.calls())
    assert {number: called[number] for number in client.mails} == dict.fromkeys(client.mails, 1)
    faxes = {fax["number"]: fax for fax in house.faxes() if fax["number"] in client.mails}
    assert {fax["state"] for fax in faxes.values()} == {"delivered"}
    assert len(faxes) == len(client.mails)
    calls = {call.number: call for call in house.calls()}
    assert all(calls[number].sha256 == fax["document"] for number, fax in faxes.items())
    for number, mail in client.mails.items():
        answers = [one for one in house.sink.letters if one.mail["In-Reply-To"] == mail["Message-ID"]]
        assert len(answers) in (1, 2), number
        assert len({one.mail["Message-ID"] for one in answers}) == 1
        assert "delivered" in answers[0].subject


def test_the_house_is_warm(house: House) -> None:
    """The converter is loaded, so that the kills below fall into the work and not before it."""
    house.start()
    mail = letter()
    house.send(mail, fresh())
    assert house.reports(mail)


@pytest.mark.parametrize(
    ("n", "milliseconds"), [(1, 0), (1, 40), (1, 150), *((MAILS, wait) for wait in (0, 20, 40, 80, 150, 250, 400))]
)
def test_que_01_killed_some_time_after_a_250(house: House, n: int, milliseconds: int) -> None:
    def moment(client: Client) -> None:
        house.wait(lambda: len(client.taken) >= n, 20, f"{n} accepted mails")
        client.stop.set()
        time.sleep(milliseconds / 1000)

    check(house, killed(house, moment))


Look = Callable[[], bool]


def rows(query: str) -> Callable[[House], Look]:
    return lambda house: lambda: bool(house.sql(query))


def converting(house: House) -> Look:
    return lambda: any((house.spool / "documents" / "work").glob("tmp*/*"))


def call_added(house: House) -> Look:
    """The far end has written a call down."""
    journal = house.spool / "loopback" / "main" / "journal.jsonl"
    read = journal.stat().st_size

    def added() -> bool:
        with journal.open("rb") as file:
            file.seek(read)
            return b'"what":"call"' in file.read()

    return added


STAGES: dict[str, Callable[[House], Look]] = {
    "accepted": rows("SELECT 1 FROM transmission WHERE state = 'accepted'"),
    "converting": converting,
    "ready": rows("SELECT 1 FROM transmission WHERE state = 'ready'"),
    "attempt opening": rows("SELECT 1 FROM attempt WHERE state = 'opening'"),
    "call in the journal": call_added,
    "submitted": rows("SELECT 1 FROM attempt WHERE state = 'submitted'"),
    "callback stored": rows("SELECT 1 FROM event WHERE applied_at IS NULL"),
    "delivered": rows("SELECT 1 FROM outbox WHERE state = 'waiting'"),
}


def at(house: House, stage: str) -> Callable[[Client], None]:
    """The moment when a stage is seen."""

    def moment(client: Client) -> None:
        seen, until = STAGES[stage](house), time.monotonic() + 20
        while not seen():
            assert time.monotonic() < until, f"the stage “{stage}” was never seen; {len(client.mails)} mails"

    return moment


@pytest.mark.parametrize("stage", STAGES)
def test_que_01_killed_at_a_stage(house: House, stage: str) -> None:
    check(house, killed(house, at(house, stage)))


@pytest.mark.parametrize("stage", ["attempt opening", "call in the journal", "submitted"])
def test_que_01_killed_at_a_stage_and_no_callback_helps(house: House, stage: str) -> None:
    """What became of a call that was begun can only be found out by asking the carrier."""
    network = house.settings["carrier"]["main"]
    if house.process is None:
        house.start()
    network["lose_callbacks"] = 1.0  # from the next start on
    try:
        check(house, killed(house, at(house, stage)))
    finally:
        del network["lose_callbacks"]
        house.stop()


def test_que_02_killed_before_the_mail_server_says_250(house: House) -> None:
    """The report is with the mail server, and the gateway does not know: it comes again, as the same mail."""
    dead = threading.Event()

    def kill(_letter: Letter) -> None:
        house.sink.taken = None
        assert house.process is not None
        house.process.kill()
        dead.set()

    def moment(client: Client) -> None:
        house.sink.taken = kill
        assert dead.wait(20)

    client = killed(house, moment)
    check(house, client)
    identities = [one.mail["Message-ID"] for one in house.sink.letters]
    assert len(identities) > len(set(identities))


def test_que_01_killed_twice_in_a_row(house: House) -> None:
    """The second process dies while it takes up the work of the first."""

    def moment(client: Client) -> None:
        house.wait(lambda: len(client.taken) >= MAILS, 20, "accepted mails")
        client.stop.set()
        house.kill()
        house.start()

    check(house, killed(house, moment))
