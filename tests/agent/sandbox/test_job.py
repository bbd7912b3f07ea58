"""The program inside a sandbox: how a job comes to it, and what it says of its commands."""

from __future__ import annotations

import shlex
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from clarion_agent.sandbox import job
from clarion_agent.sandbox.job import quoted, read_job, write_job

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
COMMANDS = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(tuple), max_size=5).map(tuple)


@given(COMMANDS, st.sampled_from(["", job.SELF, "65534"]))
def test_a_job_comes_in_as_it_was_written(commands: tuple[tuple[str, ...], ...], user: str) -> None:
    """Whatever is in its words: only NUL is not, which no command may hold."""
    assert read_job(write_job(commands, user)) == (user, [list(command) for command in commands])


@given(st.one_of(WORDS, st.text("ab'\"\\ $-é", max_size=8)))
def test_a_word_is_shown_as_a_shell_would_read_it(word: str) -> None:
    """So that who debugs a failed test can copy the line."""
    assert quoted(word) == shlex.quote(word)


def test_it_loads_nothing_large() -> None:
    """It starts for every exec check on every host: `re` and `enum` alone would double what it costs."""
    command = [sys.executable, "-I", "-S", "-X", "importtime", job.__file__, "-"]
    done = subprocess.run(command, input=write_job(()), capture_output=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "resource" in loaded
    assert {"re", "enum", "json", "subprocess", "pathlib", "typing"}.isdisjoint(loaded)


def test_commands_start_with_no_signal_ignored() -> None:
    """Python ignores SIGPIPE and SIGXFSZ for itself; a command that writes into a closed pipe ends."""
    script = ("sh", "-c", "grep SigIgn: /proc/self/status")
    done = subprocess.run(
        [sys.executable, "-I", "-S", job.__file__, "-"], input=write_job((script,)), capture_output=True, check=True
    )
    # Above the 31st are those of real time, of which Python ignores none.
    assert int(done.stdout.split()[-1], 16) & 0x7FFFFFFF == 0
