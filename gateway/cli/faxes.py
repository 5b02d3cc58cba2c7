"""Commands about faxes: send, queue, show, steer, explain."""

from __future__ import annotations

import asyncio
import base64
import email.message
import email.policy
import email.utils
import ipaddress
import json
import mimetypes
import os
import re
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from gateway import config, explain
from gateway.cli import mailboxes
from gateway.cli.terminal import as_json_option, ask, in_file, local, print_table, reported, screen, write_new
from gateway.config import Config
from gateway.control import Json
from gateway.errors import Refused
from gateway.fax import TransmissionState
from gateway.lifecycle import FINAL
from gateway.units import Mail

COMMANDS: list[click.Command] = []
_PROOFS = {"login": "signed in", "network": "from its network", "dmarc": "proven by the mail itself"}


@click.command()
@click.argument("number")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", default="", help="Who pays; needed where there are several accounts.")
@click.option("--from", "sender", default="", help="Who gets the report. Default: the operator.")
@click.option("--subject", default="")
@click.option("--message", "text", default="", help="Text for the cover page.")
@click.option("--preview", is_flag=True, help="Mail its pages first; it waits for the answer.")
@in_file
@as_json_option
@reported
def send(
    number: str,
    files: tuple[Path, ...],
    account: str,
    sender: str,
    subject: str,
    text: str,
    preview: bool,
    file: Path,
    as_json: bool,
) -> None:
    """Fax FILES to NUMBER."""
    settings = config.load(file)
    author = _checked(sender) if sender else settings.mail.operator
    mail = base64.b64encode(_mail(author, subject, text, files, settings.domain[0])).decode()
    request = {"verb": "send", "number": number, "account": account, "sender": author, "mail": mail, "preview": preview}
    submission = ask(settings, request)
    click.echo(json.dumps({"submission": submission}) if as_json else f"accepted as {submission}; the report goes to {author}")


def _checked(sender: str) -> str:
    """A mail address that a report can be sent to."""
    try:
        return TypeAdapter(Mail).validate_python(sender)
    except ValidationError as error:
        raise Refused("--from needs a mail address like ann@example.com, in ASCII") from error


def _mail(author: str, subject: str, text: str, files: tuple[Path, ...], domain: str) -> bytes:
    """The files as one mail, so that they take the same way as any other."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["Subject"] = author, " ".join(subject.split())
    mail["Date"], mail["Message-ID"] = email.utils.localtime(), email.utils.make_msgid(domain=domain)
    if text:
        mail.set_content(text)
    for path in files:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        major, minor = kind.split("/", 1)
        mail.add_attachment(path.read_bytes(), maintype=major, subtype=minor, filename=path.name)
    return mail.as_bytes()


@click.command()
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in TransmissionState]),
    help="Only these states; may be given several times.",
)
@click.option("--all", "everything", is_flag=True, help="Finished faxes too.")
@click.option("--received", is_flag=True, help="Received faxes instead.")
@click.option("--mails", is_flag=True, help="Mails that wait, were refused or came back instead.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most faxes that are shown.")
@click.option("--before", metavar="ID", default="", help="The next page: faxes older than this one.")
@in_file
@as_json_option
@reported
def queue(
    states: tuple[str, ...],
    everything: bool,
    received: bool,
    mails: bool,
    limit: int,
    before: str,
    file: Path,
    as_json: bool,
) -> None:
    """List faxes, newest first: those that are not finished, unless told otherwise. Mails that did not arrive stand below."""
    settings = config.load(file)
    if mails:
        owed = ask(settings, {"verb": "mails", "limit": limit})
        click.echo(json.dumps(owed, indent=2)) if as_json else _list_mails(owed, settings)
        return
    if received:
        _list_received(ask(settings, {"verb": "received", "limit": limit, "before": before}), settings, limit, as_json)
        return
    wanted = list(states) or ([] if everything else [state.value for state in TransmissionState if state not in FINAL])
    found = ask(settings, {"verb": "queue", "states": wanted, "limit": limit, "before": before})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    columns = ("id", "number", "state", "outcome", "pages", "tries", "accepted", "next")
    rows = [
        (
            fax["id"],
            fax["number"],
            fax["state"],
            (fax["outcome"] or "").replace("_", " "),
            str(fax["pages"] or ""),
            str(fax["attempts"] or ""),
            local(fax["accepted_at"], settings),
            local(fax["due_at"], settings),
        )
        for fax in found
    ]
    print_table(columns, rows) if rows else screen.print("Nothing waits.")
    _hint_at_more(found, limit)
    if lost := [mail for mail in ask(settings, {"verb": "mails"}) if _is_lost(mail)]:
        screen.print("\nMails that did not arrive (faxgate retry ID sends one again):")
        _list_mails(lost, settings)


def _is_lost(mail: Json) -> bool:
    """Whether nobody will hand a mail over again by himself."""
    return bool(mail["returned"]) or mail["state"] == "given up"


def _mail_state(mail: Json) -> str:
    return "came back" if mail["returned"] and mail["state"] == "sent" else str(mail["state"])


def _list_mails(owed: list[Json], settings: Config) -> None:
    columns = ("id", "kind", "about", "to", "state", "since", "said")
    rows = [
        (
            mail["id"], mail["kind"], mail["about"], mail["recipient"], _mail_state(mail), local(mail["created_at"], settings),
            mail["returned"] or mail["answer"],
        )
        for mail in owed
    ]  # fmt: skip
    print_table(columns, rows) if rows else screen.print("No mail waits, and none was lost.")


def _hint_at_more(found: list[Json], limit: int) -> None:
    if len(found) == limit:
        screen.print(f"There may be more: --before {found[-1]['id']}", markup=False)


def _list_received(found: list[Json], settings: Config, limit: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (fax["id"], fax["line"], fax["caller"], fax["state"], str(fax["pages"]), local(fax["received_at"], settings))
        for fax in found
    ]
    print_table(("id", "line", "caller", "state", "pages", "received"), rows) if rows else screen.print("Nothing was received.")
    _hint_at_more(found, limit)


@click.command()
@click.argument("fax", metavar="ID")
@in_file
@as_json_option
@reported
def show(fax: str, file: Path, as_json: bool) -> None:
    """Show the whole history of one fax; or, with “imap” instead of an ID, how the mailboxes go."""
    settings = config.load(file)
    if fax == "imap":
        mailboxes.show(settings, as_json)
        return
    told = ask(settings, {"verb": "show", "id": fax})
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if "mail" in told:
        _list_mails([told["mail"]], settings)
        return
    if "inbound" in told:
        _print_facts(_facts_of_received(told["inbound"], settings))
    else:
        _print_sent(told, settings)
    if told["mails"]:
        screen.print()
        _list_mails(told["mails"], settings)
    screen.print()
    for entry in told["history"]:
        screen.print(f"{local(entry['at'], settings)}  {entry['what']:<18} {entry['detail']}", markup=False)


def _print_sent(told: Json, settings: Config) -> None:
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
        ("approval", _approval(told["approval"], settings)),
        ("next", local(tx["due_at"], settings)),
        ("planned", " ".join(_planned(one, settings) for one in told["attempts"][-1:])),
        ("report", ", ".join(f"of {one['id']}" for one in told["attempts"] if one["report"])),
    ]
    _print_facts(facts)
    for part in json.loads(tx["manifest"] or "[]"):
        pages = _pages(part)
        screen.print(f"    part  {part['title']}: {pages}{'; ' if part['note'] else ''}{part['note']}", markup=False)


def _approval(approval: Json | None, settings: Config) -> str:
    """Who was to agree to a fax, and what came of it; "" = nobody."""
    if approval is None:
        return ""
    asked = f"{approval['reason']}; asked of {approval['approver']}"
    if not approval["decided_at"]:
        return f"{asked}, waits"
    return f"{asked}; {approval['verdict']} {local(approval['decided_at'], settings)}: {approval['words']}"


def _planned(attempt: Json, settings: Config) -> str:
    """When the carrier is to send it, while it has not ended."""
    waits = attempt["planned_at"] and not attempt["finished_at"]
    return f"to be sent at {local(attempt['planned_at'], settings)}" if waits else ""


def _facts_of_received(fax: Json, settings: Config) -> list[tuple[str, str]]:
    return [
        ("fax", fax["id"]),
        ("from", " ".join(filter(None, (fax["caller"] or "unknown", fax["station_id"] and f"(“{fax['station_id']}”)")))),
        ("route", fax["route"]),
        ("to line", " ".join(filter(None, (fax["line"], fax["sub_address"], fax["account"] and f"of {fax['account']}")))),
        ("state", fax["state"]),
        ("reason", fax["reason"]),
        ("pages", ", ".join(filter(None, (str(fax["pages"]), *_flaws(fax), fax["resolution"])))),
        ("carrier", fax["carrier"]),
        ("received", local(fax["received_at"], settings)),
    ]


def _flaws(fax: Json) -> list[str]:
    damaged = f"{fax['damaged']} damaged on the way" if fax["damaged"] else ""
    return [damaged, "" if fax["complete"] else "the call broke off"]


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        if value:
            screen.print(f"[bold]{name:>8}[/]  ", end="")
            screen.print(value, markup=False)


@click.command()
@click.argument("fax", metavar="ID")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Default: ID.pdf here. - is the standard output.",
)
@click.option("--report", is_flag=True, help="What the carrier wrote about a sent fax instead; default: ID-report.pdf.")
@in_file
@as_json_option
@reported
def fetch(fax: str, out: Path | None, report: bool, file: Path, as_json: bool) -> None:
    """Write a received fax to a file, as PDF."""
    told = ask(config.load(file), {"verb": "fetch", "id": fax, "report": report})
    pdf, path = base64.b64decode(told["pdf"]), out or Path(f"{told['id']}{'-report' if report else ''}.pdf")
    if path == Path("-"):
        sys.stdout.buffer.write(pdf)
        return
    write_new(path, pdf)
    told = {"id": told["id"], "file": str(path), "bytes": len(pdf)}
    click.echo(json.dumps(told) if as_json else f"{told['id']} is in {path} ({len(pdf):,} bytes)")


def _steering(verb: str, text: str) -> None:
    """One command for one verb of `desk.steer`."""

    @in_file
    @as_json_option
    @reported
    def command(fax: str, file: Path, as_json: bool, choice: str = "", to: tuple[str, ...] = ()) -> None:
        settings = config.load(file)
        answer = ask(settings, {"verb": "steer", "do": verb, "id": fax, "choice": choice, "to": to, "by": _me()})
        click.echo(json.dumps({"id": fax, "answer": answer}) if as_json else f"{fax}: {answer}")

    command = click.argument("fax", metavar="ID")(command)
    if verb == "release":
        for choice, meaning in (("delivered", "It arrived."), ("retry", "Send it again."), ("fail", "It failed.")):
            command = click.option(f"--{choice}", "choice", flag_value=choice, help=meaning)(command)
        command = click.option("--to", multiple=True, metavar="MAILBOX", help="A received fax: who is to get it.")(command)
    COMMANDS.append(click.command(verb, help=text)(command))


_steering(
    "retry",
    "Dial a deferred fax now; send a failed or cancelled one again. A mail (out_…) that did not arrive is mailed again.",
)
_steering("cancel", "Cancel a fax. One that is being sent only if the carrier confirms it.")
_steering("hold", "Keep a fax back until it is released.")
_steering("release", "Let a held fax go on, or decide what became of it. A received one is mailed and called back again.")
_steering("approve", "Agree to a fax that must be approved: it is sent.")
_steering("reject", "Do not agree to it: it is not sent, and its sender is told.")


@click.command("resend")
@click.argument("fax", metavar="ID")
@click.option("--pages", metavar="FIRST-LAST", default="", help="Only these pages of it, as they were sent.")
@in_file
@as_json_option
@reported
def resend_command(fax: str, pages: str, file: Path, as_json: bool) -> None:
    """Send a fax that has ended once more, with the pages that it had."""
    found = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", pages)
    if pages and (found is None or not 1 <= int(found[1]) <= int(found[2] or found[1])):
        raise Refused("--pages needs a page, or the first and the last one, like 3-5")
    wanted = [int(found[1]), int(found[2] or found[1])] if found else None
    _told_new(ask(config.load(file), {"verb": "resend", "id": fax, "pages": wanted, "by": _me()}), fax, as_json=as_json)


@click.command("forward")
@click.argument("fax", metavar="ID")
@click.argument("number")
@in_file
@as_json_option
@reported
def forward_command(fax: str, number: str, file: Path, as_json: bool) -> None:
    """Send the mail of a fax to NUMBER too, with a cover page of its own."""
    _told_new(ask(config.load(file), {"verb": "forward", "id": fax, "number": number, "by": _me()}), fax, as_json=as_json)


def _told_new(new: object, fax: str, *, as_json: bool) -> None:
    click.echo(json.dumps({"id": fax, "new": new}) if as_json else f"{fax}: sent as {new}")


def _me() -> str:
    """Who types this, for the fax's history."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"


@click.command("explain")
@click.argument("mail", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", multiple=True, help="Recipient address or number; default: those of To and Cc at our domain.")
@click.option("--from", "sender", default="", help="Envelope sender; default: the From field.")
@click.option("--client", default="", help="IP address it comes from: whether that, or the mail itself, proves the sender.")
@click.option("--helo", default="", help="What that client calls itself.")
@click.option("--login", default="", help="Who has signed in.")
@in_file
@as_json_option
@reported
def explain_command(
    mail: Path, to: tuple[str, ...], sender: str, client: str, helo: str, login: str, file: Path, as_json: bool
) -> None:
    """What would be faxed, to whom, and which parts become which pages. Sends nothing. Exit 1: it would be refused.

    Without --client and --login a sender whom an account lists counts as proven.
    """
    settings = config.load(file)
    accounts = ask(settings, {"verb": "accounts"})
    if client:
        try:
            ipaddress.ip_address(client)
        except ValueError as error:
            raise Refused(f"--client needs an IP address, not “{client}”.") from error
    origin = explain.From(sender=sender, client=client, helo=helo, login=login)
    verdict = _wait(explain.explain(settings, mail.read_bytes(), to=to, accounts=accounts, origin=origin))
    explain.judge(verdict, lambda **more: ask(settings, {"verb": "judge", **more}))
    if as_json:
        click.echo(json.dumps(verdict, indent=2, ensure_ascii=False))
    else:
        _print_verdict(verdict)
    sys.exit(0 if verdict["faxed"] else 1)


def _wait(work: Coroutine[Any, Any, Json]) -> Json:
    return asyncio.run(work)


def _pages(part: Json) -> str:
    """Where one part of a mail is printed: "page 1", "pages 2-4", "not printed"."""
    first, last = part["first_page"], part["last_page"]
    if not first:
        return "not printed"
    return f"page {first}" if first == last else f"pages {first}-{last}"


def _print_verdict(verdict: Json) -> None:
    if verdict["proof"]:
        proven = ", ".join((_PROOFS[verdict["proof"]], *verdict["results"]))
        screen.print(f"{verdict['sender']} speaks for {verdict['account']}: {proven}", markup=False)
    for one in verdict["recipients"]:
        mark = "[green]would be faxed[/]" if one["faxed"] else "[red]would be refused[/]"
        if one["faxed"] and verdict["reason"]:
            mark = "[red]could be faxed, but not this mail[/]"
        screen.print(f"[bold]{one['number'] or one['written']}[/]  {mark}")
        if not one["faxed"]:
            screen.print(f"  {one['reply']} {one['reason']}", markup=False)
        if one["faxed"] and one["approval"]:
            screen.print(f"  after {one['approver']} has approved it: {one['approval']}", markup=False)
        if one["asked"]:
            screen.print(f"  asked: {', '.join(f'{name} {value}' for name, value in one['asked'].items())}", markup=False)
    if verdict["reason"]:
        screen.print(f"{verdict['reply']} {verdict['reason']}", markup=False)
    if verdict["pages"]:
        cover = "with the cover page" if verdict["cover"] == "ours" else "and a cover page of the carrier's"
        screen.print(f"{verdict['pages']} page{'s' if verdict['pages'] > 1 else ''} {cover}:")
    for part in verdict["manifest"]:
        pages = _pages(part)
        screen.print(f"  {part['title']}: {pages}{'; ' if part['note'] else ''}{part['note']}", markup=False)


COMMANDS += [send, queue, show, fetch, resend_command, forward_command, explain_command]
