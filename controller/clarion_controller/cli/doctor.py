"""`clarion doctor`: what is well, what is not, and the next command for each."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from clarion_controller.api.answers import Finding, Health
from clarion_controller.cli import options
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import say, say_sentence, show_json
from clarion_controller.client.calls import Controller
from clarion_controller.texts import count, one_line
from clarion_protocol.errors import ControllerUnreachable
from clarion_protocol.words import ExitCode


def doctor(context: typer.Context, *, json: options.Json = False) -> int:
    """Check keys, ports, store, clouds and agents; changes nothing."""
    place = place_of(context)
    try:
        findings = Controller(place.api).doctor()
    except ControllerUnreachable as error:
        findings = [
            Finding(subject="controller", health=Health.FAILED, sentence=error.message, hint=error.hint or ""),
        ]
    if json:
        show_json(findings)
    else:
        _show(findings)
    return ExitCode.FAILED if any(each.health is Health.FAILED for each in findings) else ExitCode.COMMITTED


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        say_sentence(f"{finding.health.value:7}  {finding.subject:{width}}  {one_line(finding.sentence)}")
        if finding.hint:
            say_sentence(one_line(finding.hint), indent=11 + width)
    say()
    say(_sum(findings))


def _sum(findings: Sequence[Finding]) -> str:
    failed = sum(each.health is Health.FAILED for each in findings)
    warnings = sum(each.health is Health.WARNING for each in findings)
    if not failed:
        return f"Nothing is in the way of a deployment; {count(warnings, 'warning')}."
    return f"{count(failed, 'thing')} to mend before the next deployment; {count(warnings, 'warning')}."
