"""Builds of what nobody has read: each attack by its name, and that without the protection it would succeed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.controller.builds.hostile import LIMITS, MB, VERSION, Lines, app, left_in, needs_walls, said_in_sandbox

from clarion_controller.build import build as build_without_walls
from clarion_controller.build import check_package
from clarion_controller.builds import sandbox
from clarion_controller.builds.inside import OPEN_FILES
from clarion_protocol.errors import BadConfig, BuildFailed, Interrupted, NoSpace
from clarion_protocol.manifest_file import read_manifest, reference_to

pytestmark = [needs_walls, pytest.mark.once]
GOOD = "open('made', 'w').write('1')"
PRINTS_FOR_EVER = "while True: print('x' * 1000)"


def said_without_walls(tmp_path: Path, script: str) -> str:
    """Build `script` as `clarion build` does in a terminal; return what it printed."""
    said: list[bytes] = []
    build_without_walls(app(tmp_path / "bare", script), tmp_path / "bare-out", VERSION, said=said.append)
    return b"".join(said).decode()


def test_a_package_comes_out_and_nothing_else(tmp_path: Path) -> None:
    """The package and its manifest lie in the folder that was named, as `clarion build` makes them."""
    lines = Lines()
    source = app(tmp_path / "source", GOOD)
    built = sandbox.build(source, tmp_path / "out", VERSION, LIMITS, lines)
    packed = built.manifest.read_bytes()
    manifest = read_manifest(packed, reference_to(packed))
    check_package(built.package, manifest)
    assert (built.app, built.version) == ("shop", VERSION)
    assert {entry.path for entry in manifest.entries} == {"attack.py", "clarion.toml", "made"}
    assert left_in(tmp_path / "out") == ["shop-1.0.manifest.json.zst", "shop-1.0.tar.zst"]
    assert left_in(source) == ["attack.py", "clarion.toml"]
    assert lines.said() == "$ python3 attack.py\n"


def test_walls_change_no_byte_of_a_package(tmp_path: Path) -> None:
    """A package is bit for bit what `clarion build` makes without a sandbox."""
    source = app(tmp_path / "source", GOOD)
    walled = sandbox.build(source, tmp_path / "walled", VERSION, LIMITS, Lines())
    plain = build_without_walls(source, tmp_path / "plain", VERSION)
    assert walled.package.read_bytes() == plain.package.read_bytes()
    assert walled.manifest.read_bytes() == plain.manifest.read_bytes()


def test_output_is_heard_while_it_is_written(tmp_path: Path) -> None:
    """A line arrives when it is printed, not when the build ends."""
    heard: list[float] = []
    script = "import time; print('first', flush=True); time.sleep(2); print('last')"
    source = app(tmp_path / "source", script)
    sandbox.build(source, tmp_path / "out", VERSION, LIMITS, lambda lines: heard.append(time.monotonic()))
    assert heard[-1] - heard[0] > 1.5


def test_a_red_build_ends_with_its_output(tmp_path: Path) -> None:
    """The error of a failed command carries the last that it printed, and no package is left."""
    source = app(tmp_path / "source", "raise SystemExit('no such luck')")
    with pytest.raises(BuildFailed, match="no such luck"):
        sandbox.build(source, tmp_path / "out", VERSION, LIMITS, Lines())
    assert left_in(tmp_path / "out") == []


def test_a_mistake_in_the_apps_file_is_shown_where_its_author_finds_it(tmp_path: Path) -> None:
    """Where the source lies between the walls says nothing to anybody."""
    source, lines = app(tmp_path / "source", GOOD), Lines()
    (source / "clarion.toml").write_text('[app]\nname = "shop"\nnames = "x"\n')
    with pytest.raises(BuildFailed, match=r"\Aclarion\.toml, line 3: app\.names: unknown key"):
        sandbox.build(source, tmp_path / "out", VERSION, LIMITS, lines)
    assert "/build/source" not in lines.said()


def test_a_build_that_is_called_off_ends(tmp_path: Path) -> None:
    """When nobody wants the build any more, it ends within a moment."""
    began = time.monotonic()
    source = app(tmp_path / "source", "import time; time.sleep(600)")
    with pytest.raises(Interrupted):
        sandbox.build(source, tmp_path / "out", VERSION, LIMITS, Lines(), lambda: time.monotonic() < began + 1)
    assert time.monotonic() - began < 10
    assert left_in(tmp_path / "out") == []


def test_without_bubblewrap_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built without walls when bubblewrap is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadConfig, match="apt install bubblewrap"):
        sandbox.build(app(tmp_path / "source", GOOD), tmp_path / "out", VERSION, LIMITS, Lines())


def test_walls_that_cannot_be_built_are_no_failure_of_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses namespaces, the error is the machine's and says what bubblewrap said."""
    refusing = tmp_path / "bin" / "bwrap"
    refusing.parent.mkdir()
    # What bubblewrap prints where namespaces are forbidden.
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:{os.environ['PATH']}")
    with pytest.raises(BadConfig, match=r"No permissions to create new namespace(.|\n)*builds\.md"):
        sandbox.build(app(tmp_path / "source", GOOD), tmp_path / "out", VERSION, LIMITS, Lines())


# -- time, processes, memory, disk, output ---------------------------------------------------------------------------


def test_a_build_that_hangs(tmp_path: Path) -> None:
    """A build that ignores every signal that it can ends at its time limit."""
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('began', flush=True); time.sleep(600)"
    said = said_in_sandbox(tmp_path, script, replace(LIMITS, timeout=2.0))
    assert "began" in said
    assert "did not end within 2s" in said


FORKS = """
import os, signal, time
n = 0
try:
    while n < 300:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError as error:
    print("refused:", error.strerror)
print("forked", n)
"""


def test_a_build_that_forks_without_end(tmp_path: Path) -> None:
    """Processes are counted; with a limit of 300 more, the same build makes them all."""
    said = said_in_sandbox(tmp_path / "few", FORKS, replace(LIMITS, processes=40))
    assert "refused: Resource temporarily unavailable" in said
    assert "forked 300" in said_in_sandbox(tmp_path / "many", FORKS, replace(LIMITS, processes=400))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("f = open('/tmp/big', 'wb')\nfor _ in range(64): f.write(bytes(2**20))", id="in one file"),
        pytest.param(
            "import time\nfor n in range(64): open(f'/tmp/big{n}', 'wb').write(bytes(2**20))\n"
            "print('wrote', flush=True)\ntime.sleep(30)",
            id="in many files",
        ),
        pytest.param(
            "import time\nfor n in range(64): open(f'/dev/shm/{n}', 'wb').write(bytes(2**20))\n"
            "print('wrote', flush=True)\ntime.sleep(30)",
            id="in shared memory",
        ),
    ],
)
def test_a_build_that_fills_the_disk(tmp_path: Path, script: str) -> None:
    """What a build writes is counted, wherever it writes; with a larger limit the same build goes on."""
    said = said_in_sandbox(tmp_path / "small", script, replace(LIMITS, disk=32 * MB))
    assert "wrote more than 33.6 MB" in said or "File too large" in said
    assert left_in(tmp_path / "small" / "out") == []
    more = said_in_sandbox(tmp_path / "large", script.replace("sleep(30)", "sleep(1)"), replace(LIMITS, disk=256 * MB))
    assert "FAILED" not in more


def test_a_build_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build ends while there is still room for everybody else on the disk, whoever has filled it."""
    monkeypatch.setattr("clarion_controller.builds.disk_use.FREE_BYTES", 2**60)
    with pytest.raises(NoSpace, match="nearly full"):
        sandbox.build(app(tmp_path / "source", "import time; time.sleep(9)"), tmp_path / "o", VERSION, LIMITS, Lines())


def test_a_build_that_allocates_without_end(tmp_path: Path) -> None:
    """A process gets no more memory than its limit; with more, the same one has it."""
    script = "x = bytearray(600 * 2**20); print('has it')"
    assert "MemoryError" in said_in_sandbox(tmp_path / "small", script, replace(LIMITS, memory=512 * MB))
    assert "has it" in said_in_sandbox(tmp_path / "large", script, replace(LIMITS, memory=2048 * MB))


def test_a_build_that_prints_without_end(tmp_path: Path) -> None:
    """Output is taken at a pace, so that neither memory nor a log fills with it; without, there would be far more."""
    said = said_in_sandbox(tmp_path, PRINTS_FOR_EVER, replace(LIMITS, timeout=3.0))
    assert "did not end within 3s" in said
    assert len(said) < 6 * MB
    bare = subprocess.run(["timeout", "3", sys.executable, "-c", PRINTS_FOR_EVER], capture_output=True, check=False)
    assert len(bare.stdout) > 20 * MB


def test_a_line_without_end_and_what_drives_a_terminal(tmp_path: Path) -> None:
    """A log has lines, and no character in it moves a cursor, sets a title or rings a bell."""
    script = r"import sys; sys.stdout.write('\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J\r' + 'y' * 100_000)"
    said = said_in_sandbox(tmp_path, script)
    assert "red2J" in said
    assert not set(said) & {"\x1b", "\x07", "\x9b", "\r"}
    assert said.count("y") == 100_000 + len("yy")  # python, attack.py
    assert max(map(len, said.splitlines())) < 70_000


# -- what it can see and reach ---------------------------------------------------------------------------------------


def test_a_build_that_looks_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody in particular, sees no variable of ours, and no descriptor of ours is open in it."""
    monkeypatch.setenv("CLARION_SECRET", "hidden")
    script = "import os; print(os.getuid() == 0, 'CLARION_SECRET' in os.environ, os.listdir('/proc/self/fd'))"
    said = said_in_sandbox(tmp_path, script)
    assert "False False ['0', '1', '2', '3']" in said
    assert "True" in said_without_walls(tmp_path, script)


def reads(path: Path) -> str:
    """Return a program that reads a file if it can."""
    return f"try: print(open({str(path)!r}).read())\nexcept OSError as error: print('refused:', error.strerror)"


def test_a_build_that_reads_the_keys(tmp_path: Path) -> None:
    """The controller's home is not there at all, even if everybody may read it."""
    key = tmp_path / "home" / "keys" / "deployer.key"
    key.parent.mkdir(parents=True)
    key.write_text("the deployer's key")
    assert "refused: No such file or directory" in said_in_sandbox(tmp_path, reads(key))
    assert "the deployer's key" in said_without_walls(tmp_path, reads(key))


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/hostname", "/root/.bashrc", "/proc/1/environ", "/etc/fstab"])
def test_a_build_that_reads_this_machine(tmp_path: Path, path: str) -> None:
    """Nothing of the machine's own is there to be read."""
    assert "refused:" in said_in_sandbox(tmp_path, reads(Path(path)))


def test_a_build_that_lists_other_processes(tmp_path: Path) -> None:
    """A build sees its own processes only."""
    with subprocess.Popen(["sleep", "60"]) as other:
        script = "import os; names = os.popen('ps ax -o args').read(); print('sees it:', 'sleep 60' in names)"
        try:
            assert "sees it: False" in said_in_sandbox(tmp_path, script)
            assert "sees it: True" in said_without_walls(tmp_path, script)
        finally:
            other.kill()


@contextmanager
def listening(family: socket.AddressFamily, address: str | tuple[str, int]) -> Iterator[socket.socket]:
    """Accept connections at an address."""
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


def connects(family: str, address: object) -> str:
    """Return a program that connects if it can."""
    return (
        f"import socket\ns = socket.socket(socket.{family})\n"
        f"try: s.connect({address!r}); print('connected')\nexcept OSError as error: print('refused:', error.strerror)"
    )


def test_a_build_that_speaks_to_the_controller(tmp_path: Path) -> None:
    """The controller's socket is not there, neither by its path nor by an abstract name."""
    path = str(tmp_path / "controller.sock")
    with listening(socket.AF_UNIX, path), listening(socket.AF_UNIX, f"\0{path}"):
        for number, address in enumerate((path, f"\0{path}")):
            script = connects("AF_UNIX", address)
            assert "refused:" in said_in_sandbox(tmp_path / str(number), script)
            assert "connected" in said_without_walls(tmp_path / str(number), script)


def test_a_build_that_reaches_the_network(tmp_path: Path) -> None:
    """With network = "none" not even this machine's own ports are reached; "full" reaches them."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        script = connects("AF_INET", listener.getsockname())
        assert "refused: Connection refused" in said_in_sandbox(tmp_path / "none", script)
        assert "connected" in said_in_sandbox(tmp_path / "full", script, replace(LIMITS, network="full"))


def test_a_build_that_sends_to_the_world(tmp_path: Path) -> None:
    """With network = "none" there is no way to any address, so nothing can be sent blindly either."""
    script = connects("AF_INET", ("192.0.2.1", 80))
    assert "refused: Network is unreachable" in said_in_sandbox(tmp_path, script)


def test_a_build_that_writes_outside(tmp_path: Path) -> None:
    """Nothing outside its own folders can be written, replaced or mounted over."""
    victim = tmp_path / "victim"
    victim.write_text("whole")
    paths = [str(victim), "/usr/local/bin/x", "/etc/x", "/opt/x", "/x", "/build/source/x", sys.prefix + "/lib/x"]
    script = f"""
for path in {paths!r}:
    try: open(path, "w"); print("WROTE", path)
    except OSError as error: pass
import os
os.system("mount -t tmpfs none /usr/local 2>&1; unshare --user --map-root-user true && echo HAS A NAMESPACE")
"""
    said = said_in_sandbox(tmp_path, script)
    assert "WROTE" not in said
    assert victim.read_text() == "whole"
    script = f"open({str(victim)!r}, 'w').write('broken')"
    said_without_walls(tmp_path, script)
    assert victim.read_text() == "broken"


# -- what it leaves --------------------------------------------------------------------------------------------------

DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3): os.close(fd)
        os.execvp("sleep", ["MARK", "50"])
    os._exit(0)
time.sleep(0.5)
"""


def processes_named(mark: str) -> list[int]:
    """Return who runs under the name `mark`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(mark.encode() + b"\0"):
                found.append(int(entry.name))
    return found


def test_a_build_that_leaves_a_daemon_behind(tmp_path: Path) -> None:
    """When a build has ended, so has everything that it ever started."""
    mark = f"left-by-{os.getpid()}"
    script = DAEMON.replace("MARK", mark)
    said_in_sandbox(tmp_path, script)
    assert processes_named(mark) == []
    said_without_walls(tmp_path, script)
    survivors = processes_named(mark)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert len(survivors) == 1


def test_a_builder_that_is_killed_takes_its_builds_with_it(tmp_path: Path) -> None:
    """A sandbox does not outlive the process that watches it."""
    mark = f"orphan-of-{os.getpid()}"
    source = app(tmp_path / "source", f"import os; os.execvp('sleep', ['{mark}', '50'])")
    program = (
        "import sys; from pathlib import Path; from clarion_controller.builds import sandbox, limits\n"
        f"sandbox.build(Path({str(source)!r}), Path({str(tmp_path / 'o')!r}), '1', limits.Limits(), lambda lines: None)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as builder:
        until = time.monotonic() + 20
        while not processes_named(mark) and time.monotonic() < until:
            time.sleep(0.05)
        assert processes_named(mark)
        builder.kill()
    until = time.monotonic() + 10
    while processes_named(mark) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_named(mark) == []


ODD = r"""
import os
os.chdir("/build/out")
os.symlink("VICTIM", "link")
os.mkdir("locked"); os.mkdir("locked/inside"); open("locked/inside/x", "w"); os.mkfifo("locked/pipe")
os.chmod("locked/inside", 0); os.chmod("locked", 0)
open(b"\xff\n-rf *", "w")
os.chdir("/build/home")
os.symlink("VICTIM", "link")
os.symlink("VICTIM", ".cache")
for _ in range(3000):
    os.mkdir("d"); os.chdir("d")
raise SystemExit("done")
"""


def test_a_build_that_makes_a_mess(tmp_path: Path) -> None:
    """Odd modes, names, depths and links keep nothing from being removed, and no link is followed."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("whole")
    said = said_in_sandbox(tmp_path, ODD.replace("VICTIM", str(victim)))
    assert "done" in said or "deeper than a path can say" in said
    assert left_in(tmp_path / "out") == []
    assert (victim / "kept").read_text() == "whole"


def test_a_build_that_puts_more_than_its_package_out(tmp_path: Path) -> None:
    """A second package beside its own, or a link under its name, is refused."""
    script = "import os; os.symlink('/etc/passwd', '/build/out/bank-1.0.tar.zst')"
    assert "where one package and its manifest should be" in said_in_sandbox(tmp_path, script)
    assert left_in(tmp_path / "out") == []


def test_builds_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    """Two builds at once each have a room of their own."""
    script = "import os, time; open('/tmp/mine', 'w'); time.sleep(1); print(sorted(os.listdir('/tmp')))"
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: said.append(said_in_sandbox(tmp_path / str(n), script))) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert len(said) == 2
    assert all(text.count("mine") == 1 and text.count("clarion-build-") == 1 for text in said)


def test_there_is_a_limit_of_open_files(tmp_path: Path) -> None:
    """A process opens no more files than its limit."""
    script = "import resource; print('files', resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(4))"
    assert f"files ({OPEN_FILES}, {OPEN_FILES}) (0, 0)" in said_in_sandbox(tmp_path, script)
