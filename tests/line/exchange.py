"""HylaFAX with two modems that call one another, in namespaces of their own, torn down without a trace.

    with exchange.running() as line:
        line.port             hfaxd on 127.0.0.1; login "faxgate" with the password `PASSWORD`
        line.modems           names of HylaFAX's two modems; a call of one always rings the other

The modems are iaxmodems: their sound goes through two T.30 modems of spandsp, over IAX2 on the loopback of a network
namespace, in real time. What HylaFAX and the modems say of themselves is in `line.logged()`.

Root only: namespaces are made and file systems mounted. Nothing outside of the folder, of /dev and of the processes that
were started here is touched.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.ports import free_port

LOGIN, PASSWORD, ADMIN = "faxgate", "Secret.4559", "Admin.4559"
#: What the modems say who they are: as caller, and as station.
NUMBERS = ("4155550100", "4155550101")
STATIONS = ("+1 415 555 0100", "+1 415 555 0101")
_SPOOL, _CONFIG = Path("/var/spool/hylafax"), Path("/etc/hylafax")
_PROGRAMS = ("iaxmodem", "faxq", "hfaxd", "faxgetty", "unshare", "ip")


def missing() -> str:
    """Why there can be no line here; "" where there can."""
    if without := [name for name in _PROGRAMS if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin") is None]:
        return f"needs HylaFAX and iaxmodem (no {', '.join(without)})"
    return "" if os.geteuid() == 0 else "needs root: it makes namespaces"


class Exchange:
    """HylaFAX and its two modems, while they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.modems = (f"ttyFG{self.port}a", f"ttyFG{self.port}b")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def spool(self) -> Path:
        """HylaFAX's."""
        return self.folder / "hylafax"

    def logged(self) -> str:
        """The end of everything that was said: the console, the modems, the sessions of calls."""
        files = [self.folder / "console", *sorted((self.folder / "log").glob("tty*")), *sorted((self.spool / "log").glob("c*"))]
        return "\n".join(f"== {file.name}\n{file.read_text('utf-8', 'replace')[-3000:]}" for file in files if file.is_file())

    def sessions(self) -> frozenset[Path]:
        """The logs of the calls there were."""
        return frozenset((self.spool / "log").glob("c0*"))

    def said_since(self, before: frozenset[Path]) -> str:
        """What the modems of calls did that are not among `before`."""
        return "\n".join(log.read_text("utf-8", "replace") for log in sorted(self.sessions() - before))

    def start(self) -> None:
        """Until both modems wait for a call and hfaxd answers."""
        self._write()
        environment = {
            "PATH": "/usr/sbin:/sbin:/usr/bin:/bin",
            "FOLDER": str(self.folder),
            "MODEMS": " ".join(self.modems),
            "PORT": str(self.port),
        }
        with (self.folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                ["unshare", "-mipf", "--mount-proc", "--kill-child", "bash", str(Path(__file__).parent / "up.sh")],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment, cwd="/",
            )  # fmt: skip
        self.wait_idle()

    def stop(self) -> None:
        """The first process of a namespace takes all others of it along."""
        if self._process is not None:
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.kill()
            self._process.wait(10)
            self._process = None
        for modem in self.modems:
            Path("/dev", modem).unlink(missing_ok=True)

    def status(self, modem: str) -> str:
        """What HylaFAX says of a modem, like "Running and idle"."""
        with contextlib.suppress(FileNotFoundError):
            return (self.spool / "status" / modem).read_text("utf-8", "replace").strip()
        return ""

    def wait_idle(self, patience: float = 90) -> None:
        """After its start and after a call a modem needs some seconds until it takes the next."""
        self._until(lambda: all(self.status(modem).startswith("Running and idle") for modem in self.modems), "idle", patience)
        time.sleep(6)  # iaxmodem answers "busy" for five seconds after it was hung up, and says so nowhere

    @contextlib.contextmanager
    def busy(self, modem: str) -> Iterator[None]:
        """Who calls this modem gets the busy tone: that is what a caller's iaxmodem makes of a call that is hung up while it
        rings. (What is called in a call of its own refuses in another way; that is "no dial tone" at the caller.)"""
        getty, over = self.pid("faxgetty", modem), threading.Event()
        os.kill(getty, signal.SIGSTOP)  # it would answer

        def hang_up() -> None:
            with open(f"/dev/{modem}", "r+b", buffering=0) as line:
                while not over.is_set():
                    if select.select([line], [], [], 0.2)[0] and b"RING" in line.read(1000):
                        line.write(b"ATH0\r")

        hands = threading.Thread(target=hang_up)
        hands.start()
        try:
            yield
        finally:
            over.set()
            hands.join()
            os.kill(getty, signal.SIGCONT)

    @contextlib.contextmanager
    def dead(self, modem: str) -> Iterator[None]:
        """Nothing answers at this modem, nor says that it does not; a call that goes on falls silent."""
        gate = self.folder / f"dead.{modem}"
        gate.touch()
        os.kill(self.pid("iaxmodem", modem), signal.SIGKILL)
        try:
            yield
        finally:
            gate.unlink()

    def pid(self, program: str, modem: str) -> int:
        """Of the process of this modem."""
        assert self._process is not None
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == program and process.cmdline()[-1] == modem:
                    return int(process.pid)
        raise AssertionError(f"no {program} {modem}: {self.logged()}")

    def _until(self, ready: Callable[[], bool], what: str, patience: float = 60) -> None:
        until = time.monotonic() + patience
        while not ready():
            assert self._process is not None
            assert self._process.poll() is None, f"the line ended: {self.logged()}"
            if time.monotonic() > until:
                states = {modem: self.status(modem) for modem in self.modems}
                raise AssertionError(f"waited {patience} s for {what}: {states} {self.logged()}")
            time.sleep(0.1)

    def _write(self) -> None:
        shutil.copytree(_SPOOL, self.spool, symlinks=True, ignore=shutil.ignore_patterns("FIFO*"))
        shutil.copytree(_CONFIG, self.folder / "etc", symlinks=True)
        for source, copy in ((_SPOOL, self.spool), (_CONFIG, self.folder / "etc")):
            for path in (source, *source.rglob("*")):
                about = path.lstat()
                if (mine := copy / path.relative_to(source)).exists():
                    os.chown(mine, about.st_uid, about.st_gid, follow_symlinks=False)
        for name in ("iaxmodem", "log"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "log", "uucp", "uucp")
        etc = self.folder / "etc"
        (etc / "config").write_text("UseJobTSI: yes\nJobReqBusy: 3600\nMaxDials: 1\nPollModemWait: 2\nPollLockWait: 2\n")
        users = etc / "hosts.hfaxd"
        hashed = [_crypted(word) for word in (PASSWORD, ADMIN)]
        users.write_text(f"^{LOGIN}@:21:{hashed[0]}:{hashed[1]}\n")
        users.chmod(0o600)
        shutil.chown(users, "uucp", "uucp")
        shared = (_SPOOL / "config" / "iaxmodem").read_text()
        for n, modem in enumerate(self.modems):
            (etc / f"config.{modem}").write_text(_MODEM.format(number=NUMBERS[n], station=STATIONS[n]) + shared)
            (self.folder / "iaxmodem" / modem).write_text(
                _IAX.format(modem=modem, port=4570 + n, other=4571 - n, n=n, number=NUMBERS[n])
            )


#: TagLineFormat empty: HylaFAX writes nothing onto our pages. ModemResetDelay: an iaxmodem needs no pause.
_MODEM = """\
CountryCode: 1
AreaCode: 415
FAXNumber: {number}
LongDistancePrefix: 1
InternationalPrefix: 011
DialStringRules: etc/dialrules
ServerTracing: 1
SessionTracing: 0xFFF
RecvFileMode: 0644
LogFileMode: 0644
DeviceMode: 0660
RingsBeforeAnswer: 1
SpeakerVolume: off
LocalIdentifier: "{station}"
TagLineFormat: ""
MaxRecvPages: 50
ModemResetDelay: 0
"""
_IAX = """\
device /dev/{modem}
owner uucp:uucp
mode 660
port {port}
refresh 0
server 127.0.0.1:{other}
peername modem{n}
secret none
cidname Modem{n}
cidnumber {number}
codec slinear
"""


def _crypted(password: str) -> str:
    done = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def running() -> Iterator[Exchange]:
    """An exchange that is ready for calls."""
    folder = Path(tempfile.mkdtemp(prefix="exchange-"))
    folder.chmod(0o755)
    made = Exchange(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
