"""Houses: one gateway a test, and one that many tests share. Stopped whatever happens. And the crash matrix of a run."""

import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """Printed at the end of the run, also where it is green."""
    made = Matrix()
    yield made
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        sys.stdout.write(f"\n\nThe crash matrix, calls counted at the far end\n\n{made.text()}\n")
