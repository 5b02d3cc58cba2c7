"""How the values of the configuration are written: durations, sizes, addresses, time zones. Types for pydantic models."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, ValidationInfo

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
_SIZES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


def _duration(value: object) -> timedelta:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdy])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('a duration is written like "90s", "15m", "20h" or "30d"')
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError as error:
        raise ValueError("nothing lasts that long") from error


def _written(value: timedelta) -> str:
    """As it is written in the file: "90s", "15m", "20h"."""
    seconds = value.total_seconds()
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNITS[unit] == 0 or unit == "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"


def _size(value: object) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(B|kB|MB|GB)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('a size is written like "500kB" or "40MB"')
    return int(float(match[1]) * _SIZES[match[2]])


def micro_eur(value: object) -> int:
    """Whole micro-EUR of an amount as it is written. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('an amount in EUR is written like "0.09" or "12"')
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def eur(amount: int) -> str:
    """Micro-EUR for people: cents, and what is less than a cent only where there is any."""
    whole, rest = divmod(abs(amount), 1_000_000)
    return f"{'-' if amount < 0 else ''}{whole}.{f'{rest:06}'.rstrip('0').ljust(2, '0')} EUR"


def _filled(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


def _zone(value: object) -> str:
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError('not a time zone; write one like "America/New_York" or "UTC"') from error
    return str(value)


def _endpoint(value: object) -> object:
    """`host:port`, `[v6]:port` or an absolute path of a Unix socket."""
    if isinstance(value, str) and value.startswith("/"):
        return value
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):([0-9]{1,5})", value) if isinstance(value, str) else None
    if not match or int(match[2]) > 65535:
        raise ValueError('write an address like "127.0.0.1:2525" or "[::]:25"')
    return value


def _beside(value: Path, info: ValidationInfo) -> Path:
    return info.context["folder"] / value if info.context else value


def secret_in(path: Path, folder: Path) -> str:
    """One line from a secret file; a relative path starts in `folder`. `$CREDENTIALS_DIRECTORY` (systemd) may stand in it.

    Raises ValueError saying why it cannot be had.
    """
    real = folder / str(path).replace("$CREDENTIALS_DIRECTORY", os.environ.get("CREDENTIALS_DIRECTORY", ""))
    try:
        secret = real.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"{path} cannot be read ({why})") from error
    if not secret:
        raise ValueError(f"{path} is empty")
    return secret


def _secret_file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    return SecretStr(secret_in(Path(value), info.context["folder"] if info.context else Path()))


def _web_address(value: object) -> object:
    """ "" or an absolute http(s) URL with a host and without a name and password in it."""
    if not isinstance(value, str) or (value and not re.fullmatch(r"https?://[^/?#@\s]+([/?#]\S*)?", value, re.IGNORECASE)):
        raise ValueError('write it like "https://www.example.com/fax"')
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(_written)]
Size = Annotated[int, BeforeValidator(_size)]
#: Micro-EUR, a whole number; written as EUR.
Money = Annotated[int, BeforeValidator(micro_eur), PlainSerializer(lambda amount: eur(amount).removesuffix(" EUR"))]
Text = Annotated[str, BeforeValidator(_filled)]
Endpoint = Annotated[str, BeforeValidator(_endpoint), BeforeValidator(_filled)]
#: A relative path starts where the configuration file is, wherever the program was started.
Beside = Annotated[Path, AfterValidator(_beside)]
#: Written as a path; what stands in the file.
SecretFile = Annotated[SecretStr, BeforeValidator(_secret_file)]
WebAddress = Annotated[str, BeforeValidator(_web_address), Field(max_length=2000)]
Zone = Annotated[str, BeforeValidator(_zone)]
Mail = Annotated[str, Field(pattern=r"^[!-;=?A-~]+@[A-Za-z0-9.\[\]:-]+$")]
Domain = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$|^\[[0-9a-f:.]+\]$")]
