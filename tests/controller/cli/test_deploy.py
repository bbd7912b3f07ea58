"""`clarion deploy`, `rollback`, `abort`, against a controller that answers as prepared."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clarion_controller.api.answers import ErrorAnswer, PlanAnswer, PlanRequest
from clarion_controller.key_files import KeyFolder
from clarion_protocol.documents import Deployment, read
from clarion_protocol.dsse import open_verified
from clarion_protocol.words import DeploymentStatus, ExitCode, HostStatus, Intent

from .conftest import IDS, Refusal, StandIn, Terminal, a_host, a_plan, progress

DEPLOY = ("deploy", "shop", "1.1.0", "-e", "production", "--yes")
Plans = Callable[[PlanRequest], PlanAnswer]


@pytest.fixture
def fleet(controller: StandIn) -> StandIn:
    """Return a controller with three hosts, whose rollouts succeed at once."""
    controller.answers["GET /v1/hosts"] = lambda *_: [a_host(name) for name in IDS]
    plan_with(controller, lambda request: a_plan(request, time.time()))
    end_with(controller, DeploymentStatus.SUCCEEDED, HostStatus.COMMITTED)
    return controller


def plan_with(controller: StandIn, plans: Plans) -> None:
    """Let the controller draw plans up with `plans`."""
    controller.answers["POST /v1/plan"] = lambda _, body: plans(msgspec.json.decode(body, type=PlanRequest))


def end_with(controller: StandIn, status: DeploymentStatus, *hosts: HostStatus) -> None:
    """Let a deployment that is handed over end with `status`."""
    begun = progress(DeploymentStatus.RUNNING, *[HostStatus.PENDING] * len(hosts))
    controller.answers["POST /v1/deployments"] = lambda *_: begun
    controller.answers[f"GET /v1/deployments/{begun.id}"] = lambda *_: progress(status, *hosts, revision=2)


def what_was_signed(controller: StandIn, home: Path) -> Deployment:
    """Return the document that was handed over, after checking that the deployer's key signed it."""
    (envelope,) = controller.called("POST /v1/deployments")
    key = KeyFolder(home / "keys").read("deployer").public_hex
    return read(open_verified(envelope, Deployment.payload_type, [key]), Deployment)


def test_a_deployment_is_planned_signed_handed_over_and_followed(
    fleet: StandIn, terminal: Terminal, home: Path
) -> None:
    """It ends with one sentence and exit code 0."""
    assert terminal.type(*DEPLOY, "--reason", "ticket 7") == ExitCode.COMMITTED
    signed = what_was_signed(fleet, home)
    assert (signed.version, signed.reason, signed.targets.hosts) == (
        "1.1.0",
        "ticket 7",
        [IDS[f"web-{n}"] for n in (1, 2, 3)],
    )
    assert "Deploy shop 1.1.0" in terminal.out
    assert terminal.out.splitlines()[-1].startswith("shop 1.1.0 is committed")
    assert terminal.err == ""


@pytest.mark.parametrize(
    ("status", "host", "code"),
    [
        (DeploymentStatus.FAILED, HostStatus.FAILED, ExitCode.FAILED),
        (DeploymentStatus.DEGRADED, HostStatus.UNREACHABLE, ExitCode.DEGRADED),
        (DeploymentStatus.ROLLED_BACK, HostStatus.ROLLED_BACK, ExitCode.ROLLED_BACK),
    ],
)
def test_the_exit_code_says_how_it_ended(
    fleet: StandIn, terminal: Terminal, status: DeploymentStatus, host: HostStatus, code: ExitCode
) -> None:
    """And stderr says where to look."""
    end_with(fleet, status, host)
    assert terminal.type(*DEPLOY) == code
    assert "clarion logs dddddddd" in terminal.err


def test_options_of_the_strategy_replace_what_fleet_toml_says(fleet: StandIn, terminal: Terminal, home: Path) -> None:
    """The rest of it stays."""
    assert terminal.type(*DEPLOY, "--max-parallel", "50%", "--max-failures", "2", "--bake-time", "30s") == 0
    plan = what_was_signed(fleet, home).plan
    assert (plan.max_parallel, plan.max_failures, plan.bake_time, plan.auto_rollback) == ("50%", 2, 30.0, True)


def test_chosen_hosts_and_no_others_are_asked_for(fleet: StandIn, terminal: Terminal, home: Path) -> None:
    """By name; the document carries their ids."""
    assert terminal.type(*DEPLOY, "--hosts", "web-1, web-3") == 0
    assert what_was_signed(fleet, home).targets.hosts == [IDS["web-1"], IDS["web-3"]]


def test_a_plan_that_is_not_what_was_asked_is_not_signed(fleet: StandIn, terminal: Terminal) -> None:
    """Nothing is handed over."""
    plan_with(fleet, lambda request: a_plan(request, time.time(), version="6.6.6"))
    assert terminal.type(*DEPLOY) == ExitCode.FAILED
    assert "version 6.6.6 where 1.1.0 was asked" in terminal.err
    assert fleet.called("POST /v1/deployments") == []


def test_without_a_person_at_the_terminal_yes_must_be_said(
    fleet: StandIn, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A script that forgets it changes nothing."""
    (tmp_path / "nothing").touch()
    with (tmp_path / "nothing").open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert terminal.type(*DEPLOY[:-1]) == ExitCode.USAGE
    assert "--yes" in terminal.err
    assert fleet.called("POST /v1/deployments") == []


def test_without_the_deployers_key_nothing_is_asked(fleet: StandIn, terminal: Terminal, home: Path) -> None:
    """The error names the file."""
    (home / "keys" / "deployer.key").unlink()
    assert terminal.type(*DEPLOY) == ExitCode.USAGE
    assert "deployer.key" in terminal.err
    assert fleet.calls == []


def test_a_key_from_elsewhere_can_be_named(fleet: StandIn, terminal: Terminal, home: Path, tmp_path: Path) -> None:
    """It need not lie on the controller."""
    (home / "keys" / "deployer.key").rename(tmp_path / "mine.key")
    assert terminal.type(*DEPLOY, "--key", str(tmp_path / "mine.key")) == 0


def test_blocked_has_an_exit_code_of_its_own(fleet: StandIn, terminal: Terminal) -> None:
    """A script can try again later."""

    def refuse(*_: Any) -> None:
        raise Refusal(409, ErrorAnswer("operator.blocked", "another deployment is under way", "Wait for it."))

    fleet.answers["POST /v1/deployments"] = refuse
    assert terminal.type(*DEPLOY) == ExitCode.BLOCKED
    assert terminal.err == "error: another deployment is under way\n  Wait for it.\n"


def test_without_waiting_the_rollout_is_begun_and_how_to_watch_it_is_said(fleet: StandIn, terminal: Terminal) -> None:
    """Nothing is followed."""
    assert terminal.type(*DEPLOY, "--no-wait") == 0
    assert "clarion status shop -e production --watch" in terminal.out
    assert not fleet.called("GET /v1/deployments/" + "d" * 32)


def test_a_wait_that_is_too_short_has_its_own_exit_code(fleet: StandIn, terminal: Terminal) -> None:
    """124, as `timeout` has it."""
    going_on = progress(DeploymentStatus.RUNNING, HostStatus.STAGED)
    fleet.answers[f"GET /v1/deployments/{going_on.id}"] = lambda *_: going_on
    assert terminal.type(*DEPLOY, "--timeout", "50ms") == ExitCode.TIMED_OUT
    assert "clarion abort" in terminal.err


def test_ctrl_c_leaves_the_rollout_alone_and_says_so(fleet: StandIn, terminal: Terminal) -> None:
    """Who stops watching is told how to watch again, and how to stop it."""
    going_on = progress(DeploymentStatus.RUNNING, HostStatus.STAGED)

    def press_ctrl_c(*_: Any) -> Any:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.2)
        return going_on

    fleet.answers[f"GET /v1/deployments/{going_on.id}"] = press_ctrl_c
    assert terminal.type(*DEPLOY) == 130
    assert "The rollout goes on without you." in terminal.err
    assert "clarion abort dddddddd" in terminal.err


def test_a_rollback_is_signed_as_one(fleet: StandIn, terminal: Terminal, home: Path) -> None:
    """Without a version the controller picks the one before."""
    assert terminal.type("rollback", "shop", "-e", "production", "--yes") == 0
    signed = what_was_signed(fleet, home)
    assert (signed.intent, signed.version) == (Intent.ROLLBACK, "0.9.0")


def test_abort_stops_a_deployment_and_waits_until_it_stands(fleet: StandIn, terminal: Terminal) -> None:
    """The beginning of the id is enough; that it was aborted is what was wanted."""
    aborted = progress(DeploymentStatus.ABORTED, HostStatus.ROLLED_BACK)
    fleet.answers["POST /v1/deployments/dddd/abort"] = lambda *_: aborted
    assert terminal.type("abort", "dddd") == 0
    assert "was aborted" in terminal.out


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_deployment_can_be_paused_and_resumed(fleet: StandIn, terminal: Terminal, verb: str) -> None:
    """The controller is told by whom."""
    fleet.answers[f"POST /v1/deployments/dddd/{verb}"] = lambda *_: progress(DeploymentStatus.PAUSED, HostStatus.STAGED)
    assert terminal.type(verb, "dddd") == 0
    assert terminal.out == "shop 1.1.0 in production: paused, because\n"
    assert "@" in fleet.calls[-1][1]["actor"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hosts", ","),
        ("--max-parallel", "many"),
        ("--max-failures", "-1"),
        ("--bake-time", "soon"),
        ("--timeout", "10"),
        ("--colour",),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_a_usage_error(fleet: StandIn, terminal: Terminal, arguments: tuple[str, ...]) -> None:
    """Said before anything is asked of the controller."""
    assert terminal.type(*DEPLOY, *arguments) == ExitCode.USAGE
    assert terminal.err.startswith("error: ")
    assert fleet.calls == []


def test_a_user_without_a_name_is_known_by_the_number(
    fleet: StandIn, terminal: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container of CI it is often so."""

    def unnamed() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", unnamed)
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert terminal.type(*DEPLOY) == ExitCode.COMMITTED
    assert what_was_signed(fleet, home).actor.startswith(f"{os.getuid()}@")


def test_only_a_key_file_is_taken_for_one(fleet: StandIn, terminal: Terminal, home: Path) -> None:
    """Not the file beside it, which has the right ending."""
    assert terminal.type(*DEPLOY, "--key", str(home / "keys/deployer.pem")) == ExitCode.USAGE
    assert "deployer.pem is no key file" in terminal.err
    assert fleet.calls == []
