"""Carriers: who dials. The table of adapters, and how one is built from its section of the configuration.

An adapter is imported on first use, so that a library only one carrier needs is only needed with that carrier. Other
packages add adapters by the entry-point group `gateway.carriers`; a name in the table here wins.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from gateway.carriers.base import Carrier, CarrierConfig, Tools
from gateway.errors import ConfigError
from gateway.faults import validated

#: The only list. Kind in the configuration -> module and class.
CARRIERS: Mapping[str, str] = {
    "hellofax": "gateway.carriers.hellofax:HelloFax",
    "hylafax": "gateway.carriers.hylafax:HylaFax",
    "loopback": "gateway.carriers.loopback:Loopback",
    "pamfax": "gateway.carriers.pamfax:PamFax",
}
GROUP = "gateway.carriers"


def kinds() -> list[str]:
    """Every kind that may stand in the configuration, of outside packages too."""
    return sorted({*CARRIERS, *(point.name for point in entry_points(group=GROUP))})


def adapter(kind: str) -> type[Carrier]:
    """The adapter class of one kind. Raises KeyError where there is none, TypeError where it is not a Carrier."""
    if kind in CARRIERS:
        module, _, name = CARRIERS[kind].partition(":")
        found: object = getattr(importlib.import_module(module), name)
    else:
        found = _outside(kind).load()
    if not (isinstance(found, type) and issubclass(found, Carrier)):
        raise TypeError(f"the adapter of the kind {kind} is not a Carrier")
    return found


def _outside(kind: str) -> EntryPoint:
    for point in entry_points(group=GROUP, name=kind):
        return point
    raise KeyError(kind)


def check(name: str, section: Mapping[str, object], file: str) -> CarrierConfig:
    """Validate `[carrier.NAME]` without building anything. Raises ConfigError naming file and key."""
    return _checked(name, section, file)[1]


def build(name: str, section: Mapping[str, object], file: str, tools: Tools) -> Carrier:
    """The adapter of `[carrier.NAME]`, not started yet. Raises ConfigError naming file and key."""
    found, settings = _checked(name, section, file)
    return found(tools, settings)


def _checked(name: str, section: Mapping[str, object], file: str) -> tuple[type[Carrier], CarrierConfig]:
    kind, key = section.get("kind"), f"carrier.{name}.kind"
    if not isinstance(kind, str):
        raise ConfigError(file, key, "is missing" if kind is None else "must be a text")
    try:
        found = adapter(kind)
    except KeyError as error:
        raise ConfigError(file, key, f'there is no carrier "{kind}"; known kinds: {", ".join(kinds())}') from error
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(file, key, f'the adapter of "{kind}" cannot be loaded ({type(error).__name__}: {error})') from error
    return found, validated(found.Config, section, file, f"carrier.{name}")
