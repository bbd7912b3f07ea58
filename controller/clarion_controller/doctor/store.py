"""The package store, tried with one small object: so a missing permission is found before a release needs it."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import urllib3

from clarion_controller.api.answers import Finding, Health
from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.store import Span, Store
from clarion_protocol.errors import BadContent, ClarionError

FOLDER = "clarion-doctor"  # an app of this name cannot be in the way: what is put is removed again
PATIENCE = 10.0  # seconds for the signed address to answer
TTL = 60.0
PART = 100  # bytes that are asked for at the signed address


def examine_store(wanted: fleet.Store, home: Path) -> Iterator[Finding]:
    """Yield how the store takes, shows, lists, hands out and removes an object; the first trouble ends it."""
    store = store_of(wanted, home)
    content = secrets.token_bytes(1000)
    key = f"{FOLDER}/{FOLDER}-{secrets.token_hex(8)}.tar.zst"
    steps: list[tuple[str, Callable[[], None]]] = [
        ("put", lambda: _put(store, key, content)),
        ("get", lambda: _expect(b"".join(store.get(key, Span(100, 200))), content[100:300], "a part")),
        ("list", lambda: _expect([each.key for each in store.list(f"{FOLDER}/") if each.key == key], [key], "a list")),
        ("delete", lambda: store.delete(key)),
    ]
    if wanted.deliver == "redirect":
        steps.insert(2, ("signed address", lambda: _fetch(store.presign(key, TTL), content)))
    step = ""
    try:
        for step, carry_out in steps:  # noqa: B007 (the last one is told)
            carry_out()
    except ClarionError as error:
        with suppress(ClarionError):
            store.delete(key)
        sentence = f"{_name(wanted)}, {step}: {error.message}"
        yield Finding(subject="store", health=Health.FAILED, sentence=sentence, hint=error.hint or "")
        return
    if (store.presign(key, TTL) or "").startswith("http://") and wanted.deliver == "redirect":
        sentence = f"{_name(wanted)}: it is reached by http://, and hosts follow only to https"
        yield Finding(subject="store", health=Health.WARNING, sentence=sentence, hint=_ORIGINS)
    done = ", ".join(step for step, _ in steps)
    yield Finding(subject="store", health=Health.OK, sentence=f"{_name(wanted)}: {done} work")


def _name(wanted: fleet.Store) -> str:
    if wanted.s3:
        return f"the bucket {wanted.s3.bucket} (S3)"
    if wanted.gcs:
        return f"the bucket {wanted.gcs.bucket} (Google Cloud Storage)"
    if wanted.azure:
        return f"the container {wanted.azure.container} (Azure)"
    return "the store's folder"


def _put(store: Store, key: str, content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        store.put_if_absent(key, Path(file.name), hashlib.sha256(content).hexdigest())
    found = store.head(key)
    _expect(found.length if found else None, len(content), "a length")


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise BadContent(
            f"it answers with {what} that is not of what was put", hint="Is another program writing there?"
        )


def _fetch(url: str | None, content: bytes) -> None:
    """Ask for the object as a host would: by plain HTTP, with a range."""
    if url is None:
        return
    wanted = {"Range": f"bytes=0-{PART - 1}"}
    try:
        answer = urllib3.request(
            "GET", url, headers=wanted, timeout=PATIENCE, retries=False, redirect=False, preload_content=False
        )
        # Read no further than is due: who answers there may be anybody.
        data = answer.read(PART + 1)
        answer.close()
    except urllib3.exceptions.HTTPError as error:
        # The address is a secret, and urllib3 repeats it.
        raise BadContent(f"nobody answers there ({type(error).__name__})", hint=_PROXY) from error
    if answer.status != 206 or data != content[:PART]:
        raise BadContent(f"it answers with status {answer.status} where a part of the object is due", hint=_PROXY)


_ORIGINS = "List its origin in every host's package_origins (agent.toml; then only those count), or deliver by proxy."
_PROXY = 'If it cannot be helped, set deliver = "proxy" in [store]: then packages pass through the controller.'
