"""A section of the configuration checked against its model: what is wrong becomes one line that names file and key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], data: Mapping[str, Any], file: str, where: str) -> M:
    """`model` from one section; the first fault becomes a ConfigError with the full key."""
    try:
        return model.model_validate(data, context={"folder": Path(file).absolute().parent})
    except ValidationError as error:
        faults = error.errors()
        # A misspelt key is often why another one is missing.
        fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        raise _config_error(model, fault, file, where) from None


def _config_error(model: type[BaseModel], fault: ErrorDetails, file: str, where: str) -> ConfigError:
    key = where
    for part in fault["loc"]:
        key = f"{key}[{part + 1}]" if isinstance(part, int) else f"{key}.{part}" if key else str(part)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return ConfigError(file, key, f"unknown key; {hint}")
    if fault["type"] == "missing":
        return ConfigError(file, key, "is missing")
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":
        domain = fault["loc"][0] == "domain"
        text = (
            "is not a domain like fax.example.com, in ASCII"
            if domain
            else "is not a mail address like fax@example.com, in ASCII"
        )
    return ConfigError(file, key, text)


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Names of the keys that are allowed at `path`."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        info = current.model_fields.get(part)
        candidates = [] if info is None else [info.annotation, *getattr(info.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return [info.alias or name for name, info in current.model_fields.items() if name != "file"] if current else []
