"""The error codes of the PamFax API: wire text, number, and what each one means for a fax of ours.

Literal and whole: wire reference, section 5. The numbers are the reference client's constants. `no_credit` is what a person
must put right in our account there, whichever way it is wrong: it holds the fax and tells the operator. `carrier_trouble` is
what a fax of ours should never meet: a fault of the carrier's, or of the adapter. Our reading of each follows from its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import Outcome

_NUMBER = Outcome.BAD_NUMBER
_ACCOUNT = Outcome.NO_CREDIT
_DOCUMENT = Outcome.DOCUMENT_REFUSED
_TROUBLE = Outcome.CARRIER_TROUBLE
_BARRED = Outcome.NOT_AUTHORISED

#: Code -> (number, outcome).
CODES: Mapping[str, tuple[int, Outcome]] = {
    # Users, login, sessions
    "invalid_user": (1001, _ACCOUNT),
    "message_send_failed": (1002, _TROUBLE),
    "bad_identifier_type": (1003, _ACCOUNT),
    "user_blacklisted": (1004, _ACCOUNT),
    "bad_password": (1005, _ACCOUNT),
    "no_user_logged_in": (1006, _TROUBLE),
    "bad_currency": (1007, _TROUBLE),
    "shop_user_not_found": (1008, _ACCOUNT),
    "voucher_invalid": (1010, _TROUBLE),
    "voucher_expired": (1011, _TROUBLE),
    "user_not_found": (1012, _ACCOUNT),
    "identifier_already_used": (1013, _TROUBLE),
    "identifier_not_found": (1014, _ACCOUNT),
    "invalid_ip": (1015, _ACCOUNT),
    "profile_type_deprecated": (1016, _TROUBLE),
    "invalid_name_chars": (1017, _TROUBLE),
    "invalid_datetime": (1018, _TROUBLE),
    "current_password_wrong": (1019, _TROUBLE),
    "deprecated": (1020, _TROUBLE),
    "coming_soon": (1021, _TROUBLE),
    "session_not_found": (1022, _TROUBLE),
    "session_not_extended": (1023, _TROUBLE),
    "username_not_found": (1024, _ACCOUNT),
    "username_already_confirmed": (1025, _TROUBLE),
    "username_not_confirmed": (1026, _ACCOUNT),
    "user_not_logged_in": (1027, _TROUBLE),
    # Registration, numbers
    "user_exists": (2001, _TROUBLE),
    "fax_exists": (2002, _TROUBLE),
    "invalid_fax_in": (2003, _TROUBLE),
    "invalid_fax_number": (2004, _NUMBER),
    "user_email_already_exist": (2005, _TROUBLE),
    "unsupported_fax_number": (2006, _BARRED),
    # Profile, covers
    "bad_property": (3001, _TROUBLE),
    "bad_email": (3002, _TROUBLE),
    "bad_username": (3003, _ACCOUNT),
    "user_is_post_pay": (3004, _ACCOUNT),
    "username_already_used": (3005, _TROUBLE),
    "too_many_covers": (3006, _TROUBLE),
    "bad_cover_file": (3007, _TROUBLE),
    # Fax job, files, money
    "file_not_found": (4001, _TROUBLE),
    "no_fax": (4002, _TROUBLE),
    "no_files_in_fax": (4003, _TROUBLE),
    "bad_file": (4004, _DOCUMENT),
    "invalid_cover": (4005, _TROUBLE),
    "no_esker_fax": (4006, _TROUBLE),
    "no_recipients_in_fax": (4007, _TROUBLE),
    "not_enough_credit": (4008, _ACCOUNT),
    "enough_credit": (4009, _TROUBLE),
    "fax_not_found": (4010, _TROUBLE),
    "payment_not_found": (4011, _ACCOUNT),
    "invalid_recipient": (4012, _NUMBER),
    "fax_removed": (4013, _TROUBLE),
    "invoice_not_found": (4014, _TROUBLE),
    "generation_failed": (4015, _DOCUMENT),
    "duplicate_recipient": (4016, _TROUBLE),
    "reseller_locked": (4017, _ACCOUNT),
    "too_many_numbers": (4018, _TROUBLE),
    "too_many_files": (4019, _DOCUMENT),
    "filename_too_long": (4020, _DOCUMENT),
    "file_too_large": (4021, _DOCUMENT),
    "lnk_file": (4022, _DOCUMENT),
    "conversion_compilefax": (4023, _DOCUMENT),
    # Job state
    "fax_not_ready": (5001, _TROUBLE),
    "creating_preview": (5002, _TROUBLE),
    # Fax-in numbers
    "invalid_country_code": (7001, _TROUBLE),
    "country_has_no_states": (7002, _TROUBLE),
    "invalid_country_state": (7003, _TROUBLE),
    "address_field_missing": (7004, _TROUBLE),
    "address_validation_error": (7005, _TROUBLE),
    "address_invalid": (7006, _TROUBLE),
    "testnumber_limit": (7007, _TROUBLE),
    "no_faxin_available": (7008, _TROUBLE),
    "did_group_missing": (7009, _TROUBLE),
    "area_code_empty": (7010, _TROUBLE),
    "address_field_too_big": (7011, _TROUBLE),
    "wrong_salutation_field": (7012, _TROUBLE),
    "address_not_created": (7013, _TROUBLE),
    "during_upload_proof": (7014, _TROUBLE),
    "cart_not_created": (7015, _TROUBLE),
    "cart_checkout": (7016, _TROUBLE),
    "did_not_loaded": (7017, _TROUBLE),
    "not_configured": (7018, _TROUBLE),
    "did_cities_mismatched": (7019, _TROUBLE),
    "no_cities": (7020, _TROUBLE),
    "invalid_city_name": (7021, _TROUBLE),
    "no_zips": (7022, _TROUBLE),
    # Common
    "invalid_zone": (8001, _TROUBLE),
    "invalid_percent_value": (8002, _TROUBLE),
    # History
    "access_denied": (10001, _ACCOUNT),
    "invalid_spamscore": (10002, _TROUBLE),
    "empty_sender": (10003, _TROUBLE),
    # Online storage
    "unknown_provider": (11001, _TROUBLE),
    "already_authenticated": (11002, _TROUBLE),
    "not_authenticated": (11003, _TROUBLE),
    "authentication_expired": (11004, _TROUBLE),
    "download_failed": (11005, _TROUBLE),
    "unable_to_create_path": (11006, _TROUBLE),
    "no_file_uploaded": (11007, _TROUBLE),
    "unable_to_upload_file": (11008, _TROUBLE),
    "missing_argument": (11009, _TROUBLE),
    "missing_settings": (11010, _TROUBLE),
    "google_2step_error": (11020, _TROUBLE),
    # Account
    "registration_failed": (12001, _TROUBLE),
    "registration_missing_data": (12002, _TROUBLE),
    "registration_invalid_email": (12003, _TROUBLE),
    "registration_email_in_use": (12004, _TROUBLE),
    "bad_date_value": (12005, _TROUBLE),
    "bad_time_value": (12006, _TROUBLE),
    "bad_datetime_value": (12007, _TROUBLE),
    "no_reseller_id": (12008, _ACCOUNT),
    "invalid_timezone": (12009, _TROUBLE),
    # Rights
    "missing_right": (14000, _ACCOUNT),
    "missing_right_messaging": (14001, _ACCOUNT),
    # Numbers assigned
    "invalid_number_provider": (15000, _TROUBLE),
    "provider_not_assignable": (15001, _TROUBLE),
    "number_already_assigned": (15002, _TROUBLE),
    "number_not_assigned": (15003, _TROUBLE),
    "number_not_assigned_to_user": (15004, _TROUBLE),
    "provider_not_cancelable": (15005, _TROUBLE),
    "unable_to_cancel": (15006, _TROUBLE),
    "alias_not_found": (15007, _TROUBLE),
    "invalid_alias_number": (15008, _TROUBLE),
    "alias_already_assigned": (15009, _TROUBLE),
    "unable_to_lock": (15010, _TROUBLE),
    "unable_to_unlock": (15011, _TROUBLE),
    # Contacts
    "group_not_found": (16000, _TROUBLE),
    "contact_not_found": (16001, _TROUBLE),
    "group_already_exists": (16002, _TROUBLE),
    "nothing_to_do": (16003, _TROUBLE),
    # Upload checks
    "file_wrong_checksum": (17000, _TROUBLE),
    "file_wrong_size": (17001, _TROUBLE),
    "file_no_supported_extensions": (17010, _DOCUMENT),
    "file_extension_not_supported": (17011, _DOCUMENT),
    "file_no_supported_mimetypes": (17020, _DOCUMENT),
    "file_mime_not_supported": (17021, _DOCUMENT),
    # Flood protection
    "too_many_requests": (20000, _TROUBLE),
    # Numbers as text
    "403": (403, _ACCOUNT),
    "404": (404, _TROUBLE),
    "500": (500, _TROUBLE),
}

#: Number as text -> code, should the wire carry numbers; the three that are numbers stay.
NAMES: Mapping[str, str] = {str(number): code for code, (number, _) in CODES.items()}
