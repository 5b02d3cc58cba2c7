"""The command that says where a received fax would go, and why. Nothing is sent or stored."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import click

from gateway import config, number
from gateway.cli.terminal import as_json_option, ask, in_file, reported, screen
from gateway.config import Config
from gateway.control import Json
from gateway.desk import routing
from gateway.desk.routing import Arrival, Way
from gateway.errors import Refused
from gateway.fax import Account, AccountId, Line
from gateway.pages import ocr
from gateway.receiving import UNKNOWN

_VERDICTS = {"hold": "it waits in quarantine, and the operator is told", "drop": "nobody gets it"}


@click.command()
@click.argument("source", required=False, metavar="[FILE]", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--line", default="", help="The number that was called. Default: the first line there is.")
@click.option("--caller", default=UNKNOWN, show_default=True, help="Who called, e.g. +14155550123.")
@click.option("--station", default="", help="What the sending machine calls itself.")
@click.option("--sub-address", default="", help="The one that was called.")
@in_file
@as_json_option
@reported
def route(source: Path | None, line: str, caller: str, station: str, sub_address: str, file: Path, as_json: bool) -> None:
    """Where a received fax would go, and why.

    FILE is its PDF or TIFF: bar codes and words on it are looked for where a rule asks. Nothing is sent or stored.
    """
    settings = config.load(file)
    lines, accounts = ask(settings, {"verb": "lines"}), ask(settings, {"verb": "accounts"})
    called = number.parse(line, settings.region).e164 if line else lines[0]["number"] if lines else ""
    arrival = Arrival(
        line=called,
        caller="" if caller == UNKNOWN else number.parse(caller, settings.region).e164,
        station=station,
        sub_address=sub_address,
    )
    if source is not None:
        arrival = asyncio.run(_looked_at(settings, arrival, source.read_bytes()))
    way = _way(settings, arrival, lines, accounts)
    rules = [
        {"rule": n, "name": rule.name, "fits": not (problem := routing.misfit(rule, arrival)), "why": problem}
        for n, rule in enumerate(settings.route, 1)
    ]
    if as_json:
        click.echo(json.dumps({"arrival": asdict(arrival), **asdict(way), "rules": rules}, indent=2, ensure_ascii=False))
        return
    for code in arrival.codes or ():
        screen.print(f"code     {code}", markup=False)
    for one in rules:
        name = f" ({one['name']})" if one["name"] else ""
        words = "fits" if one["fits"] else f"does not fit: {one['why']}"
        screen.print(f"rule {one['rule']:<4}{words}{name}", markup=False)
    whom = _VERDICTS.get(way.then) or f"to {', '.join(way.mailboxes) or 'nobody by mail'}"
    screen.print(f"{way.why}: {whom}{', and into the archive' if way.archived else ''}", markup=False)


def _way(settings: Config, arrival: Arrival, lines: list[Json], accounts: list[Json]) -> Way:
    """What the service would do with it now."""
    known = {one["name"]: Account(id=AccountId(one["id"]), name=one["name"], login=one["login"] or "") for one in accounts}
    ours = [
        Line(
            number=one["number"],
            account=known[one["account"]].id if one["account"] in known else AccountId(""),
            carrier=one["carrier"],
            mailbox=tuple(one["mailbox"]),
        )
        for one in lines
    ]
    owner = next((one["account"] for one in lines if one["number"] == arrival.line), "")
    blocked = [one["pattern"] for one in ask(settings, {"verb": "blocks", "incoming": True})]
    return routing.way(settings, arrival, lines=ours, account=known.get(owner), blocked=blocked)


async def _looked_at(settings: Config, arrival: Arrival, document: bytes) -> Arrival:
    """With what is on the pages, as far as a rule asks. Raises Refused, Unavailable."""
    from gateway.daemon import fence_of  # the whole house: only where there is something to look at

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fence = fence_of(settings, folder)
        try:
            made = await fence.run("gateway.pages.received:looked_at", document)
            assert isinstance(made, tuple)
            pdf, pages, *_ = made
            if routing.asks_for_codes(settings, arrival):
                codes = await fence.run("gateway.pages.barcodes:read", pdf)
                arrival = replace(arrival, codes=codes if isinstance(codes, tuple) else None)
            if (languages := settings.ocr(arrival.line)) and routing.asks_for_words(settings, arrival):
                if problem := ocr.lacking(languages):
                    raise Refused(f"The pages cannot be read: {problem}.")
                pdf, _ = await ocr.with_text(fence, pdf, min(pages, routing.PAGES_READ), languages, folder)
                words = await fence.run("gateway.pages.layer:words", pdf, routing.PAGES_READ)
                arrival = replace(arrival, words=words if isinstance(words, str) else None)
        finally:
            await fence.close()
    return arrival


COMMANDS = (route,)
