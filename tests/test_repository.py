"""Rules of this repository that a machine keeps; CONTRIBUTING.md tells people the same."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli

from clarion_agent.config import EXAMPLE, load_config
from clarion_protocol import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agent/clarion_protocol", "agent/clarion_agent", "controller/clarion_controller")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
UNITS = sorted((ROOT / "systemd").glob("*.service"))

EMPTY_WORDS = {"manager", "helper", "helpers", "util", "utils", "base", "handler", "handlers", "processor", "common"}
# A script beside such a file imports it in place of the standard library's.
STANDARD_NAMES = {"select", "signal", "queue", "secrets", "token", "platform", "test"}
CLOUDS = ("aws", "gcp", "azure", "ansible", "test-clouds", "notify")
BANNED_MODULES = {"pickle", "cPickle", "marshal", "shelve", "yaml", "dill", "cloudpickle"}
BANNED_CALLS = {"eval", "exec", "extractall", "system", "popen"}
# Tenths of systemd's own score; 0 is shut in completely, 100 not at all.
EXPOSURE = {
    "clarion-agent": 25,
    "clarion-agent-join": 17,
    "clarion-controller": 12,
    "clarion-test@": 5,
    "clarion-check@": 12,
    "clarion-builder": 30,  # it builds walls, which takes namespaces and mounts
    "clarion-nightly": 90,  # it makes servers, as root
}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Yield what a module must not hold, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f"line {node.lineno}: {name}" for name in imported(node) if name in BANNED_MODULES)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in BANNED_CALLS or any(keyword.arg == "shell" for keyword in node.keywords):
                yield f"line {node.lineno}: {name}()"


def imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the top-level packages that an import names."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {node.module.split(".")[0]} if node.module and not node.level else set()


def test_modules_are_named_for_what_they_do() -> None:
    """No module hides behind an empty word, and none takes a name of the standard library."""
    assert [path for path in SOURCES if EMPTY_WORDS & set(path.stem.split("_"))] == []
    assert [path for path in SOURCES if path.stem in STANDARD_NAMES] == []


def test_peers_bytes_are_never_turned_into_code() -> None:
    """No pickle, no YAML, no eval, no shell, no archive that unpacks itself."""
    assert [f"{path}: {what}" for path in SOURCES for what in dangers(ast.parse(path.read_text()))] == []


def test_the_rule_against_dangers_sees_them() -> None:
    """Each banned thing is found in a line that holds it: a rule that finds nothing proves nothing."""
    lines = ["import pickle", "from yaml import load", "run(x, shell=True)", "archive.extractall()", "eval(x)"]
    assert [line for line in lines if not list(dangers(ast.parse(line)))] == []


def test_files_stay_short() -> None:
    """No file of the product is longer than anybody wants to read."""
    assert [path for path in SOURCES if len(path.read_text().splitlines()) >= 400] == []


def test_every_test_says_what_it_shows() -> None:
    """Each test has a sentence that states the behaviour."""
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("folder", ["packaging", "systemd"])
def test_folders_named_like_libraries_hold_nothing_importable(folder: str) -> None:
    """An importable `packaging` would shadow the library of that name."""
    assert not list((ROOT / folder).rglob("*.py"))


# By name, not by asking for subclasses: a test may have defined one of its own.
ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ClarionError)]


def test_every_error_code_is_documented() -> None:
    """docs/reference/errors.md has a row for each code that can travel, and none for a code that cannot."""
    rows = re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
    code = re.compile(r'^    code = "([a-z_]+\.[a-z_]+)"$', re.MULTILINE)
    codes = {found for path in SOURCES for found in code.findall(path.read_text())}
    assert {error.code for error in ERRORS if "." in error.code} <= codes
    assert sorted(rows) == sorted(codes)


def test_error_codes_begin_with_their_group() -> None:
    """The first word of a code is the code of the class above it: whose fault it is."""
    for error in ERRORS:
        group, dot, _ = error.code.partition(".")
        assert not dot or group == error.__mro__[1].__dict__["code"]


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-clouds.txt"])
def test_pins_name_packages_versions_and_hashes_only(file: str) -> None:
    """No address of an index gets into the pins, so they are true on every machine."""
    form = re.compile(r"#.*|[a-z0-9-]+==[^ /]+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    for line in (ROOT / file).read_text().splitlines():
        assert form.fullmatch(line), line


def test_pins_cover_everything_the_project_names() -> None:
    """Each dependency of pyproject.toml, of each extra, and the build backend is pinned; the clouds' apart."""
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": extras["dependencies"], **extras["optional-dependencies"]}
    names = {
        group: {re.split(r"[\[><=; ]", each)[0].replace(".", "-") for each in needs} - {"clarion"}
        for group, needs in groups.items()
    }
    clouds = {name for group in CLOUDS for name in names.pop(group)}
    core = {name for group in names.values() for name in group} | {"hatchling"}
    pins, all_pins = (_pins(file) for file in ("constraints.txt", "constraints-clouds.txt"))
    assert "tuf" in core
    assert core <= set(pins)
    assert core | clouds <= set(all_pins)
    assert not {"boto3", "google-cloud-compute", "azure-identity"} & set(pins)
    assert pins.items() <= all_pins.items()


def _pins(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / file).read_text(), re.MULTILINE))


def test_the_example_configuration_is_valid() -> None:
    """agent.example.toml, which the Debian package installs, is read without complaint."""
    assert load_config(EXAMPLE).units_of("shop") == ("shop.service",)


def test_every_make_target_has_its_line_of_help() -> None:
    """`make help` leaves nothing out."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_stay_shut_in(path: Path) -> None:
    """The exposure that systemd itself rates never rises above what we aim for."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: run 'make lab-deps'")
    threshold = f"--threshold={EXPOSURE[path.stem]}"
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", threshold, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-400:] + rated.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_explain_themselves(path: Path) -> None:
    """Each unit begins with what it is for, and gives reasons below."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert sum(line.startswith("#") for line in lines) >= 10


def test_the_sandbox_has_a_mount_point_for_all_it_shows() -> None:
    """What clarion-test@.service binds into its root is in the skeleton that build-deb makes."""
    unit = (ROOT / "systemd/clarion-test@.service").read_text()
    shown = re.findall(r"-(/etc/[a-z./_-]+)", " ".join(re.findall(r"^BindReadOnlyPaths=(.*)$", unit, re.MULTILINE)))
    builder = (ROOT / "packaging/build-deb").read_text()
    assert len(shown) > 5
    assert [path for path in shown if path.removeprefix("/etc/").removesuffix("/certs") not in builder] == []
