"""Methods that belong to a business that a gateway is not: they exist, and say so. Never a made-up success.

`deprecated`     nobody offers this any more: contacts, online storages, chat, the shop's invoices
`missing_right`  somebody else's to do here: the operator's, who runs this gateway
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.web.pamfax import accounts, covers, files, notices, quick, sending
from gateway.web.pamfax.call import Call, Fault, Handler, Members, Processor
from gateway.web.pamfax.common import common
from gateway.web.pamfax.history import fax_history
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import fax_job
from gateway.web.pamfax.numbers import number_info
from gateway.web.pamfax.session import session
from gateway.web.pamfax.shopping import shopping
from gateway.web.pamfax.users import user_info

DEPRECATED, MISSING = "deprecated", "missing_right"
_TEXTS = {
    DEPRECATED: "This gateway has no such service.",
    MISSING: "The operator of this gateway does this.",
}
#: Processor -> code -> methods.
ABSENT: Mapping[str, Mapping[str, str]] = {
    "Common": {DEPRECATED: "ListCities ListZipCodes startCreateZipArchive"},
    "FaxJob": {DEPRECATED: "AddFileFromOnlineStorage"},
    "FaxHistory": {DEPRECATED: "GetEskerDetails"},
    "Shopping": {
        DEPRECATED: "GetInvoice HandleOrderRefund HandleOrderSuccess ChangeVerifyDoc UploadVerifyDoc"
        " UploadVerifyDocFromPortal CheckAddressForFaxInNumber ValidateAddressForFaxInNumber isPIRequiredForGroup"
        " RequestTrialNumber UpgradeBasic2ProForPFCredit GetNumberPrice GetExtendNumberCost",
        MISSING: "ExtendNumberForPFCredit ListAvailablePoolNumbers OrderNumberForPFCredit",
    },
    "UserInfo": {
        DEPRECATED: "AddIdentifier RemoveIdentifier GetUsersAvatar SetOnlineStorageSettings ReactivateCredit",
        MISSING: "ConfirmRegistration GetConfirmationCode SetGlobalNotifySettings",
    },
    "OnlineStorage": {
        DEPRECATED: "Authenticate CheckProviderState DropAuthentication GetProviderLogo ListFolderContents ListProviders"
        " SetAuthToken StoreFile"
    },
    "Contacts": {
        DEPRECATED: "AddContact AddContactGroup AddContacts AddContactsToGroup DeleteContact DeleteContactGroup GetContact"
        " GetContactGroup JoinContactGroups ListContactGroups ListContacts ListVirtualContactGroups Recommend"
        " RemoveContactsFromGroup Search SplitContactGroup UpdateContact UpdateContactGroup"
    },
    "CompanyInfo": {
        DEPRECATED: "AcceptMembership AddCreditToEmployee DeclineMembership DeleteCompany DeleteEmployee DeleteMembership"
        " GetEmployee InviteUser ListCompanyJournal ListEmployees ListMemberExpenses ListMemberships ListReportTimeframes"
        " SaveCompany SaveEmployee"
    },
    "Account": {MISSING: "ExportResellerData GetInfo Register SetDefaultTimezone"},
}
#: Modules that declare methods of a processor of another one.
PARTS = (accounts, covers, files, notices, quick, sending)
_SERVED = (session, common, number_info, fax_job, fax_history, shopping, user_info)


def _refusing(code: str) -> Handler:
    async def refuse(_house: House, _call: Call) -> Members:
        raise Fault(code, _TEXTS[code])

    return refuse


def processors() -> dict[str, Processor]:
    """Every processor by its name in lower case, with every method."""
    found = {one.name.lower(): one for one in _SERVED}
    for name, codes in ABSENT.items():
        processor = found.setdefault(name.lower(), Processor(name))
        for code, methods in codes.items():
            for method in methods.split():
                processor.method(method, user=False)(_refusing(code))
    found["commercial"] = Processor("Commercial", found["shopping"].methods)
    return found


def table() -> str:
    """The methods as a table for people, in the order of the reference."""
    rows = ["| Processor | Served | `deprecated` | `missing_right` |", "| --- | --- | --- | --- |"]
    for processor in processors().values():
        absent = ABSENT.get(processor.name, {})
        gone = {code: absent.get(code, "").split() for code in _TEXTS}
        served = sorted(
            (one.name for one in processor.methods.values() if not any(one.name in some for some in gone.values())),
            key=str.lower,
        )
        if processor.name != "Commercial":
            cells = (", ".join(f"`{name}`" for name in names) for names in (served, gone[DEPRECATED], gone[MISSING]))
            rows.append(f"| {processor.name} | {' | '.join(cells)} |")
    return "\n".join(rows)
