"""What the program has, the documents name: keys, commands, outcomes, carriers, modules."""

import re
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from gateway import carriers
from gateway.carriers.base import CarrierConfig
from gateway.cli import main
from gateway.config import Config
from gateway.errors import Outcome

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = (ROOT / "gateway" / "README.md").read_text(encoding="utf-8")
CAPABILITIES = {
    "cancels": "cancels",
    "finds": "finds",
    "absence proves unsent": "absence_proves_unsent",
    "signs callbacks": "signs_callbacks",
    "polls": "polls",
    "receives": "receives",
    "sub-addresses": "sub_addresses",
}


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the configuration, as the README writes it."""
    for name, info in model.model_fields.items():
        inner = [info.annotation, *getattr(info.annotation, "__args__", ())]
        section = next((a for a in inner if isinstance(a, type) and not _generic(a) and issubclass(a, BaseModel)), None)
        key = prefix + (info.alias or name)
        if section is not None:
            yield from keys(section, key + ".")
        elif key not in ("file", "carrier"):
            yield key


def _generic(candidate: type) -> bool:
    return isinstance(candidate, types.GenericAlias)


@pytest.mark.parametrize("key", sorted(keys(Config)))
def test_every_key_is_in_the_readme(key: str) -> None:
    assert f"`{key}`" in README


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")
        else:
            yield prefix + name


@pytest.mark.parametrize("command", sorted(commands(main)))
def test_every_command_is_in_the_readme(command: str) -> None:
    first, _, second = command.partition(" ")
    rows = [row for row in README.splitlines() if row.startswith(f"| `{first}")] or [
        row for row in README.splitlines() if row.startswith("| `") and f"`{first} " in row
    ]
    assert rows, f"no row for {command}"
    assert not second or any(second in row for row in rows)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_in_the_readme(outcome: Outcome) -> None:
    assert f"`{outcome}`" in README


def test_the_carriers_table_says_what_the_adapters_can_do() -> None:
    table = README.split("compared with the code by tests/test_docs.py")[1].split("\n\n")[1].splitlines()
    columns = [cell.strip() for cell in table[0].strip("|").split("|")][1:]
    assert columns == list(CAPABILITIES)
    said = {}
    for row in table[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        said[cells[0]] = dict(zip(columns, cells[1:], strict=True))
    can = {
        kind: {
            column: "yes" if getattr(carriers.adapter(kind).capabilities, field) else "no"
            for column, field in CAPABILITIES.items()
        }
        for kind in carriers.CARRIERS
    }
    assert said == can


@pytest.mark.parametrize("kind", sorted(carriers.CARRIERS))
def test_every_key_of_a_carrier_is_in_the_readme(kind: str) -> None:
    own = set(carriers.adapter(kind).Config.model_fields) - set(CarrierConfig.model_fields)
    assert [key for key in sorted(own) if f"`{key}`" not in README] == []


def test_every_module_is_on_the_map() -> None:
    modules = [
        path for path in (ROOT / "gateway").rglob("*.py") if "migrations" not in path.parts and not path.stem.startswith("_")
    ]
    assert [str(path) for path in modules if f"`{path.stem}`" not in MAP] == []


def test_the_map_names_no_module_that_is_gone() -> None:
    table = MAP.split("## The modules")[1].split("## Why")[0]
    stems = {path.stem for path in (ROOT / "gateway").rglob("*.py")} | {path.name for path in (ROOT / "gateway").iterdir()}
    assert [name for name in re.findall(r"`([a-z_]+)`", table) if name not in stems] == []
