"""Bringing the package metadata up to date, and handing it over as one verified bundle.

1. update    root, timestamp, snapshot and targets with python-tuf's client, in the cache `tuf/`
2. verify    them again, from the pinned root, as the core will
3. fetch     the roles of this host's apps, and its environment's policy, where they have changed; verify them
4. compare   with the bundle before: nothing may be older, whatever the cache forgot
5. hand over the bundle, in one durable step

A refresh that fails anywhere leaves the bundle as it was. An app's role that has expired
is fetched all the same: it hinders that app, not the others.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, MetaFile, Root, TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from clarion_agent.durable import make_folder
from clarion_agent.net.fetch import Fetcher, host_trouble
from clarion_agent.packages import BundleFile
from clarion_agent.tuf_chain import Bundle, Chain, anchor_of, check_not_older, verify, verify_top, with_roles
from clarion_protocol.errors import OutOfTime, StoreMisbehaved, StoreUnavailable
from clarion_protocol.policy import MAX_POLICY_BYTES, policy_path
from clarion_protocol.published import policy_file, role_of

LIMITS = UpdaterConfig()
LOCK_WAIT_S = 60.0


@dataclass(frozen=True)
class Wanted:
    """What a host needs to know: its environment's policy, and the releases of its apps."""

    environment: str
    apps: Collection[str]


def refresh(trust: Path, root: bytes, fetcher: Fetcher, wanted: Wanted) -> None:
    """Bring the bundle in the folder `trust` up to date, starting from the pinned `root`.

    Raises:
        StoreUnavailable: the store does not answer.
        StoreMisbehaved: it answers with something that is not believed.
        OutOfTime: what it shows has expired.
        NotAuthorised: the environment has no policy.
        TrustStateLost: the bundle that was there cannot be read.
        NoSpace, HostError: this host's disk does not take it.
    """
    with _explained(), host_trouble(trust), _alone(trust / "tuf") as cache:
        file = BundleFile.below(trust)
        old = file.read(root)
        top = _update(cache, root, fetcher)
        proven = verify_top(top, root)
        new = _complete(top, proven, old, _Source(fetcher, wanted))
        if new == old:
            return
        chain = with_roles(proven, new)
        chain.policy(wanted.environment)
        if old:
            check_not_older(chain, verify(old, root))
        file.write(new)


def _update(cache: Path, root: bytes, fetcher: Fetcher) -> Bundle:
    """Return the top-level metadata as python-tuf's client accepts it."""
    # The pinned root each time: the cache is no anchor.
    Updater(str(cache), f"{fetcher.base_url}/metadata/", fetcher=_TufFetcher(fetcher), bootstrap=root).refresh()
    pinned = Metadata[Root].from_bytes(root).signed.version
    newest = int((cache / "root.json").resolve().name.partition(".")[0])
    history = [cache / "root_history" / f"{version}.root.json" for version in range(pinned + 1, newest + 1)]
    return Bundle(
        anchor=anchor_of(root),
        roots=[path.read_bytes() for path in history],
        timestamp=(cache / "timestamp.json").read_bytes(),
        snapshot=(cache / "snapshot.json").read_bytes(),
        targets=(cache / "targets.json").read_bytes(),
        roles={},
        policy=b"",
    )


def _complete(top: Bundle, chain: Chain, old: Bundle | None, source: _Source) -> Bundle:
    """Return `top` with the app roles and the policy that it names, taken from `old` where they are the same."""
    known = old or top
    roles = {name: source.role(name, chain, known.roles.get(name)) for name in source.roles(chain)}
    return msgspec.structs.replace(top, roles=roles, policy=source.policy(chain, known.policy))


@dataclass(frozen=True)
class _Source:
    """Where the files below the top level come from."""

    fetcher: Fetcher
    wanted: Wanted

    def roles(self, chain: Chain) -> list[str]:
        """Return the roles of the wanted apps that were ever published."""
        delegations = chain.targets.delegations
        known = (delegations.roles or {}) if delegations else {}
        return sorted({role_of(app) for app in self.wanted.apps} & set(known))

    def role(self, name: str, chain: Chain, have: bytes | None) -> bytes:
        """Return the bytes of an app's role."""
        meta = chain.snapshot.meta.get(f"{name}.json")
        if meta is None:
            raise StoreMisbehaved(f"the package store names {name} in targets, but not in snapshot")
        limit = meta.length or LIMITS.targets_max_length
        return self._current(f"/metadata/{meta.version}.{name}.json", meta, have, limit)

    def policy(self, chain: Chain, have: bytes | None) -> bytes:
        """Return the bytes of the environment's policy; nothing if it has none."""
        target = chain.targets.targets.get(policy_path(self.wanted.environment))
        if target is None:
            return b""
        path = f"/packages/{policy_file(self.wanted.environment, target.hashes['sha256'])}"
        return self._current(path, target, have, min(target.length, MAX_POLICY_BYTES))

    def _current(self, path: str, meta: MetaFile | TargetFile, have: bytes | None, limit: int) -> bytes:
        if have is not None and _is_same(have, meta):
            return have
        raw = self.fetcher.read(path, limit=limit)
        if raw is None:
            raise StoreMisbehaved(f"the package store {self.fetcher.base_url} has no {path}, which its metadata names")
        return raw


def _is_same(have: bytes, meta: MetaFile | TargetFile) -> bool:
    try:
        meta.verify_length_and_hashes(have)
    except LengthOrHashMismatchError:
        return False
    return bool(meta.hashes)


class _TufFetcher(FetcherInterface):
    """Our `Fetcher` as python-tuf wants it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return the file at `url`."""
        raw = self._fetcher.read(url.removeprefix(self._fetcher.base_url), limit=max_length)
        if raw is None:
            raise DownloadHTTPError(f"no {url}", 404)
        return raw

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter([self.download_bytes(url, LIMITS.targets_max_length)])


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ExpiredMetadataError as error:
        raise OutOfTime(f"the package store shows metadata that has expired: {error}", hint=_EXPIRED_HINT) from error
    except (DownloadError, RepositoryError, ValueError) as error:
        raise StoreMisbehaved(f"the package store shows metadata that cannot be believed: {error}") from error


_EXPIRED_HINT = "Is 'clarion serve' running on the controller? It renews this. If so, is this host's clock right?"


@contextmanager
def _alone(cache: Path) -> Iterator[Path]:
    """Make the folder of the cache, and keep every other refresh out of it."""
    make_folder(cache, mode=0o700)
    descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise StoreUnavailable("another refresh of the package metadata does not finish")
            time.sleep(0.05)
        yield cache
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
