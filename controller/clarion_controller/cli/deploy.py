"""`clarion deploy`, `rollback`, `pause`, `resume`, `abort`: the verbs that change what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.api.answers import DeploymentAnswer, PlanRequest
from clarion_controller.cli import options
from clarion_controller.cli.ordering import Manner, actor, give, watch_to_the_end
from clarion_controller.cli.place import Place, place_of
from clarion_controller.cli.show import say_sentence
from clarion_controller.client.calls import Controller
from clarion_controller.texts import one_line
from clarion_protocol.words import ExitCode, Intent

MaxParallel = Annotated[
    str | None, typer.Option(metavar="N|N%", help='Hosts in change at once: "2" or "25%".', show_default="fleet.toml's")
]
MaxFailures = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Hosts that may fail before the rollout halts.", show_default="fleet.toml's"),
]
BakeTime = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long a host must stay healthy.", show_default="fleet.toml's")
]
Id = Annotated[
    str, typer.Argument(metavar="ID", help="The deployment, or the beginning of its id.", show_default=False)
]


def deploy(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    app: options.App,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version to bring.", show_default=False)],
    *,
    environment: options.Environment,
    hosts: options.Hosts = None,
    tag: options.Tags = None,
    zone: options.Zones = None,
    group: options.Groups = None,
    limit: options.Limit = None,
    seed: options.Seed = "",
    accept_shrink: options.AcceptShrink = False,
    max_parallel: MaxParallel = None,
    max_failures: MaxFailures = None,
    bake_time: BakeTime = None,
    reason: options.Reason = "",
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: options.Timeout = "1h",
    key: options.Key = None,
) -> int:
    """Bring hosts to a version: plan, sign, roll out, follow."""
    place = place_of(context)
    overrides: dict[str, object] = {
        "max_parallel": None if max_parallel is None else str(options.share(max_parallel, "--max-parallel")),
        "max_failures": max_failures,
        "bake_time": None if bake_time is None else float(options.duration(bake_time, "--bake-time")),
    }
    request = PlanRequest(
        app=app,
        environment=environment,
        version=version,
        hosts=options.names(hosts, "--hosts"),
        where=options.host_filter(tag, zone, group, limit, seed),
        accept_shrink=accept_shrink,
        reason=reason,
        actor=actor(),
    )
    manner = _manner(place, yes=yes, wait=wait, timeout=timeout, key=key)
    return give(Controller(place.api), request, _given(overrides), manner)


def rollback(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    app: options.App,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Where to.", show_default="what was committed before")
    ] = None,
    *,
    environment: options.Environment,
    hosts: options.Hosts = None,
    tag: options.Tags = None,
    zone: options.Zones = None,
    group: options.Groups = None,
    reason: options.Reason = "",
    yes: options.Yes = False,
    wait: options.Wait = True,
    timeout: options.Timeout = "1h",
    key: options.Key = None,
) -> int:
    """Go back to a version that ran before; downloads nothing."""
    place = place_of(context)
    request = PlanRequest(
        app=app,
        environment=environment,
        version=version,
        hosts=options.names(hosts, "--hosts"),
        where=options.host_filter(tag, zone, group, None, ""),
        intent=Intent.ROLLBACK,
        reason=reason,
        actor=actor(),
    )
    manner = _manner(place, yes=yes, wait=wait, timeout=timeout, key=key)
    return give(Controller(place.api), request, {}, manner)


def abort(
    context: typer.Context, deployment: Id, *, wait: options.Wait = True, timeout: options.Timeout = "10m"
) -> int:
    """Stop a deployment: no further host is changed."""
    controller = Controller(place_of(context).api)
    answer = controller.steer(deployment, "abort", actor())
    if wait:
        watch_to_the_end(controller, answer, options.duration(timeout, "--timeout"))
    else:
        _say_how_it_stands(answer)
    return ExitCode.COMMITTED


def pause(context: typer.Context, deployment: Id) -> None:
    """Give no host its turn until 'resume'; hosts in the middle finish."""
    _say_how_it_stands(Controller(place_of(context).api).steer(deployment, "pause", actor()))


def resume(context: typer.Context, deployment: Id) -> None:
    """Let a paused deployment go on."""
    _say_how_it_stands(Controller(place_of(context).api).steer(deployment, "resume", actor()))


def _say_how_it_stands(answer: DeploymentAnswer) -> None:
    what = f"{answer.app} {answer.version} in {answer.environment}"
    say_sentence(f"{what}: {answer.status.value}, {one_line(answer.reason)}")


def _manner(place: Place, *, yes: bool, wait: bool, timeout: str, key: Path | None) -> Manner:
    seconds = options.duration(timeout, "--timeout")
    return Manner(key or place.home / "keys" / "deployer.key", yes, seconds if wait else 0)


def _given(overrides: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in overrides.items() if value is not None}
