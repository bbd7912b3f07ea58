"""The process itself, with a real controller, a real web server, and signals that kill, stop and continue it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from tests.controller.live import Live, LiveHost, live, new_cluster
from tests.controller.notifying.ears import Answer, Ears, garbage, listening, status
from tests.controller.notifying.stories import kinds

from clarion_controller.api.answers import DeploymentAnswer, PlanRequest
from clarion_controller.notifying.notices_file import NAME
from clarion_controller.notifying.overview import overview
from clarion_controller.state.database import open_database
from clarion_controller.state.events import BuildFinished
from clarion_controller.state.log import Batch, StateLog
from clarion_protocol.words import DeploymentStatus, HostStatus

pytestmark = pytest.mark.once

REPOSITORY = '[repository.shop]\nurl = "https://github.com/acme/shop"\nbranches = ["*"]\n'
PROCESS = [sys.executable, "-m", "clarion_controller.notifying.main"]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a secret that both know")


@pytest.fixture
def ears() -> Iterator[Ears]:
    """Return a server that listens."""
    with listening() as started:
        yield started


def wait_for(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


class Home:
    """A controller's home without the controller: its fleet.toml and its log."""

    def __init__(self, folder: Path, fleet: str) -> None:
        self.path = folder
        (folder / "state").mkdir(parents=True)
        (folder / "fleet.toml").write_text(f"{REPOSITORY}{fleet}")
        self._database = open_database(folder / "state" / "clarion.db")
        self.log = StateLog(self._database)
        self._count = 0

    def build(self, outcome: str, branch: str = "") -> None:
        """Record the end of a build of a branch, or of one of its own; it is told as "... broken: branch N"."""
        self._count += 1
        what = {"build": "b" * 32, "repository": "shop", "app": "shop", "commit": "c" * 40}
        event = BuildFinished(at=time.time(), ref=f"refs/heads/{branch or self._count}", status=outcome, **what)
        self.log.record(Batch([(None, event)]))

    @contextmanager
    def told(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the process within a `with` block, until it has begun to read."""
        process = subprocess.Popen([*PROCESS, str(self.path), str(os.getpid())], stderr=subprocess.PIPE)
        assert process.stderr
        try:
            assert any(b"notifying.ready" in process.stderr.readline() for _ in range(5))
            yield process
        finally:
            process.kill()
            process.communicate(timeout=20)

    def close(self) -> None:
        """Let go of the log."""
        self._database.dispose()


@pytest.fixture
def home(tmp_path: Path, ears: Ears) -> Iterator[Home]:
    """Return a home whose notices go to `ears`."""
    made = Home(tmp_path / "home", ears.fleet())
    yield made
    made.close()


def titles(ears: Ears) -> list[str]:
    """Return what was accepted, in short."""
    return [notice.title.rpartition(" ")[2] for notice in ears.accepted]


def test_history_is_not_told(home: Home, ears: Ears) -> None:
    """Whoever switches notices on hears what happens from then on."""
    home.build("failed")
    with home.told():
        home.build("failed")
        wait_for(lambda: len(ears.accepted) == 1)
    assert titles(ears) == ["2"]


def test_each_thing_is_told_once_whenever_the_process_is_killed(home: Home, ears: Ears) -> None:
    """With nothing read, with the outbox full, between attempts, after all was sent; what is due is not forgotten."""
    ears.answer = status(500)
    with home.told():
        pass
    home.build("failed")
    for moment in (0.0, 0.01, 0.05, 0.3):
        with home.told():
            time.sleep(moment)
        home.build("failed")
    with home.told():
        wait_for(lambda: bool(ears.heard))
        ears.answer = status(200)
        wait_for(lambda: len(ears.accepted) == 5, seconds=40)
        wait_for(lambda: overview(home.path)[0].pending == 0)
    with home.told():
        home.build("failed")
        wait_for(lambda: len(ears.accepted) == 6)
    assert titles(ears) == ["1", "2", "3", "4", "5", "6"]


def test_what_was_on_its_way_when_the_process_was_killed_comes_again_under_the_same_id(home: Home, ears: Ears) -> None:
    """Nobody can know whether it arrived; the receiver can see that it is the same."""
    with home.told():
        ears.answer = ears.hang
        home.build("failed")
        wait_for(lambda: len(ears.heard) == 1)
    ears.answer = status(200)
    with home.told():
        wait_for(lambda: len(ears.accepted) == 1)
    assert ears.heard[0] == ears.heard[1]


def test_sigterm_ends_it_at_once_also_while_a_server_hangs(home: Home, ears: Ears) -> None:
    """A controller that stops does not wait for a chat server."""
    ears.answer = ears.hang
    with home.told() as process:
        home.build("failed")
        wait_for(lambda: len(ears.heard) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_it_ends_when_its_controller_is_gone(home: Home, tmp_path: Path) -> None:
    """One that was killed leaves nobody behind who tells everything twice."""
    script = f'"{sys.executable}" -m clarion_controller.notifying.main "{home.path}" $$ & echo $!; wait'
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stderr
        pid = int(parent.stdout.readline())
        assert b"notifying.ready" in parent.stderr.readline()
        parent.kill()
        wait_for(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())


def test_an_outbox_that_somebody_removes_is_begun_anew(home: Home, ears: Ears) -> None:
    """The process would write where nobody ever reads; the next one finds what is wrong in the log again."""
    with home.told() as process:
        home.build("failed")
        wait_for(lambda: len(ears.accepted) == 1)
        for path in (home.path / "state").glob("notices.db*"):
            path.unlink()
        assert process.wait(20) == 1
    with home.told():
        home.build("succeeded", "1")
        wait_for(lambda: kinds(ears.accepted) == ["build_broken", "build_repaired"])
    assert ears.accepted[1].incident == ears.accepted[0].incident


def test_only_one_tells(home: Home) -> None:
    """A second one on the same home ends and says why."""
    with home.told():
        command = [*PROCESS, str(home.path), str(os.getpid())]
        second = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert second.returncode == 1
    assert b"told from" in second.stderr


def test_a_fleet_toml_that_was_changed_counts_soon_and_a_broken_one_never(home: Home, ears: Ears) -> None:
    """A channel is added without a restart; a slip of the pen silences nobody."""
    path = home.path / "fleet.toml"
    with home.told(), listening() as other:
        path.write_text(f"{REPOSITORY}{ears.fleet()}{other.fleet('second')}")
        time.sleep(2.5)
        home.build("failed")
        wait_for(lambda: len(ears.accepted) == len(other.accepted) == 1)
        path.write_text("[[notify]\n")
        time.sleep(2.5)
        home.build("failed")
        wait_for(lambda: len(ears.accepted) == len(other.accepted) == 2)


def order(controller: Live, version: str) -> DeploymentAnswer:
    """Plan, sign and hand over."""
    request = PlanRequest(app="shop", environment="production", version=version)
    return controller.client.order(controller.client.plan(request).deployment.sealed(controller.deployer))


def fail(controller: Live, host: LiveHost, version: str) -> None:
    """Deploy a version that fails while it is staged."""
    document = controller.desk.history.state(order(controller, version).id).deployment
    controller.turn(host.says(time.time(), document, HostStatus.STAGED))
    controller.turn(host.says(time.time(), document, HostStatus.FAILED))
    assert controller.desk.history.state(document.id).status is DeploymentStatus.FAILED


def pid_of(home: Path) -> int | None:
    """Return the process that tells people of `home`, if it runs."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(home).encode() in words and b"clarion_controller.notifying.main" in words:
            return int(folder.name)
    return None


def has_begun(home: Path) -> bool:
    """Return whether it is written down from where on people of `home` are told; what was before is history to them."""
    path = home / "state" / NAME
    # Read only, and as little as can be: the process is making it.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute("SELECT 1 FROM standing").fetchone() is not None
    return False


@contextmanager
def controller_and_host(folder: Path, ears: Ears) -> Iterator[tuple[Live, LiveHost]]:
    """Have a controller serve, with one host, one version, and its own process that tells `ears`."""
    cluster = new_cluster(folder, f"[environment.production]\n{ears.fleet()}")
    cluster.publish("1.0.0")
    with live(cluster.home) as controller:
        wait_for(lambda: has_begun(cluster.home))
        yield controller, controller.enrol("web-1")


def test_a_rollout_goes_on_while_the_process_that_tells_is_stopped(tmp_path: Path, ears: Ears) -> None:
    """Whatever is the matter with it, a deployment comes to its end; people are told when it goes on."""
    with controller_and_host(tmp_path, ears) as (controller, host):
        pid = pid_of(controller.home)
        assert pid
        os.kill(pid, signal.SIGSTOP)
        fail(controller, host, "1.0.0")
        assert ears.heard == []
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: kinds(ears.accepted) == ["deployment_failed"])
    assert pid_of(controller.home) is None


def test_a_process_that_was_killed_is_begun_again_and_tells_what_happened_meanwhile(tmp_path: Path, ears: Ears) -> None:
    """The controller looks after it."""
    with controller_and_host(tmp_path, ears) as (controller, host):
        pid = pid_of(controller.home)
        assert pid
        os.kill(pid, signal.SIGKILL)
        fail(controller, host, "1.0.0")
        wait_for(lambda: kinds(ears.accepted) == ["deployment_failed"])
        assert pid_of(controller.home) != pid


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nothing"),
        pytest.param(status(500), id="500"),
        pytest.param(status(429, Retry_After="3600"), id="429"),
        pytest.param(garbage, id="garbage"),
    ],
)
def test_a_rollout_does_not_care_what_the_server_answers(tmp_path: Path, ears: Ears, answer: Answer | None) -> None:
    """It fails, hangs or lies: the deployment ends as it would have, and what waits is shown."""
    ears.answer = answer or ears.hang
    with controller_and_host(tmp_path, ears) as (controller, host):
        fail(controller, host, "1.0.0")
        wait_for(lambda: bool(ears.heard))
        (standing,) = overview(controller.home)
        assert standing.pending == 1


def test_nothing_of_a_rollout_knows_of_notices() -> None:
    """What is not imported cannot be waited for."""
    parts = "rollout, decide, collect, broadcast, planning, history, inbox, state.log, gateway.gateway, api.orders"
    imports = "; ".join(f"import clarion_controller.{part}" for part in parts.split(", "))
    unwanted = "('notifying', 'notifiers', 'forges')"
    code = (
        f"import sys; {imports}; print([m for m in sys.modules if m.split('.')[1:2] and m.split('.')[1] in {unwanted}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout.strip() == "[]"
