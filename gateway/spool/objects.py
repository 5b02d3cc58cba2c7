"""The shelf of an S3-compatible object store: `documents = "s3://bucket/prefix"`, through boto3 (extra `s3`).

An object is durable when the store has answered the upload; the store checks the content against the SHA-256 we send
along. What is read whole is checked against its name. Faults of the store become OSError, as every shelf raises them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as Client
from botocore.exceptions import BotoCoreError, ClientError

from gateway.fax import Sha256
from gateway.spool.shelf import Damaged, Kept

_CHUNK = 1 << 20
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the bucket is and how we sign in. Without keys the machine's own role (boto's usual chain) is asked."""

    url: str
    """`s3://bucket/prefix`."""
    endpoint: str = ""
    """Of a store that is not Amazon's."""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""

    def __repr__(self) -> str:
        return f"Place({self.url!r}, {self.endpoint!r})"


class Bucket:
    """Documents as objects: PREFIX/ab/abcdef…"""

    def __init__(self, place: Place, incoming: Path) -> None:
        """Raises ValueError for what is no address of a bucket."""
        self.incoming = incoming
        self._client, self._bucket, self._prefix = _connected(place)

    def open(self) -> None:
        with _faults():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def close(self) -> None:
        self._client.close()

    def path(self, sha256: Sha256) -> Path | None:
        return None

    def put(self, temporary: Path, sha256: Sha256) -> None:
        checked = base64.b64encode(bytes.fromhex(sha256)).decode()
        with _faults(), temporary.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=self._key(sha256), Body=file, ChecksumSHA256=checked)
        temporary.unlink()

    def read(self, sha256: Sha256, size: int = -1) -> bytes:
        if size == 0:
            return b""
        some = {"Range": f"bytes=0-{size - 1}"} if size > 0 else {}
        with _faults():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256), **some)
            except ClientError as error:
                if size > 0 and _code(error) == "InvalidRange":  # the document is empty
                    return b""
                raise
            content: bytes = answer["Body"].read()
        if size < 0 and hashlib.sha256(content).hexdigest() != sha256:
            raise Damaged("it is damaged")
        return content

    def copy(self, sha256: Sha256, to: Path) -> None:
        digest = hashlib.sha256()
        with _faults(), to.open("wb") as file:
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))["Body"]
            for chunk in body.iter_chunks(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            raise Damaged("it is damaged")

    def size(self, sha256: Sha256) -> int:
        with _faults():
            return int(self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))["ContentLength"])

    def remove(self, sha256: Sha256, before: datetime) -> bool:
        with _faults():
            try:
                put_at: datetime = self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))["LastModified"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
            if put_at >= before:
                return False
            self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256))
            return True

    def all(self) -> Iterator[Kept]:
        with _faults():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(self._prefix)
                    if re.fullmatch(r"([0-9a-f]{2})/\1[0-9a-f]{62}", name):
                        yield Kept(Sha256(name[3:]), entry["Size"], entry["LastModified"])

    def _key(self, sha256: Sha256) -> str:
        return f"{self._prefix}{sha256[:2]}/{sha256}"


class BucketCabinet:
    """The archive of received faxes (`cabinet`) in a bucket: an object is there whole, or not at all."""

    def __init__(self, place: Place) -> None:
        """Raises ValueError for what is no address of a bucket."""
        self._client, self._bucket, self._prefix = _connected(place)

    def put(self, name: str, content: bytes, content_type: str) -> None:
        checked = base64.b64encode(hashlib.sha256(content).digest()).decode()
        where = {"Bucket": self._bucket, "Key": f"{self._prefix}{name}", "ContentType": content_type}
        with _faults():
            self._client.put_object(**where, Body=content, ChecksumSHA256=checked)

    def close(self) -> None:
        self._client.close()


def _connected(place: Place) -> tuple[Any, str, str]:
    """A client, the bucket, and what keys begin with. Any: boto3 ships no types. Raises ValueError."""
    if not (match := _URL.fullmatch(place.url)):
        raise ValueError('write it like "s3://bucket/prefix"')
    session = boto3.session.Session(
        aws_access_key_id=place.access_key or None,
        aws_secret_access_key=place.secret_key or None,
        region_name=place.region or None,
    )
    client = session.client("s3", endpoint_url=place.endpoint or None, config=_settings(bool(place.endpoint)))
    prefix = (match[2] or "").strip("/")
    return client, match[1], f"{prefix}/" if prefix else ""


def _settings(own_endpoint: bool) -> Client:
    """Short time limits: whoever waits is a mail client or a step that is tried again. Other stores than Amazon's want
    the bucket in the path and do not all know the newer checksums."""
    return Client(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=8,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if own_endpoint else {},
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """The store's faults in the words of every shelf."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise FileNotFoundError(2, "it is not in the bucket") from error
        raise OSError(f"the object store says {_code(error)}") from error
    except BotoCoreError as error:
        raise OSError(f"the object store does not answer: {type(error).__name__}") from error
