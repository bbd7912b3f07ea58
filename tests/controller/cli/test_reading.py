"""The verbs that only look: hosts, status, history, logs; as tables and as JSON."""

from __future__ import annotations

import json
import time

import msgspec
import pytest

from clarion_controller.api.answers import InviteAnswer, InviteRequest, LogAnswer, StreamAnswer
from clarion_protocol.documents import Running
from clarion_protocol.words import DeploymentStatus, ExitCode, HostStatus

from .conftest import StandIn, Terminal, a_host, progress

DEGRADED = progress(DeploymentStatus.DEGRADED, HostStatus.COMMITTED, HostStatus.UNREACHABLE, reason_2="off")
STREAM = StreamAnswer(
    app="shop",
    environment="production",
    wanted="1.1.0",
    deployment=DEGRADED,
    running={"1.0.0": 2},
    hosts=[a_host("web-1"), a_host("web-2", is_connected=False, last_seen=None, running=[], drift=["shop"])],
)
LOG = LogAnswer(
    host="web-1",
    at=0.0,
    status=HostStatus.FAILED,
    stage="check",
    reason="not healthy",
    error="host.unhealthy",
    log="one\n\x1b[31mtwo",
)


@pytest.fixture
def answering(controller: StandIn) -> StandIn:
    """Return a controller with something to show."""
    controller.answers["GET /v1/hosts"] = lambda *_: STREAM.hosts
    controller.answers["GET /v1/sources"] = lambda *_: []
    controller.answers["GET /v1/status"] = lambda *_: [STREAM]
    controller.answers["GET /v1/deployments"] = lambda *_: [DEGRADED]
    controller.answers["GET /v1/deployments/dddd/logs"] = lambda *_: [LOG]
    return controller


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["hosts"], ["web-1", "connected", "shop 1.0.0", "10.0 GB", "web-2", "never"]),
        (["status"], ["wanted 1.1.0", "degraded: because", "drifted", "never"]),
        (["history"], ["dddddddd", "shop 1.1.0 to production", "degraded", "because"]),
        (["logs", "dddd"], ["check", "failed", "not healthy [host.unhealthy]", "| one"]),
    ],
    ids=["hosts", "status", "history", "logs"],
)
def test_people_get_a_table(answering: StandIn, terminal: Terminal, arguments: list[str], shown: list[str]) -> None:
    """With what they need to decide what to do next."""
    assert terminal.type(*arguments) == 0
    for text in shown:
        assert text in terminal.out


def test_a_host_that_a_deployment_left_behind_is_seen(answering: StandIn, terminal: Terminal) -> None:
    """After an abort some run the new version and some the old: status says which are not where they should be."""
    over = progress(DeploymentStatus.ABORTED, HostStatus.COMMITTED, HostStatus.UNREACHABLE)
    left = [a_host("web-1"), a_host("web-2")]
    left[1] = msgspec.structs.replace(left[1], running=[Running("shop", "1.1.0", 2, "0" * 64, is_active=True)])
    aborted = msgspec.structs.replace(STREAM, wanted="1.0.0", deployment=over, hosts=left)
    answering.answers["GET /v1/status"] = lambda *_: [aborted]
    terminal.type("status")
    assert "not 1.0.0" not in next(line for line in terminal.out.splitlines() if line.startswith("web-1"))
    assert "not 1.0.0" in next(line for line in terminal.out.splitlines() if line.startswith("web-2"))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["hosts"], "is_connected"), (["status"], "wanted"), (["history"], "counts"), (["logs", "dddd"], "stage")],
    ids=["hosts", "status", "history", "logs"],
)
def test_programs_get_json_and_nothing_else(
    answering: StandIn, terminal: Terminal, arguments: list[str], field: str
) -> None:
    """The fields are those of the API."""
    assert terminal.type(*arguments, "--json") == 0
    assert all(field in each for each in json.loads(terminal.out))
    assert terminal.err == ""


def test_what_a_host_writes_cannot_steer_the_terminal(answering: StandIn, terminal: Terminal) -> None:
    """Control characters of a log are shown, not obeyed."""
    terminal.type("logs", "dddd")
    assert "\x1b" not in terminal.out


def test_the_filters_are_passed_on(answering: StandIn, terminal: Terminal) -> None:
    """Each to the API's own parameter."""
    terminal.type("history", "shop", "-e", "production", "--limit", "3", "--json")
    assert answering.calls[-1][1] == {"app": "shop", "environment": "production", "limit": "3"}
    terminal.type("status", "shop", "-e", "production", "--json")
    assert answering.calls[-1][1] == {"app": "shop", "environment": "production"}


def test_watching_follows_what_is_under_way(answering: StandIn, terminal: Terminal) -> None:
    """It ends as the deployment ends."""
    running = progress(DeploymentStatus.RUNNING, HostStatus.STAGED, HostStatus.STAGED)
    stream = StreamAnswer(app="shop", environment="production", wanted="1", deployment=running, running={}, hosts=[])
    answering.answers["GET /v1/status"] = lambda *_: [stream]
    answering.answers[f"GET /v1/deployments/{running.id}"] = lambda *_: progress(
        DeploymentStatus.ROLLED_BACK, HostStatus.ROLLED_BACK, revision=2
    )
    assert terminal.type("status", "--watch") == ExitCode.ROLLED_BACK
    assert "was rolled back" in terminal.out


@pytest.mark.parametrize(
    ("arguments", "call", "told"),
    [
        (["hosts"], "GET /v1/hosts", "clarion hosts invite"),
        (["status"], "GET /v1/status", "clarion deploy"),
        (["history"], "GET /v1/deployments", "clarion deploy"),
        (["logs", "dddd"], "GET /v1/deployments/dddd/logs", "No host has reported"),
    ],
    ids=["hosts", "status", "history", "logs"],
)
def test_where_there_is_nothing_the_next_command_is_named(
    answering: StandIn, terminal: Terminal, arguments: list[str], call: str, told: str
) -> None:
    """On stderr, so that scripts read an empty stdout."""
    answering.answers[call] = lambda *_: []
    assert terminal.type(*arguments) == 0
    assert told in terminal.err


def test_a_token_stands_alone_on_stdout(answering: StandIn, terminal: Terminal) -> None:
    """So that a script can hand it on; what to do with it is on stderr."""
    answering.answers["POST /v1/invites"] = lambda *_: InviteAnswer("i" * 32, "clarion1.abc", time.time() + 900)
    assert terminal.type("hosts", "invite", "web-9", "-e", "production", "--group", "a", "--ttl", "5m") == 0
    assert terminal.out == "clarion1.abc\n"
    assert "clarion-agent join" in terminal.err
    (body,) = answering.called("POST /v1/invites")
    assert json.loads(body) == {"environment": "production", "name": "web-9", "groups": ["a"], "count": 1, "ttl": 300.0}
    assert InviteRequest.__struct_fields__ == ("environment", "name", "groups", "count", "ttl")


def test_a_host_is_revoked_by_name(answering: StandIn, terminal: Terminal) -> None:
    """In one environment."""
    answering.answers["DELETE /v1/hosts/web-2"] = lambda *_: a_host("web-2", is_enrolled=False)
    answering.answers["GET /v1/invites"] = lambda *_: []
    assert terminal.type("hosts", "revoke", "web-2", "-e", "production", "--yes") == 0
    assert "web-2 is revoked" in terminal.out
    assert answering.calls[-1][1] == {"environment": "production"}


def test_nobody_is_revoked_unasked(answering: StandIn, terminal: Terminal) -> None:
    """A script has to say that it means it."""
    assert terminal.type("hosts", "revoke", "web-2", "-e", "production") == ExitCode.USAGE
    assert "--yes" in terminal.err
    assert answering.calls == []
