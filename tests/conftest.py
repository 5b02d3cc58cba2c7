"""What every test may rely on: no network but loopback, named reasons for skipped tests, small fixtures.

A test that needs a program of the system says so: `@pytest.mark.needs("swaks")`. Where the program is missing the test
is skipped by that name, and the end of the run says what to install. With CI=true in the environment a skipped test
fails the run: there everything has to be installed.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ports
from tests.flows import matrix

PACKAGES = Path(__file__).with_name("debian-packages.txt")
_REASON = "needs the program "


def _listed() -> dict[str, tuple[str, str]]:
    """Program -> its package and where to look, from debian-packages.txt."""
    rows = (line.split("#")[0].split() for line in PACKAGES.read_text(encoding="utf-8").splitlines())
    return {row[1].rsplit("/", 1)[-1]: (row[0], row[1]) for row in rows if row}


def _find(name: str) -> str | None:
    """The full path of a listed program, None when it is not installed. The newest of several versions."""
    listed = _listed()
    if name not in listed:
        raise pytest.UsageError(f"{PACKAGES.name} has no line for the program {name}")
    where = listed[name][1]
    return max(glob.glob(where), default=None) if "/" in where else shutil.which(where)


@pytest.fixture
def program() -> Callable[[str], str]:
    """The full path of a program that the test `needs`."""

    def path(name: str) -> str:
        found = _find(name)
        assert found, f"mark the test with needs({name!r})"
        return found

    return path


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if _find(name) is None:
                pytest.skip(_REASON + name)


def _skipped(reporter: pytest.TerminalReporter) -> list[str]:
    """The reason of every skipped test."""
    reasons = []
    for report in reporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.append(text.removeprefix("Skipped: "))
    return reasons


def _strict() -> bool:
    return os.environ.get("CI") == "true"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _strict() and reporter and _skipped(reporter) and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _show_matrix(reporter: pytest.TerminalReporter) -> None:
    """The crash matrix, also where it is green."""
    reports = [*reporter.stats.get("passed", []), *reporter.stats.get("failed", [])]
    entries = [said for report in reports for name, said in report.user_properties if name == matrix.PROPERTY]
    if entries:
        reporter.section("crash matrix, calls counted at the far end", sep="-")
        reporter.write_line(matrix.text(entries))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _show_matrix(terminalreporter)
    reasons = _skipped(terminalreporter)
    if not reasons:
        return
    terminalreporter.section("skipped", sep="-")
    for reason, count in sorted(Counter(reasons).items()):
        terminalreporter.line(f"{count} x {reason}")
    listed = _listed()
    missing = {match[1] for reason in reasons if (match := re.fullmatch(re.escape(_REASON) + "(.+)", reason))}
    if missing:
        packages = sorted({listed[name][0] for name in missing})
        terminalreporter.line(f"To run them too: apt-get install -y {' '.join(packages)}")
    if _strict():
        terminalreporter.line("CI=true: nothing may be skipped, so this run has failed.", red=True)


def _is_loopback(host: object) -> bool:
    if not isinstance(host, str):
        return True
    try:
        # The unspecified address is what listeners are bound to, and as a target it is this machine.
        address = ipaddress.ip_address(host.split("%")[0])
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host in ("", "localhost")


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    """Stops whatever would leave this machine. An audit hook sees every socket of the process, also those of C code
    that goes through Python's socket module; child processes are on their own."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            pytest.fail(f"a test tried to reach {address[0]}: tests stay on this machine")
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if not _is_loopback(host) and not _is_numeric(str(host)):
            pytest.fail(f"a test tried to look up {host}: tests stay on this machine")


def _is_numeric(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%]*", host) is not None


sys.addaudithook(_guard)
