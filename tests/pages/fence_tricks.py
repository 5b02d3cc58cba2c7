"""What a captured converter might try; run inside the fence by test_fence."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import threading
import time
from pathlib import Path

from gateway.pages.child import note


def internet() -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            link.connect(("127.0.0.1", 9))
    except PermissionError:
        return "refused by the filter"
    except OSError as error:
        return f"refused: {error}" if error.errno == 101 else f"reached: {error}"
    return "reached"


def local_socket() -> str:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM):
            return "made"
    except PermissionError:
        return "refused"


def program() -> str:
    try:
        os.execv("/bin/true", ["true"])
    except PermissionError:
        return "refused"


def trace() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace(16, os.getppid(), 0, 0)
    return "refused" if ctypes.get_errno() == 13 else f"errno {ctypes.get_errno()}"


def signal_to(process: int) -> str:
    try:
        os.kill(process, 0)
    except PermissionError:
        return "refused"
    return "sent"


def limits_of(process: int) -> str:
    try:
        resource.prlimit(process, resource.RLIMIT_CPU, (1000000, 1000000))
    except PermissionError:
        return "refused"
    return "changed"


def memory_of_the_server() -> str:
    try:
        with open(f"/proc/{os.getppid()}/mem", "r+b"):
            return "opened"
    except PermissionError:
        return "refused"


def second_process() -> str:
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError:
        return "refused"
    return "made"


def second_thread() -> str:
    said: list[str] = []
    thread = threading.Thread(target=said.append, args=("made",))
    thread.start()
    thread.join()
    return said[0]


def crash(part: str) -> None:
    note(part)
    ctypes.string_at(0)


def sleep(part: str) -> None:
    note(part)
    time.sleep(30)


def hog(part: str, size: int) -> int:
    note(part)
    return len(bytearray(size))


def fill(path: Path) -> None:
    with open(path, "wb") as file:
        file.seek(512 * 1024 * 1024 - 10)
        file.write(bytes(100))


def bug() -> None:
    raise KeyError("detail for the operator")


class _Acts:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def trap(path: str) -> object:
    return _Acts(path)


def pid() -> int:
    return os.getpid()


def tell_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(30)


def read(path: Path) -> str:
    try:
        return path.read_text()[:20] if path.is_file() else ", ".join(os.listdir(path))
    except OSError as error:
        return f"refused: {error.strerror}"


def read_other(paths: list[str]) -> list[str]:
    """Paths inside a list are not the job's own."""
    return [read(Path(path)) for path in paths]


def neighbour(_job: object, path: list[str]) -> str:
    return read(Path(path[0]))


def write_other(path: list[str]) -> str:
    try:
        Path(path[0]).write_text("x")
    except OSError as error:
        return f"refused: {error.strerror}"
    return "written"
