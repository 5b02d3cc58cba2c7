"""A PostgreSQL database whose clock can be put forward: what a stepped clock of the server looks like."""

from __future__ import annotations

import psycopg

from tests.carriers.tools import Clock

_SETUP = """
CREATE TABLE ahead (seconds double precision NOT NULL);
INSERT INTO ahead VALUES (0);
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT pg_catalog.clock_timestamp() + (SELECT seconds FROM public.ahead) * interval '1 second' $$;
"""


class DatabaseClock(Clock):
    """Puts the database's clock forward, and with it the one of the nodes that are given this clock."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        name = url.rsplit("/", 1)[-1]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_SETUP)
            # For every later session our function is found before the built-in one of the same name.
            connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog".encode())

    def forward(self, seconds: float) -> None:
        super().forward(seconds)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("UPDATE ahead SET seconds = seconds + %s", (seconds,))
