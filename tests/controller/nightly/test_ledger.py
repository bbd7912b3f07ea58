"""The records of nights that make servers in clouds: on the disk before any server is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.controller.live import new_cluster

from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import FILE_NAME, load_fleet
from clarion_controller.fleet_toml.roles import AwsServer, Role
from clarion_controller.nightly.ledger import Ledger
from clarion_controller.nightly.left import GRACE_S
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.servers_place import Clouds, place_for
from clarion_protocol.errors import BadConfig, ClarionError, HostError, NoSpace
from clarion_protocol.words import new_id

FLEET = """\
[environment.production]
roles = ["web"]

[environment.staging]
roles = ["inside"]

[role.web]
setup = "web.sh"
aws = { region = "eu-west-1", image = "ami-1", instance_type = "t3.micro", tags = { role = "web" } }

[role.inside]

[nightly]
address = "203.0.113.7"
deadline = "3h"
"""
WEB = Role(aws=AwsServer(region="eu-west-1", image="ami-1", instance_type="t3.micro", tags={"role": "web"}))


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Give a night that has begun, and has made nothing yet."""
    home = new_cluster(tmp_path, FLEET).home
    (home / "state" / "nightly").mkdir(parents=True, exist_ok=True)
    return Night(
        home=home,
        fleet=load_fleet(home / FILE_NAME),
        controller=Controller(home / "nowhere.sock"),
        cluster="c" * 32,
        run=new_id(),
        began=1_000.0,
        deadline=0.0,
        work=tmp_path,
        in_force=(),
        log=lambda _line: None,
    )


def test_a_place_in_a_cloud_opens_once_its_night_is_on_record(night: Night) -> None:
    """With where its servers will be, until when it lasts, and where it runs; and it is forgotten when it was swept."""
    ledger = Ledger(night.home)
    with place_for(night, "production") as place:
        assert isinstance(place, Clouds)
        record = ledger.read(night.run)
    assert ledger.runs() == [night.run]
    assert (record.run, record.place, record.roles) == (night.run, ledger.here, (WEB,))
    assert (record.began, record.until) == (1_000.0, 1_000.0 + 3 * 3600 + GRACE_S)
    ledger.forget(night.run)
    ledger.forget(night.run)
    assert ledger.runs() == []


def test_a_second_environment_of_the_same_night_adds_no_record(night: Night) -> None:
    """One night, one record."""
    for _ in range(2):
        with place_for(night, "production"):
            assert Ledger(night.home).runs() == [night.run]


def test_a_night_in_containers_has_no_record(night: Night) -> None:
    """They end with its process."""
    with place_for(night, "staging"):
        assert Ledger(night.home).runs() == []


def test_no_record_no_server(night: Night) -> None:
    """Whoever cannot write that it makes servers does not come to make any."""
    Ledger(night.home).folder.write_text("in the way")
    with pytest.raises(HostError), place_for(night, "production"):
        pytest.fail("the place must not open")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_is_no_place_to_begin(night: Night) -> None:
    """Nothing half written is left either."""
    folder = Ledger(night.home).folder.parent
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "none", str(folder)]
    subprocess.run(mount, check=True, timeout=10)
    try:
        with pytest.raises(NoSpace), place_for(night, "production"):
            pytest.fail("the place must not open")
        assert Ledger(night.home).runs() == []
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)


def _record_of(run: str, more: str = "") -> bytes:
    return f'{{"run":"{run}","place":"x","began":0.0,"until":1.0,"roles":[]{more}}}'.encode()


def _link(path: Path) -> None:
    """Lay a link to a record that is as good as any, elsewhere."""
    elsewhere = path.parents[3] / "elsewhere"
    elsewhere.write_bytes(_record_of(path.name))
    path.symlink_to(elsewhere)


SPOILED: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(b'{"run":"'),
    "empty": lambda path: path.touch(),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a link to elsewhere": _link,
    "a pipe that nobody writes to": os.mkfifo,
    "a folder": Path.mkdir,
    "of another run": lambda path: path.write_bytes(_record_of("0" * 32)),
    "with something that this version does not know": lambda path: path.write_bytes(_record_of(path.name, ',"more":1')),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_record_that_is(night: Night, spoil: Callable[[Path], object]) -> None:
    """It is not believed, and the error says what to do."""
    ledger, run = Ledger(night.home), new_id()
    ledger.begin(night, [WEB])
    (ledger.folder / run).write_bytes(_record_of(run))
    assert ledger.read(run).run == run
    (ledger.folder / run).unlink()
    spoil(ledger.folder / run)
    assert ledger.runs() == sorted([night.run, run])
    with pytest.raises(BadConfig) as caught:
        ledger.read(run)
    assert "clarion-run" in (caught.value.hint or "")
    assert ledger.read(night.run).run == night.run


def test_a_file_that_was_not_finished_is_no_record(night: Night) -> None:
    """A power cut while one is written leaves one of these, and no server."""
    ledger = Ledger(night.home)
    ledger.begin(night, [WEB])
    (ledger.folder / ".partial-x").touch()
    assert ledger.runs() == [night.run]


def test_a_home_that_was_copied_is_elsewhere(night: Night, tmp_path: Path) -> None:
    """Its lock is another, so a night of the first may live while the second has the lock."""
    ledger = Ledger(night.home)
    ledger.begin(night, [WEB])
    copy = Ledger(tmp_path / "copy")
    subprocess.run(["cp", "-a", str(night.home), str(copy.home)], check=True, timeout=30)
    record, now = copy.read(night.run), night.began + 60
    assert record.may_live(copy.here, now)
    assert not record.may_live(copy.here, record.until)
    assert not record.may_live(ledger.here, now), "who holds its own lock knows that nobody else does"


def test_a_machine_without_an_id_is_another_after_each_boot(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that was never booted has none, or a word in its place."""
    without = night.home / "machine-id"
    ids = (without, Path("/proc/sys/kernel/random/boot_id"))
    monkeypatch.setattr("clarion_controller.nightly.ledger._MACHINE_IDS", ids)
    boot = f"{ids[1].read_text().strip()} {night.home}"
    assert Ledger(night.home).here == boot
    without.write_text("uninitialized\n")
    assert Ledger(night.home).here == boot
    without.write_text("0123456789abcdef0123456789abcdef\n")
    assert Ledger(night.home).here == f"0123456789abcdef0123456789abcdef {night.home}"


def test_a_record_is_the_owners_as_everything_in_the_home(night: Night) -> None:
    """Root's nights must not lock the controller's user out of its own files."""
    ledger = Ledger(night.home)
    ledger.begin(replace(night), [WEB])
    assert (ledger.folder / night.run).stat().st_uid == night.home.stat().st_uid


def test_forgetting_what_cannot_be_removed_is_said(night: Night) -> None:
    """A folder of that name is none of ours."""
    ledger = Ledger(night.home)
    ledger.begin(night, [WEB])
    (ledger.folder / ("f" * 32)).mkdir()
    with pytest.raises(ClarionError):
        ledger.forget("f" * 32)
