"""What was deployed before: states of past deployments, and which release was in force when."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from clarion_controller.fleet_toml.fleet import unknown
from clarion_controller.state.log import StateLog
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.state.rows import StoredDeployment
from clarion_controller.streams import Streams, document_in, replay
from clarion_protocol.documents import Deployment, ReleaseRef
from clarion_protocol.errors import NothingMatches, UnknownName
from clarion_protocol.words import DeploymentStatus, Intent

MAX_LOOKED_AT = 200
GOOD = {DeploymentStatus.SUCCEEDED, DeploymentStatus.DEGRADED}
_UNDONE = {DeploymentStatus.ROLLED_BACK, DeploymentStatus.SUPERSEDED}


class History:
    """Past and present deployments of one controller."""

    def __init__(self, log: StateLog, streams: Streams) -> None:
        self._log = log
        self._streams = streams
        # What the streams hold no more does not change; a few are kept, as a state holds all its hosts.
        self._replayed = lru_cache(maxsize=8)(self.replay)

    def find(self, prefix: str) -> RolloutState:
        """Return the deployment whose id is or begins with `prefix`.

        Raises:
            UnknownName: none or several do.
        """
        ids = self._log.deployments_like(prefix)
        if len(ids) > 1:
            raise UnknownName(f"several deployments begin with {prefix!r}", hint="Write more of the id.")
        if not ids:
            raise unknown("deployment", prefix[:64], (), hint="Run 'clarion history' to see them.")
        return self.state(ids[0])

    def state(self, id_: str) -> RolloutState:
        """Return where a deployment stands or ended."""
        return self.present(id_) or self._replayed(id_)

    def present(self, id_: str) -> RolloutState | None:
        """Return where a deployment stands that still matters; None if it is past."""
        walk = self._streams.find(id_)
        return walk.state if walk else None

    def replay(self, id_: str) -> RolloutState:
        """Return where a past deployment ended, as the log has it; any thread may ask.

        Raises:
            UnknownName: there is no such deployment.
        """
        stored: StoredDeployment | None = self._log.deployment(id_)
        if stored is None:
            raise unknown("deployment", id_, (), hint="Run 'clarion history' to see them.")
        return replay(stored, self._log.events_of(id_))

    def last_good(self, stream: str, *, but: str | None = None) -> ReleaseRef | None:
        """Return the release that is in force, or that was before `but` (a version)."""
        good = [document for document, status in self._documents(stream) if status in GOOD and document.version != but]
        whole = (document for document in good if document.targets.all)
        best = next(whole, None) or next(iter(good), None)
        return best.ref if best else None

    def before_current(self, stream: str) -> str:
        """Return the version that was committed before the one in force first was.

        Raises:
            NothingMatches: there is none.
        """
        past = [(document, status) for document, status in self._documents(stream) if status not in _UNDONE]
        if not past:
            raise _nothing_before(stream)
        current = past[0][0].version
        installed = [n for n, (each, _) in enumerate(past) if each.version == current and each.intent is Intent.INSTALL]
        for document, status in past[max(installed, default=0) + 1 :]:
            if status in GOOD and document.version != current:
                return document.version
        raise _nothing_before(stream)

    def _documents(self, stream: str) -> Iterator[tuple[Deployment, DeploymentStatus]]:
        for stored in self._log.history(stream, MAX_LOOKED_AT):
            yield document_in(stored.envelope), stored.status


def _nothing_before(stream: str) -> NothingMatches:
    environment, _, app = stream.partition("/")
    return NothingMatches(
        f"no earlier version of {app} was ever committed in {environment}",
        hint=f"Name one: 'clarion rollback {app} VERSION -e {environment}'; 'clarion packages {app}' lists them.",
    )
