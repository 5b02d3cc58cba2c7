"""F22: a spool is looked through, saved and brought back while the service works; its documents may lie in a bucket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.house import House, fresh, letter
from tests.spool import objects


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    with objects.server() as endpoint:
        yield endpoint


def sent(house: House, number: str) -> None:
    assert house.send(letter(), number.lstrip("+")) == {}
    assert house.fax(number)["state"] == "delivered"


def test_fsck_export_and_import_of_a_spool_at_work(house: House, tmp_path: Path) -> None:
    house.start()
    number = fresh()
    sent(house, number)
    assert "in order" in house.cli("fsck").stdout
    backup = tmp_path / "backup.tar"
    told = json.loads(house.cli("export", str(backup), "--json").stdout)
    assert told["documents"] >= 2
    assert backup.stat().st_mode & 0o777 == 0o600
    assert house.cli("export", str(backup), check=False).returncode == 1  # never over another one
    before = house.ask("queue")
    assert house.cli("import", str(backup), check=False).returncode == 75  # the service has it
    house.stop()
    assert house.cli("import", str(backup), check=False).returncode == 1  # it is not empty
    (house.folder / "spool").rename(tmp_path / "lost")
    assert "documents" in house.cli("import", str(backup)).stdout
    house.start()
    assert house.ask("queue") == before
    assert len(house.calls(number)) == 1
    sent(house, fresh())
    assert "in order" in house.cli("fsck").stdout


def test_fsck_removes_an_orphan_beside_the_running_service_and_holds_a_fax_without_its_pages(house: House) -> None:
    house.settings["retry"]["busy"] = ["1h"]
    house.start()
    number = fresh("11")
    house.send(letter(), number.lstrip("+"))
    fax = house.fax(number, "deferred")
    pages = house.spool / "documents" / fax["document"][:2] / fax["document"]
    orphan = house.spool / "documents" / "00" / ("0" * 64)
    orphan.write_bytes(b"nobody's")
    os.utime(orphan, (time.time() - 2 * 86400,) * 2)
    pages.write_bytes(b"damaged")
    assert house.cli("fsck", check=False).returncode == 1
    assert orphan.exists()
    findings = {one["fault"]: one for one in json.loads(house.cli("fsck", "--repair", "--json").stdout)}
    assert findings["document without a fax"]["repaired"] == "removed"
    assert findings["document damaged"]["subject"] == fax["id"]
    assert not orphan.exists()
    assert "fsck" in house.fax(number, "held")["reason"]


def test_documents_in_a_bucket_all_the_way(house: House, object_store: str) -> None:
    bucket = objects.bucket(object_store, "faxes")
    (house.folder / "secret").write_text(objects.SECRET)
    house.settings["documents"] = f"s3://{bucket}/docs"
    keys = {"region": "us-east-1", "access_key": objects.KEY, "secret_key_file": "secret"}
    house.settings["s3"] = {"endpoint": object_store, **keys}
    house.start()
    sent(house, fresh())
    house.wait(lambda: len(house.sink.letters) == 1, 30, "the report")
    assert [path for path in (house.spool / "documents").rglob("*") if path.is_file()] == []
    listed = objects.client(object_store).list_objects_v2(Bucket=bucket)["Contents"]
    assert len(listed) == 2  # the mail and its pages
    assert all(entry["Key"].startswith("docs/") for entry in listed)
