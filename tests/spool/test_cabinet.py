"""The archive of received faxes: names that lead nowhere else, files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import daemon
from gateway.config import parse
from gateway.spool.cabinet import FolderCabinet, name_of
from gateway.spool.objects import BucketCabinet, Place
from tests.spool import objects
from tests.work.shop import SETTINGS

TEMPLATE = "{year}/{line}/{station}/{caller}-{id}"
FACTS = {"year": "2026", "line": "+14155550100", "station": "ACME LTD", "caller": "+442079460123", "id": "in_01jn"}


@pytest.mark.parametrize(
    ("station", "written"),
    [
        ("ACME LTD", "ACME_LTD"),
        ("", "unknown"),
        ("../../etc/passwd", "etc_passwd"),
        ("..", "unknown"),
        (".ssh", "ssh"),
        ("a/../b", "a_._b"),
        ("C:\\x", "C_x"),
        ("-rf *", "rf"),
        ("Café\x00\n", "Caf"),
        ("x" * 300, "x" * 60),
    ],
)
def test_what_callers_say_is_a_harmless_name(station: str, written: str) -> None:
    assert name_of(TEMPLATE, {**FACTS, "station": station}) == f"2026/+14155550100/{written}/+442079460123-in_01jn"


@given(station=st.text(), caller=st.text(), line=st.text())
def test_no_caller_leads_out_of_the_archive(station: str, caller: str, line: str) -> None:
    name = name_of(TEMPLATE, {**FACTS, "station": station, "caller": caller, "line": line})
    assert os.path.normpath(name) == name
    assert name.count("/") == 3
    assert all(part.isascii() and part.isprintable() and not part.startswith((".", "-")) for part in name.split("/"))


def test_a_file_is_whole_and_written_again_it_is_one(tmp_path: Path) -> None:
    archive = FolderCabinet(tmp_path)
    left = tmp_path / "2026" / "07" / f".fax.pdf.{'a' * 16}.part"
    archive.put("2026/07/fax.pdf", b"first", "application/pdf")
    left.write_bytes(b"of a process that died")
    other = left.with_name(f".fax.pdf.notes.{'a' * 16}.part")
    other.write_bytes(b"somebody else's")
    archive.put("2026/07/fax.pdf", b"again", "application/pdf")
    assert sorted(path.name for path in left.parent.iterdir()) == sorted([other.name, "fax.pdf"])
    assert (left.parent / "fax.pdf").read_bytes() == b"again"


def test_a_name_appears_only_with_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, or the machine stops, between writing and naming."""
    archive, synced = FolderCabinet(tmp_path), list[str]()

    def full(_handle: int) -> None:
        synced.extend(path.name for path in tmp_path.iterdir())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            archive.put("fax.pdf", b"%PDF", "application/pdf")
    assert len(synced) == 1
    assert synced[0].endswith(".part")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderCabinet(tmp_path / "not mounted").put("2026/fax.pdf", b"%PDF", "application/pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with objects.server() as running:
        yield running


def test_a_bucket_keeps_the_same_names(endpoint: str) -> None:
    place = Place(
        url=f"s3://{objects.bucket(endpoint, 'faxes')}/kept/", endpoint=endpoint, region="us-east-1",
        access_key=objects.KEY, secret_key=objects.SECRET,
    )  # fmt: skip
    archive = BucketCabinet(place)
    for content in (b"first", b"again"):
        archive.put("2026/fax.pdf", content, "application/pdf")
    archive.close()
    with contextlib.closing(objects.client(endpoint)) as store:
        (found,) = store.list_objects_v2(Bucket="faxes")["Contents"]
        kept = store.get_object(Bucket="faxes", Key=found["Key"])
        assert (found["Key"], kept["Body"].read(), kept["ContentType"]) == ("kept/2026/fax.pdf", b"again", "application/pdf")


def test_the_archive_of_the_configuration_may_be_a_bucket(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(objects.SECRET)
    archive = {"folder": f"s3://{objects.bucket(endpoint, 'configured')}/in"}
    s3 = {"endpoint": endpoint, "region": "us-east-1", "access_key": objects.KEY, "secret_key_file": str(tmp_path / "secret")}
    made = daemon.cabinet_of(parse({**SETTINGS, "spool": str(tmp_path), "archive": archive, "s3": s3}, "gateway.toml"))
    assert made is not None
    made.put("2026/fax.json", b"{}", "application/json")
    made.close()
    with contextlib.closing(objects.client(endpoint)) as store:
        assert [one["Key"] for one in store.list_objects_v2(Bucket="configured")["Contents"]] == ["in/2026/fax.json"]


def test_a_bucket_that_is_not_there_is_an_error_of_the_disk(endpoint: str) -> None:
    place = Place(url="s3://nowhere", endpoint=endpoint, region="us-east-1", access_key="a", secret_key="b")
    archive = BucketCabinet(place)
    with pytest.raises(OSError, match="NoSuchBucket"):
        archive.put("fax.pdf", b"", "application/pdf")
    archive.close()
