"""Servers of a night, made from nothing by systemd-nspawn, for real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.provisioners.containers import requirements, staying
from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.container import Container
from clarion_controller.provisioners.containers.furnish import furnish
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.network import Network
from clarion_controller.provisioners.containers.night_folder import prefix_of
from clarion_controller.provisioners.containers.recipe import Apt, Recipe, this_machines_apt
from clarion_controller.provisioners.containers.rootfs import RootFileSystems, build
from clarion_controller.provisioners.containers.staying import Here
from clarion_controller.provisioners.containers.users import Users, users_of
from clarion_controller.provisioners.containers.workshop import Limits, Step, Workshop
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.provisioners.provisioner import FirstBoot, Machine, ServerOrder
from clarion_protocol.errors import BadConfig, ProvisionFailed

from . import debs
from .cache import Cache
from .lab import Lab

LONG = "a-server-with-a-name-longer-than-any-interface.example"
SETUP = """\
#!/bin/sh
set -e
echo "once, by $(id -un), in $PWD" >> /srv/setup
getent hosts localhost
ip -brief address show eth0 > /srv/network || true
test ! -e /run/systemd/system
"""
# Root of a server tries what only this machine's root may, while it is made; what it says comes into the report.
MISCHIEF = """\
#!/bin/sh
cat /srv/secret && exit 7
chown 5 /srv/secret && exit 8
mknod /srv/disk b 8 0 && exit 9
set -e
cat /proc/self/uid_map > /srv/users
install -m 0700 -d /srv/closed /srv/closed/deep
printf '[Service]\\nExecStart=echo words of a unit\\n[Install]\\nWantedBy=multi-user.target\\n' \\
    > /etc/systemd/system/clarion-probe.service
systemctl enable clarion-probe
ln -s true /usr/bin/clarion-agent
"""
# What is run on a server by either of these is told of all that it is given.
SPY = """\
#!/bin/dash
set -e
for program in env sh; do
    printf '#!/bin/dash\\nset >> /srv/told\\nexec /bin/dash "$@"\\n' > /usr/bin/spy
    chmod 0755 /usr/bin/spy
    mv /usr/bin/spy "/usr/bin/$program"
done
ln -s true /usr/bin/clarion-agent
"""
# Boots as well as one with an agent, and sooner.
NO_AGENT = """\
#!/bin/sh
ln -s true /usr/bin/clarion-agent
"""
LISTEN = """\
import socket, sys
socket.create_server(("10.77.0.1", 8000)).accept()[0].sendall(b"from the controller")
"""
ASK = """\
import socket, time
for _ in range(100):
    try:
        print(socket.create_connection(("10.77.0.1", 8000)).recv(99).decode())
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
"""

pytestmark = pytest.mark.timeout(900)


class Night:
    """A night's provisioner, and what a test needs to look into its servers."""

    def __init__(self, place: Path, agent: Path) -> None:
        self.place = place
        self.agent = agent
        self.provisioner = NspawnProvisioner("acme", "night", place, Limits(setup=10, floor=1 << 20))

    def order(self, name: str, setup: str = "", agent: str | None = None) -> ServerOrder:
        """Return an order for a server with the agent, whose token nobody takes."""
        agent = str(self.agent) if agent is None else agent
        boot = FirstBoot("clarion1.nonsense", agent, setup=setup or ("" if agent else NO_AGENT))
        return ServerOrder(name, Role(), boot, run="night")

    def on(self, machine: Machine, *argv: str) -> str:
        """Run a command on a server, and return what it printed, whichever way."""
        done = server_of(self, machine)._run(*argv)
        return (done.stdout + done.stderr).strip()

    def root_file_system(self) -> Path:
        """Return what its servers lie on."""
        whole, site, _ = self.provisioner._begin()
        return whole.rootfs.of(None, site.workshop)[0]

    def left(self) -> set[str]:
        """Return what of servers is there on this machine: folders with disks, control groups, and nothing else."""
        return {str(path) for path in self.place.glob("*/[0-9]*") if path.is_dir()} | set(groups_of(self.place))


def groups_of(place: Path) -> Iterator[str]:
    """Yield the control groups of servers whose night is in `place`."""
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name.startswith(prefix_of(place)):
            yield from (f"{folder}/{name}" for name in folders)


@pytest.fixture(scope="module")
def night(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Give a night that has built nothing yet; its root file system serves all tests here."""
    place = tmp_path_factory.mktemp("nights") / "place"
    night = Night(place, next(debs.build(cache).glob("clarion-agent_*.deb")))
    yield night
    night.provisioner.finish()
    assert list(place.iterdir()) == []


def test_two_servers_are_made_from_nothing_at_once(night: Night) -> None:
    """Built once, booted twice, known to each other by name, with the agent that tries to join, and no way out."""
    nspawn = night.provisioner
    with ThreadPoolExecutor(2) as pool:
        web, db = pool.map(nspawn.create, [night.order("web", SETUP), night.order(LONG, agent="")])
    assert len(list(night.place.glob("acme-night/rootfs-?"))) == 1
    assert set(nspawn.parts(web)) == {"rootfs", "agent", "setup", "boot"}

    nspawn.introduce({"web": web, "db": db})
    assert night.on(web, "hostname") == "web"
    assert night.on(db, "hostname") == LONG
    assert night.on(web, "getent", "hosts", "db").split() == [db.address, "db"]
    assert night.on(web, "ip", "route") == f"10.77.0.0/16 dev eth0 proto kernel scope link src {web.address}"
    assert night.on(web, "getent", "hosts", "deb.debian.org") == ""
    assert night.on(web, "cat", "/srv/setup") == "once, by root, in /"
    assert night.on(web, "stat", "-c%a %U", "/etc/clarion-agent/join.token") == "600 root"
    assert night.on(web, "ls", "/usr/sbin/policy-rc.d").endswith("No such file or directory")
    assert "not a whole join token" in nspawn.console(web)
    assert "multi-user.target" in nspawn.console(web)
    assert "\x1b" not in nspawn.console(web)

    nspawn.remove(web)
    nspawn.remove(web)
    assert nspawn.console(web) == ""
    assert night.on(db, "systemctl", "is-system-running") == "running"
    nspawn.close()
    assert night.left() == set()


def test_root_of_a_server_is_nobody_on_this_machine(night: Night) -> None:
    """Neither its setup script nor what runs on it reads what is root's; its files and processes are no one's here."""
    secret = night.root_file_system() / "srv" / "secret"
    secret.write_text("for this machine's root")
    secret.chmod(0o600)
    machine = night.provisioner.create(night.order("web", MISCHIEF, agent=""))
    secret.unlink()

    first = Users().first
    made = max(night.place.glob("acme-night/[0-9]*/disk/srv/closed/deep"))
    assert made.stat().st_uid == first
    assert (made.parents[1] / "users").read_text().split() == ["0", str(first), "65536"]
    leader = server_of(night, machine)._leader
    assert Path(f"/proc/{leader}/uid_map").read_text().split() == ["0", str(first), "65536"]
    assert Path(f"/proc/{leader}").stat().st_uid == first
    assert "Permission denied" in night.on(machine, "cat", "/srv/secret")
    assert night.on(machine, "id", "-u") == "0"

    # What is its own it may do: a port below 1024, its cable, a unit with walls.
    assert night.on(machine, "python3", "-c", "import socket; socket.create_server(('', 80))") == ""
    assert night.on(machine, "ip", "link", "set", "eth0", "mtu", "1400") == ""
    walls = ["--property=DynamicUser=yes", "--property=ProtectSystem=strict", "--property=PrivateNetwork=yes"]
    assert (
        night.on(machine, "systemd-run", "--quiet", "--pipe", "--wait", *walls, "cat", "/proc/net/route").count("\n")
        == 0
    )
    assert night.on(machine, "systemctl", "is-system-running") == "running"
    night.provisioner.remove(machine)
    assert night.left() == set()


def server_of(night: Night, machine: Machine) -> Container:
    """Return the container behind a machine."""
    server = night.provisioner._made[machine.name]
    assert isinstance(server, Container)
    return server


def test_a_server_of_a_night_has_nothing_of_a_machine_that_has_its_name(night: Night, lasting_folder: Path) -> None:
    """Its settings may bind production's files; those are for that machine."""
    settings = Path("/etc/systemd/nspawn/clarion-test-namesake.nspawn")
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"[Files]\nBind={lasting_folder}:/srv/precious\n")
    try:
        machine = night.provisioner.create(night.order("clarion-test-namesake", agent=""))
    finally:
        settings.unlink()
    assert night.on(machine, "ls", "/srv") == ""
    night.provisioner.remove(machine)


def test_a_program_of_a_server_is_told_nothing_of_this_process(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud credentials may be in its environment, and any program there may be the server's root's own."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "precious")
    machine = night.provisioner.create(night.order("web", SPY, agent=""))
    night.provisioner.introduce({"web": machine})
    told = max(night.place.glob("acme-night/[0-9]*/disk/srv/told")).read_text()
    assert "LANG='C.UTF-8'" in told
    assert "precious" not in told
    night.provisioner.remove(machine)


def test_nobody_else_on_this_machine_comes_by_what_is_built(night: Night) -> None:
    """Until it is given away there are set-user-id programs of root in it, of any package and version of a mirror."""
    above = night.root_file_system().parent
    assert above.stat().st_mode & 0o077 == 0
    assert (above.parent.stat().st_mode & 0o077) == 0


@pytest.fixture
def lasting_folder() -> Iterator[Path]:
    """Give a folder whose path no server has for its own files in memory."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def test_a_link_to_this_machines_journal_shows_nothing_of_it(night: Night, lasting_folder: Path) -> None:
    """A server's own journal comes into its console; what only this machine's root may read never does."""
    machine = night.provisioner.create(night.order("web", MISCHIEF, agent=""))
    until(lambda: "words of a unit" in night.provisioner.console(machine))
    precious = lasting_folder / "journal"
    shutil.copytree(max(night.place.glob("acme-night/[0-9]*/disk/var/log/journal")), precious)
    for path in (precious, *precious.rglob("*")):
        os.chown(path, 0, 0)
    night.provisioner.remove(machine)

    linked = f"#!/bin/sh\nmkdir -p {precious}\nrm -rf /var/log/journal\nln -s {precious} /var/log/journal\n"
    linked += "ln -s true /usr/bin/clarion-agent\n"
    curious = night.provisioner.create(night.order("web", linked, agent=""))
    assert "multi-user.target" in night.provisioner.console(curious)
    assert "words of a unit" not in night.provisioner.console(curious)
    night.provisioner.remove(curious)


def test_a_program_of_this_machine_serves_the_servers(night: Night, tmp_path: Path) -> None:
    """It has their network and no other, this machine's files and sockets, and is one process with who started it."""
    nspawn = night.provisioner
    machine = nspawn.create(night.order("web", agent=""))
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        talk = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        assert nspawn.run_inside([sys.executable, "-c", talk]).wait(10) == 0
    assert nspawn.run_inside(["ip", "route", "get", "192.0.2.1"], stderr=subprocess.DEVNULL).wait(10) == 2
    assert nspawn.run_inside(["sh", "-c", "test $(cut -d' ' -f1 /proc/self/stat) -lt 300; exit 7"]).wait(10) == 7

    with nspawn.run_inside([sys.executable, "-c", LISTEN]) as server:
        assert "from the controller" in night.on(machine, "python3", "-c", ASK)
        assert server.wait(10) == 0
    nspawn.close()


def test_signals_reach_a_program_inside_and_it_never_outlives_its_starter(night: Night) -> None:
    """SIGTERM is passed on and answered; SIGKILL takes it along; so does the end of the night."""
    nspawn = night.provisioner
    trapped = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.1; done"
    with nspawn.run_inside(["sh", "-c", trapped], stdout=subprocess.PIPE) as gentle:
        assert gentle.stdout is not None
        gentle.stdout.readline()
        gentle.terminate()
        assert gentle.wait(10) == 9
    killed, closed = (nspawn.run_inside(["sleep", "1000"], stdout=subprocess.PIPE) for _ in range(2))
    killed.kill()
    assert killed.communicate(timeout=10) == (b"", None)  # the pipe's other end is gone: so is the program
    nspawn.close()
    assert closed.communicate(timeout=10) == (b"", None)


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("#!/bin/sh\necho no such luck >&2\nexit 3\n", "the setup script failed with exit code 3:\nno such luck"),
        ("#!/bin/sh\necho hangs\n(setsid sleep 1000 &)\nsleep 1000\n", "the setup script did not end in time:\nhangs"),
        ("#!/bin/sh\napt-get install -qq no-such-package\n", "Unable to locate package no-such-package"),
        ("no script\n", "the setup script failed with exit code"),
        (
            "#!/bin/sh\n",
            "looking for its agent failed with exit code 1:\nit has none: name the Debian package in its role, agent =",
        ),
    ],
    ids=["fails", "hangs, and leaves a daemon", "wants what no mirror has", "is no program", "brings no agent"],
)
def test_a_setup_script_that_goes_wrong_leaves_no_server(night: Night, setup: str, said: str) -> None:
    """The message says which step it was and ends with its words, and all that was made for it is gone."""
    with pytest.raises(ProvisionFailed) as failed:
        night.provisioner.create(night.order("web", setup, agent=""))
    assert said in failed.value.message
    assert night.left() == set()


def test_a_night_that_is_closed_waits_for_no_server_that_is_being_made(night: Night) -> None:
    """Who makes it in another thread is told, and nothing of it is left."""
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(night.provisioner.create, night.order("web", "#!/bin/sh\nsleep 1000\n", agent=""))
        until(lambda: any(path.endswith("/setup") for path in night_processes(night.place)))
        began = time.monotonic()
        night.provisioner.close()
        assert isinstance(making.exception(10), ProvisionFailed)
        assert time.monotonic() - began < 8  # the setup script would have had ten seconds
    assert night.left() == set()


def night_processes(place: Path) -> list[str]:
    """Return the control groups of the steps that run now for servers in `place`."""
    tops = [Path(group) for group in groups_of(place)]
    return [str(path) for top in tops for path in top.iterdir() if path.is_dir()]


def test_an_agent_that_is_no_package_is_said_in_apts_words(night: Night, tmp_path: Path) -> None:
    """A file that is not there is a mistake of who configured it."""
    broken = tmp_path / "agent.deb"
    broken.write_bytes(b"nonsense")
    with pytest.raises(ProvisionFailed, match=r"(?s)installing the agent failed.*clarion-agent.deb"):
        night.provisioner.create(night.order("web", agent=str(broken)))
    with pytest.raises(BadConfig, match="cannot be read"):
        night.provisioner.create(night.order("web", agent=str(tmp_path / "absent.deb")))
    assert night.left() == set()


# -- without a root file system ---------------------------------------------------------------------------------------


@contextmanager
def workshop(folder: Path, limits: Limits) -> Iterator[Workshop]:
    """Give a workshop of its own in `folder`."""
    groups = Groups(f"clarion-night-test-{os.getpid()}")
    island = Island()
    try:
        yield Workshop(island, folder, groups, limits)
    finally:
        island.close()
        groups.remove()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that takes 48 MB."""
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "small", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_release_that_does_not_exist_is_said_in_apts_words(cache: Cache, tmp_path: Path) -> None:
    """Nobody has to guess which of the mirrors, and why."""
    with workshop(tmp_path, Limits()) as shop, pytest.raises(ProvisionFailed) as failed:
        build(shop, Recipe("nosuchsuite", ("systemd",)), this_machines_apt(), tmp_path / "rootfs-1")
    assert "mmdebstrap of nosuchsuite with systemd failed" in failed.value.message
    assert "nosuchsuite Release" in failed.value.message


def test_a_mirror_that_does_not_answer_is_said_in_apts_words(cache: Cache, tmp_path: Path) -> None:
    """The address is in the message; and the next server of that recipe is not tried again."""
    rootfs = RootFileSystems(tmp_path, Apt("bookworm", (("http://127.0.0.1:9/debian", "bookworm", "main"),), ()))
    with workshop(tmp_path, Limits()) as shop:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(ProvisionFailed, match=r"(?s)127\.0\.0\.1.*Connection refused"):
                rootfs.of(None, shop)
            seconds = time.monotonic() - began
    assert seconds < 0.1


def test_a_step_ends_as_soon_as_the_night_is_given_up(tmp_path: Path) -> None:
    """Ctrl-C does not wait for mmdebstrap, nor for a setup script that hangs."""
    with workshop(tmp_path, Limits()) as shop:
        threading.Timer(0.5, shop.given_up.set).start()
        began = time.monotonic()
        with pytest.raises(ProvisionFailed, match="was given up, with the whole night"):
            shop.carry_out(Step("sleeping", "sleeper", ("sleep", "60"), limit=60))
    assert time.monotonic() - began < 10


def test_a_full_disk_inside_a_server_is_said_by_whoever_met_it(night: Night, small_disk: Path) -> None:
    """The setup script's own words arrive, and this machine is as it was."""
    machine = night.provisioner.create(night.order("web", agent=""))
    rootfs = next(night.place.glob("acme-night/rootfs-1"))
    fill = "#!/bin/sh\nexec dd if=/dev/zero of=/fill bs=1M\n"
    with workshop(small_disk, Limits(floor=0)) as shop:
        server = Container(shop, Network(shop.island), "full", 1)
        server.lay(rootfs)
        with pytest.raises(ProvisionFailed, match=r"(?s)setup script failed.*No space left on device"):
            furnish(shop, server.site, night.order("full", fill, agent=""), is_apart=True)
        server.take_away()
    night.provisioner.remove(machine)


def test_a_server_that_fills_the_disk_is_switched_off_before_it_is_full(night: Night, small_disk: Path) -> None:
    """Production's controller may be on the same disk; what becomes of the server is said in its console."""
    rootfs = night.root_file_system()
    with workshop(small_disk, Limits(floor=16 << 20)) as shop:
        server = Container(shop, Network(shop.island), "full", 1)
        server.lay(rootfs)
        server.boot()
        server._run("sh", "-c", "head -c 36M /dev/zero > /srv/fill")
        until(lambda: "full was switched off: less than 16 MB are free in" in server.console())
        assert shutil.disk_usage(small_disk).free > 0
        server.take_away()
        assert shutil.disk_usage(small_disk).free > 32 << 20


def test_a_step_that_fills_the_disk_is_ended_before_it_is_full(cache: Cache, small_disk: Path) -> None:
    """With its children; and no other step begins then."""
    fill = f"(while :; do head -c 100000 /dev/zero >> {small_disk}/fill; sleep 0.001; done) & wait"
    with workshop(small_disk, Limits(floor=16 << 20)) as shop:
        with pytest.raises(ProvisionFailed, match="the filler filled the disk"):
            shop.carry_out(Step("the filler", "1/fill", ("sh", "-c", fill), 60))
        size = (small_disk / "fill").stat().st_size
        with pytest.raises(ProvisionFailed, match="MB are free"):
            shop.demand_room()
        assert (small_disk / "fill").stat().st_size == size


def test_two_clusters_have_their_nights_at_once(cache: Cache, tmp_path: Path) -> None:
    """The same names and addresses, each on its island."""
    provisioners = [NspawnProvisioner(name, "night", tmp_path) for name in ("acme", "other")]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(_serve_once, provisioners))
    assert said == [b"from the controller"] * 2
    for each in provisioners:
        assert each.sweep() == []
    for each in provisioners:
        each.finish()
    assert list(tmp_path.iterdir()) == []


def _serve_once(nspawn: NspawnProvisioner) -> bytes:
    with nspawn.run_inside([sys.executable, "-c", LISTEN]) as server:
        ask = nspawn.run_inside([sys.executable, "-c", ASK], stdout=subprocess.PIPE)
        said: bytes = ask.communicate(timeout=30)[0]
        server.wait(10)
    return said.strip()


def test_a_kernel_that_gives_no_users_is_said_before_anything_is_made() -> None:
    """In a namespace whose root has forbidden more of them, as a machine's root may; the hint names the setting."""
    refuse = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    ask = f"from {requirements.__name__} import _demand_users; _demand_users()"
    command = ["unshare", "--user", "--map-root-user", "sh", "-ec", refuse, "sh", sys.executable, "-c", ask]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "this kernel gives none: unshare: unshare failed: No space left on device" in done.stderr
    assert "sysctl user.max_user_namespaces" in done.stderr


# -- a server that stays ----------------------------------------------------------------------------------------------


def test_a_server_that_stays_is_booted_by_systemd(lab: Lab, tmp_path: Path) -> None:
    """It is built where only root may look, comes whole, and systemd boots it, now and with its machine.

    Its root is nobody there, and what it logs can be read there.
    """
    disk = tmp_path / "disk"
    here = Here(disk / "var/lib/machines", disk / "etc/systemd/nspawn", tmp_path)
    here.machines.mkdir(mode=0o700, parents=True)
    here.settings.parent.mkdir(parents=True)
    setup = MISCHIEF + "echo made > /srv/setup\n"
    order = ServerOrder("web-9", Role(), FirstBoot("clarion1.nonsense", setup=setup))
    server = staying.Staying("web-9", here)
    assert set(staying._build(server, order, here, Limits())) == {"rootfs", "setup"}
    assert list(here.aside.iterdir()) == []

    host = lab.prepare("host", [_containers_of_this_machine(tmp_path / "layer")], disk)
    host.boot()
    for command in staying.starting("web-9"):
        host.run(*command, timeout=100)
    host.kill()
    host.boot()
    until(lambda: host.show("systemd-nspawn@web-9", "ActiveState") == "active")
    assert host.show("systemd-nspawn@web-9", "StatusText") == "Container running: Ready."
    leader = host.run("machinectl", "show", "web-9", "--property=Leader", "--value").stdout.strip()
    inside = f"--target={leader}"
    users = users_of("web-9").first
    assert host.run("cat", f"/proc/{leader}/uid_map").stdout.split() == ["0", str(users), "65536"]
    assert (here.machines / "web-9/srv/closed/deep").stat().st_uid == users
    until(lambda: "words of a unit" in server.console())
    assert host.run("nsenter", inside, "--all", "cat", "/etc/hostname", "/srv/setup").stdout == "web-9\nmade\n"
    assert host.run("nsenter", inside, "--all", "ip", "-brief", "address").stdout.count(host.address) == 1


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _containers_of_this_machine(layer: Path) -> Path:
    """Return a layer with what Debian's package systemd-container has on this machine."""
    listed = subprocess.run(["dpkg", "-L", "systemd-container"], capture_output=True, text=True, check=True).stdout
    for source in map(Path, listed.splitlines()):
        if source.is_symlink() or source.is_file():
            target = layer / source.parent.resolve().relative_to("/") / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return layer
