"""Commands about mailboxes that fax."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway import config, explain
from gateway.cli.terminal import as_json_option, ask, in_file, local, print_table, reported, screen
from gateway.config import Config
from gateway.control import Json
from gateway.desk.identity import Roll
from gateway.errors import Refused
from gateway.intake.preview import Preview
from gateway.spool.imap import Place


@click.group()
def imap() -> None:
    """Mailboxes whose mail is faxed."""


@imap.command("check")
@click.argument("name", required=False, default="")
@click.option(
    "--most", type=click.IntRange(1, 1000), default=20, show_default=True, help="Mails of a folder that are looked at."
)
@in_file
@as_json_option
@reported
def check(name: str, most: int, file: Path, as_json: bool) -> None:
    """Sign in to the mailboxes (or to NAME), list their folders, say what would be taken and why. Changes nothing."""
    settings = config.load(file)
    wanted = [n for n, one in enumerate(settings.imap) if name in ("", one.name)]
    if not wanted:
        raise Refused(f"There is no mailbox {name} in {file}." if name else f"There is no [[imap]] in {file}.")
    accounts = Roll([explain.account_of(values) for values in ask(settings, {"verb": "accounts"})])
    told: list[Json] = []
    for n in wanted:
        preview = Preview(settings, n, accounts, lambda: datetime.now(UTC))
        places = _places(settings, settings.imap[n].name)
        told.append({"name": settings.imap[n].name, **asyncio.run(preview.look(places, most))})
        for folder in told[-1]["read"]:
            for mail in folder["looked_at"]:
                _ask_desk(settings, mail)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in told:
            _print(one)
    sys.exit(1 if any(one["missing"] for one in told) else 0)


def _places(settings: Config, name: str) -> Any:
    """Any: a function as `preview` wants it. Asks the service, or the spool, before the loop of the preview runs."""
    known = {one["folder"]: one for one in ask(settings, {"verb": "mailbox-places", "name": name})}

    async def places(folder: str, validity: int) -> tuple[Place | None, set[int]]:
        if (one := known.get(folder)) is None:
            return None, set()
        values = {key: one[key] for key in ("validity", "next_uid", "found_uid", "left_alone")}
        place = Place(**values, since=datetime.fromisoformat(one["since"]))
        return place, set(one["done"]) if validity == place.validity else set()

    return places


def _ask_desk(settings: Config, mail: Json) -> None:
    """What the account's limits, its credit and the do-not-fax list say now."""
    for earlier, one in enumerate(mail["recipients"]):
        if not mail["taken"]:
            return
        judged = ask(settings, {"verb": "judge", "account": mail["account"], "earlier": earlier, **one})
        if judged["reason"]:
            mail |= {"taken": False, "reason": judged["reason"]}


def _print(one: Json) -> None:
    screen.print(f"[bold]{one['name']}[/]: signed in")
    screen.print(f"  folders: {', '.join(one['folders'])}", markup=False)
    screen.print(f"  the server can: {' '.join(one['able'])}", markup=False)
    for name in one["missing"]:
        screen.print(f"  {name}: there is no such folder", markup=False)
    for name in one["would_make"]:
        screen.print(f"  {name}: would be made", markup=False)
    for folder in one["read"]:
        screen.print(f"  {folder['folder']}: {folder['mails']} mails, {folder['new']} not dealt with", markup=False)
        for mail in folder["looked_at"]:
            to = ", ".join(recipient["number"] or recipient["written"] for recipient in mail["recipients"])
            verdict = f"would be faxed to {to}" if mail["taken"] else mail["reason"]
            proof = f" ({', '.join(mail['results'])})" if mail["results"] else ""
            screen.print(f"    {mail['uid']}: {mail['from']}: {mail['subject']}: {verdict}{proof}", markup=False)


def show(settings: Config, as_json: bool) -> None:
    """How all mailboxes go."""
    found = ask(settings, {"verb": "mailboxes"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        screen.print("No mailbox is read.")
        return
    columns = ("mailbox", "state", "since", "read by", "faxed", "again", "refused", "to mark", "last")
    rows = []
    for one in found:
        mails = one["mails"]
        counts = [str(mails.get(state, 0)) for state in ("taken", "again", "refused")]
        when = (local(one["since"], settings), one["read_by"])
        rows.append((one["name"], one["state"], *when, *counts, str(one["to_mark"]), local(one["last"], settings)))
    print_table(columns, rows)
    for one in found:
        if one["detail"]:
            screen.print(f"{one['name']}: {one['detail']}", markup=False)
        for folder in one["folders"]:
            if folder["left_alone"]:
                screen.print(
                    f"{one['name']}: {folder['left_alone']} older mails in {folder['folder']} are left alone", markup=False
                )
