"""A house with a scripted carrier, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.carriers.tools import Clock
from tests.spool.conftest import postgres_server, postgres_url
from tests.work.shop import FarEnd, House

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    made = House(tmp_path, clock, FarEnd())
    await made.open()
    yield made
    await made.close()
