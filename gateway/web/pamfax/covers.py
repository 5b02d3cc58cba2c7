"""Cover pages: ours, and those that an account has brought. Sections 6.4, 6.7 and 7.1 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- A cover of an account is a text, UTF-8, of at most 10,000 characters: that alone is printed, with what `data` and SetCover's
  `text` (`{Message}`) put into it, and the facts of each fax (`pages.cover`). Anything else is `bad_cover_file`.
- An account has at most 20 of its own, with ids from 101 on. DeleteCover takes one of ours off its lists until
  RestoreDefaultCovers; with `defaults_if_empty` they are offered again where nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.fax import Sha256, new_id
from gateway.spool import applications
from gateway.spool.applications import COVERS, HIDDEN
from gateway.web.pamfax import files, jobs
from gateway.web.pamfax.call import NOT_GIVEN, Call, Fault, Members
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import fax_job
from gateway.web.pamfax.users import user_info

_OURS = ((1, "Basic"), (2, "Flowers"), (3, "Message"), (4, "Simple"))
_FIRST, _MOST, _LONGEST, _TITLE = 101, 20, 10_000, 80
_BLANK = "blank"  # the template with nothing but the text
_NONE = {"id": 0, "title": "No cover", "description": None, "creator": 0, "thumb_id": None, "preview_id": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A cover that a fax can have."""

    id: int
    uuid: str
    title: str
    template: str
    """By its name in `templates/cover/`."""
    text: str = "{Message}"
    creator: int = 0
    """1: the account's own."""

    @property
    def told(self) -> dict[str, Any]:
        preview = f"cover{self.id}"
        return {
            "id": self.id,
            "template_id": self.uuid,
            "title": self.title,
            "description": None,
            "creator": self.creator,
            "thumb_id": preview,
            "preview_id": preview,
        }

    def printed(self, message: str, data: Mapping[str, Any]) -> str:
        """The text with the message in it; `data` is what else stands for words in braces. What was put in is left alone."""
        values = {str(name).strip("{}"): value for name, value in data.items() if isinstance(value, str)}
        words = re.compile(r"\{(" + "|".join(map(re.escape, values)) + r")\}") if values else None

        def filled(text: str) -> str:
            return words.sub(lambda found: str(values[found[1]]), text) if words else text

        return filled(message).join(filled(piece) for piece in self.text.split("{Message}"))


async def offered(house: House, call: Call, *, defaults_if_empty: bool = True) -> Sequence[Cover]:
    """The covers on the account's list."""
    body = (await house.store.read(applications.profile_of, call.account.id)).body
    defaults = [Cover(id=n, uuid=str(n), title=title, template=title.lower()) for n, title in _OURS]
    hidden = set(body.get(HIDDEN, ()))
    own = [Cover(**one, template=_BLANK, creator=1) for one in body.get(COVERS, ())]
    found = [*(cover for cover in defaults if cover.uuid not in hidden), *own]
    return found or (defaults if defaults_if_empty else [])


@fax_job.method("ListAvailableCovers")
async def list_available_covers(house: House, call: Call) -> Members:
    body = await jobs.current(house, call)
    covers = await offered(house, call, defaults_if_empty=call.flag("defaults_if_empty", default=True))
    return {"Covers": [*([_NONE] if body["files"] else []), *(cover.told for cover in covers)]}


@user_info.method("ListCovers")
async def list_covers(house: House, call: Call) -> Members:
    return {"Covers": [cover.told for cover in await offered(house, call)]}


@fax_job.method("SetCover")
async def set_cover(house: House, call: Call) -> Members:
    chosen = await wanted(house, call, call.text("template_uuid", 64) or call.text("template_id", 64))
    await jobs.change(house, call, lambda body: body.update(cover=chosen))
    return {}


async def wanted(house: House, call: Call, name: str, text: str = "text") -> dict[str, Any]:
    """What a job has to know of the cover with this id; `text` is the argument that says what stands on it. Raises Fault."""
    cover = next((one for one in await offered(house, call) if name in (one.uuid, str(one.id))), None)
    if cover is None and name:
        raise Fault("invalid_cover", "There is no such cover; FaxJob/ListAvailableCovers lists them.")
    raw = call.raw(text)
    message = ("" if raw.strip().lower() in NOT_GIVEN else raw).replace("\r\n", "\n").replace("\r", "\n")
    values = call.arguments.get("data")
    data = values if isinstance(values, dict) else {}
    said = Cover(id=0, uuid="", title="", template="").printed(message, data)
    printed = cover.printed(message, data) if cover else ""
    for one in (said, printed):
        if len(one) > _LONGEST or not one.replace("\n", "").replace("\t", "").isprintable():
            raise Fault("bad_property", f"{text} has at most {_LONGEST} printable characters.")
    if cover is None:
        return {"id": 0, "text": said}
    return {"id": cover.id, "text": said, "template": cover.template, "printed": printed}


@fax_job.method("RemoveCover")
async def remove_cover(house: House, call: Call) -> Members:
    await jobs.change(house, call, lambda body: body.update(cover={"id": 0, "text": ""}))
    return {}


@user_info.method("AddCover")
async def add_cover(house: House, call: Call) -> Members:
    name, content = await files.uploaded(call)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise Fault("bad_cover_file", "A cover is a text in UTF-8.") from error
    if not text.strip() or len(text) > _LONGEST or not text.replace("\n", "").replace("\t", "").isprintable():
        raise Fault("bad_cover_file", f"A cover is a text of 1 to {_LONGEST} printable characters.")
    title = call.text("title", _TITLE) or name.rpartition(".")[0] or name
    uuid = new_id("cv")[3:]

    def add(body: dict[str, Any]) -> dict[str, Any]:
        own = body.setdefault(COVERS, [])
        if len(own) >= _MOST:
            raise Fault("too_many_covers", f"An account has at most {_MOST} covers of its own.")
        number = max((one["id"] for one in own), default=_FIRST - 1) + 1
        own.append({"id": number, "uuid": uuid, "title": title[:_TITLE], "text": text})
        return dict(own[-1])

    added = await house.store.write(applications.edit_profile, call.account.id, add)
    return {"Cover": Cover(**added, template=_BLANK, creator=1).told}


@user_info.method("DeleteCover")
async def delete_cover(house: House, call: Call) -> Members:
    uuid = call.needed("uuid", 64)

    def remove(body: dict[str, Any]) -> None:
        own, hidden = body.get(COVERS, []), body.get(HIDDEN, [])
        left = [one for one in own if one["uuid"] != uuid]
        if len(left) < len(own):
            body[COVERS] = left
        elif uuid in [str(n) for n, _ in _OURS] and uuid not in hidden:
            body[HIDDEN] = [*hidden, uuid]
        else:
            raise Fault("invalid_cover", "This account has no such cover; UserInfo/ListCovers lists them.")

    await house.store.write(applications.edit_profile, call.account.id, remove)
    return {}


@user_info.method("RestoreDefaultCovers")
async def restore_default_covers(house: House, call: Call) -> Members:
    await house.store.write(applications.edit_profile, call.account.id, lambda body: body.update({HIDDEN: []}))
    return {}


async def preview(house: House, call: Call, name: str) -> Sha256 | None:
    """A cover as it would look, as PDF, by its `preview_id`; None where there is none."""
    cover = next((one for one in await offered(house, call) if name == f"cover{one.id}"), None)
    if cover is None:
        return None
    shown = {"id": cover.id, "text": "Message", "template": cover.template, "printed": cover.printed("Message", {})}
    body = {**jobs.new_body(house), "cover": shown}
    return await house.previews.printed(await jobs.mail_of(house, call, body), partial(jobs.job_of, house, call, body))
