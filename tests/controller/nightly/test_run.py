"""Nights with a real controller, a real git remote and real wheels: what works, what broke, and since when."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.controller.builds.hostile import needs_walls
from tests.controller.nightly.nights import REBUILDS, Town, check_in, town, write_wheel

from clarion_controller.client.calls import Controller
from clarion_controller.nightly import sweep
from clarion_controller.nightly.evening import Wishes
from clarion_controller.nightly.night import date_of
from clarion_controller.nightly.report import Report, Result
from clarion_controller.nightly.run import run_night
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.state.events import NightlyFinished
from clarion_protocol.errors import Blocked, ControllerUnreachable, UnknownName

CLARION = [sys.executable, "-c", "import sys; from clarion_controller.cli import main; sys.exit(main())"]

pytestmark = [needs_walls, pytest.mark.once, pytest.mark.timeout(180)]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """Give a town whose nights leave their folders, if they do, below `tmp_path`; no other's are swept."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(sweep, "nspawn_of", lambda *_: NspawnProvisioner("acme", "", tmp_path / "containers"))
    with town(tmp_path) as shop:
        yield shop
    assert list(place.iterdir()) == []


def test_nights_name_the_dependency_that_broke_the_build_and_since_when(shop: Town) -> None:
    """The first night is bit-identical; an upstream that breaks is named, with the night it began, until repaired."""
    first = shop.night("2026-11-20")
    assert first.is_good
    check = check_in(first.report, "rebuild shop")
    assert (check.result, check.reason) == (Result.WORKS, "bit-identical")
    assert check.dependencies == {"1.0.0": {"greeting": "1.0"}}

    write_wheel(shop.wheels, "1.1", says="goodbye")
    second = shop.night("2026-11-21")
    check = check_in(second.report, "rebuild shop")
    assert not second.is_good
    assert (check.result, check.since) == (Result.BROKEN, "2026-11-21")
    assert check.reason.startswith("greeting 1.0 -> 1.1: ")
    assert check.findings == ("moved since the night of 2026-11-20: greeting 1.0 -> 1.1",)
    assert "greeting says goodbye" in check.log

    check = check_in(shop.night("2026-11-22").report, "rebuild shop")
    assert (check.result, check.since) == (Result.BROKEN, "2026-11-21")
    assert check.reason.startswith("greeting 1.0 -> 1.1: ")

    write_wheel(shop.wheels, "1.2")
    fourth = shop.night("2026-11-23")
    check = check_in(fourth.report, "rebuild shop")
    assert fourth.is_good
    assert (check.result, check.reason, check.since) == (Result.WORKS, "differs: greeting 1.0 -> 1.2", "")
    assert "changed: lib/greeting.py" not in check.findings
    assert "added: lib/greeting-1.2.dist-info/METADATA" in check.findings


def told(shop: Town) -> NightlyFinished:
    """Return the newest event of the controller's record."""
    with closing(sqlite3.connect(shop.home / "state" / "clarion.db")) as database:
        (body,) = database.execute("SELECT body FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return msgspec.json.decode(body, type=NightlyFinished)


def result_of(shop: Town, night: str, name: str = "rebuild shop") -> tuple[Result, str]:
    """Return the result and reason of a check in the report that is kept."""
    check = check_in(shop.kept(night), name)
    return check.result, check.reason


def test_the_controller_records_what_is_broken_and_since_when(shop: Town) -> None:
    """What it tells people of comes from its record, and a night that works is recorded too."""
    shop.night("2026-11-20")
    event = told(shop)
    assert (event.night, event.broken, event.works) == ("2026-11-20", {}, 2)
    shop.remote.rename(shop.remote.with_name("elsewhere"))
    reason = check_in(shop.night("2026-11-21").report, "rebuild shop").reason
    event = told(shop)
    assert (event.broken, event.since, event.works) == (
        {"rebuild shop": reason},
        {"rebuild shop": "2026-11-21"},
        1,
    )
    assert [report.night for report in msgspec.convert(nights_of(shop), list[Report])] == ["2026-11-21", "2026-11-20"]


def nights_of(shop: Town) -> object:
    """Return what the API lists."""
    return shop.live.client._call("GET", "/v1/nightly", list[Report], query={"limit": 5})


def test_a_dependency_that_is_gone_is_named_by_the_log(shop: Town) -> None:
    """Nothing can be packed then, so nothing can be compared; what the night before was made of is known."""
    shop.night("2026-11-20")
    for wheel in shop.wheels.iterdir():
        wheel.unlink()
    check = check_in(shop.night("2026-11-21").report, "rebuild shop")
    assert (check.result, check.since) == (Result.BROKEN, "2026-11-21")
    assert check.findings == ("the log speaks of greeting; the night of 2026-11-20 had 1.0",)


def test_two_versions_in_force_are_both_rebuilt(shop: Town) -> None:
    """One check for the app, under the same name every night; its reason says of which version it speaks."""
    (shop.source / "check.py").write_text("raise SystemExit(0)")
    shop.release("1.1.0")
    evening = shop.evening("2026-11-20")
    both = TwoVersions(evening.controller._api)
    ended = run_night(replace(evening, controller=both))
    assert check_in(ended.report, "rebuild shop").reason == "1.0.0: bit-identical; 1.1.0: bit-identical"


class TwoVersions(Controller):
    """A controller in whose staging another version is in force."""

    def status(self, environment: str | None = None, app: str | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Return what is wanted, twice."""
        (stream,) = super().status(environment, app)
        return [stream, msgspec.structs.replace(stream, environment="staging", wanted="1.1.0")]


def test_an_app_without_a_repository_is_skipped_with_the_way_out(shop: Town) -> None:
    """Nothing is broken by that, and the night is good."""
    fleet = shop.home / "fleet.toml"
    fleet.write_text(fleet.read_text().replace("[repository.shop]", "[repository.other]"))
    ended = shop.night("2026-11-20")
    check = check_in(ended.report, "rebuild shop")
    assert ended.is_good
    assert check.result is Result.SKIPPED
    assert "Add [repository.shop]" in check.findings[0]


def test_an_unknown_environment_is_refused_before_anything_begins(shop: Town) -> None:
    """And leaves no report."""
    with pytest.raises(UnknownName):
        shop.night("2026-11-20", Wishes(("prodution",)))
    assert shop.evening("2026-11-20").reports.nights() == []


def test_an_environment_without_roles_is_skipped(shop: Town) -> None:
    """With the way out in its reason."""
    ended = shop.night("2026-11-20", Wishes(rebuild=False))
    assert ended.is_good
    assert {check.name for check in ended.report.checks} == {"sweep", "servers production"}
    assert "no role" in result_of(shop, "2026-11-20", "servers production")[1]


# -- what goes wrong with the night itself ------------------------------------------------------------------------


def test_the_deadline_ends_a_night_with_what_is_known(shop: Town) -> None:
    """Upstream stalls: the check is skipped with the reason, the report is kept, and nothing is left."""
    shop.gate.clear()
    began = time.monotonic()
    ended = shop.night("2026-11-20", deadline=3.0)
    assert time.monotonic() - began < 30
    assert not ended.is_good
    assert shop.kept("2026-11-20").failure == "the deadline was reached"
    assert result_of(shop, "2026-11-20") == (Result.SKIPPED, "not reached: the deadline was reached")
    assert told(shop).broken == {"the night": "the deadline was reached"}
    assert builds(shop) == []


def processes(*marks: str) -> list[str]:
    """Return the command lines that have one of these words in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().decode("utf-8", "replace").replace("\0", " "))
    return [line for line in found if any(mark in line for mark in marks)]


def builds(shop: Town) -> list[str]:
    """Return the processes of this town's builds, which may take a moment to end."""
    deadline = time.monotonic() + 10
    while (found := processes(shop.address, os.environ["TMPDIR"])) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def begun(shop: Town) -> subprocess.Popen[str]:
    """Begin a night as a process of its own; it is in the middle of a build, which upstream keeps waiting."""
    shop.gate.clear()
    command = [*CLARION, "nightly", "--only", "rebuild", "--home", str(shop.home)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr
    assert process.stderr.readline() == "rebuild shop 1.0.0\n"
    deadline = time.monotonic() + 20
    while not processes(shop.address):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_second_night_is_told_who_runs(shop: Town) -> None:
    """And the first goes on as if nothing had been."""
    with begun(shop) as first:
        with pytest.raises(Blocked, match=f"process {first.pid}, since"):
            shop.night("2026-11-20")
        shop.gate.set()
        out, _ = first.communicate(timeout=60)
        assert first.returncode == 0
        assert "works    rebuild shop  bit-identical" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_night_that_is_told_to_stop_takes_everything_away(shop: Town, number: signal.Signals) -> None:
    """And says so in its report; exit code 1."""
    with begun(shop) as process:
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 1
    assert builds(shop) == []
    report = shop.kept(date_of(time.time()))
    assert report.failure in ("it was told to stop", "somebody pressed Ctrl-C")
    assert check_in(report, "rebuild shop").result is Result.SKIPPED


def test_the_next_night_takes_away_what_a_killed_one_left(shop: Town) -> None:
    """No process outlives it; its folder is swept, which the next report says; and the lock is free."""
    with begun(shop) as process:
        process.kill()
        process.communicate(timeout=60)
    assert builds(shop) == []
    left = list(Path(os.environ["TMPDIR"]).iterdir())
    assert len(left) == 1
    shop.gate.set()
    night = date_of(time.time())
    assert shop.night(night).is_good
    sweep = check_in(shop.kept(night), "sweep")
    assert sweep.reason == "took away what a night had left (1)"
    assert sweep.findings == (f"folder {left[0]}",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes containers")
@pytest.mark.parametrize("wishes", [REBUILDS, Wishes(rebuild=False)], ids=["only rebuild", "only servers"])
def test_every_night_of_roots_takes_away_what_containers_left(shop: Town, tmp_path: Path, wishes: Wishes) -> None:
    """Also one that makes none, where no role is made in a container any more: it lies on this disk all the same."""
    left = tmp_path / "containers" / "acme-killed"
    (left / "rootfs-1").mkdir(parents=True)
    shop.night("2026-11-20", wishes)
    assert f"folder {left}" in check_in(shop.kept("2026-11-20"), "sweep").findings
    assert not left.exists()


def test_without_a_controller_there_is_a_report_that_says_so(shop: Town) -> None:
    """Nobody knows what is in force, and nobody can be told: both are said, and it is no good night."""
    evening = replace(shop.evening("2026-11-20"), controller=Controller(shop.home / "nowhere.sock"))
    ended = run_night(evening)
    assert not ended.is_good
    assert "no controller answers" in shop.kept("2026-11-20").failure
    assert "could not be told" in ended.troubles[0]


class Deaf(Controller):
    """A controller that goes away before the night is over."""

    def nightly_finished(self, report: Report) -> None:
        """Take nothing."""
        raise ControllerUnreachable(f"nobody hears of {report.night}")


def test_a_report_that_could_not_be_told_is_kept_and_the_exit_code_says_so(shop: Town) -> None:
    """What works still works; but nobody would be told of what does not."""
    evening = shop.evening("2026-11-20")
    ended = run_night(replace(evening, controller=Deaf(evening.controller._api)))
    assert (ended.report.is_good, ended.is_good) == (True, False)
    assert shop.kept("2026-11-20").is_good


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_keeps_nobody_from_being_told(shop: Town) -> None:
    """The report cannot be kept: that is said, the controller is told, and it is no good night."""
    folder = shop.evening("2026-11-20").reports
    folder.make_folder()
    # Room for the folder itself and the lock, and for no third file.
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "none", str(folder.folder)]
    subprocess.run(mount, check=True, timeout=10)
    (folder.folder / "lock").touch()
    try:
        ended = shop.night("2026-11-20")
        assert not ended.is_good
        assert "no space left" in ended.troubles[0]
        assert told(shop).night == "2026-11-20"
    finally:
        subprocess.run(["umount", str(folder.folder)], check=True, timeout=10)


def test_an_unreadable_report_of_an_earlier_night_costs_only_what_it_said(shop: Town) -> None:
    """The row of broken nights is told from the others."""
    shop.remote.rename(shop.remote.with_name("elsewhere"))
    shop.night("2026-11-20")
    (shop.evening("2026-11-20").reports.folder / "2026-11-21.json").write_text("{")
    assert check_in(shop.night("2026-11-22").report, "rebuild shop").since == "2026-11-20"


def test_a_clock_that_went_back_does_not_confuse_it(shop: Town) -> None:
    """The report of a night to come is left alone, and says nothing of tonight."""
    shop.remote.rename(shop.remote.with_name("elsewhere"))
    shop.night("2027-01-01")
    assert check_in(shop.night("2026-11-20").report, "rebuild shop").since == "2026-11-20"
    assert shop.evening("2026-11-20").reports.nights() == ["2027-01-01", "2026-11-20"]


def test_old_reports_go_when_a_night_is_over(shop: Town) -> None:
    """After [nightly] keep."""
    wishes = Wishes(rebuild=False, servers=False)
    for night in ("2026-11-01", "2026-11-20"):
        shop.night(night, wishes, keep=10 * 86_400.0)
    assert shop.evening("2026-11-20").reports.nights() == ["2026-11-20"]


def test_a_secret_that_is_missing_is_one_broken_check(shop: Town) -> None:
    """With the next step beside it."""
    fleet = shop.home / "fleet.toml"
    fleet.write_text(fleet.read_text() + 'credential = "file:nowhere"\n')
    check = check_in(shop.night("2026-11-20").report, "rebuild shop")
    assert check.result is Result.BROKEN
    assert "nowhere cannot be read" in check.reason
    assert check.findings == ("Put the secret into that file, mode 0600.",)


CLOUD = """
[role.web]
aws = { region = "eu-west-1", image = "ami-1", instance_type = "t3.micro", profile = "nobody-has-this-one" }
"""


def test_a_cloud_that_cannot_be_swept_is_one_broken_check(shop: Town) -> None:
    """What may be left there costs money, so it is said; everything else goes on."""
    fleet = shop.home / "fleet.toml"
    text = fleet.read_text().replace("[environment.production]", '[environment.production]\nroles = ["web"]')
    fleet.write_text(text + CLOUD)
    report = shop.night("2026-11-20", Wishes()).report
    sweep = check_in(report, "sweep")
    assert (sweep.result, sweep.reason[:5]) == (Result.BROKEN, "aws: ")
    assert check_in(report, "rebuild shop").reason == "bit-identical"
    assert check_in(report, "server production/web").result is Result.BROKEN
    assert check_in(shop.night("2026-11-21").report, "sweep").result is Result.WORKS, "--only rebuild asks no cloud"
