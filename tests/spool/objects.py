"""A real S3-compatible server (moto's) in a process of its own on a free port, for as long as it is wanted."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3

from tests.ports import free_port

KEY, SECRET = "access", "secret-of-the-bucket"


def client(endpoint: str) -> Any:
    """Any: boto3 ships no types. Somebody else's way to the same objects."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its endpoint."""
    number = free_port()
    running = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(number)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, "the object store did not start"
                assert running.poll() is None, "the object store died"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{number}"
    finally:
        running.terminate()
        running.wait(10)


def bucket(endpoint: str, name: str) -> str:
    """A new, empty bucket; its name."""
    with contextlib.closing(client(endpoint)) as store:
        store.create_bucket(Bucket=name)
    return name
