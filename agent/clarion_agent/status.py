"""`clarion-agent status`: how this server stands, read from its own files, asking nobody."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from clarion_agent.app_folder import AppFolder
from clarion_agent.config import Config
from clarion_agent.contact import Contact, read_contact
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import Record, has_joined, load_identity
from clarion_agent.net import outbox
from clarion_agent.run_lock import running_agent
from clarion_protocol.documents import Head
from clarion_protocol.errors import ClarionError


class AppStatus(msgspec.Struct, frozen=True):
    """What `current` of one app points to, what could be gone back to, and whether it is drained."""

    app: str
    current: str | None
    releases: list[str]
    is_drained: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said; times in UTC s, 0: never."""

    is_joined: bool
    is_running: bool
    pid: int | None = None
    identity: Record | None = None
    contact: Contact = Contact()
    apps: list[AppStatus] = []
    heads: dict[str, Head] = {}
    waiting_reports: int = 0
    trouble: str = ""


def read_status(config: Config) -> Status:
    """Return how this server stands.

    Raises:
        BadConfig: its identity is damaged.
    """
    pid = running_agent(config.state)
    if not has_joined(config.state):
        return Status(is_joined=False, is_running=pid is not None, pid=pid)
    heads, trouble = _heads(config)
    return Status(
        is_joined=True,
        is_running=pid is not None,
        pid=pid,
        identity=load_identity(config.state).record,
        contact=read_contact(config.state),
        apps=[_app(AppFolder(folder)) for folder in _folders(config.apps)],
        heads=heads,
        waiting_reports=outbox.count_waiting(config.state / outbox.FOLDER),
        trouble=trouble,
    )


def as_json(status: Status) -> str:
    """Return `status` for programs."""
    return msgspec.json.encode(status, order="sorted").decode()


def as_text(status: Status) -> str:
    """Return `status` for people."""
    record = status.identity
    if record is None:
        return "This server has not joined a cluster. Run 'clarion hosts invite', then 'clarion-agent join TOKEN' here."
    lines = [
        f"host          {record.name} ({record.host})",
        *([f"instance      {record.instance}"] if record.instance else []),
        f"environment   {record.environment}",
        f"cluster       {record.cluster} at {record.address}",
        f"agent         {_agent(status)}",
        f"last contact  {_ago(status.contact.last_beacon)}",
        *(f"app           {_app_line(app)}" for app in status.apps),
        *(
            f"accepted      {stream}: deployment {head.deployment_seq}, signal {head.signal_seq}"
            for stream, head in status.heads.items()
        ),
        *([f"reports       {status.waiting_reports} not delivered yet"] if status.waiting_reports else []),
        *([f"trouble       {status.trouble}"] if status.trouble else []),
    ]
    return "\n".join(lines)


def _agent(status: Status) -> str:
    if not status.is_running:
        return "does not run: 'systemctl start clarion-agent'"
    return f"runs (process {status.pid}), {'connected' if status.contact.is_connected else 'not connected'}"


def _app_line(app: AppStatus) -> str:
    others = [release for release in app.releases if release != app.current]
    drained = ", drained" if app.is_drained else ""
    return f"{app.app}: {app.current or 'nothing'}{drained}" + (f" (also here: {', '.join(others)})" if others else "")


def _ago(moment: float) -> str:
    return f"{max(0, time.time() - moment):.0f} s ago" if moment else "never since the agent started"


def _heads(config: Config) -> tuple[dict[str, Head], str]:
    try:
        floors = FloorFiles(config.trust).read()
    except ClarionError as error:
        return {}, error.message
    return {stream: each.head for stream, each in floors.streams.items()}, ""


def _folders(apps: Path) -> list[Path]:
    return sorted(folder for folder in apps.iterdir() if (folder / "state").is_dir()) if apps.is_dir() else []


def _app(folder: AppFolder) -> AppStatus:
    releases = [record.id for record in folder.installed()]
    return AppStatus(folder.app, folder.current(), releases, folder.drain_flag.exists())
