"""Commands about applications: programs that may call the PamFax API."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, in_file, print_table, reported, screen


@click.group()
def application() -> None:
    """Applications: which programs may call the PamFax API."""


@application.command("list")
@in_file
@as_json_option
@reported
def application_list(file: Path, as_json: bool) -> None:
    """List the applications."""
    found = ask(config.load(file), {"verb": "applications"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [(one["key"], one["name"], one["zone"], "file" if one["declared"] else "spool") for one in found]
    print_table(("key", "name", "zone", "where"), rows) if rows else screen.print("There are none.")


@application.command("add")
@click.argument("name")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of accounts that have chosen none.")
@in_file
@as_json_option
@reported
def application_add(name: str, zone: str, file: Path, as_json: bool) -> None:
    """Add an application. Its secret word is shown this once: it is kept encrypted."""
    added = ask(config.load(file), {"verb": "application-add", "name": name, "zone": zone})
    if as_json:
        click.echo(json.dumps(added))
        return
    click.echo(f"added {added['name']}\nkey     {added['key']}\nsecret  {added['secret']}\nThe secret is not shown again.")


@application.command("remove")
@click.argument("key")
@in_file
@as_json_option
@reported
def application_remove(key: str, file: Path, as_json: bool) -> None:
    """Remove an application. Whoever is signed in by it is signed out."""
    removed = ask(config.load(file), {"verb": "application-remove", "key": key})
    click.echo(json.dumps({"application": removed}) if as_json else f"removed {removed}")
