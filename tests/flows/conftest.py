"""Houses: one gateway a test, and one that many tests share. Stopped whatever happens. And the crash matrix."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.house import House
from tests.flows.matrix import Matrix


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house of its own that is not running yet."""
    made = House(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running house that tests share: they call `fresh` numbers, and look at the answers to their own mails."""
    made = House(tmp_path_factory.mktemp("open-house"))
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def matrix(record_property: Callable[[str, object], None]) -> Matrix:
    """Printed at the end of the run, also where it is green."""
    return Matrix(record_property)
