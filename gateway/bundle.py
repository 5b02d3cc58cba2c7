"""A bundle of evidence about one fax: one zip file that can be checked anywhere, with nothing but this program. Pure.

    summary.txt      what happened, for people
    manifest.json    what is in the bundle, and what is not any more, with hashes; manifest.sig: signed by the gateway
    links.jsonl      what happened, one link a line, as it was sealed (`gateway.seal`)
    proofs.json      where the chain of these links is in the trees of its seals
    seals.jsonl      those seals, and all between them
    keys.jsonl       the gateway's public keys from the first on, each signed by the one before
    pages.pdf        the document as it was sent; fax.pdf and original: as it was received
    mail.eml         the mail as it came, where it was asked for
    statements/…     what carriers said, as they said it; reports/… what they wrote about it afterwards

The zip is written in one way only: nothing compressed, no dates. So a byte that was changed anywhere in the file is noticed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway import seal
from gateway.errors import Refused
from gateway.seal import Json, Key, Seal, canonical, digest, parsed

FORMAT = "faxgate-evidence-1"
SUMMARY, MANIFEST, SIGNATURE = "summary.txt", "manifest.json", "manifest.sig"
LINKS, PROOFS, SEALS, KEYS = "links.jsonl", "proofs.json", "seals.jsonl", "keys.jsonl"
_ALWAYS = (SUMMARY, MANIFEST, SIGNATURE, LINKS, PROOFS, SEALS, KEYS)
MAIL, PAGES, FAX, ORIGINAL = "mail.eml", "pages.pdf", "fax.pdf", "original"
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_DATE = 0x21  # 1980-01-01: the first one there is
_NAME = re.compile(r"[a-z0-9_]{1,40}(/[a-z0-9_]{1,40})?(\.[a-z]{1,8})?")
_REPORT = re.compile(r"of (at_[0-9a-z]+): ([0-9a-f]{64})")


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip file of these, in this order. Each, and all together, less than 4 GB."""
    out, index = bytearray(), bytearray()
    for name, content in files.items():
        about = (0, 0, 0, _DATE, zlib.crc32(content), len(content), len(content), len(name), 0)
        owner_only = 0o100600 << 16
        index += _CENTRAL.pack(b"PK\1\2", 3 << 8 | 20, 20, *about, 0, 0, 0, owner_only, len(out)) + name.encode("ascii")
        out += _LOCAL.pack(b"PK\3\4", 20, *about) + name.encode("ascii") + content
    end = _END.pack(b"PK\5\6", 0, 0, len(files), len(files), len(index), len(out), 0)
    return bytes(out + index + end)


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a zip that `pack` made. Raises Refused."""
    files, at = dict[str, bytes](), 0
    while data[at : at + 4] == b"PK\3\4" and len(data) >= at + _LOCAL.size:
        *_, crc, size, _, length, _ = _LOCAL.unpack_from(data, at)
        begin = at + _LOCAL.size + length
        name, content = data[at + _LOCAL.size : begin].decode("latin-1"), data[begin : begin + size]
        if not _NAME.fullmatch(name) or name in files or len(content) != size:
            raise Refused("It is not a bundle of evidence as this program writes them.")
        if zlib.crc32(content) != crc:
            raise Refused(f"{name} was changed: its checksum is another one.")
        files[name], at = content, begin + size
    if pack(files) != data:
        raise Refused("It is not a bundle of evidence as this program writes them, or something around its files was changed.")
    return files


def wanted(links: Sequence[Json]) -> dict[str, str]:
    """The documents that the links of a fax name, each by its file and SHA-256."""
    found = dict[str, str]()
    for link in links:
        what = link["what"]
        if what == "accepted" and link["mail"]:
            found[MAIL] = link["mail"]
        elif what == "pages" and "manifest" in link:
            found[PAGES] = link["document"]
        elif what == "pages":
            found[FAX] = link["document"]
            if link["original"] != link["document"]:
                found[ORIGINAL] = link["original"]
        elif what == "carrier's statement":
            found[f"statements/{link['event']}.raw"] = link["raw"]
        elif link.get("note") == "report kept" and (match := _REPORT.fullmatch(link["detail"])):
            found[f"reports/{match[1]}.pdf"] = match[2]
    return found


def lines(values: Sequence[Any]) -> bytes:
    """One canonical JSON object a line; Any: what JSON holds."""
    return b"".join(canonical(value) + b"\n" for value in values)


@dataclass(slots=True)
class Verdict:
    """What a bundle proves."""

    part: str = ""
    """The part that is not in order; "" = all are."""
    problem: str = ""
    trusted: bool = False
    """Its keys lead to the one that is trusted."""
    fax: str = ""
    made_at: str = ""
    sealed_at: str = ""
    """Of the last seal."""
    links: int = 0
    seals: tuple[int, int] = (0, 0)
    """Numbers of the first and the last one."""
    keys: list[str] = field(default_factory=list)
    """Fingerprints, the newest last."""
    files: list[str] = field(default_factory=list)
    absent: list[Json] = field(default_factory=list)
    told: list[Json] = field(default_factory=list)
    """The links."""

    @property
    def whole(self) -> bool:
        return not self.part


def verify(data: bytes, trusted: str = "") -> Verdict:
    """Whether a bundle is whole, and leads to a trusted key, given by its fingerprint. Never raises for what is in it."""
    verdict = Verdict()
    try:
        with _part(verdict, "the file"):
            files = unpacked(data)
        for name in _ALWAYS:
            with _part(verdict, name):
                if name not in files:
                    raise Refused("It is missing.")
        _Check(files, verdict).all(trusted)
    except Refused as error:
        verdict.problem = error.text
    return verdict


@contextmanager
def _part(verdict: Verdict, name: str) -> Iterator[None]:
    """What is looked at; nobody knows what a forged one is made of, so that whatever is missing in it is a refusal."""
    before, verdict.part = verdict.part, name
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise Refused(f"It is not as this program writes it ({type(error).__name__}).") from error
    verdict.part = before


class _Check:
    """One bundle, part by part: each is believed once it is known to be whole."""

    def __init__(self, files: Mapping[str, bytes], verdict: Verdict) -> None:
        self._files, self._verdict = files, verdict
        self._keys: list[Key] = []
        self._links: list[bytes] = []
        self._seals: list[Seal] = []
        self._manifest: Json = {}

    def all(self, trusted: str) -> None:
        looks = (
            (KEYS, self._check_keys),
            (MANIFEST, self._check_manifest),
            (SIGNATURE, self._check_signature),
            (LINKS, self._check_links),
            (SEALS, self._check_seals),
            (PROOFS, self._check_proofs),
        )
        for name, look in looks[:3]:
            with _part(self._verdict, name):
                look()
        self._check_files()
        for name, look in looks[3:]:
            with _part(self._verdict, name):
                look()
        self._check_documents()
        with _part(self._verdict, KEYS):
            if trusted and trusted not in self._verdict.keys:
                raise Refused("The key that is trusted is not among them: somebody else made this.")
        self._verdict.trusted = bool(trusted)

    def _lines(self, name: str) -> list[Json]:
        *every, rest = self._files[name].split(b"\n")
        if rest:
            raise Refused("Its last line is cut off.")
        return [parsed(line) for line in every]

    def _check_keys(self) -> None:
        self._keys = [Key(**line) for line in self._lines(KEYS)]
        seal.check_keys(self._keys)
        self._verdict.keys = [key.fingerprint for key in self._keys]

    def _check_manifest(self) -> None:
        self._manifest = parsed(self._files[MANIFEST])
        if self._manifest["format"] != FORMAT:
            raise Refused("It is of a kind that this program does not know.")

    def _check_signature(self) -> None:
        by = parsed(self._files[SIGNATURE])
        newest = self._keys[-1]
        if by != {"key": newest.fingerprint, "signature": by["signature"]}:
            raise Refused("It is not of the newest key.")
        if not seal.is_signed(newest.public, "evidence", self._manifest, by["signature"]):
            with _part(self._verdict, MANIFEST):
                raise Refused("It is not the one that was signed, or manifest.sig was changed.")

    def _check_files(self) -> None:
        said = self._manifest["files"]
        there = self._files.keys() - {MANIFEST, SIGNATURE}
        for name in sorted(there | said.keys()):
            with _part(self._verdict, name):
                if name not in said or name not in there:
                    raise Refused("It was left out." if name in said else "It does not belong here.")
                content = self._files[name]
                if said[name] != {"sha256": digest(content), "bytes": len(content)}:
                    raise Refused("It was changed: its hash is another one.")
        self._verdict.fax, self._verdict.made_at = str(self._manifest["fax"]), str(self._manifest["made_at"])
        self._verdict.files, self._verdict.absent = sorted(there), list(self._manifest["absent"])

    def _check_links(self) -> None:
        told = self._lines(LINKS)
        if len({link["key"] for link in told}) != len(told) or {link["fax"] for link in told if "fax" in link} != {
            self._verdict.fax
        }:
            raise Refused("These are not the links of one fax.")
        self._links = [canonical(link) for link in told]
        self._verdict.told, self._verdict.links = told, len(told)

    def _check_seals(self) -> None:
        self._seals = [Seal(**line) for line in self._lines(SEALS)]
        seal.check_seals(self._seals, self._keys)
        first, last = self._seals[0].statement, self._seals[-1].statement
        self._verdict.seals, self._verdict.sealed_at = (first["n"], last["n"]), str(last["at"])

    def _check_proofs(self) -> None:
        """The chain of the links is in the tree of each seal that it grew with, and the last one has all of it."""
        seals = {one.statement["n"]: one.statement for one in self._seals}
        head, done, at = seal.beginning(self._verdict.fax), 0, 0
        for proof in parsed(self._files[PROOFS])["proofs"]:
            count, statement = proof["links"], seals[proof["seal"]]
            if not (done < count <= len(self._links) and proof["seal"] > at):
                raise Refused("The seals do not have the links in this order.")
            head = seal.extended(head, self._links[done:count])
            leaf = seal.leaf(self._verdict.fax, head, count)
            if seal.climbed(leaf, proof["place"], statement["faxes"], proof["path"]) != statement["root"]:
                raise Refused(f"The links up to {count} are not what seal {proof['seal']} is over.")
            done, at = count, proof["seal"]
        if done != len(self._links) or at != self._verdict.seals[1]:
            raise Refused("Not all links are sealed.")

    def _check_documents(self) -> None:
        """Documents are the ones that the links name; each is there, or is said to be gone."""
        with _part(self._verdict, LINKS):
            named = wanted(self._verdict.told)
        absent = {one["file"]: one["sha256"] for one in self._verdict.absent}
        more = {SUMMARY, LINKS, PROOFS, SEALS, KEYS}
        for name in sorted(named.keys() | (set(self._verdict.files) - more)):
            with _part(self._verdict, name):
                if name not in named:
                    raise Refused("Nothing that happened to this fax names it.")
                if name not in self._files and absent.get(name) != named[name]:
                    raise Refused("It is missing, and nothing says why.")
                if name in self._files and digest(self._files[name]) != named[name]:
                    raise Refused("It is not the document that was sealed.")


def proven(verdict: Verdict) -> list[str]:
    """What a whole bundle proves, in sentences."""
    first, last = verdict.seals
    whose = "by the gateway whose key you trust" if verdict.trusted else "by whoever has the key below"
    return [
        f"These {verdict.links} entries, in this order and none left out between them, were written down {whose} when its seal "
        f"{last} was made; nothing of them was changed since.",
        f"The seals {first} to {last} follow each other without a gap, so none was put in, taken out or moved afterwards."
        if first < last
        else f"Seal {last} is signed, and names the hash of the seal before it.",
        "The documents in this bundle are the ones that the entries name, to the byte.",
    ]


def claimed(verdict: Verdict) -> list[str]:
    """What is only said, and by whom."""
    says = [] if verdict.trusted else ["That the key is the gateway's: compare its fingerprint, and give it with --key."]
    return [
        *says,
        "All times: they are those of the gateway's clock, and of the carriers' where it says so.",
        "What became of the call: the carrier says so. The name of the far end is what that machine calls itself.",
        "That the gateway wrote down what was true, and everything: it proves only that it did not write it differently later.",
        *(f"That {one['file']} had the hash {one['sha256']}: {one['why']}." for one in verdict.absent),
    ]
