"""The TUF repository in `<home>/store`: what may exist, said so that an agent need not trust the store.

Source: the TUF specification 1.0.31, on python-tuf's `tuf.api.metadata`. Each app has its own
role `app-<app>`, terminating, for paths `<app>/*`: its key signs nothing of another app.
Policies are targets of the top-level role, and lie below `store/packages`. Packages lie in the package store
(by default there too). All are there, durably, before any metadata names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from clarion_controller.durable_files import disk_trouble, make_folder, write_file
from clarion_controller.key_files import KeyFolder
from clarion_controller.publishing.tuf_change import TOP_LEVEL, Change, is_expiring, is_old
from clarion_controller.publishing.tuf_files import Current, MetadataFiles, locked
from clarion_protocol import strict_json
from clarion_protocol.errors import BadConfig, BadEnvelope, NoCluster, UnknownName
from clarion_protocol.policy import Policy, policy_path
from clarion_protocol.published import Release, policy_file, read_release, role_of
from clarion_protocol.words import is_name

PUBLISH_WAIT_S = 600.0  # for who uploads a package to a bucket
RESERVED_APPS = frozenset({"policy"})  # `policy/*` is signed by the top-level targets role


@dataclass(frozen=True)
class Freshness:
    """Which roles `freshen` signed again, and which expire soon (role to when) because their key is not usable here."""

    renewed: list[str]
    needs_key: dict[str, datetime]


@dataclass(frozen=True)
class TufRepository:
    """The metadata and target files below `store`, and the keys that sign."""

    store: Path
    keys: KeyFolder

    @classmethod
    def at(cls, home: Path) -> TufRepository:
        """Return the repository of the cluster in `home`.

        Raises:
            NoCluster: there is none.
        """
        repository = cls(home / "store", KeyFolder(home / "keys"))
        if not repository.files.exist():
            raise NoCluster(f"no cluster is initialised in {home}", hint=f"Run 'clarion init {home}' first.")
        return repository

    @property
    def files(self) -> MetadataFiles:
        """The metadata files."""
        return MetadataFiles(self.store / "metadata")

    @property
    def packages(self) -> Path:
        """The folder of the policies, and of the packages unless they lie in a bucket."""
        return self.store / "packages"

    def root_bytes(self, version: int | None = None) -> bytes:
        """Return root metadata: the newest, which a host that joins is handed, or the given version."""
        return self.files.read(Root.type, version or self.files.newest(Root.type))

    def create(self, now: datetime) -> None:
        """Make the first metadata, signed by the four top-level keys, which exist already."""
        for folder in (self.store, self.files.path, self.packages):
            make_folder(folder)
        root = Root(consistent_snapshot=True)
        for role in TOP_LEVEL:
            root.add_key(self.keys.tuf_signer(role).public_key, role)
        first = Current(self.files, Metadata(root), Metadata(Timestamp()), Metadata(Snapshot()), Metadata(Targets()))
        first.timestamp.signed.version = 0
        Change(self.keys, first, {role: first.metadata(role) for role in TOP_LEVEL}).commit(now)

    @contextmanager
    def change(self, now: datetime) -> Iterator[Change]:
        """Keep other writers out, hand out the metadata for editing, then sign and write what was edited.

        Raises:
            Blocked: another writer does not finish.
            BadConfig: a key is offline or is not the right one, or the metadata is damaged.
            NoSpace, HostError: the disk does not take it.
        """
        with disk_trouble(self.store), self.files.locked():
            change = Change(self.keys, self.files.current())
            yield change
            change.commit(now)
            # Not the roots: hosts walk from the one they pinned through all that follow.
            for role in set(change.edited) - {Root.type}:
                self.files.prune(role)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep other publishers out, but not who renews metadata: an upload may take minutes.

        Raises:
            Blocked: another publisher does not finish.
        """
        with disk_trouble(self.store), locked(self.store, PUBLISH_WAIT_S):
            yield

    def add_app(self, app: str, now: datetime) -> None:
        """Make the key and the role of a new app; does nothing if the role is there.

        Raises:
            UnknownName: not a name that an app can have.
            BadConfig: the targets key is offline.
        """
        if not is_name(app) or app in RESERVED_APPS:
            raise UnknownName(f"{app[:80]!r} cannot be the name of an app", hint="Use a-z, 0-9, and . _ - inside.")
        role = role_of(app)
        with self.change(now) as change:
            if role in change.current.roles():
                return
            top = change.edit(Targets.type)
            # The key may be left from a crash, or was brought by whoever owns the app.
            if not self.keys.has(role):
                self.keys.make(role)
            if top.delegations is None:
                top.delegations = Delegations({}, {})
            top.delegations.roles[role] = DelegatedRole(role, [], 1, terminating=True, paths=[f"{app}/*"])
            top.add_key(self.keys.tuf_signer(role).public_key, role)
            change.add(role)

    def put_policy(self, policy: Policy, now: datetime) -> None:
        """Put the policy of an environment in force, in place of an older one.

        Raises:
            BadConfig: the targets key is offline.
        """
        raw = strict_json.dumps(policy)
        target = TargetFile.from_data(policy_path(policy.environment), raw, ["sha256"])
        with self.change(now) as change:
            change.edit(Targets.type).targets[target.path] = target
            # The name carries the hash, so an agent that still reads the old metadata gets the old policy.
            path = self.packages / policy_file(policy.environment, target.hashes["sha256"])
            make_folder(path.parent)
            write_file(path, [raw])

    def apps(self) -> list[str]:
        """Return the names of the apps that were ever published."""
        return [role.removeprefix("app-") for role in self.files.current().roles()]

    def environments(self) -> list[str]:
        """Return the names of the environments that have a policy."""
        paths = self.files.current().targets.signed.targets
        return sorted(path.removeprefix("policy/").removesuffix(".json") for path in paths)

    def releases(self, app: str) -> list[Release]:
        """Return the published releases of `app`, oldest first; none if it was never published."""
        return releases_in(self.files.current(), app)

    def freshen(self, now: datetime) -> Freshness:
        """Sign again whatever has grown old and whose key is here; costs next to nothing when nothing has.

        Raises:
            Blocked: another writer does not finish.
            BadConfig: the metadata is damaged, or the snapshot or timestamp key cannot be used.
            NoSpace, HostError: the disk does not take it.
        """
        needs_key: dict[str, datetime] = {}
        with self.change(now) as change:
            for role in (*TOP_LEVEL, *change.current.roles()):
                expires = change.current.metadata(role).signed.expires
                if is_old(role, expires, now) and not _renews(change, role) and is_expiring(role, expires, now):
                    needs_key[role] = expires
        return Freshness(list(change.edited), needs_key)


def _renews(change: Change, role: str) -> bool:
    """Return whether `role` will be signed again; one key that cannot be used must not stop the others."""
    try:
        change.edit(role)
    except BadConfig:
        return False
    return True


def releases_in(current: Current, app: str) -> list[Release]:
    """Return the releases of `app` in the given metadata, oldest first.

    Raises:
        BadEnvelope: it speaks of another app; then `app` may be no name, but a path for whoever makes files of it.
    """
    if role_of(app) not in current.roles():
        return []
    targets = current.role(role_of(app)).signed.targets.values()
    found = [read_release(each.path, each.length, each.hashes["sha256"], each.custom) for each in targets]
    if other := next((release.app for release in found if release.app != app), None):
        raise BadEnvelope(f"the metadata of {app[:200]!r} speaks of {other}")
    return sorted(found, key=lambda release: release.release)
