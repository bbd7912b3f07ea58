"""What it costs to ask a cloud for 5,000 servers, and that nobody who does not ask pays for it.

    discovery.py [--hosts 5000]

The child process is the one that the controller starts, with the cloud's real SDK; what answers is a double in this
process. A cloud whose SDK or double is not installed is left out, with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.row import Row

from clarion_controller.discover.child import Question, Reply
from clarion_controller.fleet_toml.fleet import Aws, Azure, Gcp, HostSource

CHILD = [sys.executable, "-m", "clarion_controller.discover.child"]
COMMANDS = {
    "clarion --help": "clarion_controller.cli",
    "clarion deploy --help": "clarion_controller.cli",
    "clarion-agent --help": "clarion_agent.cli",
}
SDKS = ("boto3", "botocore", "google", "azure")
STARTS = 11
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Cloud:
    """A cloud to ask: what must be installed, and a double that lists so many servers while the block lasts."""

    name: str
    needs: tuple[str, ...]
    listing: Callable[[int], AbstractContextManager[HostSource]]


@dataclass(frozen=True)
class Cost:
    """What a process took: wall and CPU seconds, and the most memory it ever held (bytes)."""

    wall: float
    cpu: float
    peak: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure discovery and start-up.")
    parser.add_argument("--hosts", type=int, default=5000, metavar="N")
    for row in (row.as_json() for row in measure(parser.parse_args().hosts)):
        floor = f"floor {row['floor']:>7.4g}   {row['ratio']:>5.2f} x" if row["floor"] else ""
        print(f"{row['name']:<60} {row['n']:>5} {row['value']:>8.4g} {row['unit']:<3} {floor}")


def measure(count: int = 5000) -> list[Row]:
    """Return the rows for each cloud, with one server and with `count`, and for what never asks one."""
    rows = []
    for cloud in CLOUDS:
        missing = [module for module in cloud.needs if not is_installed(module)]
        if missing:
            print(f"not measured: discovery, {cloud.name}: {', '.join(missing)} not installed", file=sys.stderr)
            continue
        rows += [row for number in (1, count) for row in discovered(cloud, number)]
    return rows + [row for command, module in COMMANDS.items() for row in started(command, module)]


def discovered(cloud: Cloud, count: int) -> list[Row]:
    """Return what it costs to ask `cloud` for `count` servers."""
    with cloud.listing(count) as source:
        listed(source, count)  # a double writes its answers down when it is asked first
        cost = listed(source, count)
    what = f"discovery, {cloud.name}"
    return [
        Row(f"{what}, CPU of the child", count, cost.cpu, "s"),
        Row(f"{what}, wall", count, cost.wall, "s"),
        Row(f"{what}, peak RSS of the child", count, cost.peak / 2**20, "MiB"),
    ]


def listed(source: HostSource, count: int) -> Cost:
    """Return what the child takes to list `source`."""
    with tempfile.TemporaryFile() as answer:
        cost = cost_of(CHILD, msgspec.json.encode(Question(source, "/")), answer.fileno())
        answer.seek(0)
        reply = msgspec.json.decode(answer.read(), type=Reply)
    if len(reply.hosts) != count:
        raise SystemExit(f"{source.label} lists {len(reply.hosts)} of {count} servers: {reply.failure}")
    return cost


def started(command: str, module: str) -> list[Row]:
    """Return what it costs to start a program that needs no SDK; the floor is the same where there is none."""
    run = f"import sys; sys.argv[1:] = {command.split()[1:]!r}; from {module} import main; main()"
    hidden = f"import sys; sys.modules.update(dict.fromkeys({SDKS!r})); {run}"
    pairs = [(start(run), start(hidden)) for _ in range(STARTS)]  # in turns: the machine may have other work
    plain, without = (least(costs) for costs in zip(*pairs, strict=True))
    return [
        Row(f"{command}, wall (floor: no SDK in reach)", 1, 1e3 * plain.wall, "ms", 1e3 * without.wall),
        Row(f"{command}, CPU (floor: no SDK in reach)", 1, 1e3 * plain.cpu, "ms", 1e3 * without.cpu),
        Row(f"{command}, modules of SDKs loaded", 1, loaded_by(run), ""),
    ]


def least(costs: Iterable[Cost]) -> Cost:
    """Return the least of each."""
    return Cost(*(min(values) for values in zip(*map(astuple, costs), strict=True)))


def start(run: str) -> Cost:
    """Return what it costs to run a program only to have its help."""
    with tempfile.TemporaryFile() as nowhere:
        return cost_of([sys.executable, "-c", run], b"", nowhere.fileno())


def loaded_by(run: str) -> int:
    """Return how many modules of the clouds' SDKs a program has loaded when it ends."""
    shown = "'\\n', *(name for name, module in sys.modules.items() if module)"
    last = f"import atexit, sys; atexit.register(lambda: print({shown})); {run}"
    command = [sys.executable, "-c", last]
    said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    return sum(module.split(".")[0] in SDKS for module in said.splitlines()[-1].split())


def is_installed(module: str) -> bool:
    """Return whether `module` could be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def cost_of(command: list[str], question: bytes, answer: int) -> Cost:
    """Run `command` to its end with `question` on stdin and the file `answer` as stdout."""
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as home:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=answer, env=nobody(home))
        assert process.stdin
        process.stdin.write(question)
        process.stdin.close()
        # Not the kernel's ru_maxrss: a child inherits that of its parent.
        peak, ended, status, usage = 0, 0, 0, None
        while not ended:
            peak = max(peak, _high_water(process.pid))
            time.sleep(0.002)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if time.perf_counter() - began > PATIENCE_S:
                process.kill()
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    assert usage
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


def nobody(home: str) -> dict[str, str]:
    """Return an environment in which SDKs find nobody's account, and keys that open nothing."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _high_water(pid: int) -> int:
    """Return the most memory that a process has held so far, in bytes; 0 if it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


# Doubles are imported when they are asked for: they need what only the clouds' tests install.


@contextmanager
def aws(count: int) -> Iterator[HostSource]:
    """List EC2 instances in pages of 500."""
    from tests.clouds.fake_ec2 import fleet, listening  # noqa: PLC0415

    with listening(fleet(count)) as fake:
        yield HostSource(aws=Aws(regions=("eu-west-1",), tags={"role": "web"}, endpoint=fake.endpoint))


@contextmanager
def gcp(count: int) -> Iterator[HostSource]:
    """List Compute Engine instances, which come zone by zone."""
    from tests.clouds.fake_gce import PROJECT, fake_gce  # noqa: PLC0415

    with fake_gce() as fake:
        fake.fill(count)
        yield HostSource(gcp=Gcp(project=PROJECT, labels={"role": "web"}, endpoint=fake.address))


@contextmanager
def azure(count: int) -> Iterator[HostSource]:
    """List Azure machines, as Resource Graph joins them with their addresses."""
    from tests.clouds.fake_arm import SUBSCRIPTION, FakeArm, fleet_of  # noqa: PLC0415

    with FakeArm() as fake:
        fake.add(*fleet_of(count))
        yield HostSource(azure=Azure(subscriptions=(SUBSCRIPTION,), tags={"role": "web"}, endpoint=fake.url))


CLOUDS = (
    Cloud("AWS", ("boto3",), aws),
    Cloud("Google Cloud", ("google.cloud.compute_v1", "googleapiclient", "jsonschema"), gcp),
    Cloud("Azure", ("azure.identity", "azure.mgmt.resourcegraph"), azure),
)


if __name__ == "__main__":
    main()
