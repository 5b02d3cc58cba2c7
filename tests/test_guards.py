"""The rules of the test run themselves: no network, and no test skipped in silence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent


def test_connections_leave_this_machine_in_no_test() -> None:
    with socket.socket() as sock, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        sock.sendto(b"x", ("192.0.2.1", 53))


async def test_names_are_looked_up_in_no_test() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(pytest.fail.Exception, match=r"api\.example\.com"):
            await client.get("http://api.example.com/")


def test_loopback_is_open(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)), socket.create_connection(("localhost", free_port)) as sock:
        assert sock.getpeername() == ("127.0.0.1", free_port)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A test suite of its own with our conftest.py, where one program is missing."""
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "debian-packages.txt").write_text("dash sh\nnowhere-tools no-such-program # both\nlib-x /no/such/*/thing\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs(program): x\naddopts = --strict-markers\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.needs('sh')\ndef test_here(program): assert program('sh').endswith('/sh')\n"
        "@pytest.mark.needs('no-such-program')\ndef test_missing(): assert False\n"
        "@pytest.mark.needs('thing')\ndef test_missing_path(): assert False\n"
    )
    return tmp_path


def run(suite: Path, ci: str) -> tuple[int, str]:
    environment = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(suite)],
        env=environment, cwd=suite, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_skipped_test_names_the_program_and_the_packages(suite: Path) -> None:
    code, output = run(suite, ci="")
    assert code == 0, output
    assert "1 x needs the program no-such-program" in output
    assert "apt-get install -y lib-x nowhere-tools\n" in output
    assert "1 passed, 2 skipped" in output


def test_a_skipped_test_fails_the_run_in_ci(suite: Path) -> None:
    code, output = run(suite, ci="true")
    assert code == 1, output
    assert "nothing may be skipped" in output


def test_a_program_that_is_not_listed_is_an_error(suite: Path) -> None:
    (suite / "test_it.py").write_text("import pytest\n@pytest.mark.needs('vim')\ndef test_x(): pass\n")
    code, output = run(suite, ci="")
    assert code != 0
    assert "has no line for the program vim" in output
