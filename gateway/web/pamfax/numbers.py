"""NumberInfo: what is known of a fax number, and what a page to it costs. Sections 6.3 and 10 of reference/pamfax.md.

Prices are texts here, as recorded. What we sell has one price: the "proplan" is the same.
"""

from __future__ import annotations

from gateway.number import FaxNumber
from gateway.web.pamfax import money, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor, called_number
from gateway.web.pamfax.countries import countries
from gateway.web.pamfax.house import House

number_info = Processor("NumberInfo")
_SHORTEST = 8  # characters


def _asked(house: House, call: Call) -> str:
    written = call.raw("faxnumber", 100)
    if len(written.strip()) < _SHORTEST:
        raise Fault("invalid_fax_number", "faxnumber has a country code and at least 8 characters.")
    return called_number(written, house.config.region).e164


@number_info.method("GetNumberInfo", user=False)
async def get_number_info(house: House, call: Call) -> Members:
    fax = _asked(house, call)
    return {"NumberInfo": {**shapes.number_facts(fax), "zone": house.prices.page(FaxNumber(fax)).zone}}


@number_info.method("GetPagePrice", user=False)
async def get_page_price(house: House, call: Call) -> Members:
    fax = _asked(house, call)
    price, purse = house.prices.page(FaxNumber(fax)), await money.of(house, call.signed_in[1] if call.signed_in else None)
    facts = shapes.number_facts(fax)
    page = purse.shown(price.amount)
    return {
        "Price": {
            **facts,
            "zone": price.zone,
            "country_zone": price.zone,
            "country_name": countries().get(facts["country_code"], ""),
            "price_source": "PNR",
            "priceperpage": str(page),
            "priceperpage_formatted": purse.formatted(price.amount),
            "priceperpage_proplan": str(page),
            "priceperpage_proplan_formatted": purse.formatted(price.amount),
            "currency": purse.currency,
        }
    }
