"""`clarion builder`: carries out builds, apart from the controller and its keys."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from clarion_agent.logs import begin_logging
from clarion_agent.stopping import set_at_signal
from clarion_controller.cli.place import place_of

DEFAULT_WORK = Path("/var/lib/clarion-builder/work")


def builder(
    context: typer.Context,
    *,
    socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The controller's socket.", show_default="HOME/run/builder/sock")
    ] = None,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Where builds are made.")] = DEFAULT_WORK,
    jobs: Annotated[int, typer.Option(metavar="N", help="How many at a time.", min=1, max=64)] = 1,
) -> None:
    """Carry out builds that the controller hands out."""
    from clarion_controller.builds.build import BUILDER_SOCKET  # noqa: PLC0415 (only this verb needs it)
    from clarion_controller.builds.builder import Builder, workplace  # noqa: PLC0415
    from clarion_controller.builds.builder_client import Desk  # noqa: PLC0415
    from clarion_controller.builds.sandbox import bubblewrap_here  # noqa: PLC0415

    bubblewrap_here()  # at once: without it every push would turn red
    begin_logging()
    stop = threading.Event()
    set_at_signal(stop)
    with workplace(work.absolute()):
        Builder(Desk(socket or place_of(context).home / BUILDER_SOCKET), work.absolute(), stop).run(jobs)
