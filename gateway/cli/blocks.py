"""Commands about numbers that are not to be faxed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, in_file, local, print_table, reported, screen


@click.command()
@click.argument("number")
@click.option("--account", default="", help="Only this account may not fax it. Default: nobody may.")
@click.option("--reason", default="", help="Why, for the list; no sender is told.")
@in_file
@as_json_option
@reported
def block(number: str, account: str, reason: str, file: Path, as_json: bool) -> None:
    """Put NUMBER on the do-not-fax list. Faxes to it that were accepted before are not dialled any more."""
    by = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    request = {"verb": "block", "number": number, "account": account, "reason": reason, "by": by}
    _done("blocked", ask(config.load(file), request), account, as_json)


@click.command()
@click.argument("number")
@click.option("--account", default="", help="As it was blocked.")
@in_file
@as_json_option
@reported
def unblock(number: str, account: str, file: Path, as_json: bool) -> None:
    """Take NUMBER off the do-not-fax list."""
    _done("unblocked", ask(config.load(file), {"verb": "unblock", "number": number, "account": account}), account, as_json)


@click.command()
@in_file
@as_json_option
@reported
def blocked(file: Path, as_json: bool) -> None:
    """Show the do-not-fax list."""
    settings = config.load(file)
    found = ask(settings, {"verb": "blocks"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (one["number"], one["account"] or "everybody", local(one["at"], settings), one["asked_by"], one["reason"])
        for one in found
    ]
    print_table(("number", "for", "since", "by", "reason"), rows) if rows else screen.print("No number is blocked.")


def _done(what: str, number: str, account: str, as_json: bool) -> None:
    whom = f"for {account}" if account else "for everybody"
    click.echo(json.dumps({what: number, "account": account}) if as_json else f"{what} {number} {whom}")


COMMANDS = [block, unblock, blocked]
