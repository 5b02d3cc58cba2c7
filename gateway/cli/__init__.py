"""The commands an operator types. The one place that prints."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from gateway import __version__, config, log
from gateway.cli import (
    accounts,
    applications,
    blocks,
    evidence,
    faxes,
    mailboxes,
    pages,
    routes,
    sandbox,
    templates,
    trials,
    upkeep,
)
from gateway.cli.terminal import NOT_NOW, as_json_option, ask, fail, in_file, reported, require_own, screen
from gateway.control import Json
from gateway.errors import Unavailable
from gateway.pages import fence


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Faxgate: mail to NUMBER@your.domain becomes a fax, a fax becomes mail."""


@main.command()
@as_json_option
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"faxgate {__version__}")


@main.command()
@in_file
@reported
def serve(file: Path) -> None:
    """Run the gateway until it is told to stop."""
    from gateway import daemon  # the whole house: other commands start faster without it

    settings = config.load(file)
    log.setup(settings.log_level, full_numbers=settings.log_numbers == "full")
    daemon.check(settings)
    require_own(settings.spool)
    try:
        reason = asyncio.run(daemon.serve(settings))
    except OSError as error:
        raise Unavailable(f"cannot start: {error.strerror or error} ({error.filename or 'a listening address'})") from error
    if reason:
        fail(reason, NOT_NOW)


@main.command("check-config")
@in_file
@as_json_option
@reported
def check_config(file: Path, as_json: bool) -> None:
    """Check the configuration and print what is in force, secrets masked."""
    from gateway import daemon
    from gateway.work.post import signatures

    settings = config.load(file)
    able = daemon.check(settings, whole=True)
    records = {one.name: one.record for one in signatures(settings)}
    values = settings.model_dump(mode="json", by_alias=True)
    _mask(values)
    converters = {"fence": fence.describe(), **fence.equipment()}
    if as_json:
        told = {"file": str(file), "config": values, "carriers": list(able), "converters": converters, "dns": records}
        click.echo(json.dumps(told, indent=2))
        return
    screen.print(f"[bold]{file}[/] is in order.", markup=True)
    for key, value in _flat(values):
        screen.print(f"  {key} = {json.dumps(value, ensure_ascii=False)}", markup=False)
    for name, record in records.items():
        pieces = " ".join(f'"{record[n : n + 255]}"' for n in range(0, len(record), 255))
        screen.print(f"  to be published in the DNS:\n    {name}. IN TXT ( {pieces} )", markup=False)
    screen.print("  converters:")
    for what, words in converters.items():
        screen.print(f"    {what}: {words}", markup=False)


def _mask(values: Any) -> None:
    """Any: what JSON holds. Every value whose key names a secret becomes stars."""
    for key, value in (
        list(values.items()) if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    ):
        if isinstance(value, dict | list):
            _mask(value)
        elif (
            isinstance(key, str)
            and value
            and not key.endswith("_file")
            and any(w in key for w in ("password", "secret", "key"))
        ):
            values[key] = value if key in ("tls_key", "done_keyword") else "********"


def _flat(values: Json, prefix: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for n, one in enumerate(value, 1):
                out += _flat(one, f"{prefix}{key}[{n}].")
        elif value is not None:
            out.append((prefix + key, value))
    return out


@main.command()
@in_file
@as_json_option
@reported
def carriers(file: Path, as_json: bool) -> None:
    """List the configured carriers, how their modems are, and what they can do."""
    found = ask(config.load(file), {"verb": "carriers"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, able in found.items():
        screen.print(f"[bold]{name}[/]")
        for modem in able.pop("equipment"):
            screen.print(f"  {modem}", markup=False)
        for key, value in able.items():
            screen.print(f"  {key.replace('_', ' '):<24}{value}", markup=False)


@main.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-out"), show_default=True)
@click.option("--keep", is_flag=True, help="Keep it running, and say how to send a mail to it.")
@reported
def demo(out: Path, keep: bool) -> None:
    """Show the whole way of three faxes in one process, with a simulated phone network."""
    from gateway import demo as show_case

    try:
        asyncio.run(show_case.run(out, keep=keep, say=screen.print))
    except OSError as error:
        raise Unavailable(f"the demo cannot go on: {error.strerror or error} ({error.filename or 'a port'})") from error


accounts.line.add_command(trials.line_test)
for _command in (
    *faxes.COMMANDS,
    *blocks.COMMANDS,
    *upkeep.COMMANDS,
    *pages.COMMANDS,
    *routes.COMMANDS,
    *templates.COMMANDS,
    accounts.account,
    accounts.line,
    applications.application,
    evidence.evidence,
    mailboxes.imap,
    sandbox.sandbox,
    sandbox.inject,
):
    main.add_command(_command)
