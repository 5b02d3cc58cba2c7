"""Links to the pages of a fax: made here only, for one fax, and till their time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from gateway.desk.views import Views
from gateway.fax import Sha256, TransmissionId
from gateway.spool import steps, submissions, transmissions
from gateway.templates import Templates
from gateway.web.view import ViewPage
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House

FAX = TransmissionId("tx_01jnbbbbbbbbbbbbbbbbbbbbbb")
VIEWS = Views(bytes(32), "https://x.example")


def parts(link: str) -> tuple[str, str, str]:
    fax, seconds, mac = link.removeprefix("https://x.example/view/").split("/")
    return fax, seconds, mac


def test_a_link_says_till_when_it_holds() -> None:
    until = values.AT + timedelta(days=7)
    assert VIEWS.until(*parts(VIEWS.link(FAX, until))) == until


@given(st.text(max_size=30), st.text("0123456789.-+eE٣", max_size=14), st.text(max_size=45))
def test_a_link_that_was_not_made_here_is_none(fax: str, seconds: str, mac: str) -> None:
    ours = parts(VIEWS.link(FAX, values.AT))
    assert VIEWS.until(fax, seconds, mac) is None
    assert VIEWS.until(ours[0] + "x", *ours[1:]) is None
    assert VIEWS.until(ours[0], f"9{ours[1]}", ours[2]) is None
    assert Views(bytes(31) + b"1", "https://x.example").until(*ours) is None


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, Clock(), FarEnd())
    await made.open()
    yield made
    await made.close()


async def test_the_pages_are_read_till_the_link_ends_as_often_as_they_are_asked_for(house: House) -> None:
    clock = house.now
    assert isinstance(clock, Clock)
    call = replace(values.call(), key="")
    (fax,) = (await house.store.write(submissions.accept, values.submission(), [call])).transmissions
    document = await house.documents.put(b"%PDF-1.7 the pages")
    (claim,) = await house.store.write(steps.claim, steps.CONVERT, 1, 60.0, steps.uptime())
    await house.store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=1, manifest="[]")
    page = ViewPage(
        store=house.store, documents=house.documents, views=house.shop.views, templates=Templates(), name="x", now=clock
    )
    link = house.shop.views.link(fax, clock() + timedelta(hours=1))
    gone = house.shop.views.link(FAX, clock() + timedelta(hours=1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=page.routes()))) as client:
        for _ in range(2):
            answer = await client.get(link)
            assert (answer.status_code, answer.content) == (200, b"%PDF-1.7 the pages")
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Robots-Tag"] == "noindex"
        assert (await client.get(link[:-1])).status_code == 404
        assert (await client.get(gone)).status_code == 410
        assert (await client.post(link)).status_code == 405
        clock.forward(3601)
        ended = await client.get(link)
        assert (ended.status_code, ended.headers["Cache-Control"]) == (410, "no-store")
        assert b"%PDF" not in ended.content
