"""What the join port asks of the controller, answered from the roster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clarion_controller.cluster import Cluster
from clarion_controller.gateway.enrol import Invitation
from clarion_controller.state.roster import Host, Roster
from clarion_protocol.invite import Admission, JoinRequest


@dataclass(frozen=True)
class RosterEnrolment:
    """Enrols hosts; `joined` is told of each, on the join port's thread."""

    cluster: Cluster
    roster: Roster
    joined: Callable[[Host], None]

    def invitation(self, invite: str) -> Invitation | None:
        """Return the invitation with this id, also if it is used up or expired."""
        return self.roster.invitation(invite)

    def admit(self, request: JoinRequest, invitation: Invitation) -> Admission:
        """Enrol the host and use the invitation once, both or neither.

        Raises:
            JoinRefused: used up, or the name, a key or the instance is already enrolled.
        """
        host = self.roster.admit(request, invitation)
        self.joined(host)
        return self._admission(host)

    def _admission(self, host: Host) -> Admission:
        at = self.cluster.at_start
        return Admission(
            host=host.id,
            name=host.name,
            cluster=self.cluster.id,
            environment=host.environment,
            groups=list(host.groups),
            signal_port=at.signal_port,
            report_port=at.report_port,
            package_url=f"http://{_bracketed(at.address)}:{at.package_port}",
            root=self.cluster.repository.root_bytes().decode(),
        )


def _bracketed(address: str) -> str:
    return f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address
