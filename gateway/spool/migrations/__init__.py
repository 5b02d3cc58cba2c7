"""Alembic migrations of the spool; applied when a service starts."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from gateway.errors import SpoolUnavailable
from gateway.spool import schema

_LOCK = 0x66617867617465  # "faxgate": the advisory lock of whoever changes tables


def upgrade(engine: Engine) -> None:
    """Bring the tables to the newest revision. Raises SpoolUnavailable if they are newer than this program."""
    scripts = ScriptDirectory.from_config(_config())
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # two nodes that start together take turns
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # for as long as the other one needs
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current is not None and not known(current):
            raise SpoolUnavailable(f"The spool was written by a newer faxgate (schema {current}); upgrade this one.")
        to(connection, "head")


def to(connection: Connection, revision: str) -> None:
    """Go on to a revision, in the transaction of the connection."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def begin_anew(connection: Connection, revision: str) -> None:
    """Throw all tables away and make those of an earlier revision, in the transaction of the connection."""
    schema.metadata.drop_all(connection)
    connection.execute(text("DELETE FROM alembic_version"))
    to(connection, revision)


def known(revision: str) -> bool:
    """Whether this program knows a revision: one that it does not know is a newer one."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def newest() -> str:
    """The revision that this program works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revision(connection: Connection) -> str:
    """The revision of the tables that are there; "" = none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
