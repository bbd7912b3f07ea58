"""Who belongs to the fleet: hosts by id, name and key, and the invitations by which they join.

Kept in memory, too, because the gateway asks for every handshake and every message; the
database is written first, the memory after.

- A name, a key and an instance (a server as its cloud numbers it) belong to one host at a time.
- A host that only wants a name that is taken gets it with its instance's last digits behind it:
  clouds use host names again. Names are for people; nothing is bound by one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select, update

from clarion_controller.gateway.enrol import Invitation
from clarion_controller.state.events import HostJoined, HostRevoked, InviteMade, InviteWithdrawn
from clarion_controller.state.log import Batch, StateLog
from clarion_controller.state.rivals import Rivals
from clarion_controller.state.rows import HostWord
from clarion_controller.state.tables import hosts, invites
from clarion_protocol.documents import Report
from clarion_protocol.errors import JoinRefused, UnknownName
from clarion_protocol.invite import JoinRequest
from clarion_protocol.words import new_id

DIGITS = 8
MAX_NAME = 63


@dataclass(frozen=True)
class Host:
    """One enrolled host, and what its newest report left behind."""

    id: str
    name: str
    environment: str
    groups: tuple[str, ...]
    sign_key: str
    transport_key: str
    joined_at: float
    instance: str = ""
    report_seq: int = 0
    last_seen: float | None = None
    last_report: Report | None = None


class Roster:
    """The enrolled hosts of all environments. Reading is safe from any thread and never waits."""

    def __init__(self, database: Engine, log: StateLog, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}
        self._by_key: dict[str, str] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_instance: dict[str, str] = {}
        self._sign_keys: set[str] = set()
        self._rivals: dict[str, Rivals] = {}
        with database.connect() as connection:
            for row in connection.execute(select(hosts).where(hosts.c.revoked_at.is_(None))):
                self._remember(_host(row))

    def host_of(self, transport_key: str) -> str | None:
        """Return the id of the host that owns this transport key."""
        return self._by_key.get(transport_key)

    def get(self, id_: str) -> Host | None:
        """Return the host with this id if it is enrolled."""
        return self._hosts.get(id_)

    def of(self, environment: str) -> list[Host]:
        """Return the hosts of an environment, by name."""
        found = [host for host in list(self._hosts.values()) if host.environment == environment]
        return sorted(found, key=lambda host: host.name)

    def environments(self) -> set[str]:
        """Return the environments that have hosts."""
        return {host.environment for host in list(self._hosts.values())}

    def named(self, environment: str, name: str) -> Host | None:
        """Return the host of that name in an environment."""
        return self._hosts.get(self._by_name.get((environment, name), ""))

    def rivals(self, instance: str) -> Rivals:
        """Return who else claimed to be this enrolled instance."""
        return self._rivals.get(instance, Rivals())

    def heard(self, word: HostWord) -> None:
        """Keep in memory what the log has recorded of a host's newest report."""
        if host := self._hosts.get(word.host):
            report = word.report
            if report.facts is None and host.last_report:  # only heartbeats bring them
                report = msgspec.structs.replace(report, facts=host.last_report.facts)
            self._hosts[word.host] = replace(host, report_seq=report.seq, last_seen=word.at, last_report=report)

    def invite(self, invitation: Invitation, id_: str) -> None:
        """Record an invitation; only the hash of its secret is kept."""
        row = {**vars(invitation), "id": id_, "groups": " ".join(invitation.groups)}
        made = InviteMade(
            at=self._clock(),
            invite=id_,
            environment=invitation.environment,
            count=invitation.uses_left,
            expires=invitation.expires,
        )
        self._log.record(Batch([(None, made)]), lambda connection: connection.execute(insert(invites), row))

    def invitation(self, id_: str) -> Invitation | None:
        """Return the invitation with this id, also if it is used up or expired."""
        with self._database.connect() as connection:
            row = connection.execute(select(invites).where(invites.c.id == id_)).first()
        if row is None:
            return None
        return _invitation(row)

    def open_invitations(self, environment: str) -> dict[str, Invitation]:
        """Return the invitations that somebody could still join with, by id, the last to expire first."""
        is_open = (invites.c.expires > self._clock()) & (invites.c.uses_left > 0) & invites.c.withdrawn_at.is_(None)
        query = select(invites).where((invites.c.environment == environment) & is_open)
        with self._database.connect() as connection:
            rows = connection.execute(query.order_by(invites.c.expires.desc())).all()
        return {row.id: _invitation(row) for row in rows}

    def withdraw(self, id_: str, environment: str) -> None:
        """Let nobody join with this invitation any more; who has joined stays. Harmless when repeated.

        Raises:
            UnknownName: no such invitation in this environment.
        """
        now = self._clock()
        known = self.invitation(id_)
        if known is None or known.environment != environment:
            open_here = ", ".join(self.open_invitations(environment)) or "none"
            raise UnknownName(f"no invitation {id_[:80]} in {environment}", hint=f"Open there: {open_here}.")
        if known.withdrawn_at is not None:
            return
        gone = InviteWithdrawn(at=now, invite=id_, environment=environment)
        statement = update(invites).where(invites.c.id == id_).values(withdrawn_at=now)
        self._log.record(Batch([(None, gone)]), lambda connection: connection.execute(statement))

    def admit(self, request: JoinRequest, invitation: Invitation) -> Host:
        """Enrol the host and use the invitation once, both or neither; the same request again changes nothing.

        Raises:
            JoinRefused: the invitation is used up or withdrawn, or the name, a key or the instance is already enrolled.
        """
        with self._lock:
            if known := self._same_as(request, invitation):
                return known
            self._refuse_taken(request)
            host = Host(
                id=new_id(),
                name=self._free_name(request, invitation),
                environment=invitation.environment,
                groups=invitation.groups,
                sign_key=request.sign_key,
                transport_key=request.transport_key,
                joined_at=self._clock(),
                instance=request.instance,
            )
            joined = HostJoined(
                at=host.joined_at, host=host.id, name=host.name, environment=host.environment, invite=request.invite
            )
            self._log.record(Batch([(None, joined)]), lambda connection: _enrol(connection, host, request.invite))
            self._remember(host)
            return host

    def revoke(self, host: Host) -> None:
        """Believe the host's keys no more; its name is free for another, its id and keys never."""
        now = self._clock()
        gone = HostRevoked(at=now, host=host.id, name=host.name, environment=host.environment)
        statement = update(hosts).where(hosts.c.id == host.id).values(revoked_at=now)
        with self._lock:
            self._log.record(Batch([(None, gone)]), lambda connection: connection.execute(statement))
            self._by_key.pop(host.transport_key, None)
            self._by_name.pop((host.environment, host.name), None)
            self._by_instance.pop(host.instance, None)
            self._rivals.pop(host.instance, None)
            self._sign_keys.discard(host.sign_key)
            self._hosts.pop(host.id, None)

    def _remember(self, host: Host) -> None:
        self._hosts[host.id] = host
        self._by_key[host.transport_key] = host.id
        self._by_name[(host.environment, host.name)] = host.id
        self._sign_keys.add(host.sign_key)
        if host.instance:
            self._by_instance[host.instance] = host.id

    def _same_as(self, request: JoinRequest, invitation: Invitation) -> Host | None:
        known = self._hosts.get(self._by_key.get(request.transport_key, ""))
        if known is None:
            return None
        asked = (request.sign_key, invitation.environment, request.instance)
        is_same = asked == (known.sign_key, known.environment, known.instance)
        return known if is_same and known.name in {request.name, numbered(request)} else None

    def _refuse_taken(self, request: JoinRequest) -> None:
        if request.sign_key in self._sign_keys or request.transport_key in self._by_key:
            raise JoinRefused("another host is enrolled with these keys: was its disk copied?")
        if first := self._hosts.get(self._by_instance.get(request.instance, "")):
            self._rivals[request.instance] = self.rivals(request.instance).and_one(self._clock())
            raise JoinRefused(
                f"{request.instance} is already enrolled, as {first.name} in {first.environment}",
                hint=f"If it was set up anew: 'clarion hosts revoke {first.name} -e {first.environment}', then join.",
            )

    def _free_name(self, request: JoinRequest, invitation: Invitation) -> str:
        wanted = [request.name] if invitation.name else [request.name, numbered(request)]
        for name in wanted:
            if not self.named(invitation.environment, name):
                return name
        raise JoinRefused(
            f"a host {wanted[-1]} is already enrolled in {invitation.environment}",
            hint=f"Run 'clarion hosts revoke {wanted[-1]} -e {invitation.environment}' if it was replaced.",
        )


def numbered(request: JoinRequest) -> str:
    """Return the wanted name with the last digits of the instance behind it, if there is one."""
    if not request.instance:
        return request.name
    return f"{request.name[: MAX_NAME - DIGITS - 1]}-{request.instance[-DIGITS:]}"


def _enrol(connection: Connection, host: Host, invite: str) -> None:
    """Use the invitation and add the host.

    Raises:
        JoinRefused: no use is left, it was withdrawn, or a revoked host had the same key.
    """
    open_invite = (invites.c.id == invite) & (invites.c.uses_left > 0) & invites.c.withdrawn_at.is_(None)
    used = connection.execute(update(invites).where(open_invite).values(uses_left=invites.c.uses_left - 1))
    if not used.rowcount:
        raise JoinRefused("this token is used up or withdrawn", hint="Run 'clarion hosts invite' for a new one.")
    if connection.execute(select(hosts.c.id).where(hosts.c.transport_key == host.transport_key)).first():
        raise JoinRefused("these keys were revoked", hint="Run 'clarion-agent join TOKEN' with a fresh identity.")
    row = {**vars(host), "groups": " ".join(host.groups)}
    connection.execute(insert(hosts), row)


def _invitation(row: Row[Any]) -> Invitation:
    fields = {key: value for key, value in row._mapping.items() if key != "id"}  # noqa: SLF001 (its API)
    return Invitation(**{**fields, "groups": tuple(row.groups.split())})


def _host(row: Row[Any]) -> Host:
    fields = {key: value for key, value in row._mapping.items() if key != "revoked_at"}  # noqa: SLF001 (its API)
    report = msgspec.json.decode(row.last_report, type=Report) if row.last_report else None
    return Host(**{**fields, "groups": tuple(row.groups.split()), "last_report": report})
