"""Asking in a child: its answer, its errors, and every way in which it can fail its parent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from clarion_controller.discover.ask import Child, ask_in_child
from clarion_controller.discover.child import Question
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Aws, HostSource
from clarion_protocol.errors import BadConfig, CloudRefused, CloudUnavailable

AWS = HostSource(aws=Aws(regions=("eu-west-1",)))
STATIC = HostSource(static=("web-2", "web-1", "web-2"))
SERVER = '{"name": "web-1", "source": "aws", "instance": "aws:i-0abc1234"}'


def saying(code: str, deadline: float = 20.0) -> Child:
    """Return a child that runs this Python instead."""
    return Child((sys.executable, "-c", code), deadline=deadline, max_answer=100_000, kept_stderr=40)


def has_ended(pid: int) -> bool:
    """Return whether a process ends soon: one that was killed may still take a moment to die."""
    deadline = time.monotonic() + 5
    while not (ended := is_gone(pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return ended


def is_gone(pid: int) -> bool:
    """Return whether a process is gone, or is only waiting to be reaped by the init of this machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for_pids(path: Path, count: int) -> list[int]:
    """Return the process ids that children have written there."""
    for _ in range(1000):
        if path.exists() and len(pids := path.read_text().split()) == count:
            return [int(pid) for pid in pids]
        time.sleep(0.01)
    raise AssertionError("no child has started")


def test_the_child_answers_what_the_source_lists(tmp_path: Path) -> None:
    """Through a whole process and back, in the source's own order."""
    found = asyncio.run(ask_in_child(STATIC, tmp_path))
    assert found == [Discovered(name="web-2", source="static"), Discovered(name="web-1", source="static")]


def test_an_error_of_the_child_is_raised_as_what_it_is(tmp_path: Path) -> None:
    """With its message and its hint; a relative inventory is looked for in the home."""
    with pytest.raises(BadConfig) as caught:
        asyncio.run(ask_in_child(HostSource(inventory="hosts.ini"), tmp_path))
    assert str(tmp_path / "hosts.ini") in caught.value.message
    assert caught.value.hint


def test_what_the_child_prints_is_not_taken_for_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SDKs print; that goes to the log, and no more of it than its end."""
    code = (
        "import os\n"
        "from clarion_controller.discover import child\n"
        "reply_to = child.reply_to\n"
        "def printing(question):\n"
        "    os.write(1, b'noise ' * 100)\n"
        "    print('deprecated: the end', flush=True)\n"
        "    return reply_to(question)\n"
        "child.reply_to = printing\n"
        "child.main()\n"
    )
    assert len(asyncio.run(ask_in_child(STATIC, tmp_path, saying(code)))) == 2
    logged = capsys.readouterr().out
    assert "deprecated: the end" in logged
    assert logged.count("noise") < 10


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param("raise SystemExit(3)", "died (3)", id="it ends with an error"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "died (-9)", id="it is killed, as for want of memory"),
        pytest.param("pass", "makes no sense", id="it says nothing"),
        pytest.param("print('<html>')", "makes no sense", id="it says something else"),
        pytest.param("print('{\"hosts\": [{}]}')", "makes no sense", id="hosts without a name"),
        pytest.param("print('[' * 90000)", "makes no sense", id="it nests too deep"),
        pytest.param("print('x' * 200_000)", "more than 100000 bytes", id="it says too much"),
        pytest.param("while True: print('x' * 10_000)", "more than 100000 bytes", id="it never stops talking"),
        pytest.param("import sys; sys.stdin.close(); raise SystemExit(1)", "died (1)", id="it does not listen"),
        pytest.param(
            f"print('{{\"hosts\": [{SERVER}]}}'.replace('i-0abc1234', '../etc'))",
            "'aws:../etc', which is none",
            id="a number that is none",
        ),
    ],
)
def test_a_child_without_a_good_answer_is_a_source_that_does_not_answer(tmp_path: Path, code: str, said: str) -> None:
    """Nothing is taken from it, and the sentence names the source."""
    with pytest.raises(CloudUnavailable) as caught:
        asyncio.run(ask_in_child(AWS, tmp_path, saying(code)))
    assert caught.value.message.startswith("aws eu-west-1")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param("operator.cloud_refused", CloudRefused, id="one that it knows"),
        pytest.param("operator.of_tomorrow", CloudUnavailable, id="one of a newer version"),
    ],
)
def test_every_code_becomes_an_error(tmp_path: Path, code: str, kind: type[Exception]) -> None:
    """An upgrade under a running controller brings codes that it does not know."""
    failure = f'{{"failure": {{"code": "{code}", "message": "no", "hint": "ask"}}}}'
    with pytest.raises(kind, match="no\n  ask") as caught:
        asyncio.run(ask_in_child(AWS, tmp_path, saying(f"print('{failure}')")))
    assert type(caught.value) is kind


def test_a_program_that_does_not_start_is_said(tmp_path: Path) -> None:
    """As when no process can be started for want of memory."""
    with pytest.raises(CloudUnavailable, match="aws eu-west-1 cannot be asked: no process starts: No such file"):
        asyncio.run(ask_in_child(AWS, tmp_path, Child((str(tmp_path / "absent"),))))


STUBBORN = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
    "open({path!r}, 'w').write(f'{{os.getpid()}} {{helper.pid}}')\n"
    "time.sleep(300)\n"
)


def test_a_child_that_hangs_is_killed_at_the_deadline_with_all_that_it_started(tmp_path: Path) -> None:
    """However deaf it is to polite signals; and it is reaped."""
    code = STUBBORN.format(path=str(tmp_path / "pids"))
    with pytest.raises(CloudUnavailable, match=r"did not answer within 2 s"):
        asyncio.run(ask_in_child(AWS, tmp_path, saying(code, deadline=2)))
    child, helper = wait_for_pids(tmp_path / "pids", 2)
    assert not Path(f"/proc/{child}").exists()
    assert has_ended(helper)


LEAVING = (
    "import os, subprocess, sys\n"
    "out = {out}\n"
    "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], stdout=out, stderr=out)\n"
    "open({path!r}, 'w').write(str(helper.pid))\n"
)


@pytest.mark.parametrize(
    ("out", "then", "said"),
    [
        pytest.param("None", "", "did not answer within 2 s", id="it holds the answer's pipe"),
        pytest.param("-3", "print('{}')", None, id="after a good answer"),
        pytest.param("-3", "raise SystemExit(3)", "died (3)", id="after an error"),
        pytest.param("-3", "print('x' * 10_000_000)", "more than 100000 bytes", id="after too long an answer"),
    ],
)
def test_what_a_child_leaves_behind_is_ended_with_it(tmp_path: Path, out: str, then: str, said: str | None) -> None:
    """A program that an SDK started to get credentials, say."""
    child = saying(LEAVING.format(out=out, path=str(tmp_path / "pids")) + then, deadline=2 if out == "None" else 20)
    if said is None:
        assert asyncio.run(ask_in_child(AWS, tmp_path, child)) == []
    else:
        with pytest.raises(CloudUnavailable, match=re.escape(said)):
            asyncio.run(ask_in_child(AWS, tmp_path, child))
    [helper] = wait_for_pids(tmp_path / "pids", 1)
    assert has_ended(helper)


def test_what_leaves_the_childs_session_cannot_hold_the_controller_up(tmp_path: Path) -> None:
    """The pipes are closed on this side, whoever has them open on the other."""
    code = LEAVING.format(out=None, path=str(tmp_path / "pids")).replace("stderr=out", "start_new_session=True")
    began = time.monotonic()
    with pytest.raises(CloudUnavailable, match="did not answer within 2 s"):
        asyncio.run(ask_in_child(AWS, tmp_path, saying(code, deadline=2)))
    took = time.monotonic() - began
    [helper] = wait_for_pids(tmp_path / "pids", 1)
    os.kill(helper, signal.SIGKILL)
    assert took < 5


def test_text_that_is_no_unicode_does_not_hide_the_hosts(tmp_path: Path) -> None:
    """A tag with half a surrogate pair, which JSON cannot carry, is shown with a question mark."""
    code = (
        "from clarion_controller.discover import child\n"
        "from clarion_controller.discover.discovered import Discovered\n"
        "host = Discovered(name='web-1', source='static', tags={'owner': 'Jos\\udc80', 'city': 'K\\xf6ln'})\n"
        "child.reply_to = lambda question: child.Reply(hosts=[host])\n"
        "child.main()\n"
    )
    [host] = asyncio.run(ask_in_child(AWS, tmp_path, saying(code)))
    assert (host.name, dict(host.tags)) == ("web-1", {"owner": "Jos?", "city": "K\xf6ln"})


def test_who_is_cancelled_takes_the_child_along(tmp_path: Path) -> None:
    """A controller that stops does not wait for a cloud."""
    code = STUBBORN.format(path=str(tmp_path / "pids"))

    async def ask_and_stop() -> float:
        asking = asyncio.create_task(ask_in_child(AWS, tmp_path, saying(code, deadline=60)))
        await asyncio.to_thread(wait_for_pids, tmp_path / "pids", 2)
        began = time.monotonic()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return time.monotonic() - began

    assert asyncio.run(ask_and_stop()) < 5
    child, helper = wait_for_pids(tmp_path / "pids", 2)
    assert not Path(f"/proc/{child}").exists()
    assert has_ended(helper)


def test_a_child_that_has_lost_its_parent_ends_by_itself(tmp_path: Path) -> None:
    """It sets itself an alarm before it does anything."""
    code = (
        "import signal\n"
        "from clarion_controller.discover import child\n"
        "child.ORPHANED_AFTER_S = 1\n"
        "child.reply_to = lambda question: signal.pause()\n"
        "child.main()\n"
    )
    question = msgspec.json.encode(Question(STATIC, str(tmp_path)))
    ended = subprocess.run([sys.executable, "-c", code], input=question, timeout=30, check=False)
    assert ended.returncode == -signal.SIGALRM
