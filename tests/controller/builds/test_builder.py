"""The builder beside a real controller: what is pushed becomes a package, and whatever goes wrong is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controller.builds.hostile import left_in, needs_walls
from tests.controller.builds.pushing import building_cluster, pushed
from tests.controller.builds.remotes import Remote
from tests.controller.live import Live, live
from tests.stores import Cluster

from clarion_controller.api.answers import BuildRequest
from clarion_controller.builds.build import BUILDER_SOCKET, Build, BuildStatus
from clarion_controller.builds.builder import workplace
from clarion_controller.publish import packages
from clarion_protocol.errors import Blocked

pytestmark = [needs_walls, pytest.mark.once]
APP = '[app]\nname = "shop"\n[build]\nrun = ["python3 make.py"]\n'
SLOW = "import os, sys; print('at it', flush=True); os.execvp('sleep', ['slow-{mark}', '60'])"


@dataclass
class Site:
    """A cluster with a repository, and a folder in which builds are made."""

    cluster: Cluster
    remote: Remote
    work: Path

    def push(self, script: str, config: str = APP) -> str:
        """Push an app whose build runs `script`; return the commit."""
        return self.remote.commit({"clarion.toml": config, "make.py": script})

    @contextmanager
    def builder(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the builder, as its unit does."""
        program = "import sys; from clarion_controller.cli import run; sys.exit(run(sys.argv[1:]))"
        socket = self.cluster.home / BUILDER_SOCKET
        command = [sys.executable, "-c", program, "builder", "--socket", str(socket), "--work", str(self.work)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate(timeout=20)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a site whose repository holds an app that builds."""
    cluster = building_cluster(tmp_path)
    return Site(cluster, Remote(tmp_path), tmp_path / "work")


def wait(controller: Live, holds: Callable[[Build], bool], seconds: float = 30) -> Build:
    """Return the newest build once `holds` is true of it."""
    until = time.monotonic() + seconds
    while not holds(build := controller.client.builds()[0]):
        assert time.monotonic() < until, (build, log(controller, build))
        time.sleep(0.05)
    return build


def started(controller: Live) -> Build:
    """Have main built as if somebody had pushed it."""
    return controller.client.start_build(BuildRequest(repository="shop", ref="main", actor="ada"))


def built(site: Site) -> tuple[Build, str]:
    """Have main built by a builder of its own; return how that ended, and the log."""
    with live(site.cluster.home) as controller, site.builder():
        started(controller)
        build = wait(controller, lambda build: build.status.is_final)
        return build, log(controller, build)


def log(controller: Live, build: Build) -> str:
    """Return what a build wrote."""
    return controller.client.build_log(build.id).text


def processes_named(mark: str) -> bool:
    """Return whether anything runs under this name."""
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode == 0


def soon(holds: Callable[[], bool], seconds: float = 15) -> bool:
    """Return whether `holds` becomes true."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_push_becomes_a_package(site: Site) -> None:
    """A green build is published under its commit, and nothing of it is left with the builder."""
    commit = site.push("print('hello from the build'); open('made', 'w').write('1')")
    build, said = built(site)
    assert (build.status, build.version) == (BuildStatus.SUCCEEDED, commit[:12]), said
    assert "hello from the build" in said
    assert [(each.app, each.version) for each in packages(site.cluster.home)] == [("shop", commit[:12])]
    assert left_in(site.work) == [".lock"]


RED = {
    "a build that fails": ("raise SystemExit('no such luck')", APP, '"python3 make.py" failed with exit code 1'),
    "the package of another app": ("print('innocent')", APP.replace("shop", "bank"), "not of 'shop'"),
    "a source that is no app": ("print('innocent')", "[nonsense]\n", "nonsense"),
}


@pytest.mark.parametrize("what", RED)
def test_what_is_red_is_never_published(site: Site, what: str) -> None:
    """A red build says why, in its reason and in its log, and the store stays as it was."""
    script, config, reason = RED[what]
    site.push(script, config)
    build, said = built(site)
    assert build.status is BuildStatus.FAILED
    assert reason in build.reason
    assert said.count(reason) == 1
    assert packages(site.cluster.home) == []


def test_the_reason_is_a_sentence_and_the_log_has_the_rest(site: Site) -> None:
    """Lists, notices and forges have room for no more; what the app calls an error is not what the command did."""
    site.push("print('error: a teapot'); raise SystemExit('no such luck')")
    build, said = built(site)
    assert build.reason == '"python3 make.py" failed with exit code 1'
    assert "error: a teapot" in said
    assert "no such luck" in said


def test_a_branch_that_was_deleted_meanwhile(site: Site) -> None:
    """A branch that is gone when its build begins is named."""
    site.push("print('innocent')")
    with live(site.cluster.home) as controller:
        started(controller)
        subprocess.run(["git", "-C", site.remote.bare, "update-ref", "-d", "refs/heads/main"], check=True)
        with site.builder():
            build = wait(controller, lambda build: build.status.is_final)
    assert build.status is BuildStatus.FAILED
    assert "no branch 'main'" in build.reason


def test_a_build_that_nobody_wants_any_more_ends(site: Site) -> None:
    """A build that is cancelled ends within seconds, and the builder takes the next."""
    mark = f"cancelled-{os.getpid()}"
    site.push(SLOW.format(mark=mark))
    with live(site.cluster.home) as controller, site.builder():
        build = started(controller)
        assert soon(lambda: processes_named(f"slow-{mark}"))
        controller.client.cancel_build(build.id, "ada")
        assert soon(lambda: not processes_named(f"slow-{mark}"), 8)
        site.push("print('the next')")
        started(controller)
        assert wait(controller, lambda each: each.status.is_final).status is BuildStatus.SUCCEEDED


def test_a_builder_that_is_asked_to_stop(site: Site) -> None:
    """A stop ends the build, leaves nothing, says so in the log, and lets the next builder have it at once."""
    mark = f"stopped-{os.getpid()}"
    site.push(SLOW.format(mark=mark))
    with live(site.cluster.home) as controller:
        with site.builder() as process:
            build = started(controller)
            assert soon(lambda: processes_named(f"slow-{mark}"))
            process.terminate()
            assert process.wait(10) == 0
        assert not processes_named(f"slow-{mark}")
        assert "the builder is being stopped" in log(controller, build)
        assert left_in(site.work) == [".lock"]
        given_back = controller.client.build(build.id)
        assert (given_back.status, given_back.reason) == (BuildStatus.QUEUED, "its builder was stopped; once more")
        with site.builder():
            assert soon(lambda: processes_named(f"slow-{mark}"))


def test_a_builder_that_was_killed_is_cleaned_up_after(site: Site) -> None:
    """The next builder empties the folder of the one that died, whose builds have died with it."""
    mark = f"killed-{os.getpid()}"
    site.push(SLOW.format(mark=mark))
    with live(site.cluster.home) as controller:
        with site.builder() as process:
            started(controller)
            assert soon(lambda: processes_named(f"slow-{mark}"))
            process.send_signal(signal.SIGKILL)
        assert soon(lambda: not processes_named(f"slow-{mark}"))
        assert left_in(site.work) != [".lock"]
        with site.builder():
            assert soon(lambda: left_in(site.work) == [".lock"])


def test_a_controller_that_restarts_finds_its_build_again(site: Site) -> None:
    """A build goes on while the controller is away, and is published when it is back."""
    commit = site.push("import time; print('begun', flush=True); time.sleep(4); print('done')")
    with site.builder():
        with live(site.cluster.home) as controller:
            started(controller)
            wait(controller, lambda build: "begun" in log(controller, build))
        time.sleep(4)
        with live(site.cluster.home) as controller:
            build = wait(controller, lambda build: build.status.is_final, 40)
            said = log(controller, build)
    assert (build.status, build.version) == (BuildStatus.SUCCEEDED, commit[:12]), build
    assert said.count("begun") == said.count("done") == 1


def test_a_builder_waits_for_its_controller(site: Site) -> None:
    """A builder that starts before the controller takes what that has for it as soon as it is there."""
    site.push("print('innocent')")
    with site.builder():
        time.sleep(2)
        with live(site.cluster.home) as controller:
            started(controller)
            assert wait(controller, lambda build: build.status.is_final).status is BuildStatus.SUCCEEDED


def test_a_fault_of_the_builder_costs_one_build(site: Site) -> None:
    """A credential that no program can be given ends its own build; the builder then carries out the next."""
    fleet = site.cluster.home / "fleet.toml"
    sound = fleet.read_text()
    with_token = 'url = "http://127.0.0.1:9/x"\ncredential = "file:token"'
    fleet.write_text(sound.replace(f'url = "{site.remote.bare}"', with_token))
    token = site.cluster.home / "secrets" / "token"
    token.write_bytes(b"to\0ken")
    token.chmod(0o600)
    site.push("pass")
    with live(site.cluster.home) as controller, site.builder():
        builds = controller.desk.builds
        controller.await_on_loop(lambda: builds.change(lambda: builds.queue.push(pushed(), "shop")))
        broken = wait(controller, lambda build: build.status.is_final)
        fleet.write_text(sound)
        started(controller)
        assert wait(controller, lambda build: build.number > 1 and build.status.is_final).reason != broken.reason
    assert broken.status is BuildStatus.FAILED
    assert "the builder failed at this (ValueError)" in broken.reason


def test_two_builders_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second builder of a folder is refused, and removes nothing of the first one's."""
    with workplace(tmp_path / "work"):
        (tmp_path / "work" / "job").mkdir()
        with pytest.raises(Blocked, match="another builder"), workplace(tmp_path / "work"):
            pass
        assert left_in(tmp_path / "work") == [".lock", "job"]
