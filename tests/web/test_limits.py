"""The API doors have the same limits and the same do-not-fax list as mail."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.sections import LimitSection
from gateway.spool import blocks, queries
from tests.web import pamfax_door
from tests.web.conftest import opened, settings
from tests.web.test_hellofax_api import FILES, TO, message

NUMBER = f"+{TO}"


async def test_programs_of_the_hellofax_door_pass_a_limit_no_more_than_mails(tmp_path: Path) -> None:
    limited = settings().model_copy(update={"limits": LimitSection(faxes_per_hour=3)})
    async with opened(tmp_path, limited) as door:
        answers = await asyncio.gather(*(door.send(data={"To": TO}, files=FILES) for _ in range(7)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 4
        late = next(answer for answer in answers if answer.status_code == 429)
        assert "3 faxes in one hour" in message(late, 429)
        assert 0 < int(late.headers["retry-after"]) <= 3600
        assert await door.sent() == 3
        door.clock.forward(3600)
        assert (await door.send(data={"To": TO}, files=FILES)).status_code == 200


async def test_a_repeated_call_is_answered_though_the_limit_is_reached(tmp_path: Path) -> None:
    limited = settings().model_copy(update={"limits": LimitSection(faxes_per_hour=1)})
    async with opened(tmp_path, limited) as door:
        same = {"Idempotency-Key": "one"}
        answers = [await door.send(data={"To": TO}, files=FILES, headers=same) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert await door.sent() == 1


async def test_a_blocked_number_is_refused_at_the_hellofax_door(tmp_path: Path) -> None:
    async with opened(tmp_path, settings()) as door:
        await door.store.write(blocks.add, NUMBER, blocks.EVERYBODY, "", "ann")
        assert "not to be faxed" in message(await door.send(data={"To": TO}, files=FILES), 400)
        assert await door.sent() == 0


async def test_the_pamfax_door_says_too_many_requests(tmp_path: Path) -> None:
    async with pamfax_door.opened(tmp_path, pamfax_door.settings(limits={"faxes_per_hour": 1})) as door:
        await door.sign_in()
        await door.credit(10)
        for n in range(2):
            await door.call("FaxJob/Create")
            code = await door.code("FaxJob/AddRecipient", number=NUMBER)
            assert code == ("too_many_requests" if n else "success")
            if not n:
                await door.call("FaxJob/AddFile", upload=pamfax_door.LETTER, filename="letter.pdf")
                await door.ready()
                await door.call("FaxJob/Send")
        assert sum(count for count, _ in (await door.house.store.read(queries.unfinished)).values()) == 1


async def test_a_number_blocked_after_it_was_added_is_not_sent_to(tmp_path: Path) -> None:
    async with pamfax_door.opened(tmp_path, pamfax_door.settings()) as door:
        await door.sign_in()
        await door.credit(10)
        await door.call("FaxJob/Create")
        await door.call("FaxJob/AddRecipient", number=NUMBER)
        await door.call("FaxJob/AddFile", upload=pamfax_door.LETTER, filename="letter.pdf")
        await door.ready()
        await door.house.desk.blocks.add(NUMBER, reason="", by="ann")
        assert await door.code("FaxJob/Send") != "success"
        assert await door.code("FaxJob/AddRecipient", number=NUMBER) == "unsupported_fax_number"
        assert await door.house.store.read(queries.unfinished) == {}
