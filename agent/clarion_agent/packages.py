"""What is published, as the core half believes it: from the bytes of `trust/bundle.json` and the pinned root only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarion_agent.durable import write_atomic
from clarion_agent.tuf_chain import MAX_BUNDLE_BYTES, Bundle, Chain, anchor_of, verify
from clarion_protocol import strict_json
from clarion_protocol.errors import BadEnvelope, StoreUnavailable, TrustStateLost
from clarion_protocol.policy import Policy
from clarion_protocol.published import Release

FILE = "bundle.json"


@dataclass(frozen=True)
class BundleFile:
    """The one file in which the net half hands metadata over: replaced as a whole, so never half new."""

    path: Path

    @classmethod
    def below(cls, trust: Path) -> BundleFile:
        """Return the bundle's file in the folder `trust`."""
        return cls(trust / FILE)

    def read_bytes(self) -> bytes | None:
        """Return the file's bytes, or None before the first refresh."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def read(self, root: bytes) -> Bundle | None:
        """Return the bundle that was handed over under this pinned root, or None if there is none yet.

        Raises:
            TrustStateLost: it is damaged.
        """
        return parse_bundle(self.read_bytes(), root)

    def write(self, bundle: Bundle) -> None:
        """Replace the bundle, durably."""
        write_atomic(self.path, strict_json.dumps(bundle))


class PackageBook:
    """Looks packages and policies up; verifies a bundle once, and again only when its bytes have changed."""

    def __init__(self, trust: Path, root: bytes, clock: Callable[[], float] = time.time) -> None:
        self._file = BundleFile.below(trust)
        self._root = root
        self._clock = clock
        self._seen: tuple[bytes | None, Chain] | None = None

    def find(self, app: str, version: str) -> Release:
        """Return what is signed of a release: path, length, hashes, release number, manifest.

        Raises:
            UnknownPackage: no such app or version is published.
            OutOfTime: the metadata has expired, so nothing new may be installed.
            StoreUnavailable: the metadata was never fetched.
            StoreMisbehaved, TrustStateLost: what was fetched cannot be believed.
        """
        chain = self._chain()
        chain.require_fresh(self._clock(), app)
        return chain.release(app, version)

    def policy(self, environment: str) -> Policy:
        """Return who may deploy to `environment`. Works on expired metadata too: an abort must stay possible.

        Raises:
            NotAuthorised: the environment has no policy.
            StoreUnavailable: the metadata was never fetched.
            StoreMisbehaved, TrustStateLost: what was fetched cannot be believed.
        """
        return self._chain().policy(environment)

    def _chain(self) -> Chain:
        raw = self._file.read_bytes()
        if self._seen is None or self._seen[0] != raw:
            bundle = parse_bundle(raw, self._root)
            if bundle is None:
                raise StoreUnavailable("this host has not fetched any package metadata yet", hint=_STORE_HINT)
            self._seen = (raw, verify(bundle, self._root))
        return self._seen[1]


def parse_bundle(raw: bytes | None, root: bytes) -> Bundle | None:
    """Return the bundle in `raw`, or None if there is none of this pinned root.

    Raises:
        TrustStateLost: it is damaged. It was written as a whole, so the disk or somebody has changed it.
    """
    if raw is None:
        return None
    try:
        bundle = strict_json.decode(raw, Bundle, max_bytes=MAX_BUNDLE_BYTES)
    except BadEnvelope as error:
        raise TrustStateLost(
            f"the package metadata in {FILE} is damaged, and with it which versions this host has seen",
            hint="Let the host join anew: 'clarion hosts invite', then 'clarion-agent join TOKEN'.",
        ) from error
    return bundle if bundle.anchor == anchor_of(root) else None


_STORE_HINT = "Run 'clarion-agent status' to see when it last reached the package store."
