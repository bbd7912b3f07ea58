"""What of others is in a package is told by what its installer left behind."""

from __future__ import annotations

import pytest

from clarion_controller.nightly.dependencies import MAX_DEPENDENCIES, dependencies_of, moved

FOUND = {
    "a Python wheel": ({"lib/requests-2.32.0.dist-info/METADATA": b""}, {"requests": "2.32.0"}),
    "a Python name with a dash": (
        {"zope_interface-6.1.post1.dist-info/METADATA": b""},
        {"zope_interface": "6.1.post1"},
    ),
    "an old Python package": ({"site/six-1.16.0.egg-info": b""}, {"six": "1.16.0"}),
    "an old Python package's folder": ({"six-1.16.0-py3.11.egg-info/PKG-INFO": b""}, {"six": "1.16.0"}),
    "a module of Node.js": ({"node_modules/left-pad/package.json": b'{"version": "1.3.0"}'}, {"left-pad": "1.3.0"}),
    "one of a scope": ({"a/node_modules/@vue/cli/package.json": b'{"version": "5.0.8"}'}, {"@vue/cli": "5.0.8"}),
    "a part of a module": ({"node_modules/rxjs/ajax/package.json": b'{"version": "9"}'}, {}),
    "two versions of one": (
        {
            "node_modules/ms/package.json": b'{"version": "2.1.3"}',
            "node_modules/debug/node_modules/ms/package.json": b'{"version": "2.0.0"}',
        },
        {"ms": "2.0.0, 2.1.3"},
    ),
    "a gem": ({"vendor/bundle/specifications/rack-3.0.8.gemspec": b""}, {"rack": "3.0.8"}),
    "a jar": ({"lib/jackson-core-2.15.2.jar": b""}, {"jackson-core": "2.15.2"}),
    "Go modules": (
        {"vendor/modules.txt": b"# github.com/x/y v1.2.3\n## explicit\ngithub.com/x/y\n# z.org/w v0.1.0\n"},
        {"github.com/x/y": "v1.2.3", "z.org/w": "v0.1.0"},
    ),
    "PHP": (
        {"vendor/composer/installed.json": b'{"packages": [{"name": "monolog/monolog", "version": "3.4.0"}]}'},
        {"monolog/monolog": "3.4.0"},
    ),
    "no JSON": ({"node_modules/x/package.json": b"{", "vendor/composer/installed.json": b"[[["}, {}),
    "JSON of another shape": ({"node_modules/x/package.json": b'{"version": 1}'}, {}),
    "nested without end": ({"node_modules/x/package.json": b"[" * 100_000}, {}),
    "a large file that nobody reads": ({"node_modules/x/package.json": None}, {}),
    "other files": ({"README-1.0.md": b"", "lib/app.py": b""}, {}),
}


@pytest.mark.parametrize(("files", "wanted"), FOUND.values(), ids=FOUND)
def test_dependencies_are_found_where_installers_leave_them(
    files: dict[str, bytes | None], wanted: dict[str, str]
) -> None:
    """By name, each with its version."""
    assert dependencies_of(files, files.get) == wanted


def test_dependencies_are_bounded() -> None:
    """A package of a hundred thousand jars makes no report of megabytes."""
    paths = [f"x{number}-1.jar" for number in range(3 * MAX_DEPENDENCIES)]
    assert len(dependencies_of(paths, lambda _: None)) == MAX_DEPENDENCIES


def test_what_moved_is_named_with_both_versions() -> None:
    """What came and what went, too."""
    before = {"requests": "2.31.0", "idna": "3.4", "same": "1"}
    after = {"requests": "2.32.0", "certifi": "2026.1", "same": "1"}
    assert moved(before, after) == ["certifi 2026.1 is new", "idna 3.4 is gone", "requests 2.31.0 -> 2.32.0"]
