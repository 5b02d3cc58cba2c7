"""`faxgate line test`: a page from one line of ours to another, watched until it is here, and compared dot for dot.

Exit codes: 0 every dot arrived, 1 it failed or differs, 75 not now.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from gateway import config, number
from gateway.cli.terminal import NOT_NOW, as_json_option, ask, in_file, reported, screen
from gateway.config import Config
from gateway.control import Json
from gateway.errors import Outcome
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL

_LOOK_EVERY = 0.5  # seconds
_LIKE = 4  # a page of which this part of the dots differs is another page, where nobody says who called
_LATER = frozenset({Outcome.BUSY, Outcome.CARRIER_TROUBLE})


@dataclass(frozen=True, slots=True)
class _Arrived:
    """The received fax, compared with the sent one."""

    fax: Json
    dots: int
    different: int


@click.command("test")
@click.argument("line")
@click.option("--to", default="", metavar="LINE2", help="Which line of ours is called. Default: another one.")
@click.option("--wait", type=click.IntRange(1, 86_400), default=600, show_default=True, help="Seconds at most.")
@in_file
@as_json_option
@reported
def line_test(line: str, to: str, wait: int, file: Path, as_json: bool) -> None:
    """Fax a test page from LINE to another line of ours, and say what arrived.

    It is a real fax: an API carrier charges for it, and what arrives is mailed. Exit 0: dot for dot; 1: it failed or
    differs; 75: not now.
    """
    settings, began = config.load(file), time.monotonic()
    begun = ask(settings, {"verb": "line-test", "line": _e164(line, settings), "to": _e164(to, settings)})
    click.echo(f"{begun['fax']}: from {begun['line']} to {begun['to']}", err=True)
    told, arrived = _watched(settings, begun["fax"], began + wait)
    if T(told["fax"]["state"]) not in FINAL:
        answer = ask(settings, {"verb": "steer", "do": "cancel", "id": begun["fax"], "by": "line test"})
        click.echo(f"cancelled: {answer}", err=True)
    result = _result(begun, told, arrived, time.monotonic() - began)
    click.echo(json.dumps(result, indent=2)) if as_json else _print(result)
    sys.exit(_code(told, result))


def _e164(written: str, settings: Config) -> str:
    return number.parse(written, settings.region).e164 if written else ""


def _watched(settings: Config, fax: str, until: float) -> tuple[Json, _Arrived | None]:
    """Until it is here or nothing more is to be expected; each change is said on stderr."""
    said, looked_at = "", frozenset[str]()
    while True:
        told = ask(settings, {"verb": "line-tested", "id": fax})
        state = T(told["fax"]["state"])
        if (words := _progress(told, state)) != said:
            said = words
            click.echo(said, err=True)
        if state is T.DELIVERED and looked_at != (came := frozenset(one["id"] for one in told["received"])):
            looked_at = came
            pdfs = {one: base64.b64decode(ask(settings, {"verb": "fetch", "id": one})["pdf"]) for one in came}
            if arrived := asyncio.run(_compared(settings, told, pdfs)):
                return told, arrived
        if state in (T.FAILED, T.CANCELLED, T.HELD, T.DEFERRED) or time.monotonic() > until:
            return told, None
        time.sleep(_LOOK_EVERY)


def _progress(told: Json, state: T) -> str:
    if state is T.DELIVERED:
        return "the far end has confirmed it; waiting until it comes in"
    return {T.ACCEPTED: "the page is being made", T.SENDING: "the call is on"}.get(state, f"{state} {told['fax']['reason']}")


async def _compared(settings: Config, told: Json, pdfs: Mapping[str, bytes]) -> _Arrived | None:
    """That one of the received faxes which is the test. It is taken apart in the fence: it came from a telephone."""
    from gateway.daemon import fence_of  # the whole house: only where there is something to compare

    sent = base64.b64decode(told["pdf"])
    with tempfile.TemporaryDirectory() as name:
        fence = fence_of(settings, Path(name))
        try:
            for fax in told["received"]:
                made = await fence.run("gateway.pages.pattern:compared", sent, pdfs[fax["id"]])
                assert isinstance(made, tuple)
                dots, different = sum(page[0] for page in made), sum(page[1] for page in made)
                if fax["caller"] or different * _LIKE < dots:
                    return _Arrived(fax, dots, different)
        finally:
            await fence.close()
    return None


def _result(begun: Json, told: Json, arrived: _Arrived | None, took: float) -> Json:
    """All that is known."""
    fax, attempt = told["fax"], told["attempt"] or {}
    result = {
        **begun,
        "state": fax["state"],
        "outcome": fax["outcome"],
        "reason": fax["reason"],
        "pages": fax["pages"],
        "pages_confirmed": fax["pages_sent"],
        "speed": attempt.get("speed"),
        "negotiated": attempt.get("text") if fax["state"] == T.DELIVERED else "",
        "resolution": attempt.get("resolution", ""),
        "station": attempt.get("station_id", ""),
        "call_seconds": attempt.get("seconds"),
        "seconds": round(took, 1),
        "received": None,
    }
    if arrived is not None:
        names = ("id", "caller", "station_id", "pages", "damaged", "complete", "resolution")
        compared = {"dots": arrived.dots, "different": arrived.different}
        result["received"] = {name: arrived.fax[name] for name in names} | compared
    return result


def _print(result: Json) -> None:
    came = result["received"]
    state = " ".join(filter(None, (result["state"], (result["outcome"] or "").replace("_", " "))))
    speed = result["speed"] and f"{result['speed']} bit/s"
    call = result["call_seconds"] and f"{result['call_seconds']:.0f} s on the line, "
    rows = [
        ("sent", f"{state}: {result['reason']}" if result["reason"] else state),
        ("pages", f"{result['pages_confirmed']} of {result['pages']} confirmed by the far end"),
        ("line", ", ".join(filter(None, (speed, result["resolution"], result["negotiated"])))),
        ("station", result["station"]),
        ("time", f"{call or ''}{result['seconds']:.0f} s in all"),
        ("received", _received(came) if came else "nothing"),
        ("errors", _errors(came) if came else ""),
    ]
    for name, value in rows:
        if value:
            screen.print(f"[bold]{name:>8}[/]  ", end="")
            screen.print(value, markup=False)


def _received(came: Json) -> str:
    alike = "every dot as it was sent" if not came["different"] else f"{came['different']:,} differ"
    pages = "1 page" if came["pages"] == 1 else f"{came['pages']} pages"
    return f"{came['id']}, {pages}, {came['dots']:,} dots: {alike}"


def _errors(came: Json) -> str:
    damaged = f"{came['damaged']} pages damaged on the way" if came["damaged"] else ""
    return ", ".join(filter(None, (damaged, "" if came["complete"] else "the call broke off")))


def _code(told: Json, result: Json) -> int:
    state, came = T(told["fax"]["state"]), result["received"]
    if state is T.DELIVERED:
        good = came and not came["different"] and came["complete"] and came["pages"] == result["pages"]
        return 0 if good else 1
    waits = state in (T.ACCEPTED, T.READY, T.SENDING, T.DEFERRED)
    return NOT_NOW if waits or result["outcome"] in _LATER else 1
