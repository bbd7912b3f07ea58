"""The way from a wish to a signed order: plan, check, show, confirm, sign, hand over, follow."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from clarion_controller.api.answers import DeploymentAnswer, PlanRequest
from clarion_controller.cli.show import note, say, say_sentence, show_error
from clarion_controller.cli.show_plan import describe
from clarion_controller.cli.verdict import exit_code, next_step, sentence
from clarion_controller.client.calls import Controller
from clarion_controller.client.follow import follow, how_to_go_on
from clarion_controller.client.plan import plan
from clarion_controller.key_files import KeyFolder
from clarion_controller.texts import short
from clarion_protocol.errors import BadConfig, OperatorError, WaitTimedOut
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import ExitCode

INTERRUPTED = 130


@dataclass(frozen=True)
class Manner:
    """How an order is given: signed with which key, confirmed or not, followed for how long (seconds; 0: not)."""

    key: Path
    is_confirmed: bool
    timeout: float


def give(controller: Controller, request: PlanRequest, overrides: dict[str, object], manner: Manner) -> int:
    """Carry `request` out and return the exit code.

    Raises:
        ClarionError: it cannot be done; nothing was signed.
    """
    key = _read_key(manner.key)  # first: without it, no plan helps
    answer = plan(controller, request, overrides)
    say(describe(answer))
    if not manner.is_confirmed:
        confirm("Go ahead?")
    deployment = controller.order(answer.deployment.sealed(key))
    if not manner.timeout:
        say(f"Deployment {short(deployment.id)} has begun.\n{how_to_go_on(deployment)}")
        return ExitCode.COMMITTED
    return watch_to_the_end(controller, deployment, manner.timeout)


def _read_key(file: Path) -> SigningKey:
    if file.suffix != ".key":
        raise BadConfig(f"{file} is no key file", hint="Name the deployer's file, which ends in .key.")
    return KeyFolder(file.parent).read(file.stem)


def confirm(question: str) -> None:
    """Ask the person at the terminal.

    Raises:
        OperatorError: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise OperatorError("nobody is here to confirm it", hint="Add --yes where no person is at the terminal.")
    typer.confirm(question, abort=True)


def watch_to_the_end(controller: Controller, deployment: DeploymentAnswer, timeout: float) -> int:
    """Follow a deployment, say how it ended and return the exit code."""
    from clarion_controller.cli.progress import watch  # noqa: PLC0415 (rich, for those who stay to watch)

    try:
        last = watch(follow(controller, deployment, timeout))
    except KeyboardInterrupt:
        note(f"\nThe rollout goes on without you.\n{how_to_go_on(deployment)}")
        return INTERRUPTED
    except WaitTimedOut as error:
        show_error(error.message, error.hint)
        return ExitCode.TIMED_OUT
    return conclude(last)


def conclude(deployment: DeploymentAnswer) -> int:
    """Say in one sentence how a deployment ended, and what to do if it did not end well."""
    say_sentence(sentence(deployment))
    if step := next_step(deployment):
        note(step)
    return exit_code(deployment)


def actor() -> str:
    """Return who gives the order, for people to read; what counts is the key that signs."""
    return f"{os.environ.get('SUDO_USER') or _user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has a number, and no name
        return str(os.getuid())
