"""The PamFax API, served: the programs written for it run against this gateway. Wire reference: reference/pamfax.md.

`/pamfax/PROCESSOR/METHOD`, and `/PROCESSOR/METHOD` on a listener of its own; GET and POST, query and body merged (the body
wins), doubled and trailing slashes, names in any case. The processors are in `pamfax`. What the public material leaves open,
and what was chosen:

- Everything is HTTP 200 with a `result`, but what is no call: 405 for a method, 408 and 413 for a body, 503 while the spool
  is down or too many bodies arrive. `404` is the code of a processor or method that does not exist, `500` of a fault of ours.
- A file that comes as a text (`file`, base64) may count in the checksum or not, as its octets do not.
- A key that is unknown, a checksum that is wrong and a secret that is wrong are all `403`. `apicheck` wins over `apisecret`.
- A token that is missing is `no_user_logged_in`, one that has ended `session_not_found`.
- `apioutputformat` is taken leniently: what ends in JSON is JSON.

Limits: a body is at most 42 MB and comes within two minutes; 16 of more than 1 MB are read at a time, others wait for a
minute and are then answered with `too_many_requests` and 503. The secret word in clear is as good as TLS is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from gateway.carriers import pamfax_wire as wire
from gateway.carriers.pamfax_wire import Answer
from gateway.desk.applications import Application, Applications
from gateway.desk.throttle import Tally, network_of
from gateway.errors import GatewayError, NoCredit, Refused, SpoolUnavailable, TooMany, Unavailable
from gateway.fax import Account
from gateway.spool import pamfax as records
from gateway.spool.pamfax import Session
from gateway.web import form
from gateway.web.pamfax.absent import processors
from gateway.web.pamfax.call import Call, Fault, Method
from gateway.web.pamfax.house import House
from gateway.web.pamfax.session import IDENTIFIER, hashed

PREFIX = "/pamfax"
_MAX_BODY = 42_000_000  # bytes: 30 MB of a file in base64 and its wrapping
_BODY_TIME = 120.0  # seconds
_SMALL = 1_000_000  # bytes of a body that needs no place among the large ones
_LARGE_AT_ONCE, _ROOM_TIME = 16, 60.0  # large bodies that are read at a time; seconds that one waits for its place
_UNREAD = 1_000_000  # bytes of a stranger's body that are read so that he sees the answer
_MOST_KNOWN, _LONGEST_KEY = 10_000, 100  # clients with their keys; characters of a key that are told apart
_ROOT = "Error"  # of an answer to a call of no processor
_log = logging.getLogger(__name__)


class PamFaxApi:
    """The door."""

    def __init__(self, house: House, applications: Applications) -> None:
        self._house, self._applications = house, applications
        self._processors = processors()
        self._strangers = Tally(20, 10.0)  # wrong keys and secrets, by client
        self._mistaken = Tally(200, 1.0)  # the same of those who were right before, by client and key
        self._known: OrderedDict[str, None] = OrderedDict()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    def routes(self, prefix: str = PREFIX) -> list[BaseRoute]:
        """For `WebDoor`; "" puts the API at the root."""
        return [Mount(prefix, self._serve)]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answered(request)
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        pieces = [piece for piece in _below(request).split("/") if piece]
        root = self._processors[pieces[0].lower()].name if pieces and pieces[0].lower() in self._processors else _ROOT
        if request.method not in ("GET", "HEAD", "POST"):
            return Response(status_code=405, headers={"allow": "GET, POST"})
        json = _wants_json(dict(request.query_params))
        try:
            async with self._room(request):
                items = await form.read(request, max_body=_MAX_BODY, body_time=_BODY_TIME, max_field=_MAX_BODY, bare="file")
        except form.Fault as fault:
            if fault.status != 408:
                await form.drain(request, _UNREAD)
            code = "too_many_requests" if fault.status == 503 else str(fault.status)
            told = _response(root, Answer(code=code, message=fault.text), json)
            told.status_code = fault.status if fault.status in (408, 413, 503) else 200
            return told
        try:
            arguments = wire.arguments((name, value) for name, value in items if isinstance(value, str))
            json = _wants_json(arguments)
            uploads = {name.lower(): value for name, value in items if isinstance(value, UploadFile)}
            made = await self._called(request, pieces, arguments, uploads)
            return made if isinstance(made, Response) else _response(root, Answer(members=made), json)
        except ValueError as error:
            return _response(root, Answer(code="bad_property", message=str(error)), json)
        except Fault as fault_:
            return _response(root, Answer(code=fault_.code, message=fault_.text), json)
        except SpoolUnavailable as error:
            told = _response(root, Answer(code="500", message=error.text), json)
            told.status_code = 503
            return told
        except GatewayError as error:
            return _response(root, Answer(code=_code(error), message=error.text), json)
        finally:
            form.close(items)

    @contextlib.asynccontextmanager
    async def _room(self, request: Request) -> AsyncGenerator[None, None]:
        """A place for a large body: who sends it is known when it has been read, and all of them must fit into memory.
        Raises form.Fault."""
        size = request.headers.get("content-length", "")
        if int(size or 0) <= _SMALL and "transfer-encoding" not in request.headers:
            yield
            return
        try:
            async with asyncio.timeout(_ROOM_TIME):
                await self._large.acquire()
        except TimeoutError as error:
            raise form.Fault(503, "Too many files are being sent at once: come again.") from error
        try:
            yield
        finally:
            self._large.release()

    async def _called(
        self, request: Request, pieces: Sequence[str], arguments: Mapping[str, Any], uploads: Mapping[str, UploadFile]
    ) -> Mapping[str, Any] | Response:
        client = request.client.host if request.client else ""
        lowered = {name.lower(): value for name, value in arguments.items()}
        application = await self._application(client, arguments, lowered)
        method = self._method(pieces)
        try:
            signed_in = await self._signed_in(lowered, application)
        except Fault:
            if method.user:
                raise
            signed_in = None  # programs sign in again with the token that has ended
        zone = ZoneInfo(application.zone)
        if signed_in is not None:
            zone = await self._house.zone_of(signed_in[1], zone)
        call = Call(
            arguments=lowered,
            uploads=uploads,
            client=client,
            application=application.key,
            now=self._house.store.now(),
            zone=zone,
            signed_in=signed_in,
        )
        return await method.handler(self._house, call)

    def _method(self, pieces: Sequence[str]) -> Method:
        processor = self._processors.get(pieces[0].lower()) if len(pieces) == 2 else None
        method = processor.methods.get(pieces[1].lower()) if processor else None
        if method is not None:
            return method
        raise Fault("404", "There is no such method; a call is PROCESSOR/METHOD.")

    async def _application(self, client: str, arguments: Mapping[str, Any], lowered: Mapping[str, Any]) -> Application:
        """Who calls. Raises Fault, and after too many failures TooMany.

        Somebody else's failures behind the same address do not stop who was right before.
        """
        key, check, secret = (_text(lowered, name) for name in ("apikey", "apicheck", "apisecret"))
        network = network_of(client)
        pair = f"{network} {key[:_LONGEST_KEY]}"
        tally, who = (self._mistaken, pair) if pair in self._known else (self._strangers, network)
        if (wait := tally.wait(who)) > 0:
            raise TooMany("Too many calls with a wrong key or secret: wait, and check both.", retry_after=wait)
        application = await self._applications.find(key) if key else None
        expected = application.secret if application else ""
        if check:
            bare = {name: value for name, value in arguments.items() if name.lower() != "file"}
            right = [wire.apicheck(some, expected).encode() for some in (arguments, bare)]
            proved = sum(hmac.compare_digest(check.lower().encode("utf-8", "replace"), one) for one in right) > 0
        else:
            proved = self._house.door.clear_secret and hmac.compare_digest(secret.encode("utf-8", "replace"), expected.encode())
        if application is None or not proved:
            tally.add(who)
            _log.warning("wrong key or secret at the PamFax door from %s", client, extra={"action": "pamfax_call_refused"})
            raise Fault("403", "apikey, or the proof beside it (apicheck or apisecret), is missing or wrong.")
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return application

    async def _signed_in(self, lowered: Mapping[str, Any], application: Application) -> tuple[Session, Account]:
        """Whose token it is. Raises Fault."""
        if not (token := _text(lowered, "usertoken")):
            raise Fault("no_user_logged_in", "Sign in with Session/VerifyUser first.")
        session = await self._house.store.write(records.use, hashed(token))
        account = await self._house.identity.by_id(session.account) if session else None
        if session is None or account is None or session.application != application.key or session.state.get(IDENTIFIER):
            raise Fault("session_not_found", "This session has ended: sign in again.")
        return session, account


def _below(request: Request) -> str:
    """The path after the prefix, decoded."""
    return str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name, "")
    return value if isinstance(value, str) else ""


def _wants_json(arguments: Mapping[str, Any]) -> bool:
    named = {name.lower(): value for name, value in arguments.items()}
    return bool(re.search(r"json\s*$", _text(named, "apioutputformat"), re.IGNORECASE))


def _code(error: GatewayError) -> str:
    if isinstance(error, TooMany):
        return "too_many_requests"
    if isinstance(error, NoCredit):
        return "not_enough_credit"
    if isinstance(error, Refused):
        return "missing_right"
    return "generation_failed" if isinstance(error, Unavailable) else "500"


def _response(root: str, answer: Answer, json: bool) -> Response:
    content = wire.dumps_json(answer) if json else wire.dumps_xml(root, answer)
    kind = "application/json; charset=utf-8" if json else "text/xml; charset=utf-8"
    return Response(content, headers={"content-type": kind, "cache-control": "no-store"})
