"""A clock that can be put forward; one PostgreSQL server for all tests of this folder, a database for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.carriers.tools import Clock
from tests.spool import objects, postgres

_numbers = itertools.count(1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """An empty database."""
    return postgres.database(postgres_server, f"test{next(_numbers)}")


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Endpoint of an S3-compatible server."""
    with objects.server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(object_store: str) -> str:
    """An empty bucket."""
    return objects.bucket(object_store, f"bucket{next(_numbers)}")
