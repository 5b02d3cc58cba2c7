"""What every shelf of documents promises: the spool's folder, and a bucket of a real S3-compatible server."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import Config, parse
from gateway.daemon import documents_of
from gateway.errors import ConfigError, SpoolUnavailable
from gateway.fax import Sha256
from gateway.spool.documents import Documents
from gateway.spool.objects import Bucket
from gateway.spool.shelf import Folder
from tests.ports import free_port
from tests.spool import objects

CONTENT = b"%PDF-1.7\n" + bytes(range(256)) * 5000
SETTINGS = {
    "domain": "fax.example.com",
    "region": "US",
    "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
}
HOUR = timedelta(hours=1)


def configured(folder: Path, **more: object) -> Config:
    return parse({**SETTINGS, "spool": str(folder / "spool"), **more}, str(folder / "gateway.toml"))


def in_bucket(folder: Path, endpoint: str, url: str) -> Config:
    (folder / "s3.secret").write_text(objects.SECRET + "\n")
    keys = {"endpoint": endpoint, "region": "us-east-1", "access_key": objects.KEY, "secret_key_file": "s3.secret"}
    return configured(folder, documents=url, s3=keys)


@pytest.fixture(params=["folder", "bucket"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Documents]:
    if request.param == "bucket":
        endpoint, name = request.getfixturevalue("object_store"), request.getfixturevalue("bucket")
        config = in_bucket(tmp_path, endpoint, f"s3://{name}/fax/docs")
    else:
        config = configured(tmp_path, documents=str(tmp_path / "shared"))
    made = documents_of(config)
    made.open()
    yield made
    made.close()


@pytest.fixture
def damage(documents: Documents, request: pytest.FixtureRequest) -> Callable[[Sha256, bytes], None]:
    """Somebody else writes into a document."""

    def write(sha256: Sha256, content: bytes) -> None:
        if isinstance(documents.shelf, Folder):
            documents.shelf.path(sha256).write_bytes(content)
            return
        key = f"fax/docs/{sha256[:2]}/{sha256}"
        with contextlib.closing(objects.client(request.getfixturevalue("object_store"))) as store:
            store.put_object(Bucket=request.getfixturevalue("bucket"), Key=key, Body=content)

    return write


async def test_what_was_put_is_there(documents: Documents) -> None:
    stored = await documents.put(b"trace: x\r\n", CONTENT)
    whole = b"trace: x\r\n" + CONTENT
    assert stored.sha256 == hashlib.sha256(whole).hexdigest()
    assert stored.size == len(whole) == await documents.size(stored.sha256)
    assert await documents.get(stored.sha256) == whole
    assert await documents.head(stored.sha256, 9) == whole[:9]
    assert await documents.intact(stored.sha256) is True
    async with documents.local(stored.sha256) as path:
        assert path.read_bytes() == whole
    assert [(kept.sha256, kept.size) async for page in documents.pages() for kept in page] == [(stored.sha256, stored.size)]
    assert list(documents.shelf.incoming.iterdir()) == []
    assert list((documents.root / "work").iterdir()) == []


async def test_an_empty_document_can_be_kept_too(documents: Documents) -> None:
    empty = (await documents.put()).sha256
    assert await documents.get(empty) == await documents.head(empty, 100) == b""


async def test_what_is_missing_is_unavailable_however_it_is_asked_for(documents: Documents) -> None:
    missing = Sha256("0" * 64)
    for ask in (documents.get(missing), documents.head(missing, 5), documents.size(missing)):
        with pytest.raises(SpoolUnavailable, match=missing):
            await ask
    with pytest.raises(SpoolUnavailable):
        async with documents.local(missing):
            raise AssertionError
    assert await documents.intact(missing) is None
    assert await documents.remove(missing, datetime.now(UTC)) is False


async def test_only_what_is_old_enough_is_removed(documents: Documents) -> None:
    stored = (await documents.put(CONTENT)).sha256
    now = datetime.now(UTC)
    assert await documents.remove(stored, now - HOUR) is False
    assert await documents.get(stored) == CONTENT
    assert await documents.remove(stored, now + HOUR) is True
    assert await documents.intact(stored) is None
    assert [page async for page in documents.pages()] == []


async def test_a_damaged_document_is_recognised(documents: Documents, damage: Callable[[Sha256, bytes], None]) -> None:
    stored = (await documents.put(CONTENT)).sha256
    damage(stored, CONTENT[:-1] + b"?")
    assert await documents.intact(stored) is False
    await documents.put(CONTENT)
    assert await documents.intact(stored) is True


async def test_a_damaged_object_is_not_handed_out(tmp_path: Path, object_store: str, bucket: str) -> None:
    documents = documents_of(in_bucket(tmp_path, object_store, f"s3://{bucket}"))
    documents.open()
    stored = (await documents.put(CONTENT)).sha256
    with contextlib.closing(objects.client(object_store)) as store:
        store.put_object(Bucket=bucket, Key=f"{stored[:2]}/{stored}", Body=b"other")
    with pytest.raises(SpoolUnavailable, match="damaged"):
        await documents.get(stored)
    with pytest.raises(SpoolUnavailable, match="damaged"):
        async with documents.local(stored):
            raise AssertionError
    documents.close()


async def test_other_objects_of_the_bucket_are_not_ours(tmp_path: Path, object_store: str, bucket: str) -> None:
    documents = documents_of(in_bucket(tmp_path, object_store, f"s3://{bucket}/fax/"))
    documents.open()
    mine = (await documents.put(b"mine")).sha256
    with contextlib.closing(objects.client(object_store)) as store:
        for key in ("invoice.pdf", "fax/invoice.pdf", "fax/ab/" + "0" * 64, "faxes/00/" + "0" * 64):
            store.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [kept.sha256 async for page in documents.pages() for kept in page] == [mine]
    documents.close()


async def test_an_object_store_that_is_away_is_unavailable_and_nothing_is_left_behind(tmp_path: Path) -> None:
    documents = documents_of(in_bucket(tmp_path, f"http://127.0.0.1:{free_port()}", "s3://bucket/x"))
    with pytest.raises(OSError, match="does not answer"):
        documents.open()
    with pytest.raises(SpoolUnavailable, match="EndpointConnectionError"):
        await documents.put(CONTENT)
    assert list(documents.shelf.incoming.iterdir()) == []
    documents.close()


def test_a_bucket_that_is_not_there_stops_the_start(tmp_path: Path, object_store: str) -> None:
    documents = documents_of(in_bucket(tmp_path, object_store, "s3://nowhere-at-all"))
    with pytest.raises(OSError, match="NoSuchBucket"):
        documents.open()
    documents.close()


@pytest.mark.parametrize("url", ["s3://", "s3://x", "s3://Bucket/y", "s3://bucket/a b", "s3://bucket/ä"])
def test_a_wrong_address_of_a_bucket_names_the_key(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"documents: write it like"):
        documents_of(in_bucket(tmp_path, "http://127.0.0.1:1", url))


def test_the_secret_key_is_shown_nowhere(tmp_path: Path) -> None:
    config = in_bucket(tmp_path, "http://127.0.0.1:1", "s3://bucket")
    documents = documents_of(config)
    assert isinstance(documents.shelf, Bucket)
    assert objects.SECRET not in repr(config) + config.model_dump_json() + repr(vars(documents.shelf))
    documents.close()


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"s3": {"access_key": "x"}}, "s3: access_key and secret_key_file belong together"),
        ({"s3": {"access_key": "x", "secret_key_file": "nowhere"}}, "s3.secret_key_file: nowhere cannot be read"),
        ({"s3": {"endpoint": "objects.example.com"}}, "s3: write endpoint like"),
        ({"keep_documents": "2h"}, "keep_documents must be at least"),
        ({"keep_documents": "90d", "keep_records": "30d"}, "keep_records must be at least keep_documents"),
        ({"keep_records": "200y"}, "keep_records must be at most"),
    ],
)
def test_wrong_keys_stop_the_start(tmp_path: Path, more: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        configured(tmp_path, **more)


# --- folders only


async def test_a_document_put_again_while_it_is_being_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents(tmp_path / "documents")
    documents.open()
    assert isinstance(documents.shelf, Folder)
    stored = (await documents.put(CONTENT)).sha256
    final = documents.shelf.path(stored)
    then = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(final, (then, then))
    rename = Path.rename

    def put_meanwhile(source: Path, to: Path) -> Path:
        if source == final:  # another node's put comes right before the file is moved aside
            monkeypatch.setattr(Path, "rename", rename)
            os.utime(final)
        return rename(source, to)

    monkeypatch.setattr(Path, "rename", put_meanwhile)
    assert await documents.remove(stored, datetime.now(UTC) - HOUR) is False
    assert await documents.get(stored) == CONTENT
    documents.close()


async def test_a_removed_document_is_overwritten_first(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "documents")
    documents.open()
    stored = (await documents.put(CONTENT)).sha256
    with (documents.root / stored[:2] / stored).open("rb") as still_open:
        assert await documents.remove(stored, datetime.now(UTC) + HOUR)
        assert still_open.read() == bytes(len(CONTENT))
    documents.close()


async def test_what_a_killed_process_had_moved_aside_is_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents(tmp_path / "documents")
    documents.open()
    stored = (await documents.put(CONTENT)).sha256
    final = documents.root / stored[:2] / stored
    final.rename(final.with_name(stored + ".aside"))
    assert [page async for page in documents.pages()] == []  # perhaps somebody is at work on it
    monkeypatch.setattr("gateway.spool.shelf._ABANDONED", -1.0)
    assert [kept.sha256 async for page in documents.pages() for kept in page] == [stored]
    assert await documents.get(stored) == CONTENT
    documents.close()
