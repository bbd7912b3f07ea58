"""What is killed, cut off or switched off in a deployment resumes or undoes, and the status stays true."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from .cache import Cache
from .cluster import Cluster, Truth, host_status, set_up
from .lab import Lab
from .server import ENVIRONMENT, Server
from .shop import quick_shop

APP = "/srv/clarion/shop"
DRAINING = f"test -e {APP}/draining"
SWITCHED = f"readlink {APP}/current | grep -q -- -2.0.0"
RESTARTED = "readlink /proc/$(systemctl show --property=MainPID --value shop)/cwd | grep -q -- -2.0.0"
# Not libfaketime: it breaks the waits of Python and libzmq, which are on the monotonic clock.
LATE_AGENT = """\
import time
now = time.time
time.time = lambda: now() + 3600
from clarion_agent.cli import main
main()
"""
WRONG_CLOCK = """\
[Service]
ExecStart=
ExecStart=/opt/clarion-agent/bin/python -I /usr/local/lib/late_agent.py run
"""
CLOCK_DROP_IN = "/etc/systemd/system/clarion-agent.service.d/clock.conf"
TRAP = "for turn in $(seq 3000); do if {moment}; then {action}; exit 0; fi; sleep 0.01; done; exit 1"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def cluster(lab: Lab, cache: Cache, tmp_path: Path) -> Cluster:
    """Give three servers on version 1.0.0 of the shop, with 2.0.0 published."""
    cluster = set_up(lab, cache, webs=3, unreachable="50%")
    shop = quick_shop(tmp_path)
    for version in ("1.0.0", "2.0.0"):
        cluster.publish(shop, version)
    first = cluster.deploy("1.0.0")
    assert first.returncode == 0, first.stdout + first.stderr
    return cluster


def trap(server: Server, moment: str, action: str = "true") -> subprocess.Popen[bytes]:
    """Wait on the server itself for a moment (a shell condition) that is over too soon to be seen from here."""
    script = TRAP.format(moment=moment, action=action)
    return subprocess.Popen(server.command("sh", "-c", script), env=ENVIRONMENT)


def spring(trapped: subprocess.Popen[bytes]) -> None:
    """Wait until the trap has gone off."""
    assert trapped.wait(timeout=60) == 0, "the moment never came"


def assert_agreement(cluster: Cluster) -> None:
    """Wait until every server runs, whole and healthy, what is wanted, and the status says so."""

    def agrees(status: dict[str, object]) -> bool:
        wanted = str(status["wanted"])
        truths = {cluster.truth(web) for web in cluster.webs}
        claims = set(cluster.claimed(status).values())
        return truths == {Truth("active", wanted, wanted, wanted)} and claims == {wanted}

    cluster.wait_for("every server to run what is wanted, and the status to say so", agrees, 120)


@pytest.mark.parametrize("moment", [DRAINING, SWITCHED, RESTARTED], ids=["draining", "switched", "restarted"])
def test_an_agent_killed_in_a_switch_resumes_or_undoes(cluster: Cluster, moment: str) -> None:
    """SIGKILL to the agent at any moment of a switch ends in a deployment that is over and in servers that agree."""
    trapped = trap(cluster.webs[0], moment, "systemctl kill --signal=KILL clarion-agent")
    cluster.begin("2.0.0")
    spring(trapped)
    cluster.wait_until_over()
    assert_agreement(cluster)
    assert "code=killed, status=9/KILL" in cluster.webs[0].journal("clarion-agent")


def test_a_server_that_is_cut_off_is_unreachable_and_catches_up(cluster: Cluster) -> None:
    """A cut-off server stops nothing, is counted as unreachable, and has the new version soon after it is back."""
    lost = cluster.webs[2]
    lost.cut()
    done = cluster.deploy("2.0.0")
    assert done.returncode == 3, done.stdout + done.stderr
    hosts = {host["name"]: host["status"] for host in cluster.status()["deployment"]["hosts"]}
    assert hosts == {"web-1": "committed", "web-2": "committed", "web-3": "unreachable"}
    assert cluster.truth(lost).link == "1.0.0"
    lost.heal()
    assert_agreement(cluster)


def test_a_server_without_power_in_a_switch_boots_and_converges(cluster: Cluster) -> None:
    """A hard power-off in the middle of the switch leaves a server that boots, serves, and ends as wanted."""
    web = cluster.webs[0]
    trapped = trap(web, SWITCHED)
    cluster.begin("2.0.0")
    spring(trapped)
    web.kill()
    web.boot()
    cluster.wait_until_over(120)
    assert_agreement(cluster)


def test_a_controller_killed_in_a_rollout_finishes_it(cluster: Cluster) -> None:
    """SIGKILL to the controller while a server is drained; started again by systemd it finishes the rollout."""
    trapped = trap(cluster.webs[0], DRAINING)
    cluster.begin("2.0.0")
    spring(trapped)
    cluster.control.run("systemctl", "kill", "--signal=KILL", "clarion-controller")
    cluster.wait_until_it_answers()
    assert cluster.wait_until_over()["deployment"]["status"] == "succeeded"
    cluster.assert_all_run("2.0.0")
    assert "code=killed, status=9/KILL" in cluster.control.journal("clarion-controller")


def test_a_server_whose_clock_is_wrong_changes_nothing_and_says_why(cluster: Cluster) -> None:
    """An agent an hour ahead refuses orders, agent and controller name the gap; set right, it catches up."""
    late = cluster.webs[2]
    late.write("/usr/local/lib/late_agent.py", LATE_AGENT)
    late.write(CLOCK_DROP_IN, WRONG_CLOCK)
    late.run("systemctl", "daemon-reload")
    late.run("systemctl", "restart", "clarion-agent")
    wait_for_journal(late, "the controller's clock and this host's are 360")
    cluster.begin("2.0.0")
    over = cluster.wait_until_over()
    assert (over["deployment"]["status"], host_status(over)["web-3"]) == ("degraded", "unreachable")
    assert "its clock is 60 min ahead; run 'timedatectl' there" in json.dumps(over["hosts"])
    assert cluster.truth(late) == Truth("active", "1.0.0", "1.0.0", "1.0.0")
    late.run("rm", CLOCK_DROP_IN)
    late.run("systemctl", "daemon-reload")
    late.run("systemctl", "restart", "clarion-agent")
    cluster.wait_for("the late server", lambda status: status["deployment"]["status"] == "succeeded")
    cluster.assert_all_run("2.0.0")


def wait_for_journal(server: Server, text: str, seconds: float = 130) -> None:
    """Wait for a text of the agent: a beacon comes every 30 s, and one kind of refusal is logged once a minute."""
    deadline = time.monotonic() + seconds
    while text not in server.journal("clarion-agent"):
        assert time.monotonic() < deadline, f"{server.name} never said: {text}"
        time.sleep(0.5)
