"""Announcements of pushes over HTTP, as an ASGI app for uvicorn: `POST /hooks/REPOSITORY`.

Who comes in here is the whole internet, with a web server and TLS in between. So, in this order:

1. a path of that shape, and POST        a name that nobody knows gets as far as one that somebody does
2. a place among those in progress       otherwise 503, come again
3. the body, whole and raw               bounded in size, in time, and all of them together
4. the signature                         otherwise 401, in the same words and after the same work for every name
5. only now it is parsed                 what is no push of a wanted branch or tag gets 200 and a sentence
6. it is on the disk                     202; a delivery that was known, 200

fleet.toml and secrets are read as they are now; while fleet.toml cannot be, as it last was. What is wrong with them
stands in the log and is nobody else's business.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from clarion_controller.builds.announcements import generic, github, gitlab
from clarion_controller.builds.announcements.letter import Announced, Letter, NothingToBuild, Unreadable
from clarion_controller.builds.build import Push
from clarion_controller.builds.raw_body import CLOSE, HungUp, Room
from clarion_controller.cluster import Cluster
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.package_store.answer import Refusal
from clarion_controller.package_store.app import Receive, Scope, Send
from clarion_protocol.errors import BadSignature, ClarionError

LARGE = 256 * 2**10  # bytes that are better looked at in a thread

FORGES: dict[str, ModuleType] = {"github": github, "gitlab": gitlab, "generic": generic}

_PATH = re.compile(r"/hooks/([^/]{1,100})")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Addressee:
    """Whom a letter is for; nobody's secret is one that nobody has, and `trouble` is why it is for nobody."""

    name: str
    repository: Repository
    secret: str
    trouble: str = ""


class Receiver:
    """The ASGI app; `push` brings a push and its app to the disk, and tells whether it was new."""

    def __init__(
        self, cluster: Cluster, push: Callable[[Push, str], Awaitable[bool]], room: Room | None = None
    ) -> None:
        self._cluster = cluster
        self._fleet = cluster.fleet
        self._push = push
        self._room = room or Room()
        self._nobodys = secrets.token_hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, sentence = await self._answer(scope, receive)
            more = []
        except Refusal as refusal:
            status, sentence, more = refusal.status, str(refusal), refusal.headers
        except HungUp:
            return
        body = f"{sentence}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, str]:
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            raise Refusal(404, "pushes are announced to /hooks/REPOSITORY", CLOSE)
        if scope["method"] != "POST":
            raise Refusal(405, "only POST", (b"allow", b"POST"), CLOSE)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._room.place() as take:
            letter = Letter(headers, await self._room.body(headers, receive, take))
            addressee = self._addressee(match[1])
            try:
                announced = await _understood(letter, addressee)
            except BadSignature as error:
                _log.warning("hook.refused", repository=match[1][:64], reason=addressee.trouble or error.message)
                raise Refusal(401, "no such repository, or not signed with its secret") from None
            except NothingToBuild as nothing:
                return 200, str(nothing)
            except Unreadable as problem:
                _log.warning("hook.unreadable", repository=addressee.name, reason=str(problem))
                raise Refusal(400, str(problem)) from None
        return await self._take_on(addressee, announced)

    def _addressee(self, name: str) -> _Addressee:
        known = {each: found for each, found in self._fleet_now().repository.items() if found.secret}
        # For a name that nobody knows, another's secret is read: by the time that it takes, names could be told.
        whose = name if name in known else next(iter(known), "")
        secret = self._secret_of(whose, known[whose]) if whose else ""
        if whose == name and secret:
            return _Addressee(name, known[name], secret)
        trouble = "its secret cannot be read" if whose == name else "fleet.toml has no such repository with a secret"
        return _Addressee(name, Repository(url="/"), self._nobodys, trouble)

    def _secret_of(self, name: str, repository: Repository) -> str:
        try:
            return repository.secret.reveal(self._cluster.home) if repository.secret else ""
        except ClarionError as error:
            _log.error("hook.no_secret", repository=name, reason=error.message, hint=error.hint)
            return ""

    def _fleet_now(self) -> Fleet:
        """Return the fleet; a forge does not announce a push again because fleet.toml is just being edited."""
        try:
            self._fleet = self._cluster.fleet
        except ClarionError as error:
            _log.error("hook.fleet_unreadable", reason=error.message, hint=error.hint)
        return self._fleet

    async def _take_on(self, addressee: _Addressee, announced: Announced) -> tuple[int, str]:
        if not addressee.repository.wants(announced.ref):
            return 200, f"heard, and nothing to do: {announced.ref} is not among the branches and tags that are built"
        values = {name: getattr(announced, name) for name in ("ref", "commit", "delivery", "digest", "before", "by")}
        try:
            app = addressee.repository.app or addressee.name
            is_new = await self._push(Push(repository=addressee.name, at=time.time(), **values), app)
        except SQLAlchemyError as error:
            _log.error("hook.not_kept", repository=addressee.name, reason=str(error))
            raise Refusal(503, "it could not be kept; come again", (b"retry-after", b"30")) from error
        if not is_new:
            return 200, "already known"
        _log.info("hook.push", repository=addressee.name, ref=announced.ref, commit=announced.commit, by=announced.by)
        return 202, f"{announced.commit[:12]} of {announced.ref} will be built"


async def _understood(letter: Letter, addressee: _Addressee) -> Announced:
    if len(letter.body) < LARGE:
        return _understand(letter, addressee)
    return await asyncio.to_thread(_understand, letter, addressee)


def _understand(letter: Letter, addressee: _Addressee) -> Announced:
    """Return what a letter announces.

    Raises:
        BadSignature: it is not genuine; nothing of it was parsed.
        NothingToBuild, Unreadable: it is, and announces nothing that could be built.
    """
    forge = FORGES[addressee.repository.forge]
    forge.verify(letter, addressee.secret, time.time())
    announced: Announced = forge.read(letter)
    return announced
