"""The countries that have telephones, by their English names."""

from __future__ import annotations

import functools

import phonenumbers
from phonenumbers import geocoder


@functools.cache
def countries() -> dict[str, str]:
    """Names in English by ISO code, those that have telephones."""
    found = {}
    for code in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(code)
        if example is not None and (name := geocoder.country_name_for_number(example, "en")):
            found[code] = name
    return found
