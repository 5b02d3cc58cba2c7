"""Commands that make pages and send nothing: cover preview, render."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from gateway import config
from gateway.cli.terminal import as_json_option, in_file, print_table, reported, screen
from gateway.config import Config
from gateway.errors import ConfigError, Refused
from gateway.pages import job
from gateway.pages.assemble import Job, Made, Measure, Print
from gateway.pages.fence import Fence
from gateway.sections import Pages, Presentation
from gateway.templates import Templates

_MESSAGE = """Dear Dr. Example,

please find our order on the next pages. We need the goods by the end of the month; if that is not possible, please call
me today.

 - 12 boxes of gloves, size M
 - 4 boxes of masks

Kind regards
Bob Sender"""


@click.group()
def cover() -> None:
    """Cover pages."""


@cover.command("list")
@in_file
@as_json_option
@reported
def list_covers(file: Path, as_json: bool) -> None:
    """Name every cover page there is."""
    from gateway.pages import wording  # the libraries that draw

    names = list(wording.names(_templates(settings_of(file))))
    if as_json:
        click.echo(json.dumps(names))
        return
    for name in names:
        screen.print(name, markup=False)


@cover.command()
@click.option("--template", metavar="NAME", help="A name in templates/cover/. Default: the account's, else “standard”.")
@click.option("--language", metavar="XX", help="Default: the account's, else “en”.")
@click.option("--account", default="", metavar="NAME", help="With the organisation, phone, logo and note of this account.")
@click.option("--paper", type=click.Choice(["letter", "a4"]), help="Default: as configured, else letter.")
@click.option("--out", required=True, metavar="FILE.pdf", type=click.Path(dir_okay=False, path_type=Path))
@in_file
@as_json_option
@reported
def preview(
    template: str | None, language: str | None, account: str, paper: str | None, out: Path, file: Path, as_json: bool
) -> None:
    """Write a cover page with invented facts as PDF. Without a configuration file the built-in ones are known."""
    from gateway.pages import cover as covers
    from gateway.pages.paper import PAPERS

    settings = settings_of(file)
    if account and (settings is None or account not in [section.name for section in settings.account]):
        raise Refused(f"The configuration file declares no account “{account}”.")
    look = settings.presentation(account) if settings else Presentation()
    picture = job.logo(look.logo) if look.logo else b""
    wanted, spoken = template or look.cover, language or look.language or (settings.mail.language if settings else "en")
    folders = _templates(settings)
    if problem := covers.problem(folders, wanted, spoken, picture):
        raise Refused(f"{problem[0].upper()}{problem[1:]}")
    filled = replace(
        covers.SAMPLE,
        template=wanted,
        from_organisation=look.organisation or covers.SAMPLE.from_organisation,
        from_phone=look.phone or covers.SAMPLE.from_phone,
        confidential=look.confidential or covers.SAMPLE.confidential,
        logo=picture,
    )
    sheet = PAPERS[paper or (settings.paper if settings else "letter")]
    layout = covers.lay_out(filled, _MESSAGE, sheet, folders, (spoken,))
    try:
        out.write_bytes(layout.draw(layout.count + 2))
    except OSError as error:
        raise Refused(f"{out} cannot be written ({error.strerror or error}).") from error
    if as_json:
        click.echo(json.dumps({"file": str(out), "cover": wanted, "language": spoken}))
        return
    screen.print(f"{out}: the cover page “{wanted}” in “{spoken}”.", markup=False)


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--resolution",
    type=click.Choice(["auto", "fine", "standard"]),
    default="auto",
    show_default=True,
    help="auto: standard where it does no harm.",
)
@in_file
@as_json_option
@reported
def render(source: Path, out: Path, resolution: str, file: Path, as_json: bool) -> None:
    """Write what the far end will print of a document or a mail, as PDF, TIFF and PNG, and how long it is on the wire."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        made, measures = asyncio.run(
            _rendered(settings_of(file), source.resolve(), out.resolve(), {"auto": None}.get(resolution, resolution == "fine"))
        )
    except OSError as error:
        raise Refused(f"{out} cannot be written ({error.strerror or error}).") from error
    pages = [
        {"page": n, "lines": lines, "lines_per_inch": density, "mmr_seconds": _seconds(mmr), "mh_seconds": _seconds(mh)}
        for n, (lines, density, mmr, mh) in enumerate(measures, 1)
    ]
    total = {"mmr_seconds": _seconds(sum(m[2] for m in measures)), "mh_seconds": _seconds(sum(m[3] for m in measures))}
    notes = [f"{entry.title}: {entry.note}" for entry in made.manifest if entry.note]
    if as_json:
        click.echo(json.dumps({"out": str(out), "pages": pages, "total": total, "notes": notes}, indent=2))
        return
    columns = ("page", "lines", "lines/inch", "MMR s", "MH s")
    rows = [[str(value) for value in page.values()] for page in pages]
    print_table(columns, [*rows, ["all", "", "", *(str(value) for value in total.values())]])
    for note in notes:
        screen.print(f"Note: {note}", markup=False)


async def _rendered(settings: Config | None, source: Path, out: Path, fine: bool | None) -> tuple[Made, Sequence[Measure]]:
    """The pages as they would be sent without a cover page, written to `out` as they would be printed."""
    limits = settings.pages if settings else Pages()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = limits.time_limit.total_seconds()
        fence = Fence(memory=limits.memory, time_limit=seconds, folder=folder, reads=(source,), writes=(out,))
        wanted = Job(
            source=source,
            content_type=mimetypes.guess_type(source.name)[0] or "application/octet-stream",
            out=folder,
            cover=None,
            paper=settings.paper if settings else "letter",
            max_pages=limits.max_pages,
            title=source.name,
        )
        try:
            made = await fence.run("gateway.pages.assemble:make", wanted)
            assert isinstance(made, Made)
            measures = await fence.run("gateway.pages.printed:render", Print(source=made.pdf, out=out, fine=fine))
        finally:
            await fence.close()
        assert isinstance(measures, tuple)
        return made, measures


def _seconds(coded: int) -> float:
    """At 14,400 bit/s."""
    return round(coded * 8 / 14_400, 1)


def settings_of(file: Path) -> Config | None:
    """The configuration, if there is one where it is looked for by default. Raises ConfigError."""
    try:
        return config.load(file)
    except ConfigError:
        if file.exists() or str(file) != "/etc/faxgate/gateway.toml":
            raise
        return None


def _templates(settings: Config | None) -> tuple[Path, ...]:
    return tuple(Templates(settings.templates if settings else None).folders)


COMMANDS = (cover, render)
