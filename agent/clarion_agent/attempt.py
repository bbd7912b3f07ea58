"""What the steps of a deployment are given: the host's parts, what is wanted, and how to be stopped.

There are two kinds of attempt because they need different things. `Staging` brings a
release to this host and needs the network, the signed order and the package metadata.
`Switch` changes what runs and needs nothing but its `Intent` and the disk, so that it can
be finished or undone by an agent that knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import structlog

from clarion_agent.app_folder import AppFolder
from clarion_agent.journal import Intent, Phase
from clarion_agent.stopper import Stopper
from clarion_protocol.documents import MAX_LOG_TAIL, Deployment, Progress
from clarion_protocol.errors import ClarionError
from clarion_protocol.words import HostStatus, Stage, release_id

if TYPE_CHECKING:
    from pathlib import Path

    from clarion_agent.config import Config
    from clarion_agent.halves import Net
    from clarion_agent.stages.restart import ServiceManager
    from clarion_agent.stages.run_tests import Sandbox
    from clarion_agent.stages.verify import PackageBook
    from clarion_protocol.manifest import Manifest
    from clarion_protocol.ranges import Plan

log_to = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Host:
    """This host's parts, each behind a small interface; `sandbox` runs tests, `checker` runs exec checks."""

    config: Config
    net: Net
    book: PackageBook
    services: ServiceManager
    sandbox: Sandbox
    checker: Sandbox


@dataclass(frozen=True)
class Reporter:
    """Tells the controller where this host stands in one deployment."""

    net: Net
    deployment: str
    stream: str

    def say(self, status: HostStatus, stage: Stage | None = None, **details: str) -> None:
        """Queue a report; `details` are its reason, error and log, of which too much is cut off."""
        limits = {"reason": 1000, "error": 100}
        short = {name: text[: limits[name]] for name, text in details.items() if name != "log"}
        log = details.get("log", "")[-MAX_LOG_TAIL:]
        progress = Progress(
            deployment=self.deployment, stream=self.stream, status=status, stage=stage, log=log, **short
        )
        try:
            self.net.report(progress)
        except OSError as error:
            # What only informs never fails a deployment.
            log_to.warning("report lost", status=status.value, error=str(error))


@dataclass
class Staging:
    """One deployment on its way to this host.

    `believe` raises if the signed order is not believed (any more). `manifest`, its file `packed_manifest`,
    `plan` and `base` (the release to link from) are known once pulled. `log` is what a person wants to read if
    the step in hand fails.
    """

    deployment: Deployment
    folder: AppFolder
    host: Host
    believe: Callable[[], None]
    stopper: Stopper = field(default_factory=Stopper)
    manifest: Manifest | None = None
    packed_manifest: bytes = b""
    plan: Plan | None = None
    base: str | None = None
    log: str = ""

    @property
    def release(self) -> str:
        """The id of the release that is wanted."""
        return release_id(self.deployment.release, self.deployment.version)

    @property
    def workshop(self) -> Path:
        """The folder in which the release is put together."""
        return self.folder.staging / self.deployment.id

    @property
    def reporter(self) -> Reporter:
        """How this attempt is reported."""
        return Reporter(self.host.net, self.deployment.id, self.deployment.stream)

    def enter(self, stage: Stage, status: HostStatus) -> None:
        """Begin a step: stop here if told to, and say where this host is."""
        self.stopper.check()
        self.log = ""
        self.reporter.say(status, stage)

    def begin_undo(self, because: ClarionError) -> None:
        """Nothing to write down: what staging leaves is swept away whenever the agent starts."""


@dataclass
class Switch:
    """One change of what runs, as far as its journal says."""

    intent: Intent
    folder: AppFolder
    host: Host
    stopper: Stopper = field(default_factory=Stopper)
    log: str = ""

    @property
    def reporter(self) -> Reporter:
        """How this attempt is reported."""
        return Reporter(self.host.net, self.intent.deployment, self.intent.stream)

    def note(self, **changes: object) -> None:
        """Write a change of the intent to the journal; it is on the disk when this returns."""
        self.intent = msgspec.structs.replace(self.intent, **changes)
        self.folder.journal.write(self.intent)

    def enter(self, stage: Stage, status: HostStatus) -> None:
        """Begin a step: stop here if told to, journal it, and only then say so."""
        self.stopper.check()
        self.log = ""
        self.note(stage=stage)
        self.reporter.say(status, stage)

    def begin_undo(self, because: ClarionError) -> None:
        """Write down that the way is back from here, and why."""
        self.stopper.ignore_interrupts()
        if self.intent.phase is not Phase.UNDOING:
            self.note(phase=Phase.UNDOING, reason=because.message[:900], error=because.code)

    def settle(self, outcome: HostStatus, reason: str, error: str) -> None:
        """Write down that nothing is left to be done, and what it came to."""
        self.note(phase=Phase.DONE, outcome=outcome, reason=reason[:1000], error=error)
