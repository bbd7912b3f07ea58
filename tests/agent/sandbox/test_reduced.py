"""The reduced sandbox, with real processes."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest

from clarion_agent.sandbox.reduced import ReducedSandbox
from clarion_agent.stages.run_tests import Job, Outcome
from clarion_protocol.errors import Interrupted


def run(release: Path, *commands: str, timeout: float = 30.0) -> Outcome:
    """Run command lines in `release`."""
    job = Job(release, tuple(tuple(shlex.split(line)) for line in commands), timeout)
    return ReducedSandbox().run(job, lambda: None)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a release that everybody may read, with programs that everybody may run."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    tmp_path.chmod(0o755)
    (tmp_path / "app.txt").write_text("the app")
    return tmp_path


def test_commands_run_in_the_release_one_after_another(release: Path) -> None:
    """Each is shown before what it prints."""
    outcome = run(release, "cat app.txt", "echo done")

    assert outcome.failure is None
    assert outcome.output == "$ cat app.txt\nthe app$ echo done\ndone\n"


def test_the_first_command_that_fails_ends_the_job(release: Path) -> None:
    """Its exit code is the reason."""
    outcome = run(release, "sh -c 'exit 7'", "echo never")

    assert outcome.failure == "exit code 7"
    assert "never" not in outcome.output


def test_a_command_that_is_not_there_is_named(release: Path) -> None:
    """127, as a shell would say."""
    outcome = run(release, "no-such-program")

    assert outcome.failure == "exit code 127"
    assert "no-such-program: No such file or directory" in outcome.output


def test_a_broken_pipe_ends_a_command(release: Path) -> None:
    """Python ignores that signal; what it starts must not."""
    assert run(release, "sh -c 'kill -PIPE $$'").failure == "exit code 141"


def test_commands_have_no_input(release: Path) -> None:
    """They can wait for nobody, and read nothing of the job."""
    assert run(release, "cat").output == "$ cat\n"


def test_no_shell_reads_a_command(release: Path) -> None:
    """What means something to a shell is an ordinary argument."""
    assert run(release, "echo '$HOME; ls | cat'").output.endswith("\n$HOME; ls | cat\n")


def test_nothing_of_the_agents_environment_is_handed_on(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets in it stay there; home is a folder that is gone afterwards."""
    monkeypatch.setenv("CLARION_SECRET", "secret")

    output = run(release, "env").output

    assert "secret" not in output
    home = next(line for line in output.splitlines() if line.startswith("HOME="))
    assert not Path(home.removeprefix("HOME=")).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_root_becomes_nobody(release: Path) -> None:
    """A test can neither write to the release nor read what is root's."""
    (release / "secret").touch(mode=0o600)

    assert "uid=65534" in run(release, "id").output
    assert "groups=65534" in run(release, "id").output
    assert run(release, "touch new").failure is not None
    assert run(release, "cat secret").failure is not None


def test_a_job_that_takes_too_long_is_ended(release: Path) -> None:
    """With all that it started in its session."""
    begin = time.monotonic()
    marker = f"{os.getpid()}{time.monotonic_ns() % 10**6}"

    outcome = run(release, f"sh -c 'sleep 3{marker} & sleep 3{marker}'", timeout=0.7)

    assert outcome.failure == "not done within 0.7 s"
    assert time.monotonic() - begin < 10
    while _is_running(f"3{marker}"):
        assert time.monotonic() - begin < 10, "it survived"
        time.sleep(0.02)


def test_an_interruption_ends_the_job(release: Path) -> None:
    """Whoever waits for an abort does not wait for the tests."""

    def stop() -> None:
        raise Interrupted("called off")

    with pytest.raises(Interrupted):
        ReducedSandbox().run(Job(release, (("sleep", "1000"),), 1000.0), stop)


def test_output_is_bounded_and_harmless(release: Path) -> None:
    """The end of it is kept, without what a terminal would obey."""
    outcome = run(release, "seq 100000", r"printf 'a\033[31mb\007c\033]0;title\007d\n'")

    assert len(outcome.output) <= 16_000
    assert outcome.output.endswith("\nabcd\n")


def test_limits_are_set(release: Path) -> None:
    """Files, memory and open files are bounded even without cgroups."""
    output = run(release, "sh -c 'ulimit -c; ulimit -f; ulimit -n; ulimit -v'").output.split()

    # In blocks of 512 bytes (dash) for files, KiB for memory.
    assert output[-4:] == ["0", str(256 * 2**20 // 512), "1024", str(4 * 2**20)]


def _is_running(argument: str) -> bool:
    return any(argument.encode() in _command_of(path).split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline"))


def _command_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
