"""Reports survive whatever happens to the agent, in order, until the controller has them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import examples

from clarion_agent import durable
from clarion_agent.net.outbox import MAX_REPORTS, Author, Outbox, count_waiting
from clarion_protocol.documents import Facts, Progress, Running
from clarion_protocol.keys import SigningKey
from clarion_protocol.trust import accept_report
from clarion_protocol.words import HostStatus

from .world import CLUSTER, HOST

KEY = SigningKey(bytes(range(32)))
NOTHING: Callable[[], list[Running]] = list


def outbox_in(folder: Path, running: Callable[[], list[Running]] = NOTHING) -> Outbox:
    return Outbox(folder, Author(CLUSTER, HOST, KEY, running, dict, lambda: Facts(hostname="web-1")))


def progress(status: HostStatus, reason: str = "") -> Progress:
    return Progress(deployment="d" * 32, stream="production/shop", status=status, reason=reason)


def read_all(outbox: Outbox) -> list[str]:
    """Return the reasons of all waiting reports, each accepted by the real trust code in order."""
    last, reasons = 0, []
    for seq, envelope in outbox.waiting(limit=10_000):
        report = accept_report(envelope, HOST, KEY.public_hex, last)
        assert report.seq == seq
        last = report.seq
        assert report.progress is not None
        reasons.append(report.progress.reason)
    return reasons


def test_reports_wait_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    """Each report is genuine, newer than the one before, and says what was put in."""
    outbox = outbox_in(tmp_path)
    for number in range(20):
        outbox.put(progress(HostStatus.PULLING, str(number)))
    assert read_all(outbox) == [str(number) for number in range(20)]


def test_acknowledged_reports_are_gone_and_others_stay(tmp_path: Path) -> None:
    """An acknowledgement is for all up to its number, in memory and on the disk."""
    outbox = outbox_in(tmp_path)
    for number in range(5):
        outbox.put(progress(HostStatus.PULLING, str(number)))
    outbox.acknowledge(outbox.waiting()[2][0])
    assert read_all(outbox) == ["3", "4"]
    assert read_all(outbox_in(tmp_path)) == ["3", "4"]
    assert count_waiting(tmp_path) == 2


def test_what_waits_survives_a_restart_and_numbers_go_on(tmp_path: Path) -> None:
    """A new agent sends what the old one could not, and never uses a number twice."""
    outbox_in(tmp_path).put(progress(HostStatus.STAGED, "before"))
    outbox = outbox_in(tmp_path)
    outbox.put(progress(HostStatus.COMMITTED, "after"))
    assert read_all(outbox) == ["before", "after"]


def test_numbers_rise_even_if_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock jumps into the past goes on above the number it used last."""
    outbox = outbox_in(tmp_path)
    outbox.put(progress(HostStatus.STAGED))
    used = outbox.waiting()[0][0]
    outbox.acknowledge(used)
    monkeypatch.setattr("clarion_agent.net.outbox.time.time_ns", lambda: 1_000_000_000)
    again = outbox_in(tmp_path)
    again.put(progress(HostStatus.STAGED))
    assert again.waiting()[0][0] > used


def test_a_host_restored_from_an_old_snapshot_goes_on_above_what_it_used(tmp_path: Path) -> None:
    """Without any memory of its numbers a host is still ahead of them, because they follow the time."""
    outbox = outbox_in(tmp_path / "before")
    outbox.put(progress(HostStatus.STAGED))
    restored = outbox_in(tmp_path / "restored")
    restored.put(progress(HostStatus.STAGED))
    assert restored.waiting()[0][0] >= outbox.waiting()[0][0]


def test_a_heartbeat_is_signed_and_not_kept(tmp_path: Path) -> None:
    """A heartbeat says what the host is; if it is lost, the next one says it again."""
    outbox = outbox_in(tmp_path)
    heartbeat = outbox.heartbeat()
    assert heartbeat is not None
    report = accept_report(heartbeat, HOST, KEY.public_hex, 0)
    assert (report.progress, report.facts) == (None, Facts(hostname="web-1"))
    assert len(outbox) == count_waiting(tmp_path) == 0


def test_no_heartbeat_overtakes_a_waiting_report(tmp_path: Path) -> None:
    """The controller takes nothing older than what it has, so a heartbeat waits its turn."""
    outbox = outbox_in(tmp_path)
    outbox.put(progress(HostStatus.STAGED))
    assert outbox.heartbeat() is None


def test_a_full_outbox_forgets_its_oldest_step_and_keeps_outcomes(tmp_path: Path) -> None:
    """However long the controller is away, how a deployment ended is what is kept."""
    outbox = outbox_in(tmp_path)
    outbox.put(progress(HostStatus.COMMITTED, "first outcome"))
    for number in range(MAX_REPORTS + 10):
        outbox.put(progress(HostStatus.PULLING, f"step {number}"))
    reasons = read_all(outbox)
    assert len(reasons) == MAX_REPORTS
    assert reasons[:2] == ["first outcome", "step 11"]
    assert count_waiting(tmp_path) == MAX_REPORTS


def test_an_outbox_full_of_outcomes_forgets_the_oldest(tmp_path: Path) -> None:
    """The bound holds even then."""
    outbox = outbox_in(tmp_path)
    for number in range(MAX_REPORTS + 1):
        outbox.put(progress(HostStatus.FAILED, str(number)))
    assert read_all(outbox)[0] == "1"
    assert len(outbox) == MAX_REPORTS


def test_on_a_full_disk_reports_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose disk is full still says what it came to, and that it lives."""

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    outbox = outbox_in(tmp_path)
    with monkeypatch.context() as disk:
        for name in ("write_text", "write_bytes"):
            disk.setattr(Path, name, fill)
        disk.setattr(durable, "write_new", fill)
        outbox.put(progress(HostStatus.PULLING, "a step"))
        outbox.put(progress(HostStatus.FAILED, "an outcome"))
        assert read_all(outbox) == ["a step", "an outcome"]
        outbox.acknowledge(outbox.waiting()[-1][0])
        assert outbox.heartbeat() is not None
    outbox.put(progress(HostStatus.STAGED, "later"))
    assert read_all(outbox) == read_all(outbox_in(tmp_path)) == ["later"]


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    """What a crash left half done is no report."""
    outbox_in(tmp_path).put(progress(HostStatus.STAGED, "whole"))
    (tmp_path / "0000000000000000009.step.tmp").write_bytes(b"{")
    (tmp_path / "0000000000000000010.step").write_bytes(b"")
    (tmp_path / "last_seq").write_bytes(b"")
    assert read_all(outbox_in(tmp_path)) == ["whole"]
    assert count_waiting(tmp_path) == 1


def test_many_threads_lose_nothing_and_never_block_one_another(tmp_path: Path) -> None:
    """Workers report while the core is asked what runs; a report that was overtaken is drafted anew."""
    core_lock = threading.Lock()

    def running() -> list[Running]:
        with core_lock:
            return []

    outbox = outbox_in(tmp_path, running)

    def work(worker: int) -> None:
        for number in range(10):
            with core_lock:
                pass
            outbox.put(progress(HostStatus.PULLING, f"{worker}:{number}"))
            outbox.heartbeat()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    reasons = read_all(outbox)
    assert len(reasons) == 40
    for worker in range(4):
        assert [reason for reason in reasons if reason.startswith(f"{worker}:")] == [f"{worker}:{n}" for n in range(10)]


def test_a_report_that_was_overtaken_tells_what_is_true_now(tmp_path: Path) -> None:
    """What runs is asked without the lock; if another report came in between, it is asked again."""
    versions = ["1.0.0"]

    def running() -> list[Running]:
        seen = versions[-1]
        if seen == "1.0.0":
            versions.append("1.1.0")
            outbox.put(progress(HostStatus.COMMITTED, "switched meanwhile"))
        return [Running("shop", seen, 1, "a" * 64, is_active=True)]

    outbox = outbox_in(tmp_path, running)
    outbox.put(progress(HostStatus.PULLING, "overtaken"))
    assert read_all(outbox) == ["switched meanwhile", "overtaken"]
    for _, envelope in outbox.waiting():
        assert accept_report(envelope, HOST, KEY.public_hex, 0).running[0].version == "1.1.0"


def test_a_killed_agent_loses_no_report_that_it_had_put(tmp_path: Path) -> None:
    """SIGKILL at any moment leaves whole reports only, and all that `put` had returned for."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from clarion_agent.net.outbox import Author, Outbox
        from clarion_protocol.documents import Facts, Progress
        from clarion_protocol.keys import SigningKey
        from clarion_protocol.words import HostStatus
        author = Author("c" * 32, "a" * 32, SigningKey(bytes(range(32))), list, dict, Facts)
        outbox = Outbox(Path(sys.argv[1]), author)
        for number in range(100_000):
            status = HostStatus.COMMITTED if number % 3 else HostStatus.PULLING
            outbox.put(Progress(deployment="d" * 32, stream="p/s", status=status, reason=str(number)))
            print(number, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = next(number for line in process.stdout if (number := int(line)) == 60)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    last = max([last, *(int(number) for number in rest)])
    reasons = [int(reason) for reason in read_all(outbox_in(tmp_path))]
    assert reasons[: last + 1] == list(range(min(last + 1, len(reasons))))
    assert len(reasons) >= min(last + 1, MAX_REPORTS)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.sampled_from(["step", "outcome", "heartbeat", "ack", "restart"]), max_size=30))
def test_whatever_happens_numbers_rise_and_nothing_unacknowledged_is_lost(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    """Any sequence of events keeps the outbox the ordered list of unacknowledged reports."""
    folder = tmp_path_factory.mktemp("outbox")
    outbox, expected, highest = outbox_in(folder), [], 0
    for number, event in enumerate(events):
        if event in {"step", "outcome"}:
            outbox.put(progress(HostStatus.PULLING if event == "step" else HostStatus.FAILED, str(number)))
            expected.append(str(number))
        elif event == "heartbeat" and (envelope := outbox.heartbeat()):
            highest = accept_report(envelope, HOST, KEY.public_hex, highest).seq
        elif event == "ack" and expected:
            outbox.acknowledge(outbox.waiting()[0][0])
            expected.pop(0)
        elif event == "restart":
            outbox = outbox_in(folder)
        assert read_all(outbox) == expected
