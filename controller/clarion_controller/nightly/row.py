"""The row of a night's checks: every app, then every environment; one that breaks down keeps no other from its turn."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from clarion_controller.nightly.evening import Wishes
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.rebuild import rebuild
from clarion_controller.nightly.report import Check, Report, Result
from clarion_protocol.errors import ClarionError


@dataclass(frozen=True)
class Step:
    """One step of the row: the checks that it makes, if it comes to its end; where; and what makes them."""

    names: tuple[str, ...]
    environment: str
    make: Callable[[], Sequence[Check]]

    def checks(self, result: Result, reason: str, *, finding: str = "", log: str = "") -> list[Check]:
        """Return all its checks with one result."""
        check = Check(
            name="",
            environment=self.environment,
            result=result,
            reason=reason,
            findings=(finding,) if finding else (),
            log=log,
        )
        return [replace(check, name=name) for name in self.names]

    def run(self) -> Sequence[Check]:
        """Return what its checks found; if it fails by an exception, all of them are broken."""
        try:
            return self.make()
        except ClarionError as error:
            return self._broken(error)
        except Exception as error:  # noqa: BLE001 (one step of many: the others still tell what works)
            return self.checks(Result.BROKEN, f"Clarion itself failed: {error!r}", log=traceback.format_exc())

    def _broken(self, error: ClarionError) -> Sequence[Check]:
        hint = error.hint or ""
        # What to do is one line; several are what a program wrote before it failed.
        if len(hint.splitlines()) > 1:
            return self.checks(Result.BROKEN, error.message, log=hint)
        return self.checks(Result.BROKEN, error.message, finding=hint)


def steps(night: Night, wishes: Wishes, earlier: Sequence[Report]) -> Iterator[Step]:
    """Yield the row of checks that are wanted: every app, then every environment."""
    wanted = wishes.environments or tuple(night.fleet.environment)
    apps = {each.app for each in night.in_force if each.environment in wanted}
    for app in sorted(apps) if wishes.rebuild else ():
        yield Step((f"rebuild {app}",), "", partial(_rebuilt, night, app, earlier))
    for name in wanted if wishes.servers else ():
        roles = [f"server {name}/{role}" for role in night.fleet.environment[name].roles]
        yield Step(tuple(roles) or (f"servers {name}",), name, partial(_rehearsed, night, name))


def _rebuilt(night: Night, app: str, earlier: Sequence[Report]) -> Sequence[Check]:
    return [rebuild(night, app, earlier)]


def _rehearsed(night: Night, environment: str) -> Sequence[Check]:
    from clarion_controller.nightly.rehearse import rehearse  # noqa: PLC0415 (half a controller; rebuilds need none)

    return rehearse(night, environment)
