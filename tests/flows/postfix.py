"""A private Postfix: its own configuration, queue, data, port and processes, in a folder that goes away with it.

    with postfix.running() as server:                                     mail to anybody is thrown away
    with postfix.running({"fax.example.com": "smtp:[127.0.0.1]:2525"}) as server:   mail to that domain is passed on

Postfix is started by root only, and runs most of itself as the user that its Debian package makes. The machine's own
Postfix, its configuration and its queue are not touched; only the processes that were started here are ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tests.ports import free_port

PROGRAMS = Path("/usr/lib/postfix/sbin")
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
lmtp      unix  -       -       n       -       -       lmtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
showq     unix  n       -       n       -       -       showq
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


def missing() -> str:
    """Why there can be no Postfix here; "" where there can."""
    if not (PROGRAMS / "master").exists():
        return "needs Postfix (the package postfix)"
    return "" if os.geteuid() == 0 else "needs root: Postfix is started by nobody else"


class Postfix:
    """A server that runs."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.config, self.log = folder / "etc", folder / "log" / "maillog"
        self.process: subprocess.Popen[bytes] | None = None

    def queue(self) -> int:
        """Mails that wait in it."""
        folders = ("maildrop", "incoming", "active", "deferred", "hold")
        return sum(path.is_file() for name in folders for path in (self.folder / "queue" / name).rglob("*"))

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """A test that fails says what Postfix wrote."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\nPostfix, {self.queue()} in its queue: {self.logged()[-4000:]}") from error

    def start(self) -> None:
        done = subprocess.run(
            ["postfix", "-c", self.config, "check"], capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr + self.logged()[-2000:]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MAIL_CONFIG": str(self.config)}
        with (self.folder / "console").open("ab") as console:
            self.process = subprocess.Popen(
                [PROGRAMS / "master", "-c", str(self.config), "-s"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment, cwd=self.folder,
            )  # fmt: skip
        until = time.monotonic() + 60
        while not self._answers():
            said = (self.folder / "console").read_text() + self.logged()
            assert self.process.poll() is None, f"Postfix ended: {said[-2000:]}"
            assert time.monotonic() < until, f"Postfix does not answer: {said[-2000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        """All its processes are children of the master; it ends them, and what it leaves behind is ended by id."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            for process in psutil.wait_procs(family, timeout=5)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(3) == b"220"
        except OSError:
            return False


@contextlib.contextmanager
def running(transport: Mapping[str, str] | None = None, **settings: str) -> Iterator[Postfix]:
    """A Postfix that throws mail away, but for the domains of `transport`, whose mail goes to that next hop.

    transport  domain: Postfix's own word for the way there, like "lmtp:unix:/run/faxgate/lmtp.sock"
    settings   further lines of main.cf
    """
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)  # most of Postfix is not root
    made = Postfix(folder, free_port())
    try:
        _write(made, dict(transport or {}), settings)
        made.start()
        with made.telling():
            yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _write(made: Postfix, transport: Mapping[str, str], settings: Mapping[str, str]) -> None:
    for name in ("etc", "queue", "data", "log"):
        (made.folder / name).mkdir()
    shutil.chown(made.folder / "data", "postfix")
    # inline tables hold one word a value; a transport map in a file may hold anything.
    ways = "".join(f"{domain} {way}\n" for domain, way in transport.items()) + "* discard:\n"
    (made.config / "transport").write_text(ways)
    values = {
        "compatibility_level": "3.6",
        "queue_directory": str(made.folder / "queue"),
        "data_directory": str(made.folder / "data"),
        "maillog_file": str(made.log),
        "maillog_file_prefixes": str(made.folder),
        "myhostname": "mx.example.com",
        "mydestination": "",
        "local_transport": "error:no local mail here",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "relay_domains": " ".join(transport),
        "transport_maps": f"texthash:{made.config}/transport",
        "alias_maps": "",
        "alias_database": "",
        "disable_dns_lookups": "yes",
        "smtpd_peername_lookup": "no",
        "smtp_host_lookup": "native",
        "smtpd_client_connection_count_limit": "0",
        "message_size_limit": "60000000",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
        # A process of Postfix that fails on a busy machine is otherwise not started again for a minute.
        "service_throttle_time": "1s",
        "transport_retry_time": "1s",
        **settings,
    }
    (made.config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    (made.config / "master.cf").write_text(_MASTER.format(port=made.port))
