"""Commands about evidence: a bundle, its check, the gateway's keys."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway import config
from gateway.cli.terminal import as_json_option, ask, fail, in_file, print_table, reported, screen, write_new
from gateway.errors import Refused

if TYPE_CHECKING:  # the command line starts faster without the cryptography
    from gateway.bundle import Verdict

STRANGER = 3
"""Exit code: the bundle is whole, and nobody said whose key it has to be."""
_LARGEST = 2**32  # bytes of a bundle


class _Evidence(click.Group):
    """`evidence ID` is `evidence of ID`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if not args or args[0] in known else ["of", *args])


@click.group(cls=_Evidence)
def evidence() -> None:
    """What happened to a fax, sealed: `evidence ID` writes a bundle that anybody can verify."""


@evidence.command()
@click.argument("fax", metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: ID-evidence.zip here.")
@click.option("--mail", is_flag=True, help="With the mail itself, where it is still kept; else only its hash.")
@in_file
@as_json_option
@reported
def of(fax: str, out: Path | None, mail: bool, file: Path, as_json: bool) -> None:
    """Write everything about one fax, sent or received, as one zip. It is confidential: only its owner may read it."""
    told = ask(config.load(file), {"verb": "evidence", "id": fax, "mail": mail})
    content, path = base64.b64decode(told["zip"]), out or Path(f"{told['id']}-evidence.zip")
    write_new(path, content)
    told = {"id": told["id"], "file": str(path), "bytes": len(content)}
    click.echo(json.dumps(told) if as_json else f"the evidence about {told['id']} is in {path} ({len(content):,} bytes)")


@evidence.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", default="", help="Fingerprint of the gateway's key that you trust, or a file that holds it.")
@as_json_option
@reported
def verify(file: Path, key: str, as_json: bool) -> None:
    """Check a bundle, without gateway, spool and configuration. Exit 0: proven; 1: refused; 3: whole, but no key is trusted."""
    from gateway import bundle

    trusted = _fingerprint(key) if key else ""
    try:
        if file.stat().st_size > _LARGEST:
            raise Refused(f"{file} is too large for a bundle of evidence.")
        verdict = bundle.verify(file.read_bytes(), trusted)
    except OSError as error:
        raise Refused(f"{file} cannot be read ({error.strerror}).") from error
    if as_json:
        told = dataclasses.asdict(verdict)
        if verdict.whole:
            told |= {"proven": bundle.proven(verdict), "claimed": bundle.claimed(verdict)}
        click.echo(json.dumps({"whole": verdict.whole, **told}, indent=2))
    elif verdict.whole:
        _print(verdict)
    if not verdict.whole:
        fail(f"{file} is refused: {verdict.part}: {verdict.problem}", 1)
    if not verdict.trusted:
        fail("whole, but whose it is was not checked: give the gateway's fingerprint with --key", STRANGER)


def _print(verdict: Verdict) -> None:
    from gateway import bundle

    first, last = verdict.seals
    screen.print(f"The evidence about {verdict.fax} is whole.", markup=False)
    screen.print(f"  made {verdict.made_at}, {verdict.links} entries, seals {first} to {last}", markup=False)
    for n, fingerprint in enumerate(verdict.keys, 1):
        screen.print(f"  key {n}  {fingerprint}", markup=False)
    for title, sentences in (("Proven", bundle.proven(verdict)), ("Only said", bundle.claimed(verdict))):
        screen.print(f"{title}:", markup=False)
        for sentence in sentences:
            screen.print(f"  - {sentence}", markup=False)


def _fingerprint(text: str) -> str:
    """64 hex digits, as they are written, or with colons; or those in a file. Raises Refused."""
    if Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8", errors="replace").strip()
    found = re.sub(r"[:\s]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise Refused("--key needs the fingerprint of a key (64 hex digits, see `faxgate evidence keys`), or a file with one.")
    return found


@evidence.command()
@in_file
@as_json_option
@reported
def keys(file: Path, as_json: bool) -> None:
    """List the gateway's public keys, the one in use last. Its fingerprint is what others trust: publish it."""
    found = ask(config.load(file), {"verb": "evidence-keys"})
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table(("n", "since", "fingerprint"), [(str(one["n"]), one["at"], one["fingerprint"]) for one in found])


@evidence.command()
@in_file
@as_json_option
@reported
def rotate(file: Path, as_json: bool) -> None:
    """Make a new key, signed by the one in use, which is then forgotten. Whoever trusts the old one need change nothing."""
    made = ask(config.load(file), {"verb": "evidence-rotate"})
    click.echo(json.dumps(made) if as_json else f"key {made['n']} is in use: {made['fingerprint']}")
