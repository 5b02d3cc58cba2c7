"""The PamFax API on the wire, for both ends: the checksum, arguments in bracket notation, answers as XML and as JSON.

One shape, `Answer`, is made into both formats and read from both; read back, every scalar is text, and what is null or
empty is absent, so the same answer reads the same in either. Source of every fact: the wire reference, by section. Ours:

- Keys that are whole numbers are sorted before other keys of the same map (3.1 knows no such mixture).
- null is no attribute in XML and `null` in JSON (4.1 does not say); booleans are 1 and 0 in both.
- Characters that XML cannot hold become U+FFFD in both formats.
- `result` has `code`, and `message` where there is one; `count` and `type` stand in JSON only, as in the recorded answers.
- A key that comes twice (4.2) is one object with the members of both.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from gateway.carriers.pamfax_codes import NAMES

XML = "API_FORMAT_XML"
JSON = "API_FORMAT_JSON"
SUCCESS = "success"

#: A value of a call's argument: text, number, boolean, None, or a list or map of these.
Argument: TypeAlias = Any
Pairs: TypeAlias = Iterable[tuple[str, str]]

_UNCHECKED = frozenset({b"page", b"event", b"apikey", b"apicheck", b"usertoken", b"xdebug_profile", b"phpsessid"})
_SCRIPT = re.compile(r"<script[^>]*>|</script>", re.IGNORECASE)
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
#: What XML 1.0 has no way to write (production 2, Char).
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_ARGUMENTS = 2000
_DEEPEST = 16


# The checksum (3)


def apicheck(arguments: Mapping[str, Argument], secret: str) -> str:
    """The checksum of a call's arguments, decoded and nested, without uploaded files; 32 hex digits."""
    checked = [(key, value) for key, value in arguments.items() if _key(key) not in _UNCHECKED]
    # MD5 because the API wants it; whoever hears one checksum can repeat that call, hence TLS only.
    return hashlib.md5(b"".join(_appended(checked)) + _octets(secret), usedforsecurity=False).hexdigest()


def _appended(members: Iterable[tuple[object, Argument]], depth: int = 0) -> Iterator[bytes]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    for _, value in sorted({_key(key): value for key, value in members}.items(), key=lambda member: _rank(member[0])):
        if isinstance(value, Mapping):
            yield from _appended(value.items(), depth + 1)
        elif isinstance(value, list | tuple):
            yield from _appended(enumerate(value), depth + 1)
        else:
            yield _hashed(scalar(value))


def _key(key: object) -> bytes:
    """A key as it is compared: letters A to Z in lower case, as PHP does it."""
    return _octets(str(key)).lower()


def _rank(key: bytes) -> tuple[bool, int, bytes]:
    number = int(key) if _WHOLE.fullmatch(key.decode("latin-1")) else None
    return (number is None, number or 0, key)


def _hashed(text: str) -> bytes:
    if text.startswith("@"):
        return b""
    # No tag ends behind the last ">": looking for one there would take a time that grows with the square of the text.
    tags, end, rest = text.rpartition(">")
    return _octets(_SCRIPT.sub("", tags + end) + rest)


def _octets(text: str) -> bytes:
    """As it is sent; what came as other bytes than UTF-8 and was decoded with `surrogateescape` is those bytes again."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def scalar(value: object) -> str:
    """A value as it goes over the wire and into the checksum: booleans 1 and 0, whole floats without fraction, null "".

    Raises ValueError for a number that is none, TypeError for what is no value.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float | Decimal):
        return str(_finite(value))
    if isinstance(value, str | int):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no value of this API")


def _finite(value: float | Decimal) -> float | int:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


# Arguments (1, 3.4)


def arguments(pairs: Pairs) -> dict[str, Argument]:
    """Decoded pairs of query and body, bracket notation taken apart: `a[0]=x` is {"a": {"0": "x"}}; a later key wins.

    Raises ValueError: too many, too deep.
    """
    found: dict[str, Argument] = {}
    for n, (name, value) in enumerate(pairs):
        if n >= _MOST_ARGUMENTS:
            raise ValueError("too many arguments")
        whole = _BRACKETS.fullmatch(name)
        keys = [whole[1], *re.findall(r"\[([^\[\]]*)\]", whole[2])] if whole else [name]
        if len(keys) > _DEEPEST:
            raise ValueError("an argument is nested too deeply")
        _put(found, keys, value)
    return found


def _put(found: dict[str, Argument], keys: Sequence[str], value: str) -> None:
    for depth, key in enumerate(keys):
        key = key or (str(_next(found)) if depth else "")
        if depth == len(keys) - 1:
            found[key] = value
            return
        inner = found.get(key)
        if not isinstance(inner, dict):
            inner = found[key] = {}
        found = inner


def _next(found: Mapping[str, Argument]) -> int:
    """The key of an element without one, `a[]`."""
    return max((int(key) + 1 for key in found if _WHOLE.fullmatch(key)), default=0)


def elements(value: Argument) -> list[str]:
    """The texts of a list argument, in the order of its keys; a single text is a list of one, nothing an empty one."""
    if isinstance(value, Mapping):
        ordered = sorted(value.items(), key=lambda member: _rank(_key(member[0])))
        return [one for _, one in ordered if isinstance(one, str)]
    return [value] if isinstance(value, str) and value else []


def pairs(arguments: Mapping[str, Argument]) -> list[tuple[str, str]]:
    """Arguments as they are sent: bracket notation, booleans as 1 and 0; null and empty lists are not sent."""
    return [pair for name, value in arguments.items() for pair in _pairs(name, value)]


def _pairs(name: str, value: Argument) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        members: Iterable[tuple[object, Argument]] = value.items()
    elif isinstance(value, list | tuple):
        members = enumerate(value)
    else:
        if value is not None:
            yield name, scalar(value)
        return
    for key, one in members:
        yield from _pairs(f"{name}[{key}]", one)


# Answers (4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list with what its name does not tell; a plain list will do where the name of its entries follows from its own."""

    entries: Sequence[Any]
    entry: str = ""
    """The XML element of each; "" = the singular of the list's name."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call answers: `result`, and members of which each is a map (an object), a list or Listing, or a scalar.

    An object's members are scalars (attributes in XML), objects or lists. Names are XML names: what people have typed
    may stand in values only.
    """

    code: str = SUCCESS
    message: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.code == SUCCESS


def dumps_json(answer: Answer) -> bytes:
    """The answer as JSON (4.2); UTF-8, `application/json`."""
    kind = "" if answer.ok else "error"
    result = {"code": answer.code, "type": kind, "count": len(answer.members), "message": _clean(answer.message)}
    members = {name: _jsonable(value) for name, value in answer.members.items()}
    return json.dumps({"result": result, **members}, ensure_ascii=False, allow_nan=False).encode()


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _jsonable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        value = Listing(entries=value)
    if isinstance(value, Listing):
        content = [_jsonable(one) for one in value.entries]  # an empty list has no content (4.2)
        listed = {"type": "list", **{name: _jsonable(one) for name, one in value.attributes.items()}}
        return listed | {"content": content} if content else listed
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float | Decimal):
        return _finite(value)
    return value if value is None or isinstance(value, int) else _clean(scalar(value))


def dumps_xml(processor: str, answer: Answer) -> bytes:
    """The answer as XML (4.1); UTF-8. The root element is the processor."""
    told = f"<code>{_escaped(answer.code)}</code>"
    told += f"<message>{_escaped(answer.message)}</message>" if answer.message else ""
    members = "".join(f"{_element(name, value)}\n" for name, value in answer.members.items())
    root = _named(processor)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n<result>{told}</result>\n{members}</{root}>\n'.encode()


def _element(name: str, value: Any) -> str:
    tag = _named(name)
    if isinstance(value, list | tuple):
        value = Listing(entries=value)
    if isinstance(value, Listing):
        attributes = _attributes({"type": "list", **value.attributes})
        inside = "".join(_element(value.entry or singular(name), one) for one in value.entries)
    elif isinstance(value, Mapping):
        attributes = _attributes({key: one for key, one in value.items() if not _nested(one)})
        inside = "".join(_element(key, one) for key, one in value.items() if _nested(one))
    else:
        attributes, inside = "", _escaped(scalar(value))
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes}/>"


def _attributes(members: Mapping[str, Any]) -> str:
    """Always in double quotes and without spaces round the "=": the vendor's sample reads them with text tools (4.1)."""
    return "".join(f' {_named(name)}="{_escaped(scalar(value))}"' for name, value in members.items() if value is not None)


def _nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple | Listing)


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a member's name is not an XML name")
    return name


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _escaped(text: str) -> str:
    return escape(_clean(text), {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def singular(name: str) -> str:
    """The element of a list's entries (4.1, inferred): UserRights -> UserRight, ZoneList -> Zone, InboxFaxes -> InboxFax."""
    bare = name.removesuffix("List")
    for plural, single in (("ies", "y"), ("xes", "x"), ("s", "")):
        if bare.endswith(plural) and len(bare) > len(plural):
            return bare.removesuffix(plural) + single
    return bare if bare != name and bare else f"{name}Item"


# Answers read (4, 5)


def parse(body: bytes, content_type: str = "") -> Answer:
    """An answer in either format, told apart by its first character: types of content are sent wrongly. Lenient.

    Lists come back as lists, objects as maps, everything else as text, an empty object too. Raises ValueError where it is
    no answer.
    """
    try:
        text = body.decode("utf-8-sig").strip()
        whole = _from_xml(text) if text.startswith("<") else _from_json(text)
    except (ElementTree.ParseError, RecursionError) as error:
        raise ValueError(f"not an answer ({content_type})") from error
    result = whole.pop("result", None)
    match result:
        case {"code": str(code)}:
            code, message = code.strip().lower(), result.get("message")
            return Answer(code=NAMES.get(code, code), message=message if isinstance(message, str) else "", members=whole)
    raise ValueError("an answer without a result")


def _constant(text: str) -> str:
    raise ValueError(f"{text} is no value")


_AS_WRITTEN: Mapping[str, Any] = {"parse_int": str, "parse_float": str, "parse_constant": _constant}


def _merged(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        before = found.get(name)
        found[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def _value(value: Any, depth: int = 0) -> Any:
    """What JSON says, with lists and maps out of their wrappers, scalars as text, and nothing where nothing is said."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, dict) and value.get("type") in ("list", "array"):
        content = value.get("content")
        if value["type"] == "array":
            return _value(content if isinstance(content, dict) else {}, depth + 1)
        value = list(content.values()) if isinstance(content, dict) else content or []
    if isinstance(value, list):
        return [_value(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return _said({name: _value(one, depth + 1) for name, one in value.items()}) or ""
    return scalar(value)


def _said(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value != ""}


def _from_json(text: str) -> dict[str, Any]:
    whole = _value(json.loads(text, object_pairs_hook=_merged, **_AS_WRITTEN))
    return whole if isinstance(whole, dict) else {}


def _from_xml(text: str) -> dict[str, Any]:
    if "<!DOCTYPE" in text:
        raise ValueError("an answer with a document type")  # entities: there is nothing good in them
    root = ElementTree.fromstring(text)  # noqa: S314  # without a document type there are no entities to expand
    return _said({child.tag: _node(child) for child in root})


def _node(node: ElementTree.Element, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    kind = node.get("type", "")
    if kind == "list":
        return [_node(child, depth + 1) for child in node]
    if not len(node) and (not node.attrib or kind == "array"):
        return "" if kind else (node.text or "")
    attributes = {} if kind == "array" else dict(node.attrib)
    return _said(attributes | {child.tag: _node(child, depth + 1) for child in node}) or ""
