"""What happened to one fax, sealed: one bundle (`gateway.bundle`), made of what was sealed and not of what the rows say now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC

from gateway import __version__, bundle, seal
from gateway.desk.notary import Notary
from gateway.errors import NotAdmitted
from gateway.fax import Sha256
from gateway.log import printable
from gateway.seal import Json, canonical, digest
from gateway.spool import events, seals
from gateway.spool.documents import Documents
from gateway.spool.seals import Part
from gateway.spool.store import Store

_WIDTH = 24
#: What people are shown of a link; of the others the history has said it.
_SHOWN = {
    "carrier's statement": ("carrier", "carrier_ref", "state", "outcome", "carrier_code", "text", "pages_sent", "believed"),
    "attempt ended": ("n", "state", "outcome", "carrier_code", "text", "pages_sent", "seconds", "station_id"),
    "told": ("kind", "recipient", "state", "answer", "message_id"),
}
_RECEIVED = (("to our line", "line"), ("caller, as carried", "caller"), ("station", "station_id"))


class Evidence:
    """Makes bundles."""

    def __init__(self, store: Store, documents: Documents, notary: Notary, domain: str) -> None:
        self._store, self._documents, self.notary, self._domain = store, documents, notary, domain

    async def of(self, fax: str, *, mail: bool) -> bytes:
        """The bundle of a fax as of now, with its mail where that is wanted. Raises NotAdmitted, SpoolUnavailable."""
        await self.notary.seal_fax(fax)
        parts = await self._store.read(seals.parts, fax)
        if not parts:
            raise NotAdmitted(f"Nothing is known of {fax}.")
        links = [json.loads(link) for part in parts for link in part.new]
        documents, absent = await self._gathered(bundle.wanted(links), mail=mail)
        made = await self._store.read(seals.between, parts[0].seal, parts[-1].seal)
        files = {
            bundle.SUMMARY: _summary(fax, self._domain, links, absent, str(made[-1].statement["at"])).encode(),
            bundle.LINKS: bundle.lines(links),
            bundle.PROOFS: canonical({"proofs": [_proof(part) for part in parts]}),
            bundle.SEALS: bundle.lines([dataclasses.asdict(one) for one in made]),
            bundle.KEYS: bundle.lines([dataclasses.asdict(key) for key in await self.notary.keys()]),
            **documents,
        }
        manifest = {
            "format": bundle.FORMAT,
            "fax": fax,
            "gateway": self._domain,
            "made_at": self._store.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "made_by": f"faxgate {__version__}",
            "files": {name: {"sha256": digest(content), "bytes": len(content)} for name, content in files.items()},
            "absent": absent,
        }
        signature = canonical(await self.notary.signed(manifest))
        made_of = bundle.pack({bundle.MANIFEST: canonical(manifest), bundle.SIGNATURE: signature, **files})
        if not (verdict := bundle.verify(made_of)).whole:  # somebody has been at the seals
            raise NotAdmitted(f"The evidence is not in order ({verdict.part}: {verdict.problem}): see faxgate fsck.")
        return made_of

    async def _gathered(self, wanted: Mapping[str, str], *, mail: bool) -> tuple[dict[str, bytes], list[Json]]:
        """The documents that are still here, and what is said of the others."""
        said = [name.removeprefix("statements/").removesuffix(".raw") for name in wanted if name.startswith("statements/")]
        raw = await self._store.read(events.raw, said)
        there, absent = dict[str, bytes](), list[Json]()
        for name, sha256 in wanted.items():
            content, why = None, "left out: it was not asked for"
            if name.startswith("statements/"):
                content, why = raw.get(name.removeprefix("statements/").removesuffix(".raw")), "what was said was replaced"
            elif name != bundle.MAIL or mail:
                content, why = await self._document(Sha256(sha256)), "removed after its time, or with its fax"
            if content is not None and digest(content) == sha256:
                there[name] = content
            else:
                absent.append({"file": name, "sha256": sha256, "why": why if content is None else "the one here is damaged"})
        return there, absent

    async def _document(self, sha256: Sha256) -> bytes | None:
        """A document, also one that is damaged; None: it is not here."""
        if await self._documents.intact(sha256) is None:
            return None
        return await self._documents.get(sha256)


def _proof(part: Part) -> Json:
    return {"seal": part.seal, "links": part.links, "place": part.place, "path": seal.path(part.leaves, part.place)}


def _summary(fax: str, gateway: str, links: Sequence[Json], absent: Sequence[Json], sealed_at: str) -> str:
    """For people: what happened, line by line. What came from outside is made printable."""
    lines = [f"Evidence about the fax {fax}, by the gateway {gateway}", "", *_facts(links), "", "What happened (UTC)", ""]
    lines += filter(None, map(_line, links))
    if absent:
        lines += ["", "Not in this bundle (only the hash is known)", ""]
        lines += [f"{one['file']}  SHA-256 {one['sha256']}  {one['why']}" for one in absent]
    lines += [
        "",
        f"Sealed by the gateway at {sealed_at}. Check all of this, offline and without the gateway, with",
        "",
        "    faxgate evidence verify FILE --key FINGERPRINT",
        "",
        "The fingerprint has to come from the gateway's operator by another way than this file.",
        "",
    ]
    return "\n".join(lines)


def _facts(links: Sequence[Json]) -> list[str]:
    found = list[tuple[str, object]]()
    for link in links:
        if link["what"] == "accepted":
            envelope = link["envelope"]
            found += [("to", link["number"]), ("written", ", ".join(one["written"] for one in link["recipients"]))]
            found += [("from", f"{envelope.get('sender') or '<>'} by {envelope['door']} {envelope.get('client', '')}")]
            found += [
                ("Message-ID", link.get("message_id", "")),
                ("subject", link.get("subject", "")),
                ("mail, SHA-256", link["mail"]),
            ]
        elif link["what"] == "announced":
            found += [(title, link.get(name, "")) for title, name in _RECEIVED]
        elif link["what"] == "pages":
            found += [("pages", link["pages"]), ("pages, SHA-256", link["document"])]
        elif link["what"] == "ended":
            found += [
                ("ended", " ".join(dict.fromkeys(str(link[name]) for name in ("state", "outcome", "reason") if name in link)))
            ]
            found += [("pages confirmed", link.get("pages_sent", 0))]
    return [f"{name:<{_WIDTH}}{printable(str(value), 2000)}" for name, value in found if value != ""]


def _line(link: Json) -> str:
    """One link; "" where another one says the same to people."""
    what, at = link.get("note", link["what"]), str(link.get("at") or link.get("sent_at") or link.get("finished_at"))
    if what in _SHOWN and "note" not in link:
        said = ", ".join(f"{name.replace('_', ' ')} {link[name]}" for name in _SHOWN[what] if name in link)
    elif "note" in link and what not in _SHOWN:
        said = link["detail"]
    else:
        return ""
    return f"{at[:23]:<{_WIDTH + 1}}{printable(str(what), 40):<{_WIDTH}}{printable(said, 2000)}".rstrip()
