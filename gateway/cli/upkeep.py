"""Commands for whoever keeps a spool: fsck, export, import."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, become_owner, fail, in_file, print_table, reported, screen
from gateway.config import Config
from gateway.errors import GatewayError, Refused

if TYPE_CHECKING:  # the command line starts faster without the database
    from gateway.spool.backup import Manifest


@click.command()
@click.option("--repair", is_flag=True, help="Add steps, remove orphans, hold faxes whose documents are not in order.")
@in_file
@as_json_option
@reported
def fsck(repair: bool, file: Path, as_json: bool) -> None:
    """Find missing, damaged and orphaned documents and stuck rows. Exit 1: something is left to do."""
    findings = ask(config.load(file), {"verb": "fsck", "repair": repair})
    if as_json:
        click.echo(json.dumps(findings, indent=2))
    elif findings:
        columns = ("fault", "subject", "detail", "repaired")
        print_table(columns, [[finding[column] for column in columns] for finding in findings])
    else:
        screen.print("The spool is in order.")
    if any(not finding["repaired"] for finding in findings):
        fail("something is left to do" if repair else "not repaired: fsck --repair", 1)


@click.command("export")
@click.argument("target", metavar="FILE.tar", type=click.Path(dir_okay=False, path_type=Path))
@in_file
@as_json_option
@reported
def export_command(target: Path, file: Path, as_json: bool) -> None:
    """Write a backup of the spool, also while the service runs. It holds secrets: only its owner may read it."""
    settings = config.load(file)
    out = _new(target)
    try:
        with out:
            manifest = _exported(settings, out)
    except (OSError, GatewayError) as error:
        os.seteuid(os.getuid())  # the file is ours, not the spool's owner's
        target.unlink(missing_ok=True)
        if isinstance(error, GatewayError):
            raise
        raise Refused(f"The backup cannot be written ({error.strerror or error}).") from error
    _tell(manifest, target, as_json)
    if manifest.lost:
        fail(f"{len(manifest.lost)} documents are missing or damaged, and not in the backup: see fsck", 1)


@click.command("import")
@click.argument("source", metavar="FILE.tar", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--resume", is_flag=True, help="Nothing was sent after the backup was made: go on with what waits.")
@in_file
@as_json_option
@reported
def import_command(source: Path, resume: bool, file: Path, as_json: bool) -> None:
    """Fill an empty spool from a backup. Faxes that wait to be sent are held: they may have been sent since."""
    from gateway import archive

    settings = config.load(file)
    try:
        with source.open("rb") as backup:
            become_owner(settings.spool)
            manifest = asyncio.run(archive.restore(settings, backup, resume=resume))
    except OSError as error:
        raise Refused(f"The backup cannot be imported ({error.strerror or error}).") from error
    _tell(manifest, source, as_json)


def _exported(settings: Config, out: BinaryIO) -> Manifest:
    from gateway import archive

    become_owner(settings.spool)
    return asyncio.run(archive.export(settings, out))


def _new(target: Path) -> BinaryIO:
    """A file that was not there, readable by its owner only."""
    try:
        return os.fdopen(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
    except OSError as error:
        raise Refused(f"{target} cannot be written ({error.strerror}).") from error


def _tell(manifest: Manifest, file: Path, as_json: bool) -> None:
    documents = sum(name.startswith("documents/") for name in manifest.members)
    size = sum(size for _, size in manifest.members.values())
    told = {"file": str(file), "made_at": manifest.made_at.isoformat(), "documents": documents, "bytes": size}
    if as_json:
        click.echo(json.dumps(told))
    else:
        screen.print(
            f"{file}: {documents} documents, {size:,} bytes, as of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC", markup=False
        )


COMMANDS = (fsck, export_command, import_command)
