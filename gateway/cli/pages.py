"""Commands that make pages and send nothing: cover preview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from gateway import config
from gateway.cli.terminal import in_file, reported, screen
from gateway.config import Config
from gateway.errors import ConfigError, Refused
from gateway.pages import job
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
@reported
def list_covers(file: Path) -> None:
    """Name every cover page there is."""
    from gateway.pages import wording  # the libraries that draw

    for name in wording.names(_templates(_settings(file))):
        screen.print(name, markup=False)


@cover.command()
@click.option("--template", metavar="NAME", help="A name in templates/cover/. Default: the account's, else “standard”.")
@click.option("--language", metavar="XX", help="Default: the account's, else “en”.")
@click.option("--account", default="", metavar="NAME", help="With the organisation, phone, logo and note of this account.")
@click.option("--paper", type=click.Choice(["letter", "a4"]), help="Default: as configured, else letter.")
@click.option("--out", required=True, metavar="FILE.pdf", type=click.Path(dir_okay=False, path_type=Path))
@in_file
@reported
def preview(template: str | None, language: str | None, account: str, paper: str | None, out: Path, file: Path) -> None:
    """Write a cover page with invented facts as PDF. Without a configuration file the built-in ones are known."""
    from gateway.pages import cover as covers
    from gateway.pages.paper import PAPERS

    settings = _settings(file)
    if account and (settings is None or account not in [section.name for section in settings.account]):
        raise Refused(f"The configuration file declares no account “{account}”.")
    look = settings.presentation(account) if settings else config.Presentation()
    picture = job.logo(look.logo) if look.logo else b""
    wanted, spoken = template or look.cover, language or look.language
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
    screen.print(f"{out}: the cover page “{wanted}” in “{spoken}”.", markup=False)


def _settings(file: Path) -> Config | None:
    """The configuration, if there is one where it is looked for by default. Raises ConfigError."""
    try:
        return config.load(file)
    except ConfigError:
        if file.exists() or str(file) != "/etc/faxgate/gateway.toml":
            raise
        return None


def _templates(settings: Config | None) -> tuple[Path, ...]:
    return tuple(Templates(settings.templates if settings else None).folders)


COMMANDS = (cover,)
