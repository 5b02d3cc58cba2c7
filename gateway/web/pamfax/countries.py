"""The countries and towns that have telephones, by their English names."""

from __future__ import annotations

import functools
from types import ModuleType

import phonenumbers


@functools.cache
def countries() -> dict[str, str]:
    """Names in English by ISO code, those that have telephones."""
    found = {}
    for code in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(code)
        if example is not None and (name := _geocoder().country_name_for_number(example, "en")):
            found[code] = name
    return found


def town(number: phonenumbers.PhoneNumber) -> str:
    """The town or region that a number belongs to; "" where it is not known."""
    return str(_geocoder().description_for_number(number, "en"))


def _geocoder() -> ModuleType:
    """Its places take 100 MB of memory and half a second: a gateway that nobody asks for them does without."""
    from phonenumbers import geocoder

    return geocoder
