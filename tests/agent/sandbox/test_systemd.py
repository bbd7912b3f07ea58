"""The full sandbox, as far as the agent has a part in it; the lab runs the unit itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.programs import Programs

from clarion_agent.sandbox.job import read_job
from clarion_agent.sandbox.systemd import SystemdSandbox
from clarion_agent.stages.run_tests import Job, Outcome
from clarion_protocol.errors import Interrupted

# What systemd does with the unit: it keeps what it saw, writes the output, and ends as it is told.
START = """
case $1 in
start)
    id=${3#clarion-test@}; id=${id%.service}
    cp FOLDER/$id/job FOLDER/$id/release/app.txt SEEN/
    echo "the tests ran" > FOLDER/$id/output
    RESULT
    ;;
show) printf "LoadState=loaded\\nResult=exit-code\\nExecMainStatus=3\\n" ;;
*) echo "$*" >> SEEN/calls ;;
esac
"""


class Place:
    """A sandbox whose systemctl is a script."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.tests, self.seen, self.release = folder / "tests", folder / "seen", folder / "release"
        self.seen.mkdir()
        self.release.mkdir()
        (self.release / "app.txt").write_text("the app")
        self._programs = programs

    def run(self, result: str, *, timeout: float = 10.0, go_on: Callable[[], None] = lambda: None) -> Outcome:
        """Run a job that ends with the shell command `result`."""
        script = START.replace("FOLDER", str(self.tests)).replace("SEEN", str(self.seen)).replace("RESULT", result)
        self._programs.run("systemctl", script)
        return SystemdSandbox(folder=self.tests).run(Job(self.release, (("true",),), timeout), go_on)

    @property
    def calls(self) -> list[str]:
        """How systemctl was called to clear up."""
        return (self.seen / "calls").read_text().splitlines()


@pytest.fixture
def place(tmp_path: Path, programs: Programs) -> Place:
    """Return a place in which nothing has run yet."""
    return Place(tmp_path, programs)


def test_a_job_is_handed_over_and_its_output_read(place: Place) -> None:
    """The unit finds the commands and the release under a random id, and nothing is left afterwards."""
    outcome = place.run("exit 0")

    assert outcome == Outcome(None, "the tests ran\n")
    assert read_job((place.seen / "job").read_bytes()) == ("", [["true"]])
    assert (place.seen / "app.txt").read_text() == "the app"
    assert list(place.tests.iterdir()) == []


def test_a_failure_is_what_systemd_says_it_is(place: Place) -> None:
    """The exit code comes from systemd, never from what the tests wrote."""
    assert place.run("exit 1").failure == "exit code 3"


def test_a_job_that_takes_too_long_is_stopped(place: Place) -> None:
    """The unit is stopped with all that it started."""
    outcome = place.run("sleep 30", timeout=0.3)

    assert outcome.failure == "not done within 0.3 s"
    assert [call.split()[0] for call in place.calls] == ["stop", "reset-failed"]
    assert list(place.tests.iterdir()) == []


def test_an_interruption_stops_the_unit(place: Place) -> None:
    """Nothing goes on behind the agent's back."""

    def stop() -> None:
        raise Interrupted("called off")

    with pytest.raises(Interrupted):
        place.run("sleep 30", go_on=stop)

    assert place.calls[0].startswith("stop")


def test_what_a_killed_agent_left_is_stopped_and_removed(place: Place) -> None:
    """A job without an agent has nobody to report to."""
    place.run("exit 0")
    (place.tests / ("f" * 32)).mkdir()

    SystemdSandbox(folder=place.tests).sweep()

    assert f"stop -- clarion-test@{'f' * 32}.service" in place.calls
    assert list(place.tests.iterdir()) == []


def test_a_template_that_is_not_installed_is_named(place: Place, programs: Programs) -> None:
    """An old package, or half of one."""
    programs.run("systemctl", "case $1 in show) echo LoadState=not-found ;; *) exit 5 ;; esac")

    outcome = SystemdSandbox("clarion-check", place.tests).run(Job(place.release, (("true",),), 5.0), lambda: None)

    assert outcome.failure == "clarion-check@.service is not installed on this host"
