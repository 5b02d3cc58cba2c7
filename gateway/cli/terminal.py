"""What every command needs: its options, the way to the service, errors as one clear line, times as people read them.

Commands about faxes, accounts and lines go to the running service over its control socket; while nothing is running
the spool is opened here. Exit codes: 0 done, 1 refused (the reason on stderr), 75 not now, 78 wrong configuration.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec
from zoneinfo import ZoneInfo

import click
from rich.console import Console

from gateway import control_socket
from gateway.config import Config
from gateway.control import Json
from gateway.errors import ConfigError, GatewayError, Refused, SpoolBusy, Unavailable

P = ParamSpec("P")
NOT_NOW, BAD_CONFIG = 75, 78  # sysexits: EX_TEMPFAIL, EX_CONFIG
in_file = click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), default=Path("/etc/faxgate/gateway.toml"), show_default=True
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
screen = Console(highlight=False, soft_wrap=True)


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Errors become one clear line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigError as error:
            fail(error.text, BAD_CONFIG)
        except (Unavailable, SpoolBusy) as error:
            fail(error.text, NOT_NOW)
        except GatewayError as error:
            fail(error.text, 1)

    return run


def fail(text: str, code: int) -> None:
    click.echo(f"faxgate: {text}", err=True)
    sys.exit(code)


def ask(settings: Config, request: Json) -> Any:
    """Any: the answer as JSON gave it; each command knows its own. Over the socket, else on the spool itself."""
    from gateway import daemon

    async def ask() -> object:
        try:
            return await control_socket.ask(settings.spool / "control.sock", request)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            become_owner(settings.spool)
            async with daemon.opened(settings) as desk:
                return json.loads(json.dumps(await desk.call(request), default=str))
        except PermissionError as error:
            raise Refused("You may not speak to the service: run this as root or as its user.") from error
        except OSError as error:
            raise Unavailable(f"The service does not answer ({error.strerror or error}).") from error

    return asyncio.run(ask())


def become_owner(spool: Path) -> None:
    """Root works on the spool as its owner, so that the service can read and write what is left there."""
    if owner := _other_owner(spool):
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def require_own(spool: Path) -> None:
    """Root does not serve the spool of somebody else: what it left there would stop them later. Raises Refused."""
    if owner := _other_owner(spool):
        raise Refused(f"The spool {spool} belongs to the user {owner.st_uid}: run the service as that user, not as root.")


def _other_owner(spool: Path) -> os.stat_result | None:
    """Whose the spool is, where we are root and it is not ours."""
    if os.geteuid() != 0 or not spool.exists():
        return None
    owner = spool.stat()
    return owner if owner.st_uid != 0 else None


def write_new(path: Path, content: bytes) -> None:
    """A new file that only its owner can read. Raises Refused."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise Refused(f"{path} is there already; it was not touched.") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}).") from error


def local(moment: str | None, settings: Config) -> str:
    if not moment:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(settings.zone)):%Y-%m-%d %H:%M:%S %Z}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need: nothing is cut off, because ids and numbers are copied from here."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in (list(columns), *lines)) for n in range(len(columns))]
    for n, line in enumerate((list(columns), *lines)):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        screen.print(text, style="bold" if n == 0 else None, markup=False)
