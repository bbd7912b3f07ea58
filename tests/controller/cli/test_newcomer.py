"""Waiting for a new server: how each way that it can end is told, and what is removed then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clarion_controller.api.answers import HostAnswer, HostProgress, OneHostAnswer, PartAnswer
from clarion_controller.cli import newcomer
from clarion_controller.cli.newcomer import Newcomer, Waiting, watch
from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.roles import AwsServer, Role
from clarion_controller.provisioners.provisioner import Machine, ServerOrder
from clarion_protocol.errors import CloudUnavailable, ProvisionFailed
from clarion_protocol.words import ExitCode, HostStatus

from .conftest import StandIn, a_host

ROLE = Role(aws=AwsServer(region="eu-west-1", image="ami-1", instance_type="t3.small"))
TOKEN = "a" * 32
REMOVAL = "aws ec2 terminate-instances --instance-ids i-1 --region eu-west-1"


@dataclass
class Cloud:
    """A cloud that has made one server; `refuses` lets it not be removed."""

    refuses: bool = False
    removed: list[str] = field(default_factory=list)

    def create(self, order: ServerOrder) -> Machine:
        """Make nothing."""
        raise AssertionError(order)

    def introduce(self, machines: Mapping[str, Machine]) -> None:
        """Do nothing."""

    def console(self, machine: Machine) -> str:
        """Return what would steer a terminal."""
        return f"{machine.name} login: \x1b[2J\n"

    def remove(self, machine: Machine) -> None:
        """Remove the server, or refuse."""
        if self.refuses:
            raise CloudUnavailable("the cloud does not answer")
        self.removed.append(machine.instance)

    def sweep(self) -> list[str]:
        """Find nothing."""
        return []


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Return a cloud, and look at its server often."""
    monkeypatch.setattr(newcomer, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(newcomer, "SETTLES", 0.1)
    return Cloud()


def joins(controller: StandIn, host: HostAnswer | None, *parts: HostProgress) -> None:
    """Let the controller say that the host is there, and how it stands with shop."""
    in_force = [PartAnswer(app="shop", wanted="1.1.0", part=part) for part in parts]
    controller.answers["GET /v1/hosts/web-9"] = lambda *_: OneHostAnswer(host=host, parts=in_force)


def watched(home: Path, cloud: Cloud, seconds: float = 0.3) -> int:
    """Wait for web-9 and return the exit code."""
    server = Newcomer(Machine("web-9", "aws:i-1", "10.0.0.9"), "production", ROLE, cloud, TOKEN)
    return watch(Controller(home / "run" / "controller.sock"), server, Waiting(seconds, keep=False))


def part(status: HostStatus) -> HostProgress:
    """Return where web-9 stands."""
    return HostProgress(name="web-9", id="9" * 32, status=status)


WEB_9 = a_host("web-9", id="9" * 32)


def test_who_joins_in_the_moment_of_giving_up_stays(controller: StandIn, home: Path, cloud: Cloud) -> None:
    """Only once its token is withdrawn is it certain that it has not joined."""
    joins(controller, None)

    def withdraw(*_: object) -> None:
        joins(controller, WEB_9, part(HostStatus.PULLING))

    controller.answers[f"DELETE /v1/invites/{TOKEN}"] = withdraw
    assert watched(home, cloud) == ExitCode.TIMED_OUT
    assert cloud.removed == []


def test_who_does_not_join_is_removed_and_its_console_shown(controller: StandIn, home: Path, cloud: Cloud) -> None:
    """The console cannot steer the terminal."""
    joins(controller, None)
    controller.answers[f"DELETE /v1/invites/{TOKEN}"] = lambda *_: None
    with pytest.raises(ProvisionFailed, match="web-9 login: ") as caught:
        watched(home, cloud)
    assert cloud.removed == ["aws:i-1"]
    assert "\x1b" not in str(caught.value)


def test_what_cannot_be_removed_is_told_with_the_command(controller: StandIn, home: Path, cloud: Cloud) -> None:
    """It costs money until somebody does."""
    joins(controller, None)
    controller.answers[f"DELETE /v1/invites/{TOKEN}"] = lambda *_: None
    cloud.refuses = True
    with pytest.raises(ProvisionFailed, match="could not be removed: the cloud does not answer") as caught:
        watched(home, cloud)
    assert REMOVAL in str(caught.value)


def test_a_host_on_which_an_app_fails_stays(
    controller: StandIn, home: Path, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a host now; the exit code says that not all is well, and where to look."""
    joins(controller, WEB_9, part(HostStatus.ROLLED_BACK))
    assert watched(home, cloud, 5) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "shop did not go well on it" in said
    assert "clarion status -e production" in said
    assert cloud.removed == []


def test_a_controller_that_is_away_for_a_while_is_waited_for(controller: StandIn, home: Path, cloud: Cloud) -> None:
    """A server that boots does not stop because the controller restarts."""
    joins(controller, WEB_9, part(HostStatus.COMMITTED))
    answers, looks = controller.answers["GET /v1/hosts/web-9"], iter([b"<html>", b"<html>"])
    controller.answers["GET /v1/hosts/web-9"] = lambda query, body: next(looks, None) or answers(query, body)
    assert watched(home, cloud, 5) == ExitCode.COMMITTED
