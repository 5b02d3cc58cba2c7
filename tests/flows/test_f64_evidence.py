"""Evidence with the real program: a fax by SMTP, its bundle verified where there is neither gateway nor configuration."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import bundle
from gateway.cli import main
from gateway.seal import canonical, digest
from tests.flows.house import OWN_LINE, REPOSITORY, House, fresh, letter


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("evidence"))
    made.settings["evidence"] = {"every": "10s"}
    made.start()
    yield made
    made.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody who has nothing but a bundle."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def verified(file: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, verdict, and what is said on stderr."""
    done = CliRunner().invoke(main, ["evidence", "verify", str(file), "--json", *words])
    return done.exit_code, json.loads(done.stdout), done.stderr


def verified_apart(file: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """The same in a process that knows no gateway: of its own, in the folder of the bundle, without configuration."""
    command = [sys.executable, "-m", "gateway", "evidence", "verify", file.name, "--json", *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def faxed(place: House, ending: str = "23") -> dict[str, Any]:
    """A fax that has ended, and whose sender was told."""
    number, mail = fresh(ending), letter(f"Evidence {ending}")
    place.send(mail, number)
    fax = place.fax(number)
    place.reports(mail)
    place.wait(lambda: place.sql(f"SELECT 1 FROM history WHERE subject = '{fax['id']}' AND what = 'told'"))
    return fax


def fingerprint(place: House) -> str:
    keys = json.loads(place.cli("evidence", "keys", "--json").stdout)
    return str(keys[-1]["fingerprint"])


def collected(place: House, fax: str, folder: Path, *words: str) -> Path:
    out = folder / f"{fax}.zip"
    place.cli("evidence", fax, "--out", str(out), *words)
    return out


def opened(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as files:
        return {name: files.read(name) for name in files.namelist()}


def test_a_fax_is_proven_where_there_is_no_gateway(place: House, elsewhere: Path) -> None:
    fax = faxed(place)
    file = collected(place, fax["id"], elsewhere, "--mail")
    assert file.stat().st_mode & 0o777 == 0o600
    code, verdict, _ = verified_apart(file, "--key", fingerprint(place))
    assert (code, verdict["whole"], verdict["trusted"], verdict["fax"]) == (0, True, True, fax["id"])
    assert verdict["absent"] == []
    files = opened(file)
    assert digest(files["pages.pdf"]) == fax["document"]
    assert b"Subject: Evidence 23" in files["mail.eml"]
    statements = [content for name, content in files.items() if name.startswith("statements/")]
    assert any(b"delivered" in content for content in statements)
    (report,) = [one for one in place.sink.letters if "Evidence 23" in one.subject]
    (told,) = [link for link in verdict["told"] if link["what"] == "told"]
    assert told["message_id"] == report.mail["Message-ID"]
    assert told["mail"] == digest(report.content)
    assert told["answer"].startswith("2.0.0 kept") or "kept" in told["answer"]
    summary = files["summary.txt"].decode()
    assert fax["id"] in summary
    assert fax["number"] in summary
    assert "delivered" in summary


def test_without_a_key_it_is_whole_and_nobody_s(place: House, elsewhere: Path) -> None:
    file = collected(place, faxed(place)["id"], elsewhere)
    code, verdict, said = verified(file)
    assert (code, verdict["whole"], verdict["trusted"]) == (3, True, False)
    assert "--key" in said
    assert [one["file"] for one in verdict["absent"]] == ["mail.eml"]
    code, verdict, said = verified(file, "--key", "00" * 32)
    assert (code, verdict["part"]) == (1, "keys.jsonl")
    assert "keys.jsonl" in said


def test_every_attempt_and_every_statement_is_in_it(place: House, elsewhere: Path) -> None:
    fax = faxed(place, "17")  # busy twice, then delivered
    code, verdict, _ = verified(collected(place, fax["id"], elsewhere), "--key", fingerprint(place))
    assert code == 0
    ended = [link["outcome"] for link in verdict["told"] if link["what"] == "attempt ended"]
    assert ended == ["busy", "busy", "delivered"]
    assert len({link["carrier_ref"] for link in verdict["told"] if link["what"] == "submitted"}) == 3


def test_tampering_in_any_part_is_named(place: House, elsewhere: Path) -> None:
    """By somebody who writes the zip anew; each file in turn, and the manifest with it."""
    file = collected(place, faxed(place)["id"], elsewhere, "--mail")
    files, key = opened(file), fingerprint(place)
    for name, content in files.items():
        forged = file.with_name("forged.zip")
        half = len(content) // 2
        changed = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :] if content else b"x"
        forged.write_bytes(bundle.pack({**files, name: changed}))
        verdict = bundle.verify(forged.read_bytes(), key)
        assert verdict.part == name or (name, verdict.part) == (bundle.SIGNATURE, bundle.MANIFEST)
    manifest = json.loads(files[bundle.MANIFEST])
    manifest["files"]["pages.pdf"] = {"sha256": digest(b"other"), "bytes": 5}
    forged.write_bytes(bundle.pack({**files, "pages.pdf": b"other", bundle.MANIFEST: canonical(manifest)}))
    code, verdict_of, said = verified_apart(forged, "--key", key)
    assert (code, verdict_of["part"]) == (1, "manifest.json")
    assert "is refused: manifest.json" in said


def test_a_received_fax_is_proven(place: House, elsewhere: Path) -> None:
    place.send(letter("To ourselves"), OWN_LINE)
    (inbound,) = place.wait(lambda: [one for one in place.ask("received", limit=9) if one["state"] == "mailed"])
    file = collected(place, inbound["id"], elsewhere)
    code, verdict, _ = verified(file, "--key", fingerprint(place))
    assert (code, verdict["fax"]) == (0, inbound["id"])
    assert digest(opened(file)["fax.pdf"]) == inbound["document"]


def test_after_a_rotation_the_old_fingerprint_still_proves_what_comes(place: House, elsewhere: Path) -> None:
    old, before = fingerprint(place), collected(place, faxed(place)["id"], elsewhere)
    made = json.loads(place.cli("evidence", "rotate", "--json").stdout)
    assert made["fingerprint"] == fingerprint(place) != old
    after = collected(place, faxed(place)["id"], elsewhere)
    for file, key, code in (
        (before, old, 0),
        (after, old, 0),
        (after, made["fingerprint"], 0),
        (before, made["fingerprint"], 1),
    ):
        assert verified(file, "--key", key)[0] == code
    assert len(verified(after)[1]["keys"]) == len(verified(before)[1]["keys"]) + 1


def test_a_row_changed_behind_the_gateway_s_back_is_found(place: House, elsewhere: Path) -> None:
    """The bundle says what was sealed; fsck, that the rows say something else now."""
    fax = faxed(place)
    honest = collected(place, fax["id"], elsewhere)
    with sqlite3.connect(place.spool / "faxgate.db", timeout=30) as database:
        database.execute("UPDATE attempt SET pages_sent = 7 WHERE transmission_id = ?", (fax["id"],))
    database.close()
    done = place.cli("fsck", "--json", check=False)
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)
    assert (finding["fault"], finding["subject"]) == ("changed after it was sealed", fax["id"])
    assert "pages_sent" in finding["detail"]
    again = place.folder / "again"
    again.mkdir()
    assert opened(collected(place, fax["id"], again))["links.jsonl"] == opened(honest)["links.jsonl"]


def test_without_being_asked_it_is_sealed_too(place: House) -> None:
    fax = faxed(place)
    query = f"SELECT links FROM chain WHERE subject = '{fax['id']}'"
    place.wait(lambda: place.sql(query), 40, "the fax to be sealed")
    place.wait(lambda: re.search(r"seal \d+ of \d+ faxes: [0-9a-f]{64}", place.log.read_text()), 10, "the root in the log")


def test_a_backup_keeps_keys_and_chain(place: House, elsewhere: Path, tmp_path: Path) -> None:
    fax = faxed(place)
    honest = collected(place, fax["id"], elsewhere)
    key, backup = fingerprint(place), tmp_path / "backup.tar"
    place.cli("export", str(backup))
    (tmp_path / "there").mkdir()
    there = House(tmp_path / "there")
    try:
        there.write_settings()
        there.cli("import", str(backup))
        again = collected(there, fax["id"], tmp_path)
        assert verified(again, "--key", key)[0] == 0
        assert opened(again)["links.jsonl"].startswith(opened(honest)["links.jsonl"])
        assert opened(again)["seals.jsonl"].startswith(opened(honest)["seals.jsonl"])
    finally:
        there.close()
        shutil.rmtree(there.spool)


def test_what_is_no_bundle_and_no_fingerprint_is_refused(place: House, elsewhere: Path) -> None:
    odd = elsewhere / "odd.zip"
    with zipfile.ZipFile(odd, "w") as files:
        files.writestr("manifest.json", io.BytesIO(b"{}").getvalue())
    assert verified(odd)[:2][0] == 1
    done = place.cli("evidence", "keys", check=True)
    assert fingerprint(place) in done.stdout
    assert place.cli("evidence", "tx_nothing", check=False).returncode == 1
