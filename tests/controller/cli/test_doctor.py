"""`clarion doctor` as people and programs see it."""

from __future__ import annotations

import json

from clarion_controller.api.answers import Finding, Health
from clarion_protocol.words import ExitCode

from .conftest import StandIn, Terminal

WELL = Finding(subject="keys", health=Health.OK, sentence="the keys are here")
ODD = Finding(subject="disk", health=Health.WARNING, sentence="1 GB is free", hint="Run 'df -h'.")
ILL = Finding(subject="store", health=Health.FAILED, sentence="no leave to s3:PutObject", hint="Grant s3:PutObject.")


def test_what_failed_fails_the_command(controller: StandIn, terminal: Terminal) -> None:
    """Each thing is a line, with the next command below it, and the last line sums up."""
    controller.answers["GET /v1/doctor"] = lambda *_: [WELL, ODD, ILL]
    assert terminal.type("doctor") == ExitCode.FAILED
    for text in ("ok", "warning", "failed", "Grant s3:PutObject.", "1 thing to mend"):
        assert text in terminal.out


def test_warnings_alone_do_not_fail_it(controller: StandIn, terminal: Terminal) -> None:
    """A nightly job only mails what is in the way of a deployment."""
    controller.answers["GET /v1/doctor"] = lambda *_: [WELL, ODD]
    assert terminal.type("doctor") == ExitCode.COMMITTED
    assert "Nothing is in the way of a deployment; 1 warning." in terminal.out


def test_programs_get_the_findings(controller: StandIn, terminal: Terminal) -> None:
    """As the API names them."""
    controller.answers["GET /v1/doctor"] = lambda *_: [ILL]
    assert terminal.type("doctor", "--json") == ExitCode.FAILED
    assert json.loads(terminal.out)[0]["health"] == "failed"


def test_a_controller_that_does_not_run_is_the_finding(terminal: Terminal) -> None:
    """With how to start it."""
    assert terminal.type("doctor") == ExitCode.FAILED
    assert "clarion serve" in terminal.out
