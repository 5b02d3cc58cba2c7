"""The published description of the HelloFax door is true: schemathesis calls the real program with what it makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.web.hellofax_api import PREFIXES
from tests.flows.house import House

LOGIN, PASSWORD = "office@example.com", "correct horse"
#: Generated texts are seldom fax numbers, so a call that fits the description may still be refused.
NOT_CHECKED = "positive_data_acceptance"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("described"))
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.settings["door"] = {"hellofax": {"pending": 100_000}}
    try:
        house.start()
        yield house
    finally:
        house.close()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_description_is_published_without_a_login(served: House, prefix: str) -> None:
    status, text = served.get(f"{prefix}/openapi.json")
    assert status == 200
    assert set(json.loads(text)["paths"]) == {
        "/AreaCodes",
        "/Accounts/{guid}",
        "/Accounts/{guid}/FaxLines",
        "/Accounts/{guid}/FaxLines/{number}",
        "/Accounts/{guid}/Transmissions",
        "/Accounts/{guid}/Transmissions/{transmission}",
    }


def test_the_program_answers_as_it_describes(served: House, tmp_path: Path) -> None:
    """Dozens of calls of each kind, good and bad: no 500, no undocumented status or body, nothing bad is taken."""
    guid = served.sql("select guid from account")[0][0]
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"path.guid" = "{guid}"\n', encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"),
            f"http://127.0.0.1:{served.http_port}/v1/openapi.json",
            *("--auth", f"{LOGIN}:{PASSWORD}", "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1"),
            *("--exclude-checks", NOT_CHECKED, "--generation-database", "none", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 10" in done.stdout
    assert served.faults() == ""


def test_an_answer_of_every_kind_was_really_looked_at(served: House) -> None:
    """What generated calls seldom reach: a send, a line and a fax that exist, as the description says."""
    schemas = json.loads(served.get("/v1/openapi.json")[1])["components"]["schemas"]
    guid = served.sql("select guid from account")[0][0]
    base = f"http://127.0.0.1:{served.http_port}/v1/Accounts/{guid}"
    with httpx.Client(auth=(LOGIN, PASSWORD), trust_env=False, timeout=30) as client:
        sent = client.post(f"{base}/Transmissions", data={"To": "14155550123", "file": "text"}).json()["Transmission"]
        line = client.post(f"{base}/FaxLines", data={"AreaCode": "212"}).json()["FaxLine"]
        released = client.delete(f"{base}/FaxLines/{line['Number']}").json()["FaxLine"]
        account = client.get(base).json()["Account"]
    for name, value in (("Transmission", sent), ("FaxLine", line), ("FaxLine", released), ("Account", account)):
        assert set(value) == set(schemas[name]["required"])
