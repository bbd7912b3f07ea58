"""What git says is wrong with a remote, in a sentence of ours: the line that tells, and what to do."""

from __future__ import annotations

import pytest

from clarion_controller.builds.git_errors import explain
from clarion_protocol.errors import BadConfig, NetworkError

URL = "git@git.example.net:acme/shop.git"
TRAILER = """fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists."""
NO_NAME = "ssh: Could not resolve hostname git.example.net: Name or service not known"
TELLING = [
    pytest.param(f"{NO_NAME}\n{TRAILER}", NO_NAME, id="ssh finds no such name"),
    pytest.param(
        f"Connection closed by 192.0.2.1 port 22\r\n{TRAILER}",
        "Connection closed by 192.0.2.1 port 22",
        id="a server that hangs up",
    ),
    pytest.param(
        "fatal: unable to access 'https://x/': Could not resolve host: x\nwarning: something else",
        "fatal: unable to access 'https://x/': Could not resolve host: x",
        id="a warning after it",
    ),
    pytest.param(TRAILER, "fatal: Could not read from remote repository.", id="nothing but the trailer"),
    pytest.param("", "git failed and said nothing", id="nothing at all"),
]


@pytest.mark.parametrize(("said", "line"), TELLING)
def test_the_line_that_tells_what_is_wrong_is_shown(said: str, line: str) -> None:
    """Not what git adds below every failure; and how to try it."""
    error = explain(said, URL, has_credential=False)
    assert isinstance(error, NetworkError)
    assert error.message == f"{URL} cannot be reached: {line}"
    assert error.hint == f"Check url: 'git ls-remote {URL}'."


@pytest.mark.parametrize(
    "line",
    [
        "fatal: invalid value for 'submodule.x.update'",
        "fatal: bad config line 1 in file /build/source/.gitmodules",
        "fatal: Fetched in submodule path 'x', but it did not contain 1111.",
        "fatal: clone of 'https://x/y' into submodule path '/build/x' failed",
    ],
)
def test_a_submodule_that_cannot_be_had_is_no_remote_that_is_away(line: str) -> None:
    """The repository itself was just fetched."""
    error = explain(f"Cloning into 'x'...\n{line}", URL, has_credential=False)
    assert error.message == f"a submodule of {URL} cannot be fetched: {line}"
    assert "git submodule update" in (error.hint or "")


def test_a_name_like_submodule_is_a_name() -> None:
    """What is away is the repository itself."""
    url = "https://git.example.net/submodules.git"
    assert explain(f"fatal: unable to access '{url}'", url, has_credential=False).message.startswith(f"{url} cannot be")


def test_a_forge_that_knows_no_such_repository() -> None:
    """GitHub says so over ssh, and to whom it does not let in."""
    error = explain(f"ERROR: Repository not found.\n{TRAILER}", URL, has_credential=False)
    assert isinstance(error, BadConfig)
    assert error.message == f"{URL} is no git repository"


@pytest.mark.parametrize(
    ("url", "has_credential", "hint"),
    [
        (URL, True, "make the public half a deploy key"),
        ("ssh://git@git.example.net/shop", False, "make the public half a deploy key"),
        ("https://git.example.net/shop", False, "Set credential"),
        ("https://git.example.net/shop", True, "still valid?"),
    ],
)
def test_who_is_not_let_in_is_told_what_opens(url: str, has_credential: bool, hint: str) -> None:
    """A token opens what is fetched over https, a key what is fetched over ssh."""
    error = explain(f"git@x: Permission denied (publickey).\n{TRAILER}", url, has_credential=has_credential)
    assert hint in (error.hint or "")
