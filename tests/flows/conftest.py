"""One gateway a test, stopped whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house that is not running yet."""
    made = House(tmp_path)
    try:
        yield made
    finally:
        made.close()
