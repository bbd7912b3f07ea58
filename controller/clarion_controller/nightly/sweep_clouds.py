"""Take away what nights that died have left in clouds.

1. read     which nights began and were not swept since       ledger.py
2. ask      production's controller which instances it has    if it does not say, nothing more is done
3. list     what carries a night's mark, wherever a role of fleet.toml or of such a night is made
4. decide   what of it is left                                left.py
5. end      that, and nothing else
6. forget   the nights of which surely nothing is left        ledger.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.evening import Evening
from clarion_controller.nightly.ledger import Ledger
from clarion_controller.nightly.left import Begun, Known, Verdict, sentence, verdict
from clarion_controller.nightly.places import in_clouds, roles_of
from clarion_controller.nightly.swept import Swept
from clarion_controller.provisioners.clouds import in_cloud
from clarion_controller.provisioners.provisioner import Cloud, Found

AT_ONCE = 4


def sweep_clouds(evening: Evening) -> Swept:
    """Return what was taken away, and what was not."""
    swept = Swept()
    with swept.noting("clouds were not swept"):
        _CloudSweep(evening, Ledger(evening.home), swept).run()
    return swept


@dataclass(frozen=True)
class _Listed:
    """Something that carries a night's mark, and the cloud that has it."""

    cloud: Cloud
    found: Found


@dataclass
class _CloudSweep:
    """One sweep; in the `unseen` places, something may be left that it did not see."""

    evening: Evening
    ledger: Ledger
    swept: Swept
    unseen: list[Role] = field(default_factory=list)

    def run(self) -> None:
        """Go through the list.

        Raises:
            ClarionError: nothing was done, since something that has to be known is not.
        """
        begun = self._begun()
        places = in_clouds([*roles_of(self.evening.fleet), *(role for each in begun.values() for role in each.roles)])
        if not places:
            return
        known = Known(begun, self._production(), self.ledger.here, self.evening.began)
        left = [each for each in self._listed(places) if self._is_left(each.found, known)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            are_ended = list(pool.map(self._end, left))
        stuck = {each.found.run for each, is_ended in zip(left, are_ended, strict=True) if not is_ended}
        for night in begun.values():
            if not night.may_live(known.here, known.now) and night.run not in stuck:
                self._forget(night)

    def _begun(self) -> dict[str, Begun]:
        found: dict[str, Begun] = {}
        for run in self.ledger.runs():
            with self.swept.noting():
                found[run] = self.ledger.read(run)
        return found

    def _production(self) -> frozenset[str]:
        return frozenset(host.instance.lower() for host in self.evening.controller.hosts() if host.instance)

    def _listed(self, places: Sequence[Role]) -> Iterable[_Listed]:
        """Return what carries a night's mark in these places, each once, whoever may see it."""
        listed: dict[str, _Listed] = {}
        for place in places:
            self.unseen.append(place)
            with self.swept.noting(place.provisioner):
                if cloud := in_cloud(place, self.evening.cluster):
                    for each in cloud.found():
                        listed.setdefault(each.key, _Listed(cloud, each))
                self.unseen.remove(place)
        return listed.values()

    def _is_left(self, found: Found, known: Known) -> bool:
        """Return whether it is to be ended, and note what people are told of it otherwise."""
        what = verdict(found, known)
        if what is not Verdict.LEFT:
            (self.swept.odd if what.is_odd else self.swept.alive).append(sentence(found, what, known))
        return what is Verdict.LEFT

    def _end(self, left: _Listed) -> bool:
        with self.swept.noting(f"{left.found} cannot be taken away"):
            left.cloud.end(left.found)
            self.swept.gone.append(str(left.found))
            return True
        return False

    def _forget(self, night: Begun) -> None:
        """Remove the record of a night, unless there are places of it that nobody could look into."""
        if not any(place in self.unseen for place in in_clouds(night.roles)):
            with self.swept.noting():
                self.ledger.forget(night.run)
