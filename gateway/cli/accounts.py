"""Commands about accounts and lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, in_file, print_table, reported, screen
from gateway.control import Json
from gateway.errors import Refused
from gateway.units import eur, micro_eur

P = ParamSpec("P")


@click.group()
def account() -> None:
    """Accounts: who may fax."""


@account.command("list")
@in_file
@as_json_option
@reported
def account_list(file: Path, as_json: bool) -> None:
    """List the accounts."""
    found = ask(config.load(file), {"verb": "accounts"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            one["name"],
            one["login"],
            *(", ".join(one[key]) for key in ("senders", "networks", "countries")),
            "file" if one["declared"] else "spool",
        )
        for one in found
    ]
    print_table(("name", "login", "senders", "networks", "countries", "where"), rows) if rows else screen.print(
        "There are none."
    )


def _account_options(command: Callable[P, None]) -> Callable[P, None]:
    for option in (
        click.option("--country", "countries", multiple=True, help="May fax there, e.g. US; repeatable."),
        click.option("--network", "networks", multiple=True, help="Its own clients, CIDR; repeatable."),
        click.option("--sender", "senders", multiple=True, help="Mail address or pattern like *@example.com; repeatable."),
        click.option("--bulk", is_flag=True, help="It may fax bulk mail and mail of lists."),
        click.option("--dmarc", is_flag=True, help="Mail whose author DMARC proves speaks for it."),
        click.option("--prepaid", is_flag=True, help="It faxes for its credit only."),
        click.option("--login", default="", help="For SMTP AUTH; the password is asked for."),
    ):
        command = option(command)
    return command


@account.command("add")
@click.argument("name")
@_account_options
@in_file
@as_json_option
@reported
def account_add(
    name: str,
    login: str,
    senders: tuple[str, ...],
    networks: tuple[str, ...],
    countries: tuple[str, ...],
    prepaid: bool,
    dmarc: bool,
    bulk: bool,
    file: Path,
    as_json: bool,
) -> None:
    """Add an account."""
    settings = config.load(file)
    password = _password() if login else ""
    request: Json = {"senders": senders, "networks": networks, "countries": countries, "prepaid": prepaid}
    request |= {"dmarc": dmarc, "bulk": bulk}
    request |= {"login": login, "password": password}
    identity = ask(settings, {"verb": "account-save", "new": True, "name": name, **request})
    _done({"account": name, "id": identity}, f"added {name} as {identity}", as_json)


@account.command("password")
@click.argument("name")
@in_file
@as_json_option
@reported
def account_password(name: str, file: Path, as_json: bool) -> None:
    """Set an account's password; it is asked for, or read from a pipe."""
    identity = ask(config.load(file), {"verb": "account-save", "name": name, "password": _password()})
    _done({"account": name, "id": identity}, f"{name} has a new password", as_json)


@account.command("remove")
@click.argument("name")
@in_file
@as_json_option
@reported
def account_remove(name: str, file: Path, as_json: bool) -> None:
    """Remove an account and its lines. Its faxes stay in the records."""
    identity = ask(config.load(file), {"verb": "account-remove", "name": name})
    _done({"account": name, "id": identity}, f"removed {name}", as_json)


@account.command("credit", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("amount")
@click.option("--about", default="", help="What the payment is called elsewhere; the same one is booked once.")
@click.option("--note", default="by the operator", show_default=True, help="Why, for the book.")
@in_file
@as_json_option
@reported
def account_credit(name: str, amount: str, about: str, note: str, file: Path, as_json: bool) -> None:
    """Book a payment of AMOUNT (EUR, e.g. 25.00; -25.00 takes it back)."""
    settings = config.load(file)
    try:
        micro = -micro_eur(amount[1:]) if amount.startswith("-") else micro_eur(amount)
    except ValueError as error:
        raise Refused(str(error)) from error
    has = ask(settings, {"verb": "account-credit", "name": name, "amount": micro, "about": about, "note": note})
    hint = "" if has["prepaid"] else " (it does not pay in advance: set prepaid)"
    _done({"account": name, **has}, f"{name} has {eur(has['available'])}{hint}", as_json)


@account.command("ledger")
@click.argument("name")
@in_file
@as_json_option
@reported
def account_ledger(name: str, file: Path, as_json: bool) -> None:
    """What an account has, and its book, newest first."""
    found = ask(config.load(file), {"verb": "account-ledger", "name": name})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    screen.print(f"{name} has {eur(found['available'])}; {eur(found['held'])} more are set aside for its faxes.", markup=False)
    if rows := [(one["at"], one["kind"], eur(one["amount"]), one["about"], one["note"]) for one in found["entries"]]:
        print_table(("when", "what", "amount", "about", "note"), rows)


def _done(facts: Json, text: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise Refused("No password came on standard input.")
    return secret


@click.group()
def line() -> None:
    """Lines: fax numbers we hold."""


_AT_CARRIER = {True: "yes", False: "no: nobody will answer there", None: "cannot be asked"}


@line.command("list")
@click.option("--at-carrier", is_flag=True, help="Ask the carriers too: numbers that only one of us knows.")
@in_file
@as_json_option
@reported
def line_list(at_carrier: bool, file: Path, as_json: bool) -> None:
    """List the lines."""
    found = ask(config.load(file), {"verb": "lines", "at_carrier": at_carrier})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    columns, rows = ["number", "account", "carrier", "mailbox", "where"], []
    for one in found:
        rows.append([one["number"], one["account"], one["carrier"], ", ".join(one["mailbox"]), _where(one)])
    if at_carrier:
        columns.append("at the carrier")
        rows = [[*row, _AT_CARRIER[one["at_carrier"]]] for row, one in zip(rows, found, strict=True)]
    print_table(columns, rows) if rows else screen.print("There are none.")


def _where(line: Json) -> str:
    if not line["account"] and line.get("at_carrier"):
        return "carrier only"
    return "file" if line["declared"] else "spool"


@line.command("add")
@click.argument("number")
@click.option("--account", "name", default="", help="Whose it is.")
@click.option("--carrier", default="", help="Where it is. Default: the first carrier.")
@click.option("--mailbox", multiple=True, help="Who gets what arrives there; repeatable. Default: the operator.")
@in_file
@as_json_option
@reported
def line_add(number: str, name: str, carrier: str, mailbox: tuple[str, ...], file: Path, as_json: bool) -> None:
    """Add a line."""
    request = {"verb": "line-save", "number": number, "account": name, "carrier": carrier, "mailbox": mailbox}
    added = ask(config.load(file), request)
    _done({"line": added}, f"added {added}", as_json)


@line.command("remove")
@click.argument("number")
@in_file
@as_json_option
@reported
def line_remove(number: str, file: Path, as_json: bool) -> None:
    """Remove a line."""
    removed = ask(config.load(file), {"verb": "line-remove", "number": number})
    _done({"line": removed}, f"removed {removed}", as_json)


@line.command("areas")
@click.option("--state", required=True, help="Two letters, e.g. CA.")
@click.option("--carrier", default="", help="Default: the first one that sells numbers.")
@in_file
@as_json_option
@reported
def line_areas(state: str, carrier: str, file: Path, as_json: bool) -> None:
    """Area codes in which a number can be bought."""
    found = ask(config.load(file), {"verb": "line-areas", "state": state, "carrier": carrier})
    click.echo(json.dumps(found) if as_json else " ".join(found) or "There are none.")


@line.command("buy")
@click.option("--area", required=True, help="Area code, one of those of `line areas`.")
@click.option("--account", "name", default="", help="Whose it will be.")
@click.option("--carrier", default="", help="Default: the first one that sells numbers.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@in_file
@as_json_option
@reported
def line_buy(area: str, name: str, carrier: str, yes: bool, file: Path, as_json: bool) -> None:
    """Buy a number. The carrier charges for it every month."""
    settings = config.load(file)
    warning = f"Buy a number in the area {area}? The carrier charges for it now and every month until it is released."
    _confirmed(warning, yes)
    bought = ask(settings, {"verb": "line-buy", "area": area, "account": name, "carrier": carrier})
    mailboxes = ", ".join(bought["mailbox"]) or "the operator"
    text = f"bought {bought['number']} at {bought['carrier']}; what arrives there is mailed to {mailboxes}"
    _done({"line": bought["number"], "carrier": bought["carrier"], "mailbox": bought["mailbox"]}, text, as_json)


@line.command("release")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@in_file
@as_json_option
@reported
def line_release(number: str, yes: bool, file: Path, as_json: bool) -> None:
    """Give a bought number back to the carrier."""
    settings = config.load(file)
    _confirmed(f"Give {number} back? Faxes to it will reach nobody, or whoever gets the number next.", yes)
    released = ask(settings, {"verb": "line-release", "number": number})
    _done({"line": released}, f"gave {released} back to the carrier", as_json)


def _confirmed(question: str, yes: bool) -> None:
    """Raises Refused where nobody says yes: what was asked for was not done."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Say --yes where nobody can be asked.")
    if not click.confirm(question):
        raise Refused("Nothing was done.")
