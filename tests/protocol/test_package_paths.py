"""Names in a package: the rules hold for every string, not only for those that somebody thought of."""

from __future__ import annotations

import os.path
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.package_paths import link_problem, parent_of, path_problem, resolve

NAMES = (
    st.text(alphabet="ab.é", min_size=1, max_size=5)
    .filter(lambda name: name not in {".", ".."})
    .map(lambda name: unicodedata.normalize("NFC", name))
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    "path", ["a", "a/b", ".hidden", "...", "a b", "é", "日本語", "a" * 255, "/".join("d" * 64), "a\\b", "$(x)"]
)
def test_ordinary_names_are_fine(path: str) -> None:
    """Names that a file system can hold and a person can read are allowed."""
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        pytest.param("", "empty", id="an empty name"),
        pytest.param("/etc/passwd", "absolute", id="an absolute path"),
        pytest.param("../x", '".."', id="a climb out"),
        pytest.param("a/../x", '".."', id="a climb in the middle"),
        pytest.param("a/..", '".."', id="a climb at the end"),
        pytest.param("./x", '"."', id="a dot at the start"),
        pytest.param("a/./x", '"."', id="a dot in the middle"),
        pytest.param("a//x", '""', id="two slashes"),
        pytest.param("a/", '""', id="a slash at the end"),
        pytest.param("a\nb", "control", id="a newline"),
        pytest.param("a\0b", "control", id="a zero byte"),
        pytest.param("a\x1b[31m", "control", id="a terminal's escape"),
        pytest.param("a\x85b", "control", id="a control of Latin-1"),
        pytest.param("a\u2028b", "control", id="a line separator"),
        pytest.param("a\ud800", "control", id="half of a surrogate pair"),
        pytest.param("e\u0301", "NFC", id="a decomposed accent"),
        pytest.param("a" * 256, "255", id="256 bytes in a component"),
        pytest.param("é" * 128, "255", id="256 bytes in 128 letters"),
        pytest.param("/".join(["a" * 200] * 6), "1024", id="1,205 bytes"),
        pytest.param("/".join("d" * 65), "64", id="65 folders deep"),
    ],
)
def test_dangerous_names_are_refused(path: str, problem: str) -> None:
    """Each name that some reader takes for something else is refused, and the reason says why."""
    assert problem in str(path_problem(path))


@pytest.mark.parametrize(
    ("path", "target", "problem"),
    [
        pytest.param("a", "/etc/passwd", "absolute", id="absolute"),
        pytest.param("a", "../etc", "leaves", id="out from the top"),
        pytest.param("a/b/c", "../../../etc", "leaves", id="out from below"),
        pytest.param("a/b", "..", "empty", id="to a folder above by dots alone"),
        pytest.param("a/b", "../..", "empty", id="out by dots alone"),
        pytest.param("a", ".", '"."', id="to its own folder"),
        pytest.param("a", "b/../../x", '".."', id="a climb after a descent"),
        pytest.param("a/b", "..//x", "absolute", id="two slashes after a climb"),
        pytest.param("a", "", "empty", id="to nothing"),
        pytest.param("a", "b\0", "control", id="a zero byte"),
        pytest.param("d/" * 60 + "a", "../" * 60 + "/".join(["b" * 100] * 9), "1024", id="1,089 bytes"),
    ],
)
def test_dangerous_links_are_refused(path: str, target: str, problem: str) -> None:
    """A link that is absolute, leaves the package or takes a winding way is refused."""
    assert problem in str(link_problem(path, target))


@given(st.text(max_size=30))
def test_allowed_name_stays_where_it_is(path: str) -> None:
    """Whatever is allowed is its own normal form, stays below its root and survives UTF-8."""
    if path_problem(path) is None:
        assert os.path.normpath(path) == path
        assert os.path.normpath(f"/root/{path}").startswith("/root/")
        assert path.encode().decode() == path
        assert unicodedata.normalize("NFC", path) == path


@given(PATHS, st.integers(0, 6), PATHS)
def test_allowed_link_resolves_as_the_kernel_would(path: str, climbs: int, below: str) -> None:
    """A link that is allowed leads to where `normpath` says, and that is inside."""
    target = "../" * climbs + below
    if path_problem(path) is None and link_problem(path, target) is None:
        assert resolve(path, target) == os.path.normpath(f"{parent_of(path)}/{target}").lstrip("/")
        assert path_problem(resolve(path, target)) is None
    else:
        assert climbs > path.count("/") or path_problem(path) or path_problem(below)
