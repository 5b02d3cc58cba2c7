"""Common: settings, files, countries, zones, currencies. Section 6.2 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- The one language is `en-US`. Where somebody is is not guessed from an address: GetGeoIPInformation answers our own region.
- Lists: `CurrencyList` (`code`, `rate` in EUR for one unit), `CountryList`, `ZoneList`, `TimezonesList`, `LanguageList`,
  `FileTypes` (`extension`, `mimetype`), `VersionList`, `StatesList`, `PortalStrings`.
- GetPagePreview takes the uuid of a fax, of a cover (`preview_id`), or that of GetPreview's pages.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import phonenumbers
from starlette.responses import Response

from gateway import __version__
from gateway.carriers.pamfax_wire import Listing
from gateway.fax import Sha256
from gateway.spool import pamfax as records
from gateway.web.pamfax import covers, faxes, money
from gateway.web.pamfax.call import Call, Fault, Members, Processor
from gateway.web.pamfax.countries import countries
from gateway.web.pamfax.files import TYPES
from gateway.web.pamfax.history import file
from gateway.web.pamfax.house import House

common = Processor("Common")
_LANGUAGE = {"code": "en-US", "name": "English", "percent_translated": 100}
_CULTURE = {"code": "en-US", "date_format": "Y-m-d", "time_format": "H:i:s", "decimal_separator": "."}


def _country(house: House, code: str) -> dict[str, Any]:
    prefix = str(phonenumbers.country_code_for_region(code))
    return {
        "code": code,
        "parent": "",
        "zone": house.prices.zone_of(code),
        "name": countries()[code],
        "countryprefix": prefix,
    }


@common.method("ListCountries", user=False)
async def list_countries(house: House, _call: Call) -> Members:
    entries = [_country(house, code) for code in countries()]
    return {"CountryList": Listing(entries=entries, attributes={"revision": 1, "language": "en-US"})}


@common.method("ListCountriesForZone", user=False)
@common.method("ListDestinationsForZone", user=False)
async def list_countries_for_zone(house: House, call: Call) -> Members:
    if (zone := call.needed("zone", 60)) not in house.prices.zones:
        raise Fault("invalid_zone", "There is no such zone; Common/ListZones lists them.")
    return {"CountryList": [_country(house, code) for code in countries() if house.prices.zone_of(code) == zone]}


@common.method("ListCountriesPrices", user=False)
async def list_countries_prices(house: House, call: Call) -> Members:
    purse = await money.of(house, call.signed_in[1] if call.signed_in else None)
    zones = house.prices.zones
    told = [
        {**country, "price": purse.shown(zones[country["zone"]].fixed), "currency": purse.currency}
        for country in (_country(house, code) for code in countries())
    ]
    return {"CountryList": told}


@common.method("ListZones", user=False)
async def list_zones(house: House, call: Call) -> Members:
    purse = await money.of(house, call.signed_in[1] if call.signed_in else None)
    told = [
        {"zone_id": name, "price": purse.shown(zone.fixed), "price_pro": purse.shown(zone.fixed), "currency": purse.currency}
        for name, zone in house.prices.zones.items()
    ]
    return {"ZoneList": told}


@common.method("ListCurrencies", user=False)
async def list_currencies(house: House, call: Call) -> Members:
    wanted = call.text("code", 3).upper()
    rates = {code: rate for code, rate in house.prices.rates().items() if wanted in ("", code)}
    return {"CurrencyList": [{"code": code, "symbol": money.symbol(code), "rate": float(rate)} for code, rate in rates.items()]}


@common.method("GetCurrencyByLang", user=False)
async def get_currency_by_lang(house: House, _call: Call) -> Members:
    return {"Currency": {"code": house.door.currency, "raw_symbol": money.symbol(house.door.currency)}}


@common.method("GetFormattedPrice", user=False)
async def get_formatted_price(house: House, call: Call) -> Members:
    purse = await money.of(house, call.signed_in[1] if call.signed_in else None)
    return {"CurCode": purse.currency, "Price": {"CurCode": purse.currency, "formatted": purse.formatted(0)}}


@common.method("GetCurrentSettings", user=False)
async def get_current_settings(house: House, call: Call) -> Members:
    purse = await money.of(house, call.signed_in[1] if call.signed_in else None)
    return {"Settings": {"timezone": call.zone.key, "currency": purse.currency, "culture": "en-US", "language": "en"}}


@common.method("GetCurrentCultureInfo", user=False)
@common.method("SetCulture", user=False)
async def get_current_culture_info(_house: House, _call: Call) -> Members:
    return {"CultureInfo": _CULTURE}


@common.method("GetGeoIPInformation", user=False)
async def get_geo_ip_information(house: House, _call: Call) -> Members:
    region = house.config.region
    return {"GeoIP": {"country_code": region, "country_name": countries().get(region, "")}}


@common.method("ListCountryStates", user=False)
async def list_country_states(_house: House, call: Call) -> Members:
    if (call.text("country_code", 2) or "US").upper() not in countries():
        raise Fault("invalid_country_code", "There is no such country.")
    raise Fault("country_has_no_states", "Numbers and prices here do not depend on states.")


@common.method("ListLanguages", user=False)
async def list_languages(_house: House, call: Call) -> Members:
    if call.count("min_percent_translated", 75) > 100:
        raise Fault("invalid_percent_value", "min_percent_translated is at most 100.")
    return {"LanguageList": [_LANGUAGE]}


@common.method("ListStrings", user=False)
async def list_strings(_house: House, _call: Call) -> Members:
    return {"PortalStrings": []}


@common.method("ListSupportedFileTypes", user=False)
async def list_supported_file_types(_house: House, _call: Call) -> Members:
    return {"FileTypes": [{"extension": ending, "mimetype": kind} for ending, kind in TYPES.items()]}


@common.method("ListTimezones", user=False)
async def list_timezones(_house: House, _call: Call) -> Members:
    names = sorted(name for name in available_timezones() if "/" in name or name == "UTC")
    return {"TimezonesList": Listing(entries=[{"name": name} for name in names], entry="Timezone")}


@common.method("ListVersions", user=False)
async def list_versions(_house: House, _call: Call) -> Members:
    return {"VersionList": [{"name": "Faxgate", "version": __version__}]}


@common.method("GetFile")
async def get_file(house: House, call: Call) -> Response:
    uuid = call.needed("file_uuid", 64)
    job = await house.store.read(records.job, str(call.session.state.get("job", "")), call.account.id)
    for one in job["files"] if job else ():
        if job and one["id"] == uuid:
            document = (await house.store.read(records.files, job["id"]))[uuid]
            return file(await house.documents.get(document), one["mime"], f"{uuid}.{one['ext']}")
    return file(await house.documents.get(await faxes.shown(house, call, uuid)), "application/pdf", f"{uuid}.pdf")


@common.method("GetPagePreview")
async def get_page_preview(house: House, call: Call) -> Response:
    uuid, page, width = call.needed("uuid", 64), call.count("page_no", 1), call.count("max_width", 0)
    picture = await house.previews.picture(await _pages(house, call, uuid), page, width)
    if picture is None:
        raise Fault("file_not_found", "There is no such page.")
    return file(picture, "image/png", f"{uuid}-{page}.png")


async def _pages(house: House, call: Call, uuid: str) -> Sha256:
    job = await house.store.read(records.job, str(call.session.state.get("job", "")), call.account.id)
    if job and uuid in (job["id"], job.get("made", {}).get("id")) and "id" in job.get("made", {}):
        return (await house.store.read(records.files, job["id"]))[job["made"]["id"]]
    if (cover := await covers.preview(house, call, uuid)) is not None:
        return cover
    return await faxes.shown(house, call, uuid)
