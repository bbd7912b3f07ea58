"""The root file systems of one night: each recipe is built once, from today's packages, and shared as a lower layer."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from clarion_controller.fleet_toml.roles import NspawnServer
from clarion_controller.provisioners.containers import give
from clarion_controller.provisioners.containers.recipe import Apt, Recipe, mmdebstrap, recipe_of, sources_list
from clarion_controller.provisioners.containers.workshop import Step, Workshop


class RootFileSystems:
    """What was built tonight, below `folder`. A recipe that failed has failed for all of tonight's servers."""

    def __init__(self, folder: Path, apt: Apt) -> None:
        self._folder = folder
        self._apt = apt
        self._lock = threading.Lock()
        self._built: dict[Recipe, Future[Path]] = {}

    def of(self, server: NspawnServer | None, workshop: Workshop) -> tuple[Path, float]:
        """Return the folder of what a role's servers lie on, never to be written, and the seconds that were waited.

        Raises:
            ProvisionFailed: it cannot be built; the message ends with what mmdebstrap said.
        """
        began = time.monotonic()
        recipe = recipe_of(server, self._apt)
        with self._lock:
            is_first = recipe not in self._built
            future = self._built.setdefault(recipe, Future())
            target = self._folder / f"rootfs-{len(self._built)}"
        if is_first:
            try:
                build(workshop, recipe, self._apt, target)
                future.set_result(target)
            except BaseException as error:
                # Whoever waits for it must hear it too, even of a night that is being ended.
                future.set_exception(error)
                raise
        return future.result(), time.monotonic() - began


def build(workshop: Workshop, recipe: Recipe, apt: Apt, target: Path) -> float:
    """Build a recipe's root file system in the new folder `target`, and give it to the workshop's users.

    Returns how many seconds it took.

    Raises:
        ProvisionFailed: mmdebstrap failed; the message ends with what it said.
    """
    workshop.demand_room()
    command = tuple(mmdebstrap(recipe, apt, str(target)))
    name = f"mmdebstrap of {recipe.suite} with {', '.join(recipe.packages)}"
    stdin = sources_list(recipe, apt)
    built = workshop.carry_out(Step(name, target.name, command, workshop.limits.rootfs, stdin))
    return built + workshop.carry_out(_giving(workshop, target))


def _giving(workshop: Workshop, target: Path) -> Step:
    command = (sys.executable, "-m", give.__name__, str(workshop.users.first), str(target))
    return Step("giving it to its users", target.name, command, workshop.limits.rootfs)
