"""Speaking to the controller: what is understood, and what every failure is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.api.answers import ErrorAnswer
from clarion_controller.client.calls import Controller
from clarion_protocol.errors import Blocked, ClarionError, ControllerUnreachable, UnknownName
from clarion_protocol.words import DeploymentStatus, HostStatus

from .conftest import Refusal, StandIn, a_host, progress


def test_answers_come_as_the_structs_that_the_api_declares(controller: StandIn, home: Path) -> None:
    """What is left out of the query is not sent."""
    controller.answers["GET /v1/hosts"] = lambda *_: [a_host("web-1")]
    assert Controller(home / "run/controller.sock").hosts("production") == [a_host("web-1")]
    assert controller.calls[-1][1] == {"environment": "production"}


def test_a_wait_is_passed_on(controller: StandIn, home: Path) -> None:
    """The controller may hold the call that long."""
    state = progress(DeploymentStatus.RUNNING, HostStatus.STAGED)
    controller.answers[f"GET /v1/deployments/{state.id}"] = lambda *_: state
    assert Controller(home / "run/controller.sock").deployment(state.id, revision=4, wait=2.5) == state
    assert controller.calls[-1][1] == {"revision": "4", "wait": "2.5"}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "operator.unknown_name", UnknownName),
        (409, "operator.blocked", Blocked),
        (400, "of.the.future", ClarionError),
    ],
)
def test_an_error_is_raised_as_the_class_that_its_code_names(
    controller: StandIn, home: Path, status: int, code: str, kind: type[ClarionError]
) -> None:
    """With the controller's own sentence and hint."""

    def refuse(*_: object) -> None:
        raise Refusal(status, ErrorAnswer(code, "no such thing", "Run this."))

    controller.answers["GET /v1/hosts"] = refuse
    with pytest.raises(kind) as caught:
        Controller(home / "run/controller.sock").hosts()
    assert (type(caught.value), caught.value.message, caught.value.hint) == (kind, "no such thing", "Run this.")


def test_no_controller_names_the_command_that_starts_one(home: Path) -> None:
    """The commonest error of all."""
    with pytest.raises(ControllerUnreachable, match="no controller answers") as caught:
        Controller(home / "run/controller.sock").fleet()
    assert "clarion serve" in str(caught.value.hint)
    assert "systemctl start clarion-controller" in str(caught.value.hint)


@pytest.mark.parametrize("nonsense", [b"<html>hello</html>", b"{}", b"[]", b""], ids=["HTML", "{}", "[]", "nothing"])
def test_an_answer_that_makes_no_sense_is_an_error_with_a_next_step(
    controller: StandIn, home: Path, nonsense: bytes
) -> None:
    """Never a traceback."""
    controller.answers["GET /v1/fleet"] = lambda *_: nonsense
    with pytest.raises(ControllerUnreachable, match="makes no sense") as caught:
        Controller(home / "run/controller.sock").fleet()
    assert "--version" in str(caught.value.hint)


@pytest.mark.parametrize("written", ["", "logs", "dddd/abort", "..", "d" * 33])
def test_what_is_no_id_is_no_part_of_a_path(controller: StandIn, home: Path, written: str) -> None:
    """An empty variable in a script must not turn into another question."""
    api = Controller(home / "run/controller.sock")
    for ask in (api.deployment, api.logs, lambda id_: api.steer(id_, "abort", "ann@desk")):
        with pytest.raises(UnknownName, match="is no id of a deployment") as caught:
            ask(written)
        assert "clarion history" in str(caught.value.hint)
    with pytest.raises(UnknownName, match="is no name of a host"):
        api.revoke(f"{written}/", "production")
    assert controller.calls == []
