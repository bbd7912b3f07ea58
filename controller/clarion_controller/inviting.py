"""Join tokens: made here, shown once, kept only as a hash."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from clarion_controller.api.answers import InviteAnswer, InviteRequest
from clarion_controller.cluster import Cluster
from clarion_controller.gateway.enrol import Invitation
from clarion_controller.state.roster import Roster
from clarion_protocol.errors import Blocked, OperatorError
from clarion_protocol.invite import Token, hash_secret, new_secret
from clarion_protocol.words import is_name, new_id

# As many as a scaling group starts servers in the time that a token for its image may live.
MAX_COUNT = 1_000_000
MAX_TTL = 400 * 86_400


@dataclass(frozen=True)
class Inviter:
    """Makes tokens that carry this cluster's fingerprints; `transport_key` is the controller's public one, in hex."""

    cluster: Cluster
    roster: Roster
    transport_key: str
    clock: Callable[[], float] = time.time

    def invite(self, request: InviteRequest) -> InviteAnswer:
        """Return a new token.

        Raises:
            UnknownName: no such environment.
            OperatorError: a name, count or time that cannot be.
            Blocked: a host of that name is enrolled.
        """
        self.cluster.fleet.in_environment(request.environment)
        _check(request)
        self._refuse_enrolled(request)
        at = self.cluster.at_start
        token = Token(
            cluster=self.cluster.id,
            id=new_id(),
            secret=new_secret(),
            address=at.address,
            join_port=at.join_port,
            transport_key=self.transport_key,
            root_sha256=hashlib.sha256(self.cluster.repository.root_bytes()).hexdigest(),
        )
        invitation = Invitation(
            secret_hash=hash_secret(token.secret),
            environment=request.environment,
            groups=tuple(request.groups),
            name=request.name,
            uses_left=request.count,
            expires=self.clock() + request.ttl,
        )
        self.roster.invite(invitation, token.id)
        return InviteAnswer(token.id, token.text(), invitation.expires)

    def _refuse_enrolled(self, request: InviteRequest) -> None:
        if request.name and self.roster.named(request.environment, request.name):
            raise Blocked(
                f"a host {request.name} is already enrolled in {request.environment}",
                hint=f"If it was replaced: 'clarion hosts revoke {request.name} -e {request.environment}'.",
            )


def _check(request: InviteRequest) -> None:
    for name in filter(None, [request.name, *request.groups]):
        if not is_name(name):
            raise OperatorError(f"{name[:80]!r} cannot be a name", hint="Use a-z, 0-9, and . _ - inside.")
    if not 1 <= request.count <= MAX_COUNT:
        raise OperatorError(f"a token can be for 1 to {MAX_COUNT} hosts, not {request.count}")
    if request.name and request.count > 1:
        raise OperatorError("a token that names one host cannot be for several", hint="Leave out the name or --count.")
    if not 1 <= request.ttl <= MAX_TTL:
        raise OperatorError("a token can live for 1 second to 400 days", hint="Write --ttl 15m, 2h or 90d.")
