"""FaxJob: the files of a fax. Sections 6.4 and 7.1 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- At most 10 files of 30 MB, with names of 200 characters.
- A file whose name does not end as one that we can fax is refused with `file_extension_not_supported`; one without an ending is
  looked at.
- A file comes as a part of multipart, as the whole body of a call (any type that is no form), or in base64: as a part that
  says so, as a text called `file`, or as the octets of a type that never looks like base64.
- AddRemoteFile fetches at once, from public addresses and `http.callback_networks` only; what fails is `download_failed`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import string
from pathlib import PurePosixPath, PureWindowsPath

from gateway.errors import DownloadFailed
from gateway.fax import new_id
from gateway.web.pamfax import faxes
from gateway.web.pamfax.call import Call, Fault, Members
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import Body, change, current, fax_job

#: What becomes pages, by the ends of file names, with the type we call it.
TYPES = {
    "pdf": "application/pdf",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "txt": "text/plain",
    "html": "text/html",
    "htm": "text/html",
}
_MOST, _LARGEST, _LONGEST = 10, 30_000_000, 200  # files, bytes, characters of a name
_ENDINGS = {kind: ending for ending, kind in reversed(TYPES.items())}
_TEXTS = frozenset({"", "txt", "html", "htm"})  # endings of files that may look like base64 and are none
_BASE64 = (string.ascii_letters + string.digits + "+/=" + string.whitespace).encode()


@fax_job.method("AddFile")
async def add_file(house: House, call: Call) -> Members:
    name, content = await uploaded(call)
    return await attach(house, call, name, content)


async def uploaded(call: Call) -> tuple[str, bytes]:
    """Name and content of the file that came with a call. Raises Fault."""
    upload, written = call.uploads.get("file") or next(iter(call.uploads.values()), None), call.arguments.get("file")
    name = _name(call.text("filename") or (upload.filename if upload else "") or "")
    if upload is not None:
        content = await upload.read()
        packed = upload.headers.get("content-transfer-encoding", "").strip().lower() == "base64"
        if packed or (_ending_of(name) not in _TEXTS and content and not content.translate(None, _BASE64)):
            content = _unpacked(content)
    elif isinstance(written, str) and written:
        content = _unpacked(written.encode("utf-8", "replace"))
    else:
        raise Fault("no_file_uploaded", "The part “file” is missing.")
    if len(content) > _LARGEST:
        raise Fault("file_too_large", f"A file has at most {_LARGEST // 1_000_000} MB.")
    if (size := call.text("file_size")) and size != str(len(content)):
        raise Fault("file_wrong_size", f"{len(content)} bytes arrived, {size[:20]} were sent.")
    said = call.text("file_contentmd5") or call.text("file_content_md5")
    if said and not hmac.compare_digest(said.lower().encode(), _md5(content).encode()):
        raise Fault("file_wrong_checksum", "The MD5 of what arrived is not the one that was given.")
    return name, content


def _unpacked(content: bytes) -> bytes:
    """What base64 says; in a form that was not encoded its `+` came as blanks."""
    try:
        return base64.b64decode(re.sub(rb"[\r\n\t]", b"", content.strip()).replace(b" ", b"+"), validate=True)
    except binascii.Error as error:
        raise Fault("bad_file", "The file is not the base64 it says it is.") from error


@fax_job.method("AddRemoteFile")
async def add_remote_file(house: House, call: Call) -> Members:
    await current(house, call)
    try:
        fetched = await house.outbound.get(call.raw("url", 2000).strip(), _LARGEST)
    except DownloadFailed as error:
        raise Fault("download_failed", error.text) from error
    name = _name(fetched.name)
    if _ending_of(name) not in TYPES and fetched.content_type in _ENDINGS:
        name = f"{name}.{_ENDINGS[fetched.content_type]}"
    return await attach(house, call, name, fetched.content)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _name(written: str) -> str:
    """A file's name, without a path of either kind."""
    name = PureWindowsPath(PurePosixPath(written).name).name
    if len(name) > _LONGEST:
        raise Fault("filename_too_long", f"A file name has at most {_LONGEST} characters.")
    return "".join(c if c.isprintable() else "?" for c in name) or "document"


def _ending_of(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


async def attach(house: House, call: Call, name: str, content: bytes) -> Members:
    """Add a file to the session's job. Raises Fault."""
    if not content:
        raise Fault("bad_file", "The file is empty.")
    ending = _ending_of(name) or _ending(content)
    if ending not in TYPES:
        raise Fault("file_extension_not_supported", f"“.{ending}” cannot be faxed; {', '.join(TYPES)} can.")
    document = await house.documents.put(content)
    file = {"id": new_id("fl")[3:], "name": name, "ext": ending, "mime": TYPES[ending], "size": len(content)}
    file["md5"] = _md5(content)
    file["created"] = house.store.now().isoformat()

    def edit(body: Body) -> int:
        if len(body["files"]) >= _MOST:
            raise Fault("too_many_files", f"A fax has at most {_MOST} files.")
        body["files"].append(file)
        return len(body["files"]) - 1

    order = await change(house, call, edit, {str(file["id"]): document.sha256})
    return {
        "FaxContainerFile": {
            "file_uuid": file["id"],
            "name": name,
            "ext": ending,
            "mime": file["mime"],
            "file_order": order,
            "state": "",
        }
    }


def _ending(content: bytes) -> str:
    """Of a file that is only called “file”."""
    for start, ending in ((b"%PDF", "pdf"), (b"II*\0", "tif"), (b"MM\0*", "tif"), (b"\x89PNG", "png"), (b"\xff\xd8", "jpg")):
        if content.startswith(start):
            return ending
    return "" if b"\0" in content[:1000] else "txt"


@fax_job.method("AddAnotherFax")
async def add_another_fax(house: House, call: Call) -> Members:
    document = await faxes.document(house, call, call.needed("fax_uuid", 64))
    content = await house.documents.get(document)
    return await attach(house, call, "fax.pdf", content)


@fax_job.method("ListFaxFiles")
async def list_fax_files(house: House, call: Call) -> Members:
    body = await current(house, call)
    return {
        "Files": [
            {
                "uuid": file["id"],
                "name": file["name"],
                "extension": file["ext"],
                "mimetype": file["mime"],
                "size": file["size"],
                "pages": None,
                "contentmd5": file["md5"],
                "created": call.told(house.moment(file["created"])),
            }
            for file in body["files"]
        ]
    }


@fax_job.method("RemoveFile")
async def remove_file(house: House, call: Call) -> Members:
    wanted = call.needed("file_uuid", 64)

    def edit(body: Body) -> None:
        left = [file for file in body["files"] if file["id"] != wanted]
        if len(left) == len(body["files"]):
            raise Fault("file_not_found", "This fax has no such file.")
        body["files"] = left

    await change(house, call, edit)
    return {}


@fax_job.method("RemoveAllFiles")
async def remove_all_files(house: House, call: Call) -> Members:
    await change(house, call, lambda body: body.update(files=[]))
    return {}
