"""Building: the same source gives the same bytes, and what no host would take is refused by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from clarion_controller.build import BuiltPackage, build, check_package
from clarion_protocol.errors import BadConfig, BadManifest, BuildFailed, ClarionError, HostError, OperatorError
from clarion_protocol.manifest import Manifest
from clarion_protocol.manifest_file import read_manifest, reference_to

CONFIG = """\
[app]
name = "shop"
[build]
run = ["python3 make.py"]
exclude = ["*.tmp", "docs/*"]
[test]
package = ["python3 check.py"]
unit = ["python3 -c 'open(\\"left-behind\\", \\"w\\")'"]
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with a small app in it."""
    folder = tmp_path / "source"
    write(folder / "clarion.toml", CONFIG)
    write(folder / "make.py", "import os; open('VERSION', 'w').write(os.environ['CLARION_VERSION'])")
    write(folder / "check.py", "assert open('VERSION').read()")
    write(folder / "bin/run", "#!/bin/sh\n")
    (folder / "bin/run").chmod(0o755)
    write(folder / "data/large", "0123456789" * 5000)
    for number in range(40):
        write(folder / f"data/small/{number:02}.txt", f"{number}\n" * 100)
    write(folder / "notes.tmp", "not for the package")
    write(folder / "docs/guide.md", "not for the package")
    (folder / "current").symlink_to("data/small")
    (folder / "empty").mkdir()
    return folder


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody who has a name."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.net", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(source: Path) -> Path:
    """Return the app as a git work tree with everything committed."""
    git(source, "init", "-q")
    write(source / ".gitignore", "dist/\n*.log\n")
    git(source, "add", "-A")
    git(source, "commit", "-q", "-m", "First")
    return source


def bytes_of(built: BuiltPackage) -> tuple[bytes, bytes]:
    """Return the package and its manifest's file."""
    return built.package.read_bytes(), built.manifest.read_bytes()


def manifest_of(built: BuiltPackage) -> Manifest:
    """Return the manifest of a package, checked like on a host."""
    packed = built.manifest.read_bytes()
    return read_manifest(packed, reference_to(packed))


def test_package_holds_what_was_built(source: Path, tmp_path: Path) -> None:
    """A package holds the source and what the build made, without excluded files and what tests leave behind."""
    built = build(source, tmp_path / "out", "1.2.0")
    manifest = manifest_of(built)
    paths = {entry.path for entry in manifest.entries}
    assert {"VERSION", "bin", "bin/run", "current", "data/large", "empty", "clarion.toml", "docs"} <= paths
    assert not paths & {"notes.tmp", "docs/guide.md", "left-behind"}
    assert {file.path: file.mode for file in manifest.files()}["bin/run"] == "0755"
    check_package(built.package, manifest)


def test_result_names_files_hashes_and_sizes(source: Path, tmp_path: Path) -> None:
    """What `build` returns is what lies on the disk."""
    built = build(source, tmp_path / "out", "1.2.0")
    package, listing = bytes_of(built)
    assert (built.package.name, built.manifest.name) == ("shop-1.2.0.tar.zst", "shop-1.2.0.manifest.json.zst")
    assert (built.app, built.version) == ("shop", "1.2.0")
    assert (built.sha256, built.length) == (hashlib.sha256(package).hexdigest(), len(package))
    assert (built.manifest_sha256, built.manifest_length) == (hashlib.sha256(listing).hexdigest(), len(listing))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [built.manifest.name, built.package.name]


def test_tar_opens_a_package(source: Path, tmp_path: Path) -> None:
    """A package is an ordinary archive: `tar --zstd -xf` gives the tree, without a warning."""
    built = build(source, tmp_path / "out", "1.2.0")
    opened = tmp_path / "opened"
    opened.mkdir()
    done = subprocess.run(
        ["tar", "--zstd", "-xf", built.package, "-C", opened], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    for file in manifest_of(built).files():
        assert hashlib.sha256((opened / file.path).read_bytes()).hexdigest() == file.sha256
        assert f"{(opened / file.path).stat().st_mode & 0o777:04o}" == file.mode
    assert (opened / "current").readlink() == Path("data/small")
    assert sum(1 for _ in opened.rglob("*")) == built.entries


def elsewhere(source: Path, tmp_path: Path) -> Path:
    """Return a copy of the source in another, deeper folder."""
    return Path(shutil.copytree(source, tmp_path / "some/where/else", symlinks=True))


def made_in_another_order(source: Path, tmp_path: Path) -> Path:
    """Return a copy whose folders list their files in another order."""
    folder = tmp_path / "reversed"
    folder.mkdir()
    for path in sorted(source.rglob("*"), reverse=True):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy(path, target)
    return folder


def touched(source: Path, _: Path) -> Path:
    """Return the source with other times on its files."""
    for path in source.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    return source


def group_writable(source: Path, _: Path) -> Path:
    """Return the source as somebody with a lax umask has it."""
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o775 if path.stat().st_mode & 0o100 else 0o664)
    return source


@pytest.mark.parametrize("change", [elsewhere, made_in_another_order, touched, group_writable])
def test_same_source_gives_same_bytes(source: Path, tmp_path: Path, change: Callable[[Path, Path], Path]) -> None:
    """Neither the folder, nor its order, nor times, nor modes are seen in a package."""
    first = bytes_of(build(source, tmp_path / "one", "1.2.0"))
    before = os.umask(0o077)
    try:
        second = bytes_of(build(change(source, tmp_path), tmp_path / "two", "1.2.0"))
    finally:
        os.umask(before)
    assert first == second


def test_other_source_gives_other_bytes(source: Path, tmp_path: Path) -> None:
    """One changed byte is seen in the package and in the manifest."""
    first = build(source, tmp_path / "one", "1.2.0")
    write(source / "data/large", "1123456789" * 5000)
    second = build(source, tmp_path / "two", "1.2.0")
    assert first.sha256 != second.sha256
    assert first.manifest_sha256 != second.manifest_sha256


def test_compiled_python_is_the_same_each_time(source: Path, tmp_path: Path) -> None:
    """Compiled modules carry a hash of their source, not its time, so they are valid on every host."""
    write(
        source / "make.py", "import compileall; compileall.compile_dir('.', quiet=1); open('VERSION', 'w').write('x')"
    )
    first = build(source, tmp_path / "one", "1.2.0")
    second = build(elsewhere(source, tmp_path), tmp_path / "two", "1.2.0")
    assert any(file.path.endswith(".pyc") for file in manifest_of(first).files())
    assert bytes_of(first) == bytes_of(second)
    compiled = next(file.path for file in manifest_of(first).files() if file.path.endswith(".pyc"))
    flags = subprocess.run(["tar", "--zstd", "-xOf", first.package, compiled], check=True, capture_output=True).stdout
    assert flags[4:8] == b"\x03\0\0\0"  # PEP 552: checked by hash


def test_version_comes_from_the_tag(repository: Path, tmp_path: Path) -> None:
    """On a tagged commit the tag is the version, without its v."""
    git(repository, "tag", "v2.0.1")
    assert build(repository, tmp_path / "out").version == "2.0.1"


def test_version_comes_from_the_commit(repository: Path, tmp_path: Path) -> None:
    """Without a tag the commit's short hash is the version."""
    assert build(repository, tmp_path / "out").version == git(repository, "rev-parse", "--short=12", "HEAD")


def test_version_is_asked_for_without_git(source: Path, tmp_path: Path) -> None:
    """A plain folder has no version of its own."""
    with pytest.raises(OperatorError, match="has no version") as caught:
        build(source, tmp_path / "out")
    assert caught.value.hint == "Give one: --version"


@pytest.mark.parametrize("version", ["../1", "1/2", "-1", "1 0", "1.0\n", "", "v" * 65])
def test_bad_version_is_refused(source: Path, tmp_path: Path, version: str) -> None:
    """A version is part of file names, so it has no say in where they are."""
    with pytest.raises(OperatorError, match="version"):
        build(source, tmp_path / "out", version)
    assert not (tmp_path / "out").exists()


def test_uncommitted_change_is_refused(repository: Path, tmp_path: Path) -> None:
    """What is not committed could not be built again, so the error says how to commit or to insist."""
    write(repository / "check.py", "changed = 1\n")
    write(repository / "new.py", "")
    with pytest.raises(OperatorError, match=r"(?s)not committed.* M check\.py.*\?\? new\.py") as caught:
        build(repository, tmp_path / "out")
    assert "git commit -a" in str(caught.value.hint)
    assert "--allow-dirty" in str(caught.value.hint)


def test_uncommitted_change_is_built_on_request(repository: Path, tmp_path: Path) -> None:
    """A dirty build holds new and changed files, not ignored ones, and its version says what it is."""
    write(repository / "new.py", "")
    write(repository / "debug.log", "ignored")
    (repository / "notes.tmp").unlink()
    built = build(repository, tmp_path / "out", allow_dirty=True)
    paths = {file.path for file in manifest_of(built).files()}
    assert "new.py" in paths
    assert "debug.log" not in paths
    assert built.version.endswith("-dirty")


def test_ignored_files_are_not_in_the_build(repository: Path, tmp_path: Path) -> None:
    """A committed source is built without what git ignores, so that it builds the same elsewhere."""
    write(repository / "secret.log", "ignored")
    built = build(repository, tmp_path / "out")
    assert "secret.log" not in {file.path for file in manifest_of(built).files()}


def test_packages_may_go_into_a_folder_of_the_source(source: Path, tmp_path: Path) -> None:
    """An earlier package in the source's own `dist` is no part of the next one."""
    first = bytes_of(build(source, source / "dist", "1.2.0"))
    assert bytes_of(build(source, source / "dist", "1.2.0")) == first


def test_packages_do_not_make_the_source_dirty(repository: Path) -> None:
    """A package that was written into the work tree does not stop the next build."""
    git(repository, "rm", "-q", "--cached", ".gitignore")
    git(repository, "commit", "-q", "-m", "Ignore nothing")
    (repository / ".gitignore").unlink()
    build(repository, repository / "dist")
    assert build(repository, repository / "dist").package.exists()


def test_build_inside_a_git_hook_looks_at_its_own_source(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that a git hook starts is not led astray by the hook's environment."""
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert build(repository, tmp_path / "out").version == head


def test_submodule_is_built_in(repository: Path, tmp_path: Path) -> None:
    """Files of a submodule are in the package; one that is not checked out is refused with the command to do so."""
    library = tmp_path / "library"
    write(library / "code.py", "")
    git(library, "init", "-q")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "First")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "lib")
    git(repository, "commit", "-q", "-m", "Use the library")
    built = build(repository, tmp_path / "out")
    assert "lib/code.py" in {file.path for file in manifest_of(built).files()}
    git(repository, "submodule", "deinit", "-q", "-f", "lib")
    with pytest.raises(OperatorError, match="submodule lib is not checked out") as caught:
        build(repository, tmp_path / "out")
    assert "git submodule update" in str(caught.value.hint)


def test_folder_inside_a_repository_is_built_alone(repository: Path, tmp_path: Path) -> None:
    """An app may be one folder of a larger repository."""
    app = repository / "apps/other"
    write(app / "clarion.toml", '[app]\nname = "other"\n')
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Second app")
    write(repository / "check.py", "dirty, but not in this app")
    built = build(app, tmp_path / "out")
    assert [entry.path for entry in manifest_of(built).entries] == ["clarion.toml"]


def test_source_is_left_as_it_was(source: Path, tmp_path: Path) -> None:
    """A build works in a copy."""
    before = sorted(source.rglob("*"))
    build(source, tmp_path / "out", "1.2.0")
    assert sorted(source.rglob("*")) == before


def with_config(source: Path, text: str) -> None:
    """Write another clarion.toml."""
    write(source / "clarion.toml", '[app]\nname = "shop"\n' + text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param('[build]\nrun = ["false"]', '"false" failed with exit code 1', id="a failing command"),
        pytest.param('[build]\nrun = ["no-such-program"]', "cannot be started: No such file", id="no such program"),
        pytest.param("[test]\npackage = [\"python3 -c '1/0'\"]", "ZeroDivisionError", id="a failing test"),
        pytest.param("[test]\nunit = [\"sh -c 'echo why; kill -9 $$'\"]", "killed by signal 9:\nwhy", id="killed"),
        pytest.param('[build]\nrun = ["false"]', '"false" failed with exit code 1, and said nothing', id="silence"),
        pytest.param('[build]\nrun = ["sleep 30"]\ntimeout = "200ms"', '"sleep 30" did not end in time', id="a hang"),
        pytest.param('[build]\nrun = ["yes"]\ntimeout = "300ms"', '"yes" did not end in time', id="endless output"),
        pytest.param(
            '[build]\nrun = ["sh -c \'trap : TERM; sleep 30 & wait; sleep 30\'"]\ntimeout = "200ms"',
            "did not end in time",
            id="a hang that ignores signals and has children",
        ),
        pytest.param('[build]\nrun = ["sh -c \'echo \\"# x\\" >clarion.toml\'"]', "is missing", id="clarion.toml lost"),
    ],
)
def test_failing_command_fails_the_build(source: Path, tmp_path: Path, config: str, message: str) -> None:
    """A command that fails ends the build with its output; no package is written."""
    with_config(source, config)
    with pytest.raises((BuildFailed, BadConfig), match=message):
        build(source, tmp_path / "out", "1.2.0")
    assert not (tmp_path / "out").exists()


def test_build_may_not_change_its_own_settings(source: Path, tmp_path: Path) -> None:
    """A host reads the same clarion.toml that the build read."""
    with_config(source, '[build]\nrun = ["python3 make.py"]\n')
    write(source / "make.py", "open('clarion.toml', 'a').write('[drain]\\nwait = \"1h\"')")
    with pytest.raises(BuildFailed, match=r"the build changed clarion\.toml"):
        build(source, tmp_path / "out", "1.2.0")


def test_tests_run_on_what_is_shipped(source: Path, tmp_path: Path) -> None:
    """A test that needs an excluded file fails at build, where somebody is looking, not on the hosts."""
    with_config(source, '[build]\nexclude = ["notes.tmp"]\n[test]\npackage = ["cat notes.tmp"]')
    with pytest.raises(BuildFailed, match="No such file"):
        build(source, tmp_path / "out", "1.2.0")
    with_config(source, '[build]\nexclude = ["notes.tmp"]\n[test]\nunit = ["cat notes.tmp"]')
    assert build(source, tmp_path / "out", "1.2.0").package.exists()


def test_static_tests_see_the_source_and_leave_nothing_in_it(source: Path, tmp_path: Path) -> None:
    """They run before anything is built, on a copy of their own."""
    with_config(
        source,
        "[build]\nrun = [\"sh -c 'test ! -e cache && touch built'\"]\n"
        "[test]\nstatic = [\"sh -c 'test ! -e built && touch cache'\"]\n",
    )
    built = build(source, tmp_path / "out", "1.2.0")
    listed = {entry.path for entry in manifest_of(built).entries}
    assert "built" in listed
    assert "cache" not in listed


@pytest.mark.parametrize("stage", ["static", "unit", "package"])
def test_a_failing_test_is_told_with_its_stage(source: Path, tmp_path: Path, stage: str) -> None:
    """And what comes after it is not begun."""
    with_config(source, f'[build]\nrun = ["touch {tmp_path}/built"]\n[test]\n{stage} = ["false"]\n')
    with pytest.raises(BuildFailed, match=rf'\[test\] {stage}: "false" failed with exit code 1'):
        build(source, tmp_path / "out", "1.2.0")
    assert (tmp_path / "built").exists() is (stage != "static")
    assert not (tmp_path / "out").exists()


def test_command_leaves_nothing_running(source: Path, tmp_path: Path) -> None:
    """What a command leaves in the background ends with it, and holds nothing up."""
    pid = tmp_path / "pid"
    with_config(source, f"[build]\nrun = [\"sh -c 'sleep 60 & echo $! > {pid}'\"]")
    build(source, tmp_path / "out", "1.2.0")
    status = Path(f"/proc/{pid.read_text().strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_command_is_given_no_shell(source: Path, tmp_path: Path) -> None:
    """Semicolons and dollars of clarion.toml are ordinary letters."""
    with_config(source, f'[build]\nrun = ["echo x ; touch {tmp_path}/oops $(touch {tmp_path}/oops)"]')
    build(source, tmp_path / "out", "1.2.0")
    assert not (tmp_path / "oops").exists()


def make_socket(path: Path) -> None:
    """Leave a socket at `path`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def make_setuid(path: Path) -> None:
    """Leave a setuid program at `path`."""
    path.touch()
    path.chmod(0o4755)


def make_file_below(name: str) -> Callable[[Path], None]:
    """Return what leaves an empty file called `name` beside a path."""
    return lambda path: path.with_name(name).touch()


def make_zeros(size: int) -> Callable[[Path], None]:
    """Return what leaves a file of `size` zeros that takes no room."""

    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return make


def make_deep(path: Path) -> None:
    """Leave a folder 65 levels deep."""
    (path.parent / "/".join("d" * 65)).mkdir(parents=True)


BAD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an absolute link": (lambda path: path.symlink_to("/etc/passwd"), "'bad' is a link to '/etc/passwd', which is abs"),
    "a link out of the source": (lambda path: path.symlink_to("../../etc"), "which leaves the package"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "which is not in the package"),
    "a link to a link": (lambda path: path.symlink_to("current"), "which is itself a link"),
    "a link to an excluded file": (lambda path: path.symlink_to("notes.tmp"), "which is not in the package"),
    "a link to itself": (lambda path: path.symlink_to("bad"), "which is itself a link"),
    "a named pipe": (os.mkfifo, "'bad' is a named pipe"),
    "a socket": (make_socket, "'bad' is a socket"),
    "a setuid program": (make_setuid, "'bad' has the setuid or setgid bit"),
    "a newline in a name": (make_file_below("a\nb"), r"'a\\nb' holds a control character"),
    "a decomposed name": (make_file_below("e\u0301"), "NFC"),
    "a name that is not UTF-8": (make_file_below("\udcff"), "is not UTF-8"),
    "65 folders in each other": (make_deep, "folders deep"),
    "a file of zeros": (make_zeros(50 * 2**20), "'bad' shrinks"),
    "a sparse file of 9 GB": (make_zeros(9 * 2**30), "'bad' is larger"),
}


@pytest.mark.parametrize(("make", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_file_that_no_host_would_take_is_refused(
    source: Path, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    """What a host would refuse is refused while it can still be mended, and named."""
    make(source / "bad")
    with pytest.raises(BadManifest, match=message):
        build(source, tmp_path / "out", "1.2.0")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_device_is_refused(source: Path, tmp_path: Path) -> None:
    """A device is no file."""
    os.mknod(source / "null", 0o666 | 0o020000, os.makedev(1, 3))
    with pytest.raises(BadManifest, match="'null' is a device"):
        build(source, tmp_path / "out", "1.2.0")


def test_hundred_thousand_files_are_refused(source: Path, tmp_path: Path) -> None:
    """A package of more entries than a host takes is refused before it is packed, and the error says what to do."""
    with_config(source, '[build]\nrun = ["python3 make.py"]')
    write(source / "make.py", "import os; [os.link(('check.py', 'make.py')[n % 2], str(n)) for n in range(100_000)]")
    with pytest.raises(BadManifest, match="more than 50000 files and folders") as caught:
        build(source, tmp_path / "out", "1.2.0")
    assert "exclude" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(None, r"clarion\.toml does not exist", id="no clarion.toml"),
        pytest.param("[app", "not TOML", id="broken clarion.toml"),
        pytest.param('[app]\nname = "shop"\n[build]\nexclude = ["*.toml"]', "has no clarion.toml", id="excluded"),
    ],
)
def test_source_without_usable_settings_is_refused(
    source: Path, tmp_path: Path, config: str | None, message: str
) -> None:
    """A package always says how it is to be run."""
    (source / "clarion.toml").unlink()
    if config is not None:
        write(source / "clarion.toml", config)
    with pytest.raises((BadConfig, BadManifest), match=message):
        build(source, tmp_path / "out", "1.2.0")


def test_linked_settings_are_refused(source: Path, tmp_path: Path) -> None:
    """clarion.toml is a file, wherever a link might lead."""
    (source / "clarion.toml").rename(source / "other.toml")
    (source / "clarion.toml").symlink_to("other.toml")
    with pytest.raises(BadManifest, match=r"has no clarion\.toml"):
        build(source, tmp_path / "out", "1.2.0")


def test_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A wrong argument is answered with what is wanted."""
    with pytest.raises(OperatorError, match="is not a folder"):
        build(tmp_path / "nowhere", tmp_path / "out", "1")


def test_packages_do_not_go_among_the_source(source: Path) -> None:
    """A package among the source's own files would be part of the next one."""
    with pytest.raises(OperatorError, match="their own source"):
        build(source, source, "1.2.0")


def test_a_place_that_takes_no_package_is_named(source: Path, tmp_path: Path) -> None:
    """Not with a stack trace."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(HostError, match="out"):
        build(source, tmp_path / "out" / "dist", "1.2.0")


def test_failed_write_leaves_no_half_package(source: Path, tmp_path: Path) -> None:
    """If packages cannot be placed, what lay there stays."""
    out = tmp_path / "out"
    first = build(source, out, "1.2.0")
    before = bytes_of(first)
    first.package.unlink()
    first.package.mkdir()
    with pytest.raises((ClarionError, OSError)):
        build(source, out, "1.2.0")
    assert first.manifest.read_bytes() == before[1]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
