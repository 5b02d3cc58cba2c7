"""Commands about numbers that are not to be faxed, and callers whose faxes nobody gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, in_file, local, print_table, reported, screen
from gateway.errors import Refused

_incoming = click.option("--incoming", is_flag=True, help="Callers whose faxes nobody gets, instead.")


@click.command()
@click.argument("number")
@click.option("--account", default="", help="Only this account may not fax it. Default: nobody may.")
@_incoming
@click.option("--reason", default="", help="Why, for the list; no sender is told.")
@in_file
@as_json_option
@reported
def block(number: str, account: str, incoming: bool, reason: str, file: Path, as_json: bool) -> None:
    """Put NUMBER on the do-not-fax list. Faxes to it that were accepted before are not dialled any more.

    With --incoming nobody gets faxes that come from it any more: a number, its beginning like +1900*, or unknown.
    """
    _check(account, incoming)
    by = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    request = {"verb": "block", "number": number, "account": account, "reason": reason, "by": by, "incoming": incoming}
    _done("blocked", ask(config.load(file), request), account, incoming, as_json)


@click.command()
@click.argument("number")
@click.option("--account", default="", help="As it was blocked.")
@_incoming
@in_file
@as_json_option
@reported
def unblock(number: str, account: str, incoming: bool, file: Path, as_json: bool) -> None:
    """Take NUMBER off the do-not-fax list, or off the list of blocked callers."""
    _check(account, incoming)
    request = {"verb": "unblock", "number": number, "account": account, "incoming": incoming}
    _done("unblocked", ask(config.load(file), request), account, incoming, as_json)


@click.command()
@_incoming
@in_file
@as_json_option
@reported
def blocked(incoming: bool, file: Path, as_json: bool) -> None:
    """Show the do-not-fax list, or that of blocked callers."""
    settings = config.load(file)
    found = ask(settings, {"verb": "blocks", "incoming": incoming})
    if incoming:
        inside = {"reason": "", "asked_by": settings.file, "at": None}
        found = [{"pattern": one, **inside} for one in settings.blocked_callers] + found
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if incoming:
        callers = [(one["pattern"], local(one["at"], settings), one["asked_by"], one["reason"]) for one in found]
        print_table(("caller", "since", "by", "reason"), callers) if callers else screen.print("No caller is blocked.")
        return
    rows = [
        (one["number"], one["account"] or "everybody", local(one["at"], settings), one["asked_by"], one["reason"])
        for one in found
    ]
    print_table(("number", "for", "since", "by", "reason"), rows) if rows else screen.print("No number is blocked.")


def _check(account: str, incoming: bool) -> None:
    if account and incoming:
        raise Refused("--incoming is for everybody: leave --account out.")


def _done(what: str, number: str, account: str, incoming: bool, as_json: bool) -> None:
    whom = "as a caller" if incoming else f"for {account}" if account else "for everybody"
    click.echo(json.dumps({what: number, "account": account}) if as_json else f"{what} {number} {whom}")


COMMANDS = [block, unblock, blocked]
