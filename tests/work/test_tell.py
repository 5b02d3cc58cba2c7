"""A mail that is owed is handed over, whatever servers answer, connections do and processes die in between."""

from __future__ import annotations

import asyncio
import contextlib
import email
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused, Unavailable, Uncertain
from gateway.report.compose import Mail
from gateway.spool import outbox, steps
from gateway.work.post import Post
from tests.carriers.tools import Clock
from tests.work.shop import FarEnd, House


class Scripted(Post):
    """The way out as a test says: what becomes of each try, in turn; taken when the script is over."""

    def __init__(self, script: list[str], taken: list[Mail]) -> None:
        self._script, self.taken = script, taken

    async def signed(self, mail: Mail) -> Mail:
        return mail

    async def close(self) -> None:
        """Nothing is open."""

    async def send(self, mail: Mail) -> str:
        word = self._script.pop(0) if self._script else "taken"
        if word in ("taken", "uncertain", "dies after"):
            self.taken.append(mail)
        if word == "refused":
            raise Refused("550 5.1.1 nobody")
        if word == "unavailable":
            raise Unavailable("451 later")
        if word == "uncertain":
            raise Uncertain("the answer was lost")
        if word.startswith("dies"):
            raise asyncio.CancelledError
        return "2.0.0 kept"


WORDS = ("unavailable", "uncertain", "dies before", "dies after", "refused", "restart", "an hour", "retry")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_no_order_of_answers_breaks_and_restarts_loses_a_mail(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), words))


async def _live(folder: Path, words: list[str]) -> None:
    clock, taken, script = Clock(), list[Mail](), list[str]()
    house = await _opened(folder, clock, script, taken)
    await house.store.write(lambda t: outbox.owe(t, kind=outbox.MESSAGE, about="mail_1", recipient="ann@example.com", text="x"))
    (owed,) = await house.store.read(outbox.mails)
    refused, retried = False, False
    for word in [*words, "end"]:
        if word == "restart":
            await house.close()
            house = await _opened(folder, clock, script, taken)
        elif word == "an hour":
            clock.forward(3600)
        elif word == "retry":
            retried |= await house.store.write(outbox.again, owed.id)
        else:
            if word != "end":
                script.append(word)
            clock.forward(3600)
            tried = await _mail(house)
            refused |= word == "refused" and tried
            script.clear()
    found = await house.store.read(outbox.get, owed.id)
    assert found is not None
    assert found.state == (outbox.GIVEN_UP if refused and found.state != outbox.SENT else outbox.SENT)
    if found.state == outbox.SENT:
        assert taken
    elif not retried:
        assert [one.about for one in await house.store.read(outbox.about, owed.id)] == [owed.id], "the operator hears of it"
    assert len({email.message_from_bytes(one.content)["Message-ID"] for one in taken}) <= 1
    await house.close()


async def _opened(folder: Path, clock: Clock, script: list[str], taken: list[Mail]) -> House:
    house = House(folder, clock, FarEnd())
    house.shop.post = Scripted(script, taken)
    await house.open()
    return house


async def _mail(house: House) -> bool:
    """Do the step of the mail, if it is due. Alarms wait for another day."""
    claims = await house.store.write(steps.claim, steps.MAIL, 10, 60.0, steps.uptime(), None)
    mine = [
        claim for claim in claims if (owed := await house.store.read(outbox.get, claim.subject)) and owed.kind != outbox.ALARM
    ]
    for claim in mine:
        with contextlib.suppress(asyncio.CancelledError):
            await house.loop._step(claim, None)
    return bool(mine)
