"""The table of adapters: what is in it can be built, and a wrong section stops the start naming file and key."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import httpx
import pytest

from gateway import carriers
from gateway.carriers.base import Capabilities, Carrier
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.errors import ConfigError, Unsupported
from tests.carriers import conformance
from tests.carriers.tools import tools_for

README = Path(carriers.__file__).with_name("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", carriers.CARRIERS)
def test_every_adapter_of_the_table_can_be_loaded_and_documents_its_keys(kind: str) -> None:
    adapter = carriers.adapter(kind)
    assert adapter.Config is not Carrier.Config
    source = Path(sys.modules[adapter.Config.__module__].__file__ or "").read_text(encoding="utf-8")
    for key in adapter.Config.model_fields:
        assert re.search(rf'^    {key}: .*\n    """|kind', source, re.MULTILINE), f"{key} is not documented"


async def test_build_makes_the_adapter_of_a_section(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        section = {"kind": "loopback", "call_time": "3s", "page_price": 0.07}
        adapter = carriers.build("main", section, "gateway.toml", tools_for(tmp_path, http=client))
    assert isinstance(adapter, Loopback)
    assert adapter.config.call_time.total_seconds() == 3
    assert repr(adapter) == "<carrier main (loopback)>"


@pytest.mark.parametrize(
    ("section", "key", "problem"),
    [
        ({}, "kind", "is missing"),
        ({"kind": 3}, "kind", "must be a text"),
        ({"kind": "loopbak"}, "kind", 'there is no carrier "loopbak"; known kinds: .*loopback'),
        ({"kind": "loopback", "call_tiem": "1s"}, "call_tiem", "unknown key; did you mean call_time?"),
        ({"kind": "loopback", "call_time": 3}, "call_time", 'a duration is written like "90s"'),
        ({"kind": "loopback", "error_rate": 1.5}, "error_rate", "less than or equal to 1"),
        ({"kind": "loopback", "secret": "short"}, "secret", "at least 16"),
        ({"kind": "loopback", "limit": 0}, "limit", "greater than or equal to 1"),
    ],
)
def test_a_wrong_section_names_file_and_key(section: dict[str, object], key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        carriers.check("main", section, "gateway.toml")
    assert (caught.value.file, caught.value.key) == ("gateway.toml", f"carrier.main.{key}")
    assert re.search(problem, caught.value.problem)
    assert "short" not in caught.value.text


def test_a_right_section_is_checked_without_building_anything() -> None:
    assert carriers.check("main", {"kind": "loopback"}, "gateway.toml") == LoopbackConfig(kind="loopback")


def test_an_outside_package_can_add_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outside-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{carriers.GROUP}]\npigeon = pigeon_carrier:Pigeon\nbroken = no_such_module:X\nnonsense = json:loads\n"
    )
    (tmp_path / "pigeon_carrier.py").write_text("from gateway.carriers.base import Carrier\nclass Pigeon(Carrier): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert carriers.adapter("pigeon").__name__ == "Pigeon"
    assert carriers.kinds() == sorted([*carriers.CARRIERS, "broken", "nonsense", "pigeon"])
    assert carriers.check("main", {"kind": "pigeon"}, "gateway.toml").kind == "pigeon"
    for kind in ("broken", "nonsense"):
        with pytest.raises(ConfigError, match=kind):
            carriers.check("main", {"kind": kind}, "gateway.toml")
    assert EntryPoint(name="pigeon", value="pigeon_carrier:Pigeon", group=carriers.GROUP)


async def test_a_carrier_is_born_refusing(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        tools = tools_for(tmp_path, http=client)
        bare = Carrier(tools, Carrier.Config(kind="bare"))
        for call in (
            bare.poll("x"),
            bare.find("x"),
            bare.went_out("x"),
            bare.cancel("x"),
            bare.listing(tools.now()),
            bare.list_inbound(),
            bare.fetch_inbound("x"),
            bare.own_lines(),
            bare.area_codes("CA"),
            bare.buy_line("415"),
            bare.release_line("x"),
        ):
            with pytest.raises(Unsupported):
                await call


def test_the_readme_lists_every_conformance_case() -> None:
    suites = (conformance.CarrierConformance, conformance.HttpCarrierConformance)
    cases = {name for suite in suites for name in vars(suite) if name.startswith("test_")}
    listed = set(re.findall(r"^\| `(test_\w+)` \|", README, re.MULTILINE))
    assert listed == cases


def test_the_readme_explains_every_capability() -> None:
    for name in Capabilities.__dataclass_fields__:
        assert f"`{name}`" in README, name
