"""Chores on a real spool: what is over goes from shelf and tables, orphans are swept, suspicion stops the sweep."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.fax import Sha256
from gateway.fax import TransmissionState as T
from gateway.spool import outbox, queries, steps, transmissions
from gateway.spool.transmissions import Next
from gateway.work import tidy
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import House


def aged(house: House, sha256: Sha256, days: float) -> Path:
    """Make a document old by the house's clock."""
    path = house.documents.root / sha256[:2] / sha256
    then = (house.now() - timedelta(days=days)).timestamp()
    os.utime(path, (then, then))
    return path


async def test_documents_go_first_then_the_records(house: House, clock: Clock) -> None:
    fax = await house.fax()
    document = (await values.case(house.store, fax)).transmission.document
    assert document is not None
    assert await house.store.write(transmissions.settle, await values.claim(house.store), Next(state=T.CANCELLED))
    for claim in await house.store.write(steps.claim, steps.MAIL, 9, 60.0, steps.uptime()):
        await house.store.write(outbox.settled, claim, outbox.SENT, "250")
    clock.forward(29 * 86400)
    path = aged(house, document, 29)
    await tidy.tidy(house.shop)
    assert path.exists()
    clock.forward(2 * 86400)
    await tidy.tidy(house.shop)
    assert not path.exists()
    assert (await values.case(house.store, fax)).transmission.state is T.CANCELLED
    clock.forward(365 * 86400)
    await tidy.tidy(house.shop)
    assert await house.store.read(queries.case, fax) is None


async def test_orphans_are_swept_after_a_day(house: House) -> None:
    fax = await house.fax()
    needed = (await values.case(house.store, fax)).transmission.document
    assert needed is not None
    orphan, fresh = [(await house.documents.put(content)).sha256 for content in (b"refused", b"being accepted")]
    kept, gone, young = aged(house, needed, 9), aged(house, orphan, 2), aged(house, fresh, 0.5)
    await tidy.sweep(house.shop)
    assert [kept.exists(), gone.exists(), young.exists()] == [True, False, True]


async def test_nothing_is_swept_where_the_database_seems_to_be_another(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "_SUSPICIOUS", 1)
    paths = [aged(house, (await house.documents.put(content)).sha256, 2) for content in (b"one", b"two", b"three")]
    with caplog.at_level(logging.ERROR):
        await tidy.sweep(house.shop)
    assert all(path.exists() for path in paths)
    assert "3 of 3 documents" in caplog.text
