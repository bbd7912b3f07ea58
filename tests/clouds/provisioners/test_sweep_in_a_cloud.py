"""Sweeps of a cloud that others may write tags in: Google's own SDK, and a double that is held to Google's document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tests.clouds.fake_gce import PROJECT, FakeGce, error, fake_gce
from tests.clouds.provisioners.orders import CLUSTER, an_order

from clarion_controller.api.answers import HostAnswer, StreamAnswer
from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import Fleet, parse_fleet
from clarion_controller.fleet_toml.roles import GcpServer, Role
from clarion_controller.nightly.evening import Evening, Wishes
from clarion_controller.nightly.ledger import Ledger
from clarion_controller.nightly.left import GRACE_S
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.report import Check, Report, Result
from clarion_controller.nightly.run import run_night
from clarion_controller.nightly.sweep import Sweeping
from clarion_controller.provisioners.gcp import GcpProvisioner
from clarion_controller.provisioners.gcp_compute import Patience
from clarion_controller.provisioners.provisioner import Machine
from clarion_protocol.errors import ControllerUnreachable
from clarion_protocol.words import new_id

# Google warns of old Pythons when it is imported, which is when it is first asked.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google")
CALM = Patience(pause=0.02)
ZONE = "europe-west1-b"
NOW = 1_700_000_000.0
FLEET = """\
[environment.production]
roles = ["web"]

[role.web.gcp]
project = "{project}"
zone = "{zone}"
image = "web-v7"
machine_type = "e2-small"
endpoint = "{endpoint}"
"""


class Production(Controller):
    """Production's controller: what hosts it has, and what it was told; it goes away if `is_away`."""

    def __init__(self, *instances: str, is_away: bool = False) -> None:
        super().__init__(Path("nowhere.sock"))
        self.instances, self.is_away, self.told = instances, is_away, list[Report]()

    def hosts(self, environment: str | None = None, app: str | None = None) -> list[HostAnswer]:
        """Return hosts, of which one is in no cloud."""
        if self.is_away:
            raise ControllerUnreachable("no controller answers", hint="Start it.")
        return [
            HostAnswer(name=f"web-{each}", environment="production", instance=each, is_discovered=True,
                       is_enrolled=True, is_connected=True)
            for each in (*self.instances, "")
        ]  # fmt: skip

    def status(self, environment: str | None = None, app: str | None = None) -> list[StreamAnswer]:
        """Say that nothing is in force."""
        return []

    def nightly_finished(self, report: Report) -> None:
        """Remember it."""
        self.told.append(report)


@dataclass
class World:
    """A cloud, and a home beside it whose nights make servers there."""

    gce: FakeGce
    home: Path
    lines: list[str] = field(default_factory=list)

    @property
    def fleet(self) -> Fleet:
        """What the home's fleet.toml says."""
        return parse_fleet(FLEET.format(project=PROJECT, zone=ZONE, endpoint=self.gce.address))

    @property
    def server(self) -> GcpServer:
        """What the one role is made of."""
        found = self.fleet.role["web"].gcp
        assert found
        return found

    @property
    def ledger(self) -> Ledger:
        """The records of the home's nights."""
        return Ledger(self.home)

    def evening(self, controller: Production, now: float = NOW) -> Evening:
        """Return the evening of a night."""
        wishes = Wishes(rebuild=False)
        return Evening(self.home, self.fleet, controller, CLUSTER, wishes, self.lines.append, now)

    def sweep(self, *production: str, now: float = NOW) -> Check:
        """Sweep, while production has these instances."""
        return Sweeping(self.evening(Production(*production), now)).sweep()

    def night(self, run: str) -> Night:
        """Return a night of that run."""
        nothing: tuple[()] = ()
        return Night(self.home, self.fleet, Production(), CLUSTER, run, NOW, 0.0, self.home, nothing, self.lines.append)

    def begun(self, **elsewhere: str) -> str:
        """Have a night begin to make servers, here or elsewhere, and return its run."""
        run = new_id()
        self.ledger.begin(self.night(run), [Role(gcp=msgspec.structs.replace(self.server, **elsewhere))])
        return run

    def made(self, run: str, name: str = "web-1", **elsewhere: str) -> Machine:
        """Have a night make a server, and return it."""
        server = msgspec.structs.replace(self.server, **elsewhere)
        return GcpProvisioner(server, CLUSTER, CALM).create(an_order(name, run=run))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a cloud and a home, and work folders of their own."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with fake_gce() as gce:
        yield World(gce, tmp_path / "home")
        assert gce.complaints == []


def labelled(run: str) -> dict[str, str]:
    """Return the labels of a server of a night of ours."""
    return {"clarion-cluster": CLUSTER, "clarion-run": run, "clarion-attempt": "a" * 32}


def test_what_a_dead_night_left_is_ended_and_the_night_forgotten(world: World) -> None:
    """Its server has the run in its label and in its name, and the home knows the run."""
    machine = world.made(world.begun())
    check = world.sweep("gcp:1")
    assert (check.result, check.reason) == (Result.WORKS, "took away what a night had left (1)")
    assert [finding.split()[0] for finding in check.findings] == [machine.instance]
    assert world.gce.instances == []
    assert world.ledger.runs() == []
    assert world.sweep().reason == "nothing was left"


def test_labels_alone_end_nothing(world: World) -> None:
    """Whoever writes labels can copy all of a night's; the database that they are written on is named, and lives."""
    run = world.begun()
    database = world.gce.add("database-1", labels=labelled(run))
    check = world.sweep()
    assert check.result is Result.BROKEN
    assert check.reason == "1 thing in a cloud to look at: not touched, and perhaps paid for"
    [finding] = check.findings
    assert finding.startswith(f"not touched: gcp:{database['id']} (database-1) of run {run}, was not made for it")
    assert "gcloud" not in finding
    assert world.gce.instances == [database]
    assert world.ledger.runs() == [], "of the night itself nothing is left"


def test_a_host_of_production_is_never_ended(world: World) -> None:
    """Whatever else is true of it."""
    machine = world.made(world.begun())
    check = world.sweep(machine.instance.upper())
    assert check.result is Result.BROKEN
    assert "is a host of production. Take its tag clarion-run away" in check.findings[0]
    assert len(world.gce.instances) == 1


def test_a_night_that_this_home_has_not_begun_is_named_with_the_command(world: World) -> None:
    """A copy of the home may have begun it; or this home was put back from a copy of before that night."""
    machine = world.made(new_id())
    check = world.sweep()
    assert check.result is Result.BROKEN
    [finding] = check.findings
    name = world.gce.instances[0]["name"]
    assert finding.startswith(f"not touched: {machine.instance} ({name})")
    assert f"'gcloud compute instances delete {name} --project {PROJECT} --zone {ZONE}'" in finding


def test_without_production_no_cloud_is_swept(world: World) -> None:
    """Nobody says what must not be ended; the night is still known afterwards."""
    run = world.begun()
    world.made(run)
    check = Sweeping(world.evening(Production(is_away=True))).sweep()
    assert check.result is Result.BROKEN
    assert check.reason == "clouds were not swept: no controller answers. Start it."
    assert len(world.gce.instances) == 1
    assert world.ledger.runs() == [run]


def test_a_night_of_a_home_that_was_copied_goes_on(world: World, tmp_path: Path) -> None:
    """Until an hour after its deadline; that is no trouble, and it is said."""
    run = world.begun()
    world.made(run)
    world.home = world.home.rename(tmp_path / "moved")
    check = world.sweep(now=NOW + 60)
    assert check.result is Result.WORKS
    assert check.findings[0].startswith("left alone: ")
    assert (world.ledger.runs(), len(world.gce.instances)) == ([run], 1)
    assert "took away" in world.sweep(now=NOW + world.fleet.nightly.deadline + GRACE_S).reason
    assert (world.ledger.runs(), world.gce.instances) == ([], [])


def test_a_place_that_fleet_toml_names_no_more_is_still_swept(world: World) -> None:
    """The record of a night says where it made servers."""
    elsewhere = {"zone": "us-east1-b"}
    world.made(world.begun(**elsewhere), **elsewhere)
    assert "took away" in world.sweep().reason
    assert world.gce.instances == []


def test_a_place_that_cannot_be_looked_into_keeps_its_nights_on_record(world: World) -> None:
    """And only those."""
    lost = world.begun(endpoint="http://127.0.0.1:1")
    world.begun()
    check = world.sweep()
    assert check.result is Result.BROKEN
    assert check.reason.startswith("gcp: ")
    assert world.ledger.runs() == [lost]


def test_one_that_cannot_be_ended_keeps_no_other_from_it(world: World) -> None:
    """And its night is tried again the next time."""
    stuck, other = world.begun(), world.begun()
    world.made(stuck, "web-1")
    world.made(other, "web-2")
    world.gce.trouble_with["compute.instances.delete"] = [error(403, "forbidden", "No.")]
    check = world.sweep()
    assert check.result is Result.BROKEN
    assert "cannot be taken away" in check.reason
    assert len(world.gce.instances) == 1
    assert len(world.ledger.runs()) == 1
    assert world.sweep().result is Result.WORKS
    assert (world.gce.instances, world.ledger.runs()) == ([], [])


def test_an_unreadable_record_is_said_and_what_it_was_of_is_not_touched(world: World) -> None:
    """A person has to look: what is not known is not ended."""
    run = world.begun()
    world.made(run)
    (world.ledger.folder / run).write_text("{")
    check = world.sweep()
    assert check.result is Result.BROKEN
    assert f"{run} cannot be read" in check.reason
    assert "which this home has not begun" in check.findings[0]
    assert len(world.gce.instances) == 1


class Meanwhile(Production):
    """A controller that has something happen while it is asked what is in force."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens = happens

    def status(self, environment: str | None = None, app: str | None = None) -> list[StreamAnswer]:
        """Say that nothing is in force."""
        self._happens()
        return []


def test_a_night_sweeps_again_at_its_end_for_what_it_could_not_take_away(world: World) -> None:
    """What it left is not paid for until the next night; one line in its report says both sweeps."""
    before, during = world.begun(), list[str]()
    world.made(before)

    def leave_one() -> None:
        during.append(world.begun())
        world.made(during[0])

    ended = run_night(world.evening(Meanwhile(leave_one)))
    [sweep] = (check for check in ended.report.checks if check.name == "sweep")
    assert (sweep.result, sweep.reason) == (Result.WORKS, "took away what a night had left (2)")
    assert before in sweep.findings[0]
    assert during[0] in sweep.findings[1]
    assert (world.gce.instances, world.ledger.runs()) == ([], [])
