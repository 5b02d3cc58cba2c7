"""Commands of the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from gateway.cli.terminal import as_json_option, reported
from gateway.control import Json
from gateway.errors import Refused, Unavailable

_PORT = click.IntRange(0, 65535)


@click.command()
@click.option(
    "--error-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of faxes that fail at random."
)
@click.option("--seed", type=int, default=None, help="The same seed gives the same random errors.")
@click.option("--http", "web", type=_PORT, default=0, help="Port of the HelloFax API and the page; default: a free one.")
@click.option("--pamfax", type=_PORT, default=0, help="Port of the PamFax API; default: a free one.")
@click.option("--pamfax-tls", type=_PORT, default=0, help="Port of the PamFax API over TLS; default: a free one.")
@click.option("--tls", is_flag=True, help="Name the PamFax API's address over TLS in the line of --json.")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the certificate of that address here: programs are given it as an authority.",
)
@click.option("--smtp", type=_PORT, default=0, help="Port for mail; default: a free one.")
@as_json_option
@reported
def sandbox(web: int, **wanted: Any) -> None:
    """Run a gateway to try programs against: both APIs, an account with credit, a simulated phone network."""
    from gateway import sandbox as house  # the whole house: other commands start faster without it

    wishes = house.Wishes(http=web, **wanted)  # Any: click has checked them, and names them as the sandbox does
    try:
        asyncio.run(house.run(wishes, click.echo))
    except OSError as error:
        raise Unavailable(f"the sandbox cannot start: {error.strerror or error} ({error.filename or 'a port'})") from error


@click.command()
@click.argument("url")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--line", default="", help="One of the sandbox's lines; default: the first.")
@click.option("--caller", default="", help="Who calls; default: +12125550199.")
@as_json_option
@reported
def inject(url: str, file: Path | None, line: str, caller: str, as_json: bool) -> None:
    """Let a fax arrive in a sandbox: URL is that of its page, FILE a PDF or TIFF (default: a sample page)."""
    body, kind = _multipart({"line": line, "caller": caller}, file)
    facts = _posted(url, body, kind)
    click.echo(json.dumps(facts) if as_json else f"{facts['fax']} came in on {facts['line']} from {facts['caller']}")


def _posted(url: str, body: bytes, kind: str) -> Json:
    place = urlsplit(url)
    if place.scheme != "http" or not place.hostname:
        raise Refused("The URL is that of the sandbox's page, like http://127.0.0.1:8025/sandbox.")
    try:
        connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", place.path or "/sandbox", body, {"Content-Type": kind})
            answer = connection.getresponse()
            facts: Json = json.loads(answer.read(100_000))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(f"The sandbox does not answer ({error}).") from error
    if answer.status != 200:
        raise Refused(f"No fax came in: {facts.get('error', answer.reason)}")
    return facts


def _multipart(fields: dict[str, str], file: Path | None) -> tuple[bytes, str]:
    """A form, and its content type."""
    boundary = secrets.token_hex(16)
    parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items() if value]
    if file is not None:
        head = 'form-data; name="file"; filename="fax"\r\nContent-Type: application/octet-stream\r\n\r\n'
        parts.append(head.encode() + file.read_bytes())
    body = b"".join(b"--%s\r\nContent-Disposition: %s\r\n" % (boundary.encode(), part) for part in parts)
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
