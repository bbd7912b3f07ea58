"""One request over HTTP to somebody who is not trusted to answer soon, shortly, or honestly.

- All of it, name lookup and a dripping answer included, ends after `PATIENCE` seconds.
- At most `MOST_READ` bytes of an answer are read, as they come: nothing is decompressed.
- No redirect is followed: what is signed or secret goes where fleet.toml says, and nowhere else.
- TLS is verified against this system's certificates; proxies are those of the environment, never for loopback.
- What is secret goes over plain http only to this machine, and is blotted out of whatever is told.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from clarion_controller.notice import Undelivered
from clarion_controller.notifiers.text import line
from clarion_protocol.os_words import os_words

PATIENCE = 20.0  # seconds for the whole exchange
MOST_READ = 64 * 1024
SHORTEST_SECRET = 8  # a part of an address that is shorter gives nothing away
BLOT = "***"

_LATER = {408, 425, 429}
_MOVED = {301, 308}


@dataclass(frozen=True)
class Call:
    """What is asked; `secrets` are never told, and without any it may go over plain http."""

    url: str = field(repr=False)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def host(self) -> str:
        """Who is asked, which is no secret; "" if the address is none."""
        try:
            parts = urlsplit(self.url)
            is_one = parts.scheme in ("https", "http") and parts.port != 0
        except ValueError:  # no such port, or half a bracket
            return ""
        return parts.hostname or "" if is_one else ""

    @property
    def place(self) -> str:
        """The host and its port, in words; only if there is a host."""
        parts = urlsplit(self.url)
        return f"{self.host} port {parts.port or (443 if parts.scheme == 'https' else 80)}"


@dataclass(frozen=True)
class Answer:
    """What came back; `said` is the beginning of its body as one line without secrets, fit to be shown."""

    status: int
    body: bytes
    host: str
    said: str
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Whether it was taken."""
        return 200 <= self.status < 300

    def refusal(self) -> Undelivered:
        """Return what this answer means for who wanted to tell something."""
        if 300 <= self.status < 400:
            reason = f"{self.host} answers {self.status}, a redirect; none is followed: name the address it leads to"
            return Undelivered(reason, is_final=self.status in _MOVED)
        said = f": {self.said}" if self.said else ""
        # Who says when to come again does not mean "never", whatever the status.
        is_final = 400 <= self.status < 500 and self.status not in _LATER and self.retry_after is None
        return Undelivered(f"{self.host} answers {self.status}{said}", retry_after=self.retry_after, is_final=is_final)


def post(call: Call, patience: float = PATIENCE) -> Answer:
    """Return the answer to `call`, which was taken.

    Raises:
        Undelivered: no answer within `patience` seconds, or one that is no success.
    """
    answer = ask(call, patience)
    if not answer.is_success:
        raise answer.refusal()
    return answer


def ask(call: Call, patience: float = PATIENCE) -> Answer:
    """Return the answer to `call`, whatever its status.

    Raises:
        Undelivered: no answer within `patience` seconds, no such address, or a secret that everybody could read.
    """
    _refuse_to_leak(call)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(_exchange(call), patience))
    except asyncio.TimeoutError:
        raise Undelivered(f"{call.place} did not answer within {patience:.0f} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
        # Without the cause: an address may be the secret, and some of these messages repeat it.
        reason = line(blotted(_first_cause(error), call.secrets), 200)
        raise Undelivered(f"no answer from {call.place}: {reason}") from None
    finally:
        _wind_up(loop)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of what was not read to its end; unlike asyncio.run, this does not wait for a name lookup that hangs."""
    loop.run_until_complete(loop.shutdown_asyncgens())
    if left := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.wait(left, timeout=1.0))
    loop.close()


def _first_cause(error: BaseException) -> str:
    """Return what the system said: the libraries on top of it say only that something failed."""
    while deeper := error.__cause__ or next(_inner(error), None):
        error = deeper
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__


def _inner(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error holds: in its arguments, or of each address of a name that was tried."""
    several = getattr(error, "exceptions", ())  # an ExceptionGroup's, which Python 3.10 has only from a library
    yield from (each for each in (*several, *error.args) if isinstance(each, BaseException))


async def _exchange(call: Call) -> Answer:
    proxied = not is_loopback(call.host)
    headers = {"User-Agent": "clarion", "Accept-Encoding": "identity", **call.headers}
    async with (
        httpx.AsyncClient(verify=ssl.create_default_context(), timeout=PATIENCE, trust_env=proxied) as client,
        client.stream(call.method, call.url, content=call.body, headers=headers) as response,
    ):
        body = await _beginning(response)
    return Answer(
        status=response.status_code,
        body=body,
        host=call.host,
        said=line(blotted(body.decode("utf-8", "replace"), call.secrets), 200),
        retry_after=seconds_of(response.headers.get("Retry-After", "")),
        headers=response.headers,
    )


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk[: MOST_READ - len(body)]
        if len(body) >= MOST_READ:
            break
    return body


def _refuse_to_leak(call: Call) -> None:
    if not call.host:
        raise Undelivered("its address does not begin with https://HOST", is_final=True)
    if call.secrets and not call.url.lower().startswith("https:") and not is_loopback(call.host):
        raise Undelivered(f"{call.host} is to be told a secret over plain http: use https", is_final=True)


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def blotted(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` without the secrets, nor the parts of those that are addresses or have several lines."""
    parts = {part for secret in secrets for part in (secret, *re.split(r"[\s/?&=:@]", secret))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET:
            text = text.replace(part, BLOT)
    return text


def seconds_of(retry_after: str) -> float | None:
    """Return how long a Retry-After header (RFC 9110, seconds or a date) asks to wait; None if it says nothing."""
    written = retry_after.strip()
    if written.isascii() and written.isdigit() and len(written) < 10:
        return float(written)
    try:
        return max(parsedate_to_datetime(written).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
