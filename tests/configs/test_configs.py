"""Broken configurations: each is refused for its own reason, in one line that names file and key, with exit code 78.

A folder holds `gateway.toml` and `expected_error`, a part of the line that must be said.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main

HERE = Path(__file__).parent
BROKEN = sorted(path.name for path in HERE.glob("c[0-9]*"))
REPOSITORY = HERE.parents[1]


def said(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(words), prog_name="faxgate")
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def copied(name: str, folder: Path) -> Path:
    """The file of a broken configuration, where nothing else is."""
    shutil.copytree(HERE / name, folder / name)
    return folder / name / "gateway.toml"


@pytest.mark.parametrize("name", BROKEN)
def test_it_is_refused_for_its_own_reason(name: str, tmp_path: Path) -> None:
    file = copied(name, tmp_path)
    expected = (HERE / name / "expected_error").read_text(encoding="utf-8").strip()
    code, out, err = said("check-config", "-c", str(file))
    assert expected in err
    assert (code, out) == (78, "")
    assert err.startswith(f"faxgate: {file}")
    assert err.count("\n") == 1
    code, _, err = said("serve", "-c", str(file))
    assert code == 78
    assert expected in err.splitlines()[-1]
    assert not (file.parent / "spool").exists()


@pytest.mark.parametrize("name", ["c01_empty", "c03_misspelt_key", "c08_password_file_missing", "c26_no_certificate"])
def test_the_program_ends_with_78(name: str, tmp_path: Path) -> None:
    file = copied(name, tmp_path)
    expected = (HERE / name / "expected_error").read_text(encoding="utf-8").strip()
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 78
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, _, err = said("check-config", "-c", str(tmp_path / "nowhere.toml"))
    assert (code, err) == (78, f"faxgate: {tmp_path}/nowhere.toml: cannot be read (No such file or directory)\n")


def test_paths_start_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc" / "texts").mkdir(parents=True)
    (tmp_path / "etc" / "gateway.toml").write_text(
        """
        domain = "fax.example.com"
        region = "US"
        spool = "../spool"
        templates = "texts"
        [mail]
        from = "fax@fax.example.com"
        operator = "operator@example.com"
        """
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = said("check-config", "--json", "-c", "etc/gateway.toml")
    assert code == 0
    shown = json.loads(out)["config"]
    assert (shown["spool"], shown["templates"]) == (f"{tmp_path}/etc/../spool", f"{tmp_path}/etc/texts")


def test_a_good_file_is_shown_with_its_secrets_masked(tmp_path: Path) -> None:
    secret = "a secret of the office"
    file = tmp_path / "gateway.toml"
    file.write_text(
        f"""
        domain = "fax.example.com"
        region = "US"
        spool = "{tmp_path}/spool"
        database = "postgresql://faxgate:{secret.replace(" ", "-")}@db/faxgate"
        [mail]
        from = "fax@fax.example.com"
        operator = "operator@example.com"
        username = "faxgate"
        password = "{secret}"
        [[account]]
        name = "office"
        login = "office"
        password = "{secret}"
        countries = ["US"]
        [carrier.main]
        kind = "loopback"
        secret = "{secret}"
        """
    )
    code, out, err = said("check-config", "-c", str(file))
    assert (code, err) == (0, "")
    assert "is in order" in out
    assert 'account[1].password = "********"' in out
    assert secret not in out
    assert secret.replace(" ", "-") not in out
    code, out, err = said("check-config", "--json", "-c", str(file))
    shown = json.loads(out)
    assert shown["config"]["mail"]["password"] == "********"
    assert shown["config"]["retry"]["busy"][0] == "1m"
    assert shown["carriers"] == ["main"]
    assert secret not in out
    assert not (tmp_path / "spool").exists()
