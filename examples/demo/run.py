"""`make demo`: a controller, three servers and four deployments on this machine, without root.

Each scene is a function that says what should happen, does it with the real commands, and
returns what did happen. The table at the end compares the two; any difference is exit code 1.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cluster import ENVIRONMENT, Cluster
from machine import Machine, Surprise, wait_until
from recording import Impostor, Recorder
from rich.console import Console
from rich.table import Table
from traffic import Traffic

from clarion_agent.identity import load_identity
from clarion_protocol.words import ExitCode


class Finding(NamedTuple):
    """One line of the table: what was claimed, what should be seen, what was seen."""

    claim: str
    expected: str
    seen: str

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.expected == self.seen


LOGS = Path("demo-run")
Scene = Callable[[Cluster], list[Finding]]


def first_version(cluster: Cluster) -> list[Finding]:
    """Version 1 everywhere."""
    cluster.publish("1.0.0")
    code = cluster.deploy("1.0.0", "--max-parallel", "3")
    return [
        Finding("1.0.0 is deployed", name(ExitCode.COMMITTED), name(code)),
        Finding("every /version answers", all_of("1.0.0"), listed(cluster.versions())),
        Finding("clarion status agrees", all_of("1.0.0"), listed(cluster.reported())),
    ]


def rolling_under_traffic(cluster: Cluster) -> list[Finding]:
    """Version 2, server after server, under traffic."""
    cluster.publish("2.0.0")
    with Traffic([server.port for server in cluster.servers]) as traffic:
        code = cluster.deploy("2.0.0")
    print(f"  answers: {dict(traffic.answered)}, failed: {len(traffic.failed)}", *traffic.failed[:5], sep="\n    ")
    total = sum(traffic.answered.values()) + len(traffic.failed)
    return [
        Finding("2.0.0 is rolled out", name(ExitCode.COMMITTED), name(code)),
        Finding("every /version answers", all_of("2.0.0"), listed(cluster.versions())),
        Finding("served meanwhile", "1.0.0, 2.0.0", ", ".join(sorted(traffic.answered))),
        Finding(f"failed of {total:,} requests", "0", str(len(traffic.failed))),
    ]


def broken_version(cluster: Cluster) -> list[Finding]:
    """Version 3 is broken, and its check fails: the rollout halts on the first server, which goes back."""
    cluster.publish("3.0.0", is_broken=True)
    untouched = {server.name: server.pid() for server in cluster.servers}
    code = cluster.deploy("3.0.0")
    restarted = [server.name for server in cluster.servers if server.pid() != untouched[server.name]]
    return [
        Finding("3.0.0 is tried", name(ExitCode.ROLLED_BACK), name(code)),
        Finding("servers that it touched", "1", str(len(restarted))),
        Finding("every /version answers", all_of("2.0.0"), listed(cluster.versions())),
        Finding("servers left drained", "0", str(sum(server.is_drained() for server in cluster.servers))),
    ]


def changed_package(cluster: Cluster) -> list[Finding]:
    """One byte of a package is changed in the store: no server takes it."""
    cluster.publish("4.0.0")
    flip_one_byte(next((cluster.home / "store" / "packages" / "shop").glob("*4.0.0.tar.zst")))
    pids = [server.pid() for server in cluster.servers]
    code = cluster.deploy("4.0.0")
    return [
        Finding("4.0.0 is tried", name(ExitCode.FAILED), name(code)),
        Finding("servers restarted", "0", str(sum(server.pid() not in pids for server in cluster.servers))),
        Finding("every /version answers", all_of("2.0.0"), listed(cluster.versions())),
    ]


def replayed_signals(cluster: Cluster, recorder: Recorder) -> list[Finding]:
    """Every signal is played again: to restarted agents, under the controller's own transport key."""
    before = [(server.pid(), server.current()) for server in cluster.servers]
    cluster.controller.stop()
    for server in cluster.servers:
        server.agent.stop()
        server.agent.log.write_text("")
        server.agent.start()
    played = list(recorder.envelopes)
    ports = (cluster.ports[0], cluster.ports[1])
    with Impostor(cluster.home, ports, ENVIRONMENT, played) as impostor:
        wait_until("every agent asked the impostor", lambda: impostor.asked >= len(cluster.servers))
        wait_until("every agent refused", lambda: all("signal.stale_sequence" in s.refusals() for s in cluster.servers))
        played_at = impostor.played
        wait_until("all of it was played twice more", lambda: impostor.played >= played_at + 2)
    print(f"  played {len(played)} recorded messages again, {impostor.played} times over")
    after = [(server.pid(), server.current()) for server in cluster.servers]
    refused = sum("signal.stale_sequence" in server.refusals() for server in cluster.servers)
    return [
        Finding("servers that refused the replay", str(len(cluster.servers)), str(refused)),
        Finding("servers it changed", "0", str(sum(one != other for one, other in zip(before, after, strict=True)))),
        *back_to_work(cluster),
    ]


def back_to_work(cluster: Cluster) -> list[Finding]:
    """The real controller returns, and everything goes on."""
    cluster.controller.start()
    cluster.wait_for_controller()
    wait_until("every agent is connected again", cluster.all_connected)
    return [Finding("clarion status agrees", all_of("2.0.0"), listed(cluster.reported()))]


def flip_one_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def name(code: int) -> str:
    """Return an exit code as people read it."""
    try:
        return f"{code} {ExitCode(code).name.lower().replace('_', ' ')}"
    except ValueError:
        return str(code)


def all_of(version: str) -> str:
    """Return what three servers with the same version look like."""
    return listed([version] * 3)


def listed(versions: list[str]) -> str:
    """Return how many servers have which version."""
    return ", ".join(f"{count} x {version or 'none'}" for version, count in sorted(Counter(versions).items()))


def play(cluster: Cluster) -> dict[str, list[Finding]]:
    """Play every scene in order, and return what was found in each."""
    announce("A controller and three servers")
    cluster.create()
    cluster.add_servers()
    found: dict[str, list[Finding]] = {}
    identity = load_identity(cluster.servers[0].folder / "agent")
    with Recorder(identity, cluster.ports[0], ENVIRONMENT) as recorder:
        for scene in (first_version, rolling_under_traffic, broken_version, changed_package):
            announce(title_of(scene))
            found[title_of(scene)] = scene(cluster)
    announce(title_of(replayed_signals))
    found[title_of(replayed_signals)] = replayed_signals(cluster, recorder)
    return found


def title_of(scene: Callable[..., list[Finding]]) -> str:
    """Return what a scene is about."""
    return str(scene.__doc__).rstrip(".")


def announce(title: str) -> None:
    """Print what comes."""
    print(f"\n{title}", flush=True)


def closing(found: dict[str, list[Finding]], seconds: float) -> int:
    """Print the table and return the exit code."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "expected", "seen"):
        table.add_column(column)
    for title, findings in found.items():
        table.add_row(f"[bold]{title.partition(':')[0]}[/]")
        for finding in findings:
            mark = "[green]✓[/]" if finding.holds else "[red]✗[/]"
            table.add_row(f"  {mark} {finding.claim}", finding.expected, finding.seen)
    print()
    Console(highlight=False).print(table)
    results = [finding.holds for findings in found.values() for finding in findings]
    print(f"\n{sum(results)} of {len(results)} as expected, in {seconds:.0f} s.")
    return int(not all(results))


def main() -> int:
    """Play the demo and return 0 if everything was as expected."""
    try:
        with Machine() as machine:
            return play_and_compare(machine)
    except KeyboardInterrupt:
        print("\nStopped; everything that was started has been ended.", file=sys.stderr)
        return 1


def play_and_compare(machine: Machine) -> int:
    """Play every scene and print the table; if anything was a surprise, keep the logs."""
    began = time.monotonic()
    code = 1
    try:
        code = closing(play(Cluster(machine)), time.monotonic() - began)
    except Surprise as surprise:
        print(f"\nNot as expected: {surprise}", file=sys.stderr)
    if code:
        machine.keep_logs(LOGS)
        print(f"The logs are in {LOGS}.", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
