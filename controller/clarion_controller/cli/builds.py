"""`clarion builds`: what was pushed, how its build went, and what it wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from clarion_controller.api.answers import BuildLogAnswer, BuildRequest
from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.cli import options
from clarion_controller.cli.ordering import actor
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import STYLES, aligned, console, note, say, say_sentence, show_json
from clarion_controller.cli.verbs import new_program
from clarion_controller.client.calls import Controller
from clarion_controller.client.follow import LONGEST_CALL, PATIENCE, RETRY
from clarion_controller.doctor.builder import SILENT_AFTER_S
from clarion_controller.texts import SHORT, ago, one_line, printable, short
from clarion_protocol.errors import ControllerUnreachable
from clarion_protocol.words import ExitCode

app = new_program()

COLUMNS = ["build", "status", "repository", "pushed", "commit", "queued", "took"]
INDENT = SHORT + 2  # where the second column begins
LONGEST_NAME = 20
COMMIT_DIGITS = 12

Id = Annotated[str, typer.Argument(metavar="ID", help="The build, or the beginning of its id.", show_default=False)]
Repository = Annotated[str, typer.Argument(metavar="REPOSITORY", help="As fleet.toml calls it.", show_default=False)]


@app.callback(invoke_without_command=True)
def builds(
    context: typer.Context,
    *,
    repository: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only builds of this repository.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many.")] = 20,
    json: options.Json = False,
) -> None:
    """List builds, newest first; show what one wrote, start one, cancel one."""
    if context.invoked_subcommand:
        return
    controller = Controller(place_of(context).api)
    found = controller.builds(repository, limit)
    if json:
        show_json(found)
    elif found:
        _show(found, time.time())
        if any(build.status is BuildStatus.QUEUED for build in found):
            _warn_of_no_builder(controller)
    else:
        note("Nothing was built yet: push something, or 'clarion builds start REPOSITORY'.")


def _warn_of_no_builder(controller: Controller) -> None:
    """Say so if nobody takes what is queued."""
    seen = controller.builder_seen()
    if seen is None or time.time() - seen > SILENT_AFTER_S:
        note("No builder asks for work: 'systemctl status clarion-builder', or run 'clarion builder'.")


def _show(found: list[Build], now: float) -> None:
    """Write a line for each build, and below it what came of it."""
    from rich.text import Text  # noqa: PLC0415 (error messages come without rich, and sooner)

    head, *lines = aligned([COLUMNS, *(_row(build, now) for build in found)])
    terminal = console()
    terminal.print(Text(head, style="bold"), no_wrap=True, overflow="ellipsis")
    for build, line in zip(found, lines, strict=True):
        text = Text(line)
        text.stylize(STYLES.get(build.status.value, ""), INDENT, INDENT + len(build.status.value))
        terminal.print(text, no_wrap=True, overflow="ellipsis")
        if outcome(build):
            say_sentence(outcome(build), indent=INDENT)


def _row(build: Build, now: float) -> list[str]:
    pushed = one_line(name_of(build))
    return [
        short(build.id),
        build.status.value,
        build.repository,
        pushed if len(pushed) <= LONGEST_NAME else f"{pushed[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}",
        short(build.commit),
        ago(build.queued_at, now),
        took(build, now),
    ]


def name_of(build: Build) -> str:
    """Return the branch or tag as people call it."""
    return build.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def took(build: Build, now: float) -> str:
    """Return how long a build has been running, or ran."""
    if build.started_at is None:
        return "-"
    minutes, seconds = divmod(round(max((build.finished_at or now) - build.started_at, 0)), 60)
    return f"{minutes}:{seconds:02} min" if minutes else f"{seconds} s"


def outcome(build: Build) -> str:
    """Return what came of a build in one line."""
    deployed = f"deployed to {build.deployed_to}" if build.deployed_to else ""
    return one_line(build.reason or deployed)


@app.command()
def log(
    context: typer.Context,
    build: Id,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is over.")] = False,
) -> int:
    """Show what a build wrote."""
    controller = Controller(place_of(context).api)
    _say_queued(controller, build)
    rest = ""
    for answer in _answers(controller, build, follow=follow):
        if answer.left_out:
            note(f"[{answer.left_out:,} bytes were not kept]")
        *lines, rest = (rest + answer.text).split("\n")
        for line in lines:
            say(printable(line.rstrip("\r")))
    if rest:
        say(printable(rest))
    return _say_end(controller.build(build)) if follow else ExitCode.COMMITTED


def _say_queued(controller: Controller, id_: str) -> None:
    """Say why a build that waits for a builder writes nothing."""
    build = controller.build(id_)
    if build.status is BuildStatus.QUEUED:
        note(f"Build {short(build.id)} of {build.repository} is queued.")
        _warn_of_no_builder(controller)


def _say_end(build: Build) -> int:
    """Say how a build ended, to whom followed it."""
    what = f"{build.app} {build.version or build.commit[:COMMIT_DIGITS]}"
    why = f": {outcome(build).rstrip('.')}" if outcome(build) else ""
    note(f"Build {short(build.id)} of {what} {build.status.value}{why}.")
    return ExitCode.COMMITTED if build.status is BuildStatus.SUCCEEDED else ExitCode.FAILED


@app.command()
def start(
    context: typer.Context,
    repository: Repository,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="A branch or tag.", show_default="the repository's own branch")
    ] = "",
    *,
    json: options.Json = False,
) -> None:
    """Build a branch or tag as if it had just been pushed."""
    request = BuildRequest(repository=repository, ref=ref, actor=actor())
    build = Controller(place_of(context).api).start_build(request)
    if json:
        show_json(build)
        return
    say_sentence(f"{name_of(build)} of {build.repository} ({build.commit[:COMMIT_DIGITS]}) is {build.status.value}.")
    say(f"Follow it: clarion builds log {short(build.id)} --follow")


@app.command()
def cancel(context: typer.Context, build: Id) -> None:
    """Cancel a build that waits or runs, or a deployment that waits."""
    found = Controller(place_of(context).api).cancel_build(build, actor())
    if found.status is BuildStatus.CANCELLED:
        say_sentence(f"Build {short(found.id)} of {found.repository} is cancelled.")
    else:
        say_sentence(
            f"Build {short(found.id)} of {found.repository} stays {found.status.value}, {one_line(found.reason)}."
        )


def _answers(controller: Controller, build: str, *, follow: bool) -> Iterator[BuildLogAnswer]:
    """Yield the log in pieces, up to now or up to its end."""
    offset = 0
    while True:
        answer = _next(controller, build, offset, LONGEST_CALL if follow else 0.0)
        yield answer
        if answer.is_over or not (follow or answer.text):
            return
        offset = answer.next_offset


def _next(controller: Controller, build: str, offset: int, wait: float) -> BuildLogAnswer:
    """Return what comes next; whoever follows waits for a controller that is being restarted."""
    gives_up = time.monotonic() + (PATIENCE if wait else 0)
    while True:
        try:
            return controller.build_log(build, offset, wait)
        except ControllerUnreachable:  # noqa: PERF203 (this loop waits anyway)
            if time.monotonic() > gives_up:
                raise
            time.sleep(RETRY)
