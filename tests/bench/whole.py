"""A real controller and real agents as processes: what an agent costs at rest, and what a deployment costs a host.

The floor of a deployment is curl and tar: the same package fetched from the same store, the
same files unpacked, with nothing verified, tested, synced or switched.

Set TMPDIR to a file system like a server's. ext4 without a journal is not: where thousands of
files were just removed it searches a tenth of a second for names of new ones, in both.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from tests.bench.row import Row
from tests.ports import free_ports

BIN = Path(sys.executable).parent
HOSTS = 3
OWN_COMMAND = "true"
PACKAGE_MB = 11
REST_S = 20.0
FLEET = """
[cluster]
name = "bench"
[controller]
address = "127.0.0.1"
bind = "127.0.0.1"
signal_port = {}
report_port = {}
join_port = {}
package_port = {}
[environment.production]
[environment.production.strategy]
type = "all_at_once"
"""
CLARION_TOML = f"""
[app]
name = "shop"
[test]
package = ["{OWN_COMMAND}"]
[health]
min_healthy_time = "0s"
[[health.check]]
exec = "{OWN_COMMAND}"
"""
AGENT = """
state_dir = "{0}/state"
apps_root = "{0}/srv"
service_manager = "supervisord"
sandbox = "reduced"
disk_reserve = "1MB"
cloud = "none"
"""


def measure() -> list[Row]:
    """Return the rows for agents at rest and for one deployment."""
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, agents run the package's test as nobody
        with running_cluster(folder) as agents:
            return [*at_rest(agents), *deployment(folder, agents)]


def at_rest(agents: list[psutil.Process]) -> list[Row]:
    """Return memory and CPU of an agent that is connected and has nothing to do."""
    time.sleep(2)
    before = _cpu(agents)
    time.sleep(REST_S)
    cpu = (_cpu(agents) - before) / len(agents) / REST_S
    memory = [agent.memory_full_info() for agent in agents]
    return [
        Row("agent at rest, PSS", 1, sum(each.pss for each in memory) / len(memory) / 2**20, "MiB"),
        Row("agent at rest, RSS", 1, sum(each.rss for each in memory) / len(memory) / 2**20, "MiB"),
        Row("agent at rest, CPU", 1, 100 * cpu, "%"),
    ]


def deployment(folder: Path, agents: list[psutil.Process]) -> list[Row]:
    """Return what a deployment of a large package costs one host."""
    source = folder / "source"
    make_source(source)
    clarion(folder, "build", str(source), "--version", "1.0.0", "--out", str(folder / "dist"), "--allow-dirty")
    [package] = (folder / "dist").glob("*.tar.zst")
    clarion(folder, "publish", str(package))
    before, children_before, began = _cpu(agents), _cpu_of_children(agents), time.perf_counter()
    clarion(folder, "deploy", "shop", "1.0.0", "-e", "production", "--yes")
    seconds = time.perf_counter() - began
    cpu = (_cpu(agents) - before) / len(agents)
    children = (_cpu_of_children(agents) - children_before) / len(agents)
    own = 2 * cpu_of_own_command()
    subprocess.run(["tar", "-czf", str(folder / "floor.tar.gz"), "-C", str(source), "."], check=True)
    floor = _cpu_of(lambda: fetch_and_untar(folder))
    size = round(package.stat().st_size / 1e6)
    return [
        Row(f"deploy {size} MB, CPU per host", len(agents), cpu, "s", floor),
        Row("of which the agent itself", len(agents), cpu - children, "s"),
        Row("of which sandboxes of a test and a check", len(agents), children - own, "s"),
        Row("of which the app's own test and check", len(agents), own, "s"),
        Row(f"deploy {size} MB, from command to committed everywhere", len(agents), seconds, "s"),
    ]


def make_source(source: Path) -> None:
    """Write an app of `PACKAGE_MB` that hardly compresses, in files of many sizes, the same each time."""
    source.mkdir()
    (source / "clarion.toml").write_text(CLARION_TOML)
    chance = random.Random(11)  # the same files in each run
    left = PACKAGE_MB * 10**6
    for number in range(100_000):
        size = min(left, int(chance.paretovariate(0.9) * 4_000))
        path = source / f"part-{number % 20}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(chance.randbytes(min(size, 2_000_000)))
        left -= path.stat().st_size
        if left <= 0:
            return


def cpu_of_own_command(rounds: int = 50) -> float:
    """Return the CPU seconds of the app's own command, run without a sandbox."""

    def run() -> None:
        for _ in range(rounds):
            subprocess.run([OWN_COMMAND], check=True)

    return _cpu_of(run) / rounds


def fetch_and_untar(folder: Path) -> None:
    """Fetch the package from the store, and unpack a .tar.gz of the same files."""
    store = folder / "home" / "store"
    [package] = store.glob("packages/**/*.tar.zst")
    url = f"http://127.0.0.1:{package_port(folder)}/{package.relative_to(store)}"
    subprocess.run(["curl", "-sfo", str(folder / "fetched"), url], check=True)
    (folder / "floor").mkdir()
    subprocess.run(["tar", "-xzf", str(folder / "floor.tar.gz"), "-C", str(folder / "floor")], check=True)


@contextmanager
def running_cluster(folder: Path) -> Iterator[list[psutil.Process]]:
    """Run a controller and its agents, all joined and connected; yield the agents."""
    clarion(folder, "init", "--address", "127.0.0.1")
    (folder / "home" / "fleet.toml").write_text(FLEET.format(*free_ports(4)))
    with ExitStack() as stack:
        start(stack, folder / "controller.log", [str(BIN / "clarion"), "--home", str(folder / "home"), "serve"])
        wait_for(lambda: clarion(folder, "hosts", check=False) is not None, "the controller")
        agents = [run_agent(stack, folder, f"web-{number}") for number in range(HOSTS)]
        wait_for(lambda: (clarion(folder, "hosts", check=False) or "").count(" connected ") == HOSTS, "the agents")
        yield agents


def run_agent(stack: ExitStack, folder: Path, name: str) -> psutil.Process:
    """Let a host join, and start its agent."""
    home = folder / name
    home.mkdir()
    config = home / "agent.toml"
    config.write_text(AGENT.format(home))
    token = clarion(folder, "hosts", "invite", name, "-e", "production")
    command = [str(BIN / "clarion-agent"), "--config", str(config)]
    subprocess.run([*command, "join", (token or "").strip()], check=True, stdout=subprocess.DEVNULL)
    return start(stack, folder / f"{name}.log", [*command, "run"])


def start(stack: ExitStack, log: Path, command: list[str]) -> psutil.Process:
    """Start a process that ends with `stack`."""
    process = subprocess.Popen(command, stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT)
    stack.callback(process.wait, 60)
    stack.callback(process.terminate)
    return psutil.Process(process.pid)


def clarion(folder: Path, *arguments: str, check: bool = True) -> str | None:
    """Run a verb and return what it prints, or None if it failed and may."""
    command = [str(BIN / "clarion"), "--home", str(folder / "home"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 0:
        return done.stdout
    if check:
        raise SystemExit(f"clarion {arguments[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return None


def package_port(folder: Path) -> int:
    """Return where the cluster's store answers."""
    lines = (folder / "home" / "fleet.toml").read_text().splitlines()
    return next(int(line.rpartition("=")[2]) for line in lines if line.startswith("package_port"))


def wait_for(what: Callable[[], bool], name: str, seconds: float = 60.0) -> None:
    """Return once `what` is true."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise SystemExit(f"{name} did not come up")
        time.sleep(0.3)


def _cpu(agents: list[psutil.Process]) -> float:
    """Return the CPU seconds of all agents, with the commands that they have run."""
    return sum(sum(agent.cpu_times()[:4]) for agent in agents)


def _cpu_of_children(agents: list[psutil.Process]) -> float:
    """Return that of the commands alone: sandboxes, and what the app runs in them."""
    return sum(sum(agent.cpu_times()[2:4]) for agent in agents)


def _cpu_of(work: Callable[[], None]) -> float:
    """Return the CPU seconds of the commands that `work` runs."""
    work_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - work_before.ru_utime - work_before.ru_stime
