"""The root file systems of one night: each recipe is built once, from today's packages, and shared as a lower layer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path

from clarion_controller.provisioners.containers.recipe import Apt, Recipe, mmdebstrap, sources_list
from clarion_controller.provisioners.containers.workshop import Step, Workshop


class RootFileSystems:
    """What was built tonight. A recipe that failed has failed for all of tonight's servers."""

    def __init__(self, workshop: Workshop, apt: Apt) -> None:
        self._workshop = workshop
        self._apt = apt
        self._lock = threading.Lock()
        self._built: dict[Recipe, Future[Path]] = {}

    def of(self, recipe: Recipe) -> tuple[Path, float]:
        """Return the folder of a recipe's root file system, never to be written, and the seconds that were waited.

        Raises:
            ProvisionFailed: it cannot be built; the message ends with what mmdebstrap said.
        """
        began = time.monotonic()
        with self._lock:
            is_first = recipe not in self._built
            future = self._built.setdefault(recipe, Future())
            target = self._workshop.folder / f"rootfs-{len(self._built)}"
        if is_first:
            self._build(recipe, target, future)
        return future.result(), time.monotonic() - began

    def _build(self, recipe: Recipe, target: Path, future: Future[Path]) -> None:
        try:
            build(self._workshop, recipe, self._apt, target)
        except BaseException as error:
            # Whoever waits for it must hear it too, even of a night that is being ended.
            future.set_exception(error)
            raise
        future.set_result(target)


def build(workshop: Workshop, recipe: Recipe, apt: Apt, target: Path) -> None:
    """Build a recipe's root file system in the new folder `target`.

    Raises:
        ProvisionFailed: mmdebstrap failed; the message ends with what it said.
    """
    workshop.demand_room()
    command = tuple(mmdebstrap(recipe, apt, str(target)))
    name = f"mmdebstrap of {recipe.suite} with {', '.join(recipe.packages)}"
    stdin = sources_list(recipe, apt)
    workshop.carry_out(Step(name, target.name, command, workshop.limits.rootfs, stdin))
