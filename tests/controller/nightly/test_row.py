"""Steps of a night that fail by an error: what is said of them, and where."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.row import Step
from clarion_controller.nightly.wording import text_of
from clarion_protocol.errors import BadConfig, BuildFailed, ClarionError


def failing(error: Exception) -> list[Check]:
    """Return what a step with two checks makes of an error."""

    def make() -> Sequence[Check]:
        raise error

    return [*Step(("server staging/web", "server staging/db"), "staging", make).run()]


ERRORS = {
    "what to do is a finding": (
        BadConfig("no address", hint="Set it below [nightly]."),
        ("Set it below [nightly].",),
        "",
    ),
    "what a program wrote is its log": (BuildFailed("it failed", hint="one\ntwo"), (), "one\ntwo"),
    "nothing more to say": (BadConfig("no address"), (), ""),
}


@pytest.mark.parametrize(("error", "findings", "log"), ERRORS.values(), ids=ERRORS)
def test_an_error_breaks_all_checks_of_its_step(error: ClarionError, findings: tuple[str, ...], log: str) -> None:
    """Each says why, and what to do about it."""
    checks = failing(error)
    assert [check.name for check in checks] == ["server staging/web", "server staging/db"]
    for check in checks:
        assert (check.environment, check.result) == ("staging", Result.BROKEN)
        assert (check.reason, check.findings, check.log) == (error.message, findings, log)


def test_what_to_do_is_under_the_reason() -> None:
    """And is not called a log."""
    report = Report(night="2026-11-22", began=0.0, ended=1.0, checks=(failing(BadConfig("no", hint="Set it."))[0],))
    assert text_of(report).splitlines()[-2:] == ["no", "  - Set it."]


def test_a_mistake_of_ours_keeps_its_trace() -> None:
    """For whoever mends it."""
    assert "ZeroDivisionError" in failing(ZeroDivisionError())[0].log
