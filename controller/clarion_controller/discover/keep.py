"""Answers that were believed, kept over a restart: a controller has to know what "before" was.

One file an environment in `<home>/state/discovered/`. A source is known by its whole configuration, so that one
whose tags are edited starts afresh.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from clarion_controller.discover.judge import Answer
from clarion_controller.durable_files import PARTIAL, make_folder, write_file
from clarion_controller.fleet_toml.fleet import HostSource

_log = structlog.get_logger(__name__)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, Answer]


def key_of(source: HostSource) -> str:
    """Return what tells a source from every other: its configuration in one spelling."""
    return msgspec.json.encode(source, order="sorted").decode()


@dataclass(frozen=True)
class Keeper:
    """The folder in which believed answers lie."""

    folder: Path

    def read(self, environment: str) -> dict[str, Answer]:
        """Return the kept answers of an environment by their sources' keys.

        A damaged file is as good as none: its sources have never answered, which is not that they list no host.
        """
        path = self._path(environment)
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Kept).sources
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            _log.error("discovery.kept_answers_damaged", path=str(path), reason=str(error))
            return {}

    def write(self, environment: str, answers: Mapping[str, Answer]) -> None:
        """Keep these answers instead; a disk that takes nothing is logged, for discovery goes on without it."""
        try:
            make_folder(self.folder.parent, 0o700)
            make_folder(self.folder, 0o700)
            write_file(self._path(environment), [msgspec.json.encode(_Kept(dict(answers)))], mode=0o600)
        except OSError as error:
            _log.error("discovery.answers_not_kept", folder=str(self.folder), reason=str(error))

    def forget_all_but(self, environments: Collection[str]) -> None:
        """Remove what is kept of environments that are no more; what a disk does not let go of is logged."""
        for path in [path for path in self.folder.glob("*.json") if path.stem not in environments]:
            _forget(path)

    def remove_partial_files(self) -> None:
        """Remove what a power cut left of files that were being written; nobody may be writing now."""
        for path in list(self.folder.glob(f"{PARTIAL}*")):
            _remove_partial(path)

    def _path(self, environment: str) -> Path:
        return self.folder / f"{environment}.json"


def _remove_partial(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.error("discovery.partial_file_not_removed", path=str(path), reason=str(error))


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.error("discovery.environment_not_forgotten", path=str(path), reason=str(error))
    else:
        _log.info("discovery.environment_forgotten", environment=path.stem)
