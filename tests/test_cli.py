"""The command line as a program: help, version, exit codes, what is printed where."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway import __version__
from gateway.cli import main

REPOSITORY = Path(__file__).parents[1]
GOOD = """
domain = "fax.example.com"
region = "US"
spool = "spool"
[mail]
from = "fax@fax.example.com"
operator = "operator@example.com"
[[account]]
name = "office"
senders = ["*@example.com"]
networks = ["127.0.0.0/8"]
countries = ["US"]
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD)
    return file


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        check=False,
    )


def commands(group: click.Group, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        words = (*before, name)
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


COMMANDS = commands(main)


def test_the_commands_are_those_of_the_design() -> None:
    wanted = {"serve", "check-config", "demo", "send", "queue", "show", "retry", "cancel", "hold", "release", "explain"}
    assert wanted | {"account", "line", "carriers", "version"} <= set(main.commands)


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_every_command_and_option_says_what_it_does(words: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    assert command.help.strip().endswith((".", "US", "refused."))
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("file", "as_json", "limit", "out", "subject"):
            assert option.help, f"{' '.join(words)} {option.opts[0]}"


def test_every_command_that_ends_speaks_json() -> None:
    mute = {" ".join(words) for words, command in COMMANDS if not any("--json" in one.opts for one in command.params)}
    assert mute == {"serve", "demo"}


def test_the_version_is_told() -> None:
    assert run("version").stdout == f"faxgate {__version__}\n"
    assert json.loads(run("version", "--json").stdout) == {"version": __version__}


def test_help_needs_no_configuration() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


def test_what_was_typed_wrongly_is_told(good: Path) -> None:
    done = run("nonsense")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    done = run("send", "+14155550123", str(good.parent / "nothing.pdf"), "-c", str(good))
    assert done.returncode == 2
    assert "nothing.pdf" in done.stderr


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_configuration_that_is_missing_ends_with_78(words: tuple[str, ...], command: click.Command, tmp_path: Path) -> None:
    if not any("--config" in option.opts for option in command.params):
        assert words in (("version",), ("demo",), ("sandbox",), ("inject",), ("evidence", "verify"))
        return
    document = tmp_path / "a.pdf"
    document.write_bytes(b"%PDF-1.7\n")
    arguments = {"number": "+14155550123", "files": str(document), "mail": str(document), "source": str(document)}
    given = [arguments.get(str(one.name), "x") for one in command.params if isinstance(one, click.Argument)]
    for one in command.params:
        if isinstance(one, click.Option) and one.required:
            given += [one.opts[0], str(tmp_path / "out") if isinstance(one.type, click.Path) else "x"]
    done = called(*words, *given, "-c", str(tmp_path / "nowhere.toml"))
    assert done == (78, f"faxgate: {tmp_path}/nowhere.toml: cannot be read (No such file or directory)\n")


def called(*words: str) -> tuple[int, str]:
    """Exit code and stderr of a command in this process."""
    err, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            main(list(words), prog_name="faxgate")
    except SystemExit as end:
        code = int(end.code or 0)
    return code, err.getvalue()


def test_a_spool_that_cannot_be_used_ends_with_75(good: Path) -> None:
    (good.parent / "spool").write_text("a file, not a folder")
    done = run("queue", "-c", str(good))
    assert done.returncode == 75
    assert done.stderr.startswith("faxgate: The spool ")
    assert done.stderr.count("\n") == 1


def test_an_empty_queue_is_said_in_words(good: Path) -> None:
    assert run("queue", "-c", str(good)).stdout == "Nothing waits.\n"
    assert json.loads(run("queue", "--json", "-c", str(good)).stdout) == []


def test_names_from_outside_are_not_read_as_markup(good: Path) -> None:
    document = good.parent / "[red]a[nonsense].txt"
    document.write_text("Hello.\n")
    sent = run("send", "+14155550123", str(document), "--subject", "[bold]x[/y]", "-c", str(good))
    assert sent.returncode == 0
    (fax,) = json.loads(run("queue", "--json", "-c", str(good)).stdout)
    shown = run("show", fax["id"], "-c", str(good))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "[bold]x[/y]" in shown.stdout
    assert re.search(rf"fax +{fax['id']}", shown.stdout)


def test_a_line_break_does_not_begin_another_header_field(good: Path) -> None:
    document = good.parent / "a.txt"
    document.write_text("Hello.\n")
    words = ("send", "+14155550123", str(document), "-c", str(good))
    assert run(*words, "--subject", "one\nBcc: two@example.com").returncode == 0
    (fax,) = json.loads(run("queue", "--json", "-c", str(good)).stdout)
    case = json.loads(run("show", "--json", fax["id"], "-c", str(good)).stdout)
    assert case["submission"]["subject"] == "one Bcc: two@example.com"
    for sender in ("a@example.com\nBcc: two@example.com", "nobody"):
        refused = run(*words, "--from", sender)
        assert (refused.returncode, refused.stderr) == (
            1,
            "faxgate: --from needs a mail address like ann@example.com, in ASCII\n",
        )
