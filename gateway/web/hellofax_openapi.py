"""What the HelloFax door serves, as OpenAPI: published at `/v1/openapi.json`, and what its tests are made from."""

from __future__ import annotations

from collections.abc import Mapping

_Schema = dict[str, object]
_TEXT: _Schema = {"type": "string"}
_FLAG: _Schema = {"type": "boolean"}
_GUID: _Schema = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
_GIVEN: _Schema = {"type": "string", "pattern": "^[0-9a-fA-F]{40}$"}
_SECONDS: _Schema = {"type": "string", "pattern": "^[0-9]+$", "description": "Unix time in seconds"}
_DIGITS: _Schema = {"type": "string", "pattern": "^[0-9]*$", "description": "country code and number"}
_URL: _Schema = {"type": ["string", "null"], "description": "http(s) URL; empty takes it away, null leaves it"}
_WISH: _Schema = {
    "enum": [True, False, 1, 0, "true", "false", "1", "0", "yes", "no", "on", "off", None],
    "description": "null leaves it; words without case",
}
_NUMBER: _Schema = {"type": "string", "description": "digits with country code; ten digits are a US number"}


def _object(**properties: object) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _named(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SETTINGS: _Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "DefaultInboundFaxCallbackUrl": _URL,
        "DefaultOutboundFaxCallbackUrl": _URL,
        "ShouldSendOutboundConfEmails": _WISH,
        "ShouldIncludePdfsInReceivedFaxEmails": _WISH,
    },
}
_WHOLE: _Schema = {"type": "integer", "minimum": 0}
_SCHEMAS: _Schema = {
    "Account": _object(
        Guid=_GUID,
        DefaultInboundFaxCallbackUrl=_TEXT,
        DefaultOutboundFaxCallbackUrl=_TEXT,
        ShouldSendOutboundConfEmails=_FLAG,
        ShouldIncludePdfsInReceivedFaxEmails=_FLAG,
    ),
    "FaxLine": _object(Number=_DIGITS, Uri=_TEXT),
    "Transmission": _object(
        Guid=_GUID,
        To=_DIGITS,
        From=_DIGITS,
        IsInbound=_FLAG,
        IsDraft=_FLAG,
        TypeCode={"type": "string", "enum": ["F"]},
        StatusCode={"type": "string", "enum": ["P", "T", "S", "E", "H"]},
        ErrorCode=_or_null({"type": "string", "enum": ["B", "N", "A", "D", "L", "U"]}),
        CreatedAt=_SECONDS,
        UpdatedAt=_SECONDS,
        Uri=_TEXT,
        NumPagesBilled=_WHOLE,
    ),
    "Error": _object(Error=_object(Code={"type": "integer"}, Message=_TEXT)),
}
_SEND: _Schema = {
    "type": "object",
    "required": ["To", "file"],
    "additionalProperties": False,
    "properties": {
        "To": {**_NUMBER, "description": "whom to fax; To[] or To[0], To[1] … for several"},
        "file": {"type": "string", "format": "binary", "description": "file[] or file[0], file[1] … for several"},
        "From": {**_NUMBER, "description": "one of the account's fax lines"},
        "CoverPageTo": {"type": "string", "maxLength": 200},
        "CoverPageFrom": {"type": "string", "maxLength": 200},
        "CoverPageMessage": {"type": "string", "maxLength": 10000},
    },
}
_ERRORS = {
    "400": "the parameters",
    "401": "login or password",
    "403": "another account's GUID, or not allowed",
    "404": "no such thing",
    "408": "too slow",
    "413": "too large",
    "415": "this type of body is not read",
    "429": "too many faxes pending, or too many failed sign-ins",
    "502": "the carrier's answer was lost: perhaps done",
    "503": "not now, nothing was done",
}


def _answer(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _verb(
    name: str, answer: _Schema, *, parameters: list[_Schema] | None = None, body: Mapping[str, _Schema] | None = None
) -> _Schema:
    """One operation. `body`: its media types and their schemas; a send's is required."""
    verb: _Schema = {
        "operationId": name,
        "responses": {
            "200": _answer("done", answer),
            **{status: _answer(text, _named("Error")) for status, text in _ERRORS.items()},
        },
    }
    if parameters:
        verb["parameters"] = parameters
    if body:
        content = {kind: {"schema": schema} for kind, schema in body.items()}
        verb["requestBody"] = {"required": name in ("send", "buyLine"), "content": content}
    return verb


def _query(name: str, schema: _Schema, *, required: bool = False) -> _Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _in_path(name: str, schema: _Schema) -> _Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_ACCOUNT = [_in_path("guid", _GUID)]
_FORM = "application/x-www-form-urlencoded"
_AREA = _object(AreaCode={"type": "string", "pattern": "^[2-9][0-9]{2}$"})
_CHANGE: Mapping[str, _Schema] = {_FORM: _SETTINGS, "application/json": _SETTINGS}
_ONE = _object(Transmission=_named("Transmission"))
_ACCEPTED: _Schema = {
    "type": "object",
    "properties": {"Transmission": _named("Transmission"), "Transmissions": _list(_named("Transmission"))},
    "required": ["Transmissions"],
    "additionalProperties": False,
}
_PAGE = _object(
    Transmissions=_list(_named("Transmission")),
    Page=_WHOLE,
    PageSize=_WHOLE,
    NumPages=_or_null(_WHOLE),
    Total=_or_null(_WHOLE),
    FirstPageUri=_TEXT,
    PreviousPageUri=_or_null(_TEXT),
    NextPageUri=_or_null(_TEXT),
    LastPageUri=_or_null(_TEXT),
)

DESCRIPTION: Mapping[str, object] = {
    "openapi": "3.1.0",
    "info": {"title": "HelloFax API version 1, as served by Faxgate", "version": "1"},
    "servers": [{"url": "/v1"}],
    "security": [{"login": []}],
    "components": {"securitySchemes": {"login": {"type": "http", "scheme": "basic"}}, "schemas": _SCHEMAS},
    "paths": {
        "/AreaCodes": {
            "get": _verb(
                "listAreaCodes",
                _object(AreaCodes=_list(_TEXT)),
                parameters=[_query("StateCode", {"type": "string", "pattern": "^[A-Za-z]{2}$"}, required=True)],
            )
        },
        "/Accounts/{guid}": {
            "parameters": _ACCOUNT,
            "get": _verb("readAccount", _object(Account=_named("Account"))),
            "post": _verb("changeAccount", _object(Account=_named("Account")), body=_CHANGE),
            "put": _verb("changeAccountToo", _object(Account=_named("Account")), body=_CHANGE),
        },
        "/Accounts/{guid}/FaxLines": {
            "parameters": _ACCOUNT,
            "get": _verb("listLines", _object(FaxLines=_list(_named("FaxLine")))),
            "post": _verb("buyLine", _object(FaxLine=_named("FaxLine")), body={_FORM: _AREA}),
        },
        "/Accounts/{guid}/FaxLines/{number}": {
            "parameters": [*_ACCOUNT, _in_path("number", _NUMBER)],
            "delete": _verb("releaseLine", _object(FaxLine=_named("FaxLine"))),
        },
        "/Accounts/{guid}/Transmissions": {
            "parameters": _ACCOUNT,
            "get": _verb(
                "listTransmissions",
                _PAGE,
                parameters=[
                    _query(
                        "Page",
                        {"type": "integer", "minimum": 0, "description": "up to 100,000 faxes; further on NextPageUri leads"},
                    ),
                    _query("PageSize", {"type": "integer", "minimum": 1, "description": "above 100 is 100"}),
                    _query("After", {**_GIVEN, "description": "the fax that the page follows; made by NextPageUri"}),
                ],
            ),
            "post": _verb("send", _ACCEPTED, body={"multipart/form-data": _SEND}),
        },
        "/Accounts/{guid}/Transmissions/{transmission}": {
            "parameters": [*_ACCOUNT, _in_path("transmission", _GUID)],
            "get": _verb("readTransmission", _ONE),
        },
    },
}
