"""Package metadata, verified offline from the pinned root down: values in, values out, no IO.

Source: the TUF specification 1.0.31, section 5, on python-tuf's `tuf.api.metadata`. The net half
refreshes with python-tuf's own client and hands over a `Bundle`: every byte that is needed
to verify it all again. So the core believes neither the store nor the net half.

- root: each next one is signed by the one before and by itself;
- timestamp, snapshot and targets are signed by root's keys, an app's role by the key that
  targets names for it; snapshot and all below match version, length and hash one level up;
- no role is ever older than in the bundle before, unless it has got other keys since: that is
  how a fleet recovers from a stolen key that signed version 2,000,000,000;
- expiry is asked for separately, because expired means "nothing new", not "nothing at all".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import msgspec
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp

from clarion_protocol.documents import Sha256
from clarion_protocol.errors import BadEnvelope, NotAuthorised, OutOfTime, StoreMisbehaved, UnknownPackage
from clarion_protocol.policy import Policy, policy_path, read_policy
from clarion_protocol.published import Release, package_path, read_release, role_of

MAX_BUNDLE_BYTES = 32 * 2**20


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All bytes that verifying needs: `roots` are those after the pinned one; `roles` of this host's apps.

    `anchor` is the SHA-256 of the pinned root. Another one means another life: a host that has
    joined anew has been handed its root by a person, and what it had seen before is void.
    """

    anchor: Sha256
    roots: list[bytes]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    roles: dict[str, bytes]
    policy: bytes


@dataclass(frozen=True)
class Chain:
    """Verified metadata. `roles` are targets roles by name, the top-level one among them."""

    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    roles: dict[str, Targets]
    policy_bytes: bytes

    @property
    def targets(self) -> Targets:
        """The top-level targets role."""
        return self.roles[Targets.type]

    def release(self, app: str, version: str) -> Release:
        """Return what is signed of a release, expired or not.

        Raises:
            UnknownPackage: the app's role does not name it.
            StoreMisbehaved: what it says of it is malformed.
        """
        path = package_path(app, version)
        role = self.roles.get(role_of(app))
        target = role.targets.get(path) if role else None
        if target is None:
            raise UnknownPackage(
                f"{app} {version} is not among the published packages",
                hint=f"Run 'clarion packages {app}' to see which are, and 'clarion publish' to add one.",
            )
        try:
            return read_release(path, target.length, target.hashes["sha256"], target.custom)
        except (BadEnvelope, KeyError) as error:
            raise StoreMisbehaved(f"the signed metadata of {path} is malformed: {error}") from error

    def policy(self, environment: str) -> Policy:
        """Return the policy of `environment`.

        Raises:
            NotAuthorised: there is none, so nobody may deploy there.
            StoreMisbehaved: the file is not the one that targets names, or malformed.
        """
        target = self.targets.targets.get(policy_path(environment))
        if target is None:
            raise NotAuthorised(
                f"nobody may deploy to environment {environment!r}: it has no policy",
                hint=f"On the controller, run 'clarion init -e {environment}'.",
            )
        with _believed("the policy"):
            target.verify_length_and_hashes(self.policy_bytes)
            policy = read_policy(self.policy_bytes)
        if policy.environment != environment:
            raise StoreMisbehaved(f"the policy of {environment!r} speaks of {policy.environment!r}")
        return policy

    def require_fresh(self, now: float, app: str | None = None) -> None:
        """Check that nothing has expired at `now` (UTC s): neither the top-level roles nor that of `app`.

        Raises:
            OutOfTime: something has.
        """
        moment = datetime.fromtimestamp(now, timezone.utc)
        names = [Targets.type, role_of(app)] if app else [Targets.type]
        below = [(name, self.roles[name]) for name in names if name in self.roles]
        top: list[tuple[str, Signed]] = [(each.type, each) for each in (self.root, self.timestamp, self.snapshot)]
        for name, signed in [*top, *below]:
            if signed.is_expired(moment):
                raise OutOfTime(f"the {name} metadata expired on {signed.expires:%Y-%m-%d %H:%M} UTC", hint=_hint(name))


def anchor_of(pinned_root: bytes) -> str:
    """Return what a bundle of this root carries."""
    return hashlib.sha256(pinned_root).hexdigest()


def verify(bundle: Bundle, pinned_root: bytes) -> Chain:
    """Return the chain that `bundle` proves from the pinned root.

    Raises:
        StoreMisbehaved: it proves nothing: a signature, a hash or a version is wrong.
    """
    return with_roles(verify_top(bundle, pinned_root), bundle)


def verify_top(bundle: Bundle, pinned_root: bytes) -> Chain:
    """Return the top level of the chain only, which says what there is below it.

    Raises:
        StoreMisbehaved: it proves nothing: a signature, a hash or a version is wrong.
    """
    root = _newest_root(bundle.roots, pinned_root)
    timestamp: Timestamp = _verified(root, Timestamp.type, bundle.timestamp)
    snapshot: Snapshot = _named(root, Snapshot.type, bundle.snapshot, timestamp)
    targets: Targets = _named(root, Targets.type, bundle.targets, snapshot)
    return Chain(root, timestamp, snapshot, {Targets.type: targets}, b"")


def with_roles(top: Chain, bundle: Bundle) -> Chain:
    """Return `top`, which must be verified from `bundle` too, with the apps' roles and the policy of that bundle.

    Raises:
        StoreMisbehaved: a role is not the one that the top level names.
    """
    roles = {name: _named(top.targets, name, raw, top.snapshot) for name, raw in bundle.roles.items()}
    return replace(top, roles={**roles, **top.roles}, policy_bytes=bundle.policy)


def check_not_older(new: Chain, old: Chain) -> None:
    """Check that no role went back.

    Raises:
        StoreMisbehaved: one did: somebody shows this host the past.
    """
    before = _versions(old)
    for name, (version, keys) in _versions(new).items():
        old_version, old_keys = before.get(name, (0, keys))
        if version < old_version and (keys == old_keys or name == Root.type):
            raise StoreMisbehaved(
                f"the package store shows {name} metadata of version {version}, this host has seen {old_version}",
                hint="Was the store restored from a backup? Publish until it is ahead. If not, this is an attack.",
            )


def _versions(chain: Chain) -> dict[str, tuple[int, frozenset[str]]]:
    """Return each role's version and the ids of the keys that may sign it."""
    top: dict[str, Signed] = {Root.type: chain.root, Timestamp.type: chain.timestamp, Snapshot.type: chain.snapshot}
    found = {name: (signed.version, frozenset(chain.root.roles[name].keyids)) for name, signed in top.items()}
    for name, role in chain.roles.items():
        delegator = chain.root if name == Targets.type else chain.targets
        found[name] = (role.version, frozenset(delegator.get_delegated_role(name).keyids))
    return found


def _newest_root(later: list[bytes], pinned: bytes) -> Root:
    with _believed("the pinned root"):
        first = Metadata[Root].from_bytes(pinned)
        root = first.signed
        root.verify_delegate(Root.type, first.signed_bytes, first.signatures)
    for raw in later:
        new: Root = _verified(root, Root.type, raw)
        # Signed by the keys that it names itself, too: else nobody could sign the next one.
        _verified(new, Root.type, raw)
        if new.version != root.version + 1:
            raise StoreMisbehaved(f"root {new.version} cannot follow root {root.version}")
        root = new
    return root


def _named(delegator: Root | Targets, role: str, raw: bytes, above: Snapshot | Timestamp) -> Any:
    """Return the signed part of `raw` if it is also the very version that the level above names."""
    meta = above.snapshot_meta if isinstance(above, Timestamp) else above.meta.get(f"{role}.json")
    if meta is None:
        raise StoreMisbehaved(f"snapshot does not name the {role} metadata")
    with _believed(f"the {role} metadata"):
        meta.verify_length_and_hashes(raw)
    signed = _verified(delegator, role, raw)
    if signed.version != meta.version:
        raise StoreMisbehaved(f"the {role} metadata is version {signed.version}, not {meta.version}")
    return signed


def _verified(delegator: Root | Targets, role: str, raw: bytes) -> Any:
    """Return the signed part of `raw` if `delegator` vouches for it."""
    kind = role if role in (Root.type, Timestamp.type, Snapshot.type) else Targets.type
    with _believed(f"the {role} metadata"):
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    if metadata.signed.type != kind:
        raise StoreMisbehaved(f"the {role} metadata is of type {metadata.signed.type!r}")
    return metadata.signed


@contextmanager
def _believed(what: str) -> Iterator[None]:
    try:
        yield
    except (RepositoryError, BadEnvelope, ValueError) as error:
        raise StoreMisbehaved(f"{what} cannot be believed: {error}") from error


def _hint(role: str) -> str:
    if role in (Timestamp.type, Snapshot.type):
        return "Is 'clarion serve' running on the controller? It renews this by itself, and this host asks again."
    if role in (Root.type, Targets.type):
        return f"Bring the {role} key back to the controller's keys; 'clarion serve' then signs anew within the hour."
    return f"Run 'clarion publish' for {role.removeprefix('app-')} again where its key is; the same package will do."
