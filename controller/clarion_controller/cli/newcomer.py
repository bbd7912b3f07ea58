"""Waiting for a server that was just made, and saying what exists however that ends."""

from __future__ import annotations

import time
from dataclasses import dataclass

from clarion_controller.api.answers import PartAnswer
from clarion_controller.cli.ordering import INTERRUPTED
from clarion_controller.cli.show import note, say, show_error
from clarion_controller.client.calls import Controller
from clarion_controller.explain import in_words
from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provision import Standing, not_its_own, standing
from clarion_controller.provisioners.clouds import removal
from clarion_controller.provisioners.provisioner import Machine, Provisioner
from clarion_controller.texts import printable
from clarion_protocol.errors import ClarionError, ControllerUnreachable, ProvisionFailed, UnknownName
from clarion_protocol.words import ExitCode

LOOK_EVERY = 1.0
SETTLES = 3.0  # seconds within which the controller takes who is listed into what is in force
LINES = 25  # of a console


@dataclass(frozen=True)
class Waiting:
    """For how many seconds to wait, and whether a server that does not join is kept."""

    seconds: float
    keep: bool


@dataclass(frozen=True)
class Newcomer:
    """A server that was made and is to join: `invitation` is the id of its token."""

    machine: Machine
    environment: str
    role: Role
    provisioner: Provisioner
    invitation: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.machine.name

    @property
    def what(self) -> str:
        """Its name, with what it is to its cloud."""
        return f"{self.name} ({', '.join(filter(None, [self.machine.instance, self.machine.address]))})"

    @property
    def how_to_remove(self) -> str:
        """The sentence with which a person gets rid of it."""
        return f"To remove it: '{removal(self.role, self.machine)}'."


def watch(controller: Controller, newcomer: Newcomer, waiting: Waiting) -> int:
    """Wait until the newcomer runs what is in force, say how it ended and return the exit code.

    Raises:
        ProvisionFailed: it did not join; it is removed again unless it is to be kept.
    """
    note(f"{newcomer.what} is made, and boots.")
    try:
        last = _follow(controller, newcomer, waiting.seconds)
    except KeyboardInterrupt:
        note(f"\n{newcomer.what} exists, and goes on by itself: 'clarion hosts -e {newcomer.environment}' shows it.")
        note(f"It may join within the hour. {newcomer.how_to_remove}")
        note(f"Then: 'clarion hosts uninvite {newcomer.invitation} -e {newcomer.environment}'.")
        return INTERRUPTED
    if not last.has_joined:
        withdrawn = _withdrawn(controller, newcomer)
        # Only now it cannot join any more: if it did in this very moment, it is a host, and stays.
        last = _look(controller, newcomer) or last
        if not last.has_joined:
            raise _did_not_join(newcomer, waiting, withdrawn)
    return _conclude(controller, newcomer, last)


def _follow(controller: Controller, newcomer: Newcomer, seconds: float) -> Standing:
    """Say each step as it is taken; return where the newcomer stands at the end, or after so many seconds."""
    began = since = time.monotonic()
    last = Standing("")
    while True:
        now = time.monotonic()
        found = _look(controller, newcomer) or last
        if found != last:
            note(f"  {in_words(now - began):>7}  {newcomer.name} {printable(found.sentence)}")
            last, since = found, now
        if now - began > seconds or (last.is_done and now - since > SETTLES):
            return last
        time.sleep(LOOK_EVERY)


def _look(controller: Controller, newcomer: Newcomer) -> Standing | None:
    """Return where the newcomer stands; None while the controller is away."""
    try:
        return standing(controller.one_host(newcomer.name, newcomer.environment))
    except ControllerUnreachable:
        return None


def _conclude(controller: Controller, newcomer: Newcomer, last: Standing) -> int:
    """Say how a newcomer that has joined stands; it stays, whatever that is."""
    for each in not_its_own(newcomer.role, controller.one_host(newcomer.name, newcomer.environment)):
        note(_how_to_deploy(newcomer, each))
    if not last.is_done:
        hint = f"It stays and goes on: 'clarion status -e {newcomer.environment}'. {newcomer.how_to_remove}"
        show_error(f"{newcomer.what} {printable(last.sentence)}, and the time to wait is over", hint)
        return ExitCode.TIMED_OUT
    if last.broken:
        hint = f"It stays. 'clarion status -e {newcomer.environment}' says why. {newcomer.how_to_remove}"
        show_error(f"{newcomer.what} has joined, and {', '.join(last.broken)} did not go well on it", hint)
        return ExitCode.FAILED
    say(f"{newcomer.what} {printable(last.sentence)}.")
    return ExitCode.COMMITTED


def _how_to_deploy(newcomer: Newcomer, stream: PartAnswer) -> str:
    command = f"clarion deploy {stream.app} {stream.wanted} -e {newcomer.environment} --hosts {newcomer.name}"
    return f"{stream.app} {stream.wanted} was ordered for named hosts only, and is not on {newcomer.name}: '{command}'."


def _did_not_join(newcomer: Newcomer, waiting: Waiting, withdrawn: str) -> ProvisionFailed:
    """Remove the server unless it is to be kept, and return what to say."""
    console = newcomer.provisioner.console(newcomer.machine)
    outcome = f"the server is kept. {newcomer.how_to_remove}" if waiting.keep else _removed(newcomer)
    return ProvisionFailed(
        f"{newcomer.what} did not join within {in_words(waiting.seconds)}{_console_of(console)}",
        hint=f"{withdrawn}; {outcome}",
    )


def _withdrawn(controller: Controller, newcomer: Newcomer) -> str:
    try:
        controller.withdraw(newcomer.invitation, newcomer.environment)
    except UnknownName:
        return "Its invitation is gone"
    except ClarionError as error:
        return f"Its invitation could not be withdrawn ({error.message}), and ends within the hour"
    return "Its invitation is withdrawn"


def _removed(newcomer: Newcomer) -> str:
    try:
        newcomer.provisioner.remove(newcomer.machine)
    except ClarionError as error:
        return f"it could not be removed: {error.message}. {newcomer.how_to_remove}"
    return "the server is removed. Add --keep to look into one that does not join."


def _console_of(console: str) -> str:
    lines = [printable(line) for line in console.splitlines() if line.strip()]
    if not lines:
        return "; its console could not be had"
    return "\n".join(["; its console ends:", *(f"    {line}" for line in lines[-LINES:])])
