"""The commands an operator types. The one module that prints.

Commands about faxes, accounts and lines go to the running service over its control socket; while nothing is running
the spool is opened here. Exit codes: 0 done, 1 refused (the reason on stderr), 75 not now, 78 wrong configuration.
"""

from __future__ import annotations

import asyncio
import email.message
import email.policy
import email.utils
import functools
import json
import mimetypes
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from gateway import __version__, config, control, explain, log
from gateway.config import Config
from gateway.control import Json
from gateway.errors import ConfigError, GatewayError, Refused, Unavailable
from gateway.pages import fence
from gateway.spool.store import SpoolBusy

P = ParamSpec("P")
NOT_NOW, BAD_CONFIG = 75, 78  # sysexits: EX_TEMPFAIL, EX_CONFIG
_screen = Console(highlight=False, soft_wrap=True)
_file = click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), default=Path("/etc/faxgate/gateway.toml"), show_default=True
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Errors become one clear line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigError as error:
            _fail(error.text, BAD_CONFIG)
        except (Unavailable, SpoolBusy) as error:
            _fail(error.text, NOT_NOW)
        except GatewayError as error:
            _fail(error.text, 1)

    return run


def _fail(text: str, code: int) -> None:
    click.echo(f"faxgate: {text}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Faxgate: mail to NUMBER@your.domain becomes a fax, a fax becomes mail."""


@main.command()
@_as_json
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"faxgate {__version__}")


@main.command()
@_file
@_reported
def serve(file: Path) -> None:
    """Run the gateway until it is told to stop."""
    from gateway import daemon  # the whole house: other commands start faster without it

    settings = config.load(file)
    log.setup(settings.log_level, full_numbers=settings.log_numbers == "full")
    daemon.capabilities_of(settings)
    try:
        reason = asyncio.run(daemon.serve(settings))
    except OSError as error:
        raise Unavailable(f"cannot start: {error.strerror or error} ({error.filename or 'a listening address'})") from error
    if reason:
        _fail(reason, NOT_NOW)


@main.command("check-config")
@_file
@_as_json
@_reported
def check_config(file: Path, as_json: bool) -> None:
    """Check the configuration and print what is in force, secrets masked."""
    from gateway import daemon

    settings = config.load(file)
    able = daemon.capabilities_of(settings)
    values = settings.model_dump(mode="json", by_alias=True)
    _mask(values)
    if as_json:
        click.echo(json.dumps({"file": str(file), "config": values, "carriers": list(able)}, indent=2))
        return
    _screen.print(f"[bold]{file}[/] is in order.", markup=True)
    for key, value in _flat(values):
        _screen.print(f"  {key} = {json.dumps(value, ensure_ascii=False)}", markup=False)
    _screen.print(f"  converters: {fence.describe()}", markup=False)


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
            values[key] = value if key == "tls_key" else "********"


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


def _ask(settings: Config, request: Json) -> Any:
    """Any: the answer as JSON gave it; each command knows its own. Over the socket, else on the spool itself."""
    from gateway import daemon

    async def ask() -> object:
        try:
            return await control.ask(settings.spool / "control.sock", request)
        except (FileNotFoundError, ConnectionRefusedError):
            _become_owner(settings.spool)
            async with daemon.opened(settings) as desk:
                return json.loads(json.dumps(await desk.call(request), default=str))
        except PermissionError as error:
            raise Refused("You may not speak to the service: run this as root or as its user.") from error

    return asyncio.run(ask())


def _become_owner(spool: Path) -> None:
    """Root works on the spool as its owner, so that the service can read and write what is left there."""
    if os.geteuid() == 0 and spool.exists() and (owner := spool.stat()).st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


@main.command()
@click.argument("number")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", default="", help="Who pays; needed where there are several accounts.")
@click.option("--from", "sender", default="", help="Who gets the report. Default: the operator.")
@click.option("--subject", default="")
@click.option("--message", "text", default="", help="Text for the cover page.")
@_file
@_as_json
@_reported
def send(
    number: str, files: tuple[Path, ...], account: str, sender: str, subject: str, text: str, file: Path, as_json: bool
) -> None:
    """Fax FILES to NUMBER."""
    import base64

    settings = config.load(file)
    author = sender or settings.mail.operator
    mail = base64.b64encode(_mail(author, subject, text, files, settings.domain[0])).decode()
    request = {"verb": "send", "number": number, "account": account, "sender": author, "mail": mail}
    submission = _ask(settings, request)
    click.echo(json.dumps({"submission": submission}) if as_json else f"accepted as {submission}; the report goes to {author}")


def _mail(author: str, subject: str, text: str, files: tuple[Path, ...], domain: str) -> bytes:
    """The files as one mail, so that they take the same way as any other."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["Subject"] = author, subject
    mail["Date"], mail["Message-ID"] = email.utils.localtime(), email.utils.make_msgid(domain=domain)
    if text:
        mail.set_content(text)
    for path in files:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        major, minor = kind.split("/", 1)
        mail.add_attachment(path.read_bytes(), maintype=major, subtype=minor, filename=path.name)
    return mail.as_bytes()


@main.command()
@click.option("--state", "states", multiple=True, help="Only these states; may be given several times.")
@click.option("--all", "everything", is_flag=True, help="Finished faxes too.")
@click.option("--received", is_flag=True, help="Received faxes instead.")
@click.option("--limit", default=50, show_default=True)
@_file
@_as_json
@_reported
def queue(states: tuple[str, ...], everything: bool, received: bool, limit: int, file: Path, as_json: bool) -> None:
    """List faxes, newest first: those that are not finished, unless told otherwise."""
    settings = config.load(file)
    if received:
        _list_received(_ask(settings, {"verb": "received", "limit": limit}), settings, as_json)
        return
    wanted = list(states) or ([] if everything else ["accepted", "ready", "sending", "deferred", "held"])
    found = _ask(settings, {"verb": "queue", "states": wanted, "limit": limit})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "number", "state", "outcome", "pages", "tries", "accepted", "next"):
        table.add_column(column, no_wrap=True)
    for fax in found:
        table.add_row(
            fax["id"],
            fax["number"],
            fax["state"],
            (fax["outcome"] or "").replace("_", " "),
            str(fax["pages"] or ""),
            str(fax["attempts"] or ""),
            _local(fax["accepted_at"], settings),
            _local(fax["due_at"], settings),
        )
    _screen.print(table if found else "Nothing waits.")


def _list_received(found: list[Json], settings: Config, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table("id", "line", "caller", "state", "pages", "received", box=None, pad_edge=False)
    for fax in found:
        received = _local(fax["received_at"], settings)
        table.add_row(fax["id"], fax["line"], fax["caller"], fax["state"], str(fax["pages"]), received)
    _screen.print(table if found else "Nothing was received.")


def _local(moment: str | None, settings: Config) -> str:
    if not moment:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(settings.zone)):%Y-%m-%d %H:%M:%S %Z}"


@main.command()
@click.argument("fax", metavar="ID")
@_file
@_as_json
@_reported
def show(fax: str, file: Path, as_json: bool) -> None:
    """Show the whole history of one fax."""
    settings = config.load(file)
    told = _ask(settings, {"verb": "show", "id": fax})
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    tx, submission = told["transmission"], told["submission"]
    facts = [
        ("fax", tx["id"]),
        ("to", f"{tx['number']}  (written: {', '.join(r['written'] for r in told['recipients'])})"),
        ("from", f"{submission['envelope']['sender'] or '<>'} by {submission['envelope']['door']}"),
        ("subject", submission["subject"]),
        ("state", " ".join(filter(None, (tx["state"], (tx["outcome"] or "").replace("_", " "))))),
        ("reason", tx["reason"]),
        ("pages", f"{tx['pages_sent']} of {tx['pages']} confirmed" if tx["pages"] else "not made yet"),
        ("line", " ".join(filter(None, (tx["carrier"], tx["caller"])))),
        ("next", _local(tx["due_at"], settings)),
    ]
    for name, value in facts:
        if value:
            _screen.print(f"[bold]{name:>8}[/]  ", end="")
            _screen.print(value, markup=False)
    for part in json.loads(tx["manifest"] or "[]"):
        pages = f"pages {part['first_page']}-{part['last_page']}" if part["first_page"] else "not printed"
        _screen.print(f"    part  {part['title']}: {pages}{'; ' if part['note'] else ''}{part['note']}", markup=False)
    _screen.print()
    for entry in told["history"]:
        _screen.print(f"{_local(entry['at'], settings)}  {entry['what']:<18} {entry['detail']}", markup=False)


def _steering(verb: str, text: str) -> None:
    """One command for one verb of `desk.steer`."""

    @_file
    @_as_json
    @_reported
    def command(fax: str, file: Path, as_json: bool, choice: str = "") -> None:
        settings = config.load(file)
        by = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
        answer = _ask(settings, {"verb": "steer", "do": verb, "id": fax, "choice": choice, "by": by})
        click.echo(json.dumps({"id": fax, "answer": answer}) if as_json else f"{fax}: {answer}")

    command = click.argument("fax", metavar="ID")(command)
    if verb == "release":
        for choice, meaning in (("delivered", "It arrived."), ("retry", "Send it again."), ("fail", "It failed.")):
            command = click.option(f"--{choice}", "choice", flag_value=choice, help=meaning)(command)
    main.command(verb, help=text)(command)


_steering("retry", "Dial a deferred fax now; send a failed or cancelled one again.")
_steering("cancel", "Cancel a fax. One that is being sent only if the carrier confirms it.")
_steering("hold", "Keep a fax back until it is released.")
_steering("release", "Let a held fax go on, or decide what became of it.")


@main.command()
@_file
@_as_json
@_reported
def carriers(file: Path, as_json: bool) -> None:
    """List the configured carriers and what they can do."""
    found = _ask(config.load(file), {"verb": "carriers"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, able in found.items():
        _screen.print(f"[bold]{name}[/]")
        for key, value in able.items():
            _screen.print(f"  {key.replace('_', ' '):<24}{value}", markup=False)


@main.group()
def account() -> None:
    """Accounts: who may fax."""


@account.command("list")
@_file
@_as_json
@_reported
def account_list(file: Path, as_json: bool) -> None:
    """List the accounts."""
    found = _ask(config.load(file), {"verb": "accounts"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table("name", "login", "senders", "networks", "countries", "where", box=None, pad_edge=False)
    for one in found:
        lists = [", ".join(one[key]) for key in ("senders", "networks", "countries")]
        table.add_row(one["name"], one["login"], *lists, "file" if one["declared"] else "spool")
    _screen.print(table if found else "There are no accounts.")


def _account_options(command: Callable[P, None]) -> Callable[P, None]:
    for option in (
        click.option("--country", "countries", multiple=True, help="May fax there, e.g. US; repeatable."),
        click.option("--network", "networks", multiple=True, help="Its own clients, CIDR; repeatable."),
        click.option("--sender", "senders", multiple=True, help="Mail address or pattern like *@example.com; repeatable."),
        click.option("--login", default="", help="For SMTP AUTH; the password is asked for."),
    ):
        command = option(command)
    return command


@account.command("add")
@click.argument("name")
@_account_options
@_file
@_reported
def account_add(
    name: str, login: str, senders: tuple[str, ...], networks: tuple[str, ...], countries: tuple[str, ...], file: Path
) -> None:
    """Add an account."""
    settings = config.load(file)
    _check_account(networks, countries, str(file))
    if not countries:
        raise Refused("Say where it may fax: --country US")
    password = _password() if login else ""
    request = {"senders": senders, "networks": networks, "countries": countries, "login": login, "password": password}
    click.echo(f"added {name} as {_ask(settings, {'verb': 'account-save', 'new': True, 'name': name, **request})}")


@account.command("password")
@click.argument("name")
@_file
@_reported
def account_password(name: str, file: Path) -> None:
    """Set an account's password; it is asked for, or read from a pipe."""
    _ask(config.load(file), {"verb": "account-save", "name": name, "password": _password()})
    click.echo(f"{name} has a new password")


@account.command("remove")
@click.argument("name")
@_file
@_reported
def account_remove(name: str, file: Path) -> None:
    """Remove an account and its lines. Its faxes stay in the records."""
    _ask(config.load(file), {"verb": "account-remove", "name": name})
    click.echo(f"removed {name}")


def _check_account(networks: tuple[str, ...], countries: tuple[str, ...], file: str) -> None:
    """The same checks as in the configuration file."""
    section = {"name": "account", "networks": networks, "countries": countries}
    try:
        config.validated(config.AccountSection, section, file, "account")
    except ConfigError as error:
        raise Refused(f"{error.key.removeprefix('account.')}: {error.problem}") from error


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise Refused("No password came on standard input.")
    return secret


@main.group()
def line() -> None:
    """Lines: fax numbers we hold."""


@line.command("list")
@_file
@_as_json
@_reported
def line_list(file: Path, as_json: bool) -> None:
    """List the lines."""
    found = _ask(config.load(file), {"verb": "lines"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table("number", "account", "carrier", "mailbox", "where", box=None, pad_edge=False)
    for one in found:
        where = "file" if one["declared"] else "spool"
        table.add_row(one["number"], one["account"], one["carrier"], ", ".join(one["mailbox"]), where)
    _screen.print(table if found else "There are no lines.")


@line.command("add")
@click.argument("number")
@click.option("--account", "name", default="", help="Whose it is.")
@click.option("--carrier", default="", help="Where it is. Default: the first carrier.")
@click.option("--mailbox", multiple=True, help="Who gets what arrives there; repeatable. Default: the operator.")
@_file
@_reported
def line_add(number: str, name: str, carrier: str, mailbox: tuple[str, ...], file: Path) -> None:
    """Add a line."""
    request = {"verb": "line-save", "number": number, "account": name, "carrier": carrier, "mailbox": mailbox}
    click.echo(f"added {_ask(config.load(file), request)}")


@line.command("remove")
@click.argument("number")
@_file
@_reported
def line_remove(number: str, file: Path) -> None:
    """Remove a line."""
    click.echo(f"removed {_ask(config.load(file), {'verb': 'line-remove', 'number': number})}")


@main.command("explain")
@click.argument("mail", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", multiple=True, help="Recipient address or number; default: those of To and Cc at our domain.")
@click.option("--from", "sender", default="", help="Envelope sender; default: the From field.")
@_file
@_as_json
@_reported
def explain_command(mail: Path, to: tuple[str, ...], sender: str, file: Path, as_json: bool) -> None:
    """What would be faxed, to whom, and which parts become which pages. Sends nothing. Exit 1: it would be refused."""
    settings = config.load(file)
    accounts = _ask(settings, {"verb": "accounts"})
    verdict = _wait(explain.explain(settings, mail.read_bytes(), to=to, sender=sender, accounts=accounts))
    if as_json:
        click.echo(json.dumps(verdict, indent=2, ensure_ascii=False))
    else:
        _print_verdict(verdict)
    sys.exit(0 if verdict["faxed"] else 1)


def _wait(work: Coroutine[Any, Any, Json]) -> Json:
    return asyncio.run(work)


def _print_verdict(verdict: Json) -> None:
    for one in verdict["recipients"]:
        mark = "[green]would be faxed[/]" if one["faxed"] else "[red]would be refused[/]"
        _screen.print(f"[bold]{one['number'] or one['written']}[/]  {mark}")
        if not one["faxed"]:
            _screen.print(f"  {one['reply']} {one['reason']}", markup=False)
    if verdict["reason"]:
        _screen.print(f"{verdict['reply']} {verdict['reason']}", markup=False)
    if verdict["pages"]:
        _screen.print(f"{verdict['pages']} pages with the cover page:")
    for part in verdict["manifest"]:
        pages = f"pages {part['first_page']}-{part['last_page']}" if part["first_page"] else "not printed"
        _screen.print(f"  {part['title']}: {pages}{'; ' if part['note'] else ''}{part['note']}", markup=False)


@main.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-out"), show_default=True)
@click.option("--keep", is_flag=True, help="Keep it running, and say how to send a mail to it.")
@_reported
def demo(out: Path, keep: bool) -> None:
    """Show the whole way of three faxes in one process, with a simulated phone network."""
    from gateway import demo as show_case

    asyncio.run(show_case.run(out, keep=keep, say=_screen.print))
