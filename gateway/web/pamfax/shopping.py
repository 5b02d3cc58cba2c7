"""Shopping: credit, vouchers, numbers. Section 6.6 of reference/pamfax.md.

A gateway is no shop: credit is booked by its operator (`faxgate account credit`), and GetShopLink says how to reach him. In the
sandbox AddCreditToSandboxUser books it, or with a negative amount takes it, and the voucher `PCPC0815` is good for ten euros
each time, however it is written. Numbers are bought from the carrier of the lines by area code, where it sells any; of other
countries the list of areas is empty.
"""

from __future__ import annotations

import hmac
import re
from decimal import Decimal, InvalidOperation

from gateway.errors import NotAdmitted, Refused
from gateway.fax import new_id
from gateway.web.pamfax import money
from gateway.web.pamfax.call import Call, Fault, Members, Processor
from gateway.web.pamfax.countries import countries
from gateway.web.pamfax.house import House

shopping = Processor("Shopping")
_VOUCHER, _WORTH = "PCPC0815", 10_000_000  # micro-EUR
_MOST = 1_000_000  # of a currency


@shopping.method("AddCreditToSandboxUser")
async def add_credit_to_sandbox_user(house: House, call: Call) -> Members:
    if not house.sandbox:
        raise Fault("missing_right", "This is not a sandbox: the operator books credit.")
    try:
        amount = Decimal(call.needed("amount", 20))
    except InvalidOperation as error:
        raise Fault("bad_property", "amount is a number.") from error
    if not amount.is_finite() or not 0 < abs(amount) <= _MOST:
        raise Fault("bad_property", f"amount is not 0, and at most {_MOST}.")
    purse = await money.of(house, call.account)
    try:
        await house.ledger.credit(call.account.id, purse.micro(amount), call.text("reason", 200) or "sandbox")
    except NotAdmitted as error:
        raise Fault("bad_property", error.text) from error
    return {}


@shopping.method("RedeemCreditVoucher")
async def redeem_credit_voucher(house: House, call: Call) -> Members:
    code = re.sub(r"[^0-9A-Z]", "", call.needed("vouchercode", 40).upper())
    if not house.sandbox or not hmac.compare_digest(code.encode(), _VOUCHER.encode()):
        raise Fault("voucher_invalid", "There is no such voucher.")
    await house.ledger.redeem(call.account.id, f"{code} {new_id('vo')}", _WORTH)
    return {}


@shopping.method("GetShopLink", user=False)
async def get_shop_link(house: House, _call: Call) -> Members:
    url = f"{house.config.public_url}/sandbox" if house.sandbox else f"mailto:{house.config.mail.operator}"
    return {"ShopLink": {"url": url}}


@shopping.method("ListAvailableItems")
@shopping.method("ListAvailableItemsForPFCredit")
async def list_available_items(_house: House, _call: Call) -> Members:
    return {"CreditPacks": [], "Plans": []}


@shopping.method("ListFaxInCountries")
async def list_fax_in_countries(house: House, _call: Call) -> Members:
    sells = house.lines.sells()
    return {"FaxInCountries": [{"code": "US", "name": countries()["US"]}] if sells else []}


@shopping.method("ListFaxInAreacodes")
async def list_fax_in_areacodes(house: House, call: Call) -> Members:
    country = call.needed("country_code", 3).upper()
    if country not in ("USA", *countries()):
        raise Fault("invalid_country_code", "There is no such country.")
    if country not in ("US", "USA"):
        return {"AreaCodes": []}
    state = call.text("state", 2)
    try:
        found = await house.lines.areas(state or "CA")
    except Refused as error:
        raise Fault("no_faxin_available", error.text) from error
    return {"AreaCodes": [{"id": area, "area_code": area, "state": state or "CA"} for area in found]}


@shopping.method("GetNearestFaxInNumber")
async def get_nearest_fax_in_number(house: House, _call: Call) -> Members:
    """The first on sale: where somebody is is not guessed from an address."""
    found = await house.lines.areas("CA") if house.lines.sells() else ()
    if not found:
        raise Fault("no_faxin_available", "No numbers are on sale.")
    return {"AreaCode": {"id": found[0], "area_code": found[0], "state": "CA", "country_code": "US"}}
