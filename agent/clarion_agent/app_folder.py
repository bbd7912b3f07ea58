"""Where one app lives on this host, and what is to be read there.

::

    <apps_root>/<app>/
      releases/<id>/     unpacked, verified, never changed again; <id> is "<release>-<version>"
      current            a link to one of them: what runs
      draining           a flag: exists while this host wants no traffic for the app
      staging/, trash/   on their way in and out; emptied whenever the agent starts
      state/             the journal, and for each release its record and its manifest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_agent import durable
from clarion_agent.journal import Journal
from clarion_protocol import strict_json
from clarion_protocol.app_config import FILE_NAME, AppConfig, load_app_config
from clarion_protocol.documents import ReleaseRef
from clarion_protocol.errors import BadConfig, ClarionError
from clarion_protocol.words import release_id


class ReleaseRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an unpacked release: which it is, and whether it was ever committed here."""

    release: ReleaseRef
    is_good: bool = False

    @property
    def id(self) -> str:
        """The name of its folder."""
        return release_id(self.release.release, self.release.version)


@dataclass(frozen=True)
class AppFolder:
    """The folder of one app."""

    root: Path

    @property
    def app(self) -> str:
        """The app's name."""
        return self.root.name

    @property
    def releases(self) -> Path:
        """Where unpacked releases are."""
        return self.root / "releases"

    @property
    def current_link(self) -> Path:
        """The link to what runs."""
        return self.root / "current"

    @property
    def drain_flag(self) -> Path:
        """The file that tells the app or a balancer to keep traffic away."""
        return self.root / "draining"

    @property
    def staging(self) -> Path:
        """Where a release is put together."""
        return self.root / "staging"

    @property
    def trash(self) -> Path:
        """Where a release goes before it is removed, so that none is ever half there."""
        return self.root / "trash"

    @property
    def state(self) -> Path:
        """Where the journal and the records are."""
        return self.root / "state"

    @property
    def journal(self) -> Journal:
        """What is being done to the app."""
        return Journal(self.state / "journal.json")

    def prepare(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.releases, self.staging, self.trash):
            durable.make_folder(folder)
        durable.make_folder(self.state, mode=0o700)

    def release_folder(self, release: str) -> Path:
        """Return where the release with this id is unpacked."""
        return self.releases / release

    def manifest_file(self, release: str) -> Path:
        """Return where the manifest of an unpacked release is kept, as it was fetched."""
        return self.state / f"{release}.manifest.json.zst"

    def current(self) -> str | None:
        """Return the id of the release that `current` points to, if it is there."""
        if not self.current_link.is_symlink():
            return None
        target = self.current_link.readlink()
        return target.name if self.release_folder(target.name).is_dir() else None

    def point_to(self, release: str) -> None:
        """Make `current` point to this release: the one moment at which what runs changes."""
        durable.replace_symlink(self.current_link, f"releases/{release}")

    def record(self, release: str) -> ReleaseRecord | None:
        """Return what is known of an unpacked release, or None if it is not wholly here."""
        if not self.release_folder(release).is_dir():
            return None
        try:
            raw = self._record_file(release).read_bytes()
            return strict_json.decode(raw, ReleaseRecord, max_bytes=10_000)
        except (FileNotFoundError, ClarionError):
            return None

    def save_record(self, record: ReleaseRecord) -> None:
        """Remember `record`. It is written before the release is moved into place: alone it means nothing."""
        durable.write_atomic(self._record_file(record.id), strict_json.dumps(record))

    def has(self, release: ReleaseRef) -> bool:
        """Return whether exactly this release is unpacked and verified here."""
        record = self.record(release_id(release.release, release.version))
        return record is not None and record.release == release

    def installed(self) -> list[ReleaseRecord]:
        """Return the releases that are wholly here, oldest first."""
        if not self.releases.is_dir():
            return []
        records = [self.record(folder.name) for folder in self.releases.iterdir()]
        return sorted((record for record in records if record), key=lambda record: record.release.release)

    def config_of(self, release: str) -> AppConfig:
        """Return the clarion.toml of an unpacked release.

        Raises:
            BadConfig: it has none, or one that breaks a rule.
        """
        path = self.release_folder(release) / FILE_NAME
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"{path}: {error}", hint="Build the package again: 'clarion build DIR'.") from error
        return load_app_config(text, str(path))

    def remove_release(self, release: str) -> None:
        """Remove an unpacked release; it is gone or whole at every moment."""
        doomed = self.trash / release
        durable.remove_tree(doomed)
        if self.release_folder(release).is_dir():
            durable.move_into_place(self.release_folder(release), doomed)
        durable.remove_file(self._record_file(release))
        durable.remove_file(self.manifest_file(release))
        durable.remove_tree(doomed)

    def sweep(self) -> None:
        """Remove what an interrupted attempt has left: nothing in staging or trash is ever used again."""
        for folder in (self.staging, self.trash):
            for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
                durable.remove_tree(entry)
        for leftover in (*self.root.glob("*.tmp"), *self.state.glob("*.tmp")):
            durable.remove_file(leftover)

    def _record_file(self, release: str) -> Path:
        return self.state / f"{release}.release.json"
