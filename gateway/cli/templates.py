"""Commands that show the mails: template list, template preview."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gateway.cli.pages import settings_of
from gateway.cli.terminal import as_json_option, in_file, print_table, reported, screen
from gateway.config import Config
from gateway.errors import Refused
from gateway.report.compose import Sender
from gateway.templates import Templates


@click.group()
def template() -> None:
    """Mails: their templates, and how they look."""


@template.command("list")
@in_file
@as_json_option
@reported
def list_templates(file: Path, as_json: bool) -> None:
    """Name every mail that can be previewed, its files, and which of them are the operator's own."""
    from gateway.report import samples, words  # the libraries that draw

    settings = settings_of(file)
    templates = Templates(settings.templates if settings else None)
    files = [name for name in templates.names("mail/") if not name.startswith("mail/words/")]
    own = templates.own()
    mails = [
        {"name": name, "files": [one for one in files if one.startswith(f"mail/{name.partition('-')[0]}-")]}
        for name in samples.SAMPLES
    ]
    languages = [{"language": name, "file": f"mail/words/{name}.toml"} for name in words.Catalogue(templates.folders).languages]
    if as_json:
        click.echo(json.dumps({"mails": mails, "languages": languages, "own": own}, indent=2))
        return
    print_table(("mail", "files"), [[str(one["name"]), " ".join(one["files"])] for one in mails])
    print_table(("language", "words"), [[one["language"], one["file"]] for one in languages])
    for name in own:
        screen.print(f"Your own: {name}", markup=False)


@template.command()
@click.argument("name")
@click.option("--language", default="", metavar="XX", help="Default: that of [mail], else “en”.")
@click.option("--out", metavar="FILE.eml", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@in_file
@as_json_option
@reported
def preview(name: str, language: str, out: Path | None, file: Path, as_json: bool) -> None:
    """Write a mail with invented facts. Without a configuration file the built-in templates are known."""
    from gateway.report import samples

    settings = settings_of(file)
    templates = Templates(settings.templates if settings else None)
    if name not in samples.SAMPLES:
        raise Refused(f"There is no mail “{name}”. There are {', '.join(samples.SAMPLES)}.")
    sender = _sender(settings)
    if language and (problem := samples.lacks(templates, language)):
        raise Refused(problem)
    if problem := samples.problem(templates, sender, only=name):
        raise Refused(problem)
    language = language or sender.language
    content = samples.mail(name, templates, sender, language).content
    try:
        if out is not None:
            out.write_bytes(content)
    except OSError as error:
        raise Refused(f"{out} cannot be written ({error.strerror or error}).") from error
    if as_json:
        where = {"file": str(out)} if out else {"content": content.decode("ascii")}
        click.echo(json.dumps({"mail": name, "language": language, **where}))
    elif out is None:
        sys.stdout.buffer.write(content)
    else:
        screen.print(f"{out}: the mail “{name}” in “{language}”.", markup=False)


def _sender(settings: Config | None) -> Sender:
    """Who we are in the configuration, or somebody invented."""
    from gateway.report import samples

    return Sender.of(settings) if settings else samples.SENDER


COMMANDS = (template,)
