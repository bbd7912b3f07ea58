"""GitHub and GitLab, against doubles that take only what the two document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.controller.forges import fake_gitlab
from tests.controller.forges.fake_github import COMMIT, TOKEN, FakeGithub
from tests.controller.forges.fake_gitlab import FakeGitlab
from tests.controller.notifiers.listening import answer, dripping_body, garbage, listening

from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.forges.choose import forge_of, origin_of
from clarion_controller.forges.github import GithubForge
from clarion_controller.forges.gitlab import GitlabForge
from clarion_controller.forges.report import Forge, ForgeReport, Outcome
from clarion_controller.notice import Undelivered
from clarion_protocol.errors import BadConfig


def a_report(outcome: Outcome = Outcome.PENDING, **given: Any) -> ForgeReport:
    """Return what is told of a build, or with an environment of a deployment."""
    known: dict[str, Any] = {"id": "forge-1", "repository": "shop", "commit": COMMIT, "ref": "refs/heads/main"}
    return ForgeReport(**{**known, "outcome": outcome, "description": "12 tests passed", "at": 1.0, **given})


def a_deployment(outcome: Outcome = Outcome.PENDING, **given: Any) -> ForgeReport:
    """Return what is told of a deployment."""
    return a_report(outcome, **{"environment": "production", "deployment": "d" * 32, **given})


@contextmanager
def github() -> Iterator[tuple[FakeGithub, Forge]]:
    """Yield the double, and who tells it."""
    double = FakeGithub()
    with listening(double) as listener:
        yield double, GithubForge(listener.url, "acme/shop", TOKEN)
    assert not double.complaints


@contextmanager
def gitlab() -> Iterator[tuple[FakeGitlab, Forge]]:
    """Yield the double, and who tells it."""
    double = FakeGitlab()
    with listening(double) as listener:
        yield double, GitlabForge(f"{listener.url}/api/v4", "acme/team/shop", fake_gitlab.TOKEN)
    assert not double.complaints


def test_github_shows_how_a_build_stands() -> None:
    """On its commit, each outcome by GitHub's own word."""
    with github() as (double, forge):
        for outcome in Outcome:
            assert forge.tell(a_report(outcome), "") == ""
    assert [body["state"] for _, body in double.statuses] == ["pending", "success", "failure", "error"]
    assert double.statuses[0] == (
        COMMIT,
        {"state": "pending", "context": "clarion/build", "description": "12 tests passed"},
    )


def test_github_shows_a_deployment_from_its_beginning_to_its_end() -> None:
    """One deployment there, which asks for no merge and no check of GitHub's own."""
    with github() as (double, forge):
        number = forge.tell(a_deployment(), "")
        assert forge.tell(a_deployment(Outcome.SUCCESS), number) == number
    (made,) = double.deployments
    assert (made["ref"], made["environment"], made["auto_merge"]) == (COMMIT, "production", False)
    assert double.states == {int(number): ["in_progress", "success"]}


@pytest.mark.parametrize("lost_after", [0, 1, 2])
def test_github_is_told_once_although_an_answer_was_lost(lost_after: int) -> None:
    """Whichever of the three: what was made is found again, and made once."""
    with github() as (double, forge):
        double.trouble = [*[None] * lost_after, answer(502)]
        with pytest.raises(Undelivered) as caught:
            forge.tell(a_deployment(), "")
        assert not caught.value.is_final
        number = forge.tell(a_deployment(), "")
        assert forge.tell(a_deployment(deployment="e" * 32), "") != number
    assert len(double.deployments) == 2
    assert set(double.states[int(number)]) == {"in_progress"}


def test_github_that_is_asked_too_often_says_until_when() -> None:
    """With a status that otherwise means no."""
    limited = answer(403, "", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 4102444800")
    with listening(limited) as listener, pytest.raises(Undelivered, match="too often") as caught:
        GithubForge(listener.url, "acme/shop", TOKEN).tell(a_report(), "")
    assert not caught.value.is_final
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 3600


def test_gitlab_shows_how_a_build_stands() -> None:
    """By its own words; the ref as it calls it."""
    with gitlab() as (double, forge):
        for outcome in Outcome:
            assert forge.tell(a_report(outcome), "") == ""
    assert [body["state"] for body in double.statuses] == ["running", "success", "failed", "canceled"]
    assert (double.statuses[0]["ref"], double.statuses[0]["name"]) == ("main", "clarion/build")


def test_gitlab_that_knows_already_has_been_told() -> None:
    """It refuses a status that stands; a retry must not be given up for that."""
    with gitlab() as (double, forge):
        double.trouble = [answer(502)]
        with pytest.raises(Undelivered):
            forge.tell(a_report(), "")
        forge.tell(a_report(), "")
        number = forge.tell(a_deployment(), "")
        for _ in range(2):
            forge.tell(a_deployment(Outcome.FAILURE), number)
        forge.tell(a_deployment(Outcome.SUCCESS), number)
    assert len(double.statuses) == 1
    assert double.deployments[int(number)]["status"] == "failed"


def test_gitlab_shows_a_deployment_from_its_beginning_to_its_end() -> None:
    """Of a tag, too."""
    with gitlab() as (double, forge):
        number = forge.tell(a_deployment(ref="refs/tags/v1.2"), "")
        assert forge.tell(a_deployment(Outcome.SUCCESS), number) == number
    wanted = {"environment": "production", "sha": COMMIT, "ref": "v1.2", "tag": True, "status": "success"}
    assert double.deployments == {int(number): wanted}


@pytest.mark.parametrize("lost_after", [0, 1])
def test_gitlab_is_told_once_although_an_answer_was_lost(lost_after: int) -> None:
    """What runs there already is taken for ours."""
    with gitlab() as (double, forge):
        double.trouble = [*[None] * lost_after, answer(502)]
        with pytest.raises(Undelivered):
            forge.tell(a_deployment(), "")
        forge.tell(a_deployment(Outcome.SUCCESS), forge.tell(a_deployment(), ""))
    assert [each["status"] for each in double.deployments.values()] == ["success"]


def test_a_commit_that_gitlab_does_not_know_is_a_refusal() -> None:
    """Its words for that are almost those for what it knows already."""
    with listening(FakeGitlab()) as listener:
        forge = GitlabForge(f"{listener.url}/api/v4", "acme/team/shop", fake_gitlab.TOKEN)
        with pytest.raises(Undelivered, match="does not exist") as caught:
            forge.tell(a_deployment(commit="0" * 40), "")
    assert caught.value.is_final


BOTH: list[Callable[[str], Forge]] = [
    lambda url: GithubForge(url, "acme/shop", TOKEN),
    lambda url: GitlabForge(url, "acme/shop", TOKEN),
]


@pytest.mark.parametrize("forge", BOTH, ids=["github", "gitlab"])
def test_a_wrong_token_is_final_and_not_repeated(forge: Callable[[str], Forge]) -> None:
    """In no error, and in no address."""
    with listening(answer(401, f"bad token {TOKEN}")) as listener, pytest.raises(Undelivered, match="401") as caught:
        forge(listener.url).tell(a_deployment(), "")
    assert caught.value.is_final
    assert TOKEN not in f"{caught.value.reason}{listener.requests[0].path}"
    assert listener.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("forge", BOTH, ids=["github", "gitlab"])
def test_no_token_goes_over_plain_http(forge: Callable[[str], Forge]) -> None:
    """But to this machine."""
    with pytest.raises(Undelivered, match="use https") as caught:
        forge("http://192.0.2.1").tell(a_report(), "")
    assert caught.value.is_final


NONSENSE = {"no JSON": "<html>", "another shape": '{"id": "x"}', "a list": "[1]", "no number": "{}", "nothing": ""}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("forge", BOTH, ids=["github", "gitlab"])
def test_an_answer_that_makes_no_sense_is_no_crash(forge: Callable[[str], Forge], body: str) -> None:
    """Whether it is asked what there is, or told."""
    with listening(answer(200, body)) as listener, pytest.raises(Undelivered):
        forge(listener.url).tell(a_deployment(), "")
    with listening(answer(200, "[]"), answer(201, body)) as listener, pytest.raises(Undelivered):
        forge(listener.url).tell(a_deployment(), "")


@pytest.mark.parametrize("forge", BOTH, ids=["github", "gitlab"])
def test_a_forge_that_speaks_something_else_is_no_crash(forge: Callable[[str], Forge]) -> None:
    """It may be another service on that port."""
    with listening(garbage) as listener, pytest.raises(Undelivered):
        forge(listener.url).tell(a_report(), "")
    with listening(dripping_body) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setattr("clarion_controller.forges.call.PATIENCE", 0.5)
        with pytest.raises(Undelivered, match="did not answer"):
            forge(listener.url).tell(a_report(), "")


@pytest.mark.parametrize("forge", BOTH, ids=["github", "gitlab"])
def test_nothing_in_a_report_changes_the_address(forge: Callable[[str], Forge]) -> None:
    """Neither a commit nor a number is a path."""
    with listening(answer(201, '{"id": 1}')) as listener:
        forge(listener.url).tell(a_report(commit="../../user/keys?x="), "")
        forge(listener.url).tell(a_deployment(), "1/../../../x")
    for request in listener.requests:
        assert "/../" not in request.path
        assert "?" not in request.path


@pytest.mark.parametrize(
    "text", ["x" * 5000, "a\r\nb\x00", "\N{PILE OF POO}" * 999, ""], ids=lambda text: repr(text)[:9]
)
def test_whatever_a_build_says_fits(text: str) -> None:
    """Into what both allow."""
    with github() as (_, hub), gitlab() as (_, lab):
        hub.tell(a_report(description=text), "")
        hub.tell(a_deployment(description=text), "")
        lab.tell(a_report(description=text), "")


ORIGINS = {
    "https://github.com/acme/shop.git": ("github.com", "acme/shop"),
    "https://git.example.net:8443/acme/team/shop": ("git.example.net:8443", "acme/team/shop"),
    "https://x-access-token@github.com/acme/shop.git/": ("github.com", "acme/shop"),
    "git@github.com:acme/shop.git": ("github.com", "acme/shop"),
    "ssh://git@git.example.net:2222/acme/shop.git": ("git.example.net", "acme/shop"),
    "git://git.example.net/acme/shop": ("git.example.net", "acme/shop"),
    "file:///srv/git/shop.git": ("", ""),
    "/srv/git/shop.git": ("", ""),
}


@pytest.mark.parametrize(("url", "origin"), ORIGINS.items())
def test_a_remote_says_where_its_forge_is(url: str, origin: tuple[str, str]) -> None:
    """Its host, and what it calls the repository."""
    assert origin_of(url) == origin


def api_of_forge(home: Path, **given: Any) -> tuple[str, str]:
    """Return the API and the address of what is told there."""
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "token").write_text(TOKEN)
    (home / "secrets" / "token").chmod(0o600)
    found = forge_of(Repository(**{"token": Secret("file:token"), **given}), home)
    assert isinstance(found, (GithubForge, GitlabForge))
    assert TOKEN not in repr(found._api)
    return found._api.url, found._repository if isinstance(found, GithubForge) else found._project


def test_what_is_not_set_follows_from_the_remote(tmp_path: Path) -> None:
    """The public API, that of an own GitHub, that of an own GitLab; what is set counts."""
    hub, lab, own = "https://github.com/acme/shop.git", "git@gitlab.com:acme/shop.git", "https://git.example.net/a/b"
    assert api_of_forge(tmp_path, url=hub) == ("https://api.github.com", "/repos/acme/shop")
    assert api_of_forge(tmp_path, url=own) == ("https://git.example.net/api/v3", "/repos/a/b")
    gitlab_api = ("https://gitlab.com/api/v4", "/projects/acme%2Fshop")
    assert api_of_forge(tmp_path, url=lab, forge="gitlab") == gitlab_api
    given = {"api": "http://127.0.0.1:99/", "slug": "x/y"}
    assert api_of_forge(tmp_path, url="/srv/git", **given) == ("http://127.0.0.1:99", "/repos/x/y")


@pytest.mark.parametrize(
    "given",
    [{"url": "/srv/git"}, {"url": "https://x/a/b", "forge": "generic"}, {"url": "https://x/a/b", "token": None}],
    ids=["a folder", "no forge", "no token"],
)
def test_who_cannot_be_told_is_said(tmp_path: Path, given: dict[str, Any]) -> None:
    """With what to set."""
    with pytest.raises(BadConfig) as caught:
        api_of_forge(tmp_path, **given)
    assert caught.value.hint
