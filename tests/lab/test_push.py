"""From a push to what servers run: git, GitHub's announcement, build, publication, deployment, and who is told.

A bare repository is pushed to; GitHub's double and whoever is notified answer from this process, on the loopback of
the controller's server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.controller.builds.pushing import SECRET, github_headers, github_push
from tests.controller.forges.fake_github import TOKEN, FakeGithub
from tests.controller.notifiers.listening import Listener, Request, answer, listening

from . import debs
from .cache import Cache
from .cluster import APP, Cluster, Truth
from .debian import BUILDING, with_packages
from .inside import inside
from .lab import Lab
from .shop import quick_shop
from .until import until

pytestmark = pytest.mark.timeout(900)
ENVIRONMENT = "staging"
BARE, WORK = "/srv/git/shop.git", "/root/shop"
HOOK = "http://127.0.0.1:7415/hooks/shop"
FLEET = f"""
[repository.shop]
url = "file://{BARE}"
slug = "acme/shop"
secret = "file:shop-hook"
token = "file:shop-status-token"
api = "{{github}}"
auto_deploy = "{ENVIRONMENT}"

[[notify]]
name = "everything"
webhook = {{{{ url = "{{notices}}/told", secret = "file:told" }}}}
"""
SILENT, ANSWERS = 'inventory = "gone.ini"', 'static = ["web-1", "web-2"]'
TOLD_SECRET = "whoever is told checks this"
SECRETS = {"shop-hook": SECRET, "shop-status-token": TOKEN, "told": TOLD_SECRET}
GIT = ("git", "-C", WORK, "-c", "user.name=Ada", "-c", "user.email=ada@example.net")


@dataclass(frozen=True)
class Announcement:
    """What GitHub sends of a push."""

    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, commit: str) -> Announcement:
        """Return how GitHub announces a push of `commit` to main."""
        body = github_push(commit)
        return cls(body, github_headers(body, str(uuid.uuid4())))

    def under(self, delivery: str) -> Announcement:
        """Return the same under another number, which GitHub does not sign."""
        return replace(self, headers={**self.headers, "x-github-delivery": delivery})


@dataclass(frozen=True)
class Site:
    """A cluster whose staging follows main, and those outside of it."""

    cluster: Cluster
    github: FakeGithub
    told: Listener

    def commit(self, path: str, text: str) -> str:
        """Change one file of the shop and push that; return the commit."""
        control = self.cluster.control
        control.write(f"{WORK}/{path}", text)
        control.run(*GIT, "add", ".")
        control.run(*GIT, "commit", "--quiet", "-m", f"Change {path}")
        control.run(*GIT, "push", "--quiet", "origin", "HEAD:main")
        commit = control.run(*GIT, "rev-parse", "HEAD").stdout.strip()
        self.github.commits.add(commit)
        return commit

    def send(self, announcement: Announcement) -> tuple[int, str]:
        """Send what GitHub sends; return the answer's status, and what it says."""
        headers = [word for each in announcement.headers.items() for word in ("--header", ": ".join(each))]
        show = ("--silent", "--max-time", "20", "--write-out", "%{http_code}", "--data-binary", "@-")
        done = self.cluster.control.run("curl", *show, *headers, HOOK, stdin=announcement.body.decode())
        return int(done.stdout[-3:]), done.stdout[:-3].strip()

    def announce(self, commit: str) -> None:
        """Have GitHub announce a push, which is taken on."""
        assert self.send(Announcement.of(commit)) == (202, f"{commit[:12]} of refs/heads/main will be built")

    def builds(self) -> list[dict[str, Any]]:
        """Return what `clarion builds` lists, newest first."""
        found: list[dict[str, Any]] = json.loads(self.cluster.must("builds", "--json"))
        return found

    def build_once_over(self, commit: str) -> dict[str, Any]:
        """Return the build of a commit when it has ended."""
        self.until(f"{commit} is built", lambda: self.builds()[0]["finished_at"] is not None)
        build = self.builds()[0]
        assert build["commit"] == commit
        return build

    def until_all_answer(self, version: str) -> None:
        """Wait until a version answers customers everywhere, and its deployment is over."""
        cluster = self.cluster
        self.until(f"{version} answers", lambda: {cluster.answer(web) for web in cluster.webs} == {version})
        cluster.wait_until_over()

    def statuses(self, commit: str) -> list[str]:
        """Return what GitHub was told of a commit, in order."""
        return [body["state"] for told, body in self.github.statuses if told == commit]

    def deployments(self, commit: str) -> list[tuple[str, list[str]]]:
        """Return to which environments GitHub was told that a commit was deployed, and how that went."""
        made = [each for each in self.github.deployments if each["ref"] == commit]
        return [(each["environment"], self.github.states[each["id"]]) for each in made]

    def news_of_builds(self) -> list[dict[str, Any]]:
        """Return the notices about builds that arrived, in order."""
        told = [genuine(request) for request in self.told.requests]
        return [notice for notice in told if notice["kind"].startswith("build_")]

    @contextmanager
    def listed_by(self, source: str) -> Iterator[None]:
        """Have another source list the servers of staging for a while."""
        path, table = "/var/lib/clarion/fleet.toml", f"[[environment.{ENVIRONMENT}.hosts]]"
        before = self.cluster.control.read(path)
        self.cluster.control.write(path, f"{before}\n{table}\n{source}\n")
        try:
            yield
        finally:
            self.cluster.control.write(path, before)

    def state(self) -> tuple[str, object, list[tuple[Truth, str]]]:
        """Return what is published, what was ordered last, and what each server runs as which process."""
        cluster = self.cluster
        running = [(cluster.truth(web), web.show("shop.service", "MainPID")) for web in cluster.webs]
        return cluster.must("packages", APP, "--json"), cluster.status()["deployment"], running

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for something; what the controller and the builder said is part of a failure."""
        try:
            until(what, holds, 60)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.builds()[:2]}\n{self.cluster.control.last_words()}") from error


def genuine(request: Request) -> dict[str, Any]:
    """Return the notice in a request, which has to bear our signature."""
    signed = request.headers["x-clarion-timestamp"].encode() + b"." + request.body
    signature = hmac.new(TOLD_SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["x-clarion-signature-256"] == f"sha256={signature}"
    notice: dict[str, Any] = request.json
    return notice


@pytest.fixture(scope="module")
def site(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a controller with its builder, two servers in staging, a repository of the shop, and GitHub's double."""
    debian = with_packages(cache, *BUILDING)
    github = FakeGithub()
    with Lab(cache) as lab, ExitStack() as stack:
        (control,) = lab.boot("control", layers=[debs.installed(cache, "clarion", over=debian), debian])
        webs = lab.boot("web-1", "web-2", layers=[debs.installed(cache, "clarion-agent")])
        cluster = Cluster(lab, control, webs, ENVIRONMENT)
        there = partial(inside, lab.network.namespace(control.name))
        api = there(lambda: stack.enter_context(listening(github)))
        told = there(lambda: stack.enter_context(listening(answer(204))))
        cluster.found(FLEET.format(github=api.url, notices=told.url))
        share_secrets(cluster)
        make_repository(cluster, quick_shop(tmp_path_factory.mktemp("source")))
        for web in webs:
            cluster.join(web)
        cluster.wait_until_connected()
        yield Site(cluster, github, told)
        assert github.complaints == []


def share_secrets(cluster: Cluster) -> None:
    """Put every secret into its file, for the controller's user alone."""
    cluster.control.run("install", "-d", "-o", "clarion", "-g", "clarion", "-m", "0700", "/var/lib/clarion/secrets")
    for name, secret in SECRETS.items():
        cluster.control.write(f"/var/lib/clarion/secrets/{name}", f"{secret}\n", mode="0600")
    cluster.control.run("chown", "-R", "clarion:clarion", "/var/lib/clarion/secrets")


def make_repository(cluster: Cluster, source: Path) -> None:
    """Make a bare repository, and a clone of it with the shop's source in it."""
    control = cluster.control
    control.run("git", "init", "--quiet", "--bare", "--initial-branch=main", BARE)
    control.copy_in(source, str(Path(WORK).parent))
    control.run("git", "init", "--quiet", "--initial-branch=main", WORK)
    control.run(*GIT, "remote", "add", "origin", BARE)


def test_a_push_runs_on_every_server_of_staging(site: Site) -> None:
    """What was pushed is built, published and deployed, and GitHub hears of each step once."""
    commit = site.commit("NEWS", "the first version\n")
    site.announce(commit)
    site.until_all_answer(commit[:12])
    site.cluster.assert_all_run(commit[:12])
    build = site.build_once_over(commit)
    assert (build["status"], build["by"], build["deployed_to"]) == ("succeeded", "ada", ENVIRONMENT)
    site.until("GitHub knows", lambda: site.deployments(commit) == [(ENVIRONMENT, ["in_progress", "success"])])
    assert site.statuses(commit) == ["pending", "success"]


def test_what_is_red_goes_nowhere_and_is_told_once(site: Site) -> None:
    """A test that fails ends it: nothing is published or deployed, all say so, and once more when it is mended."""
    green = site.cluster.control.read(f"{WORK}/test_shop.py")
    before = site.state()
    red = site.commit("test_shop.py", green.replace('"coffee"', '"unicorns"'))
    site.announce(red)
    build = site.build_once_over(red)
    assert (build["status"], build["deployed_to"]) == ("failed", "")
    site.until("GitHub knows", lambda: site.statuses(red) == ["pending", "failure"])
    site.until("people know", lambda: site.news_of_builds() != [])
    assert "[test] unit" in site.cluster.must("builds")
    assert "FAIL: test_it_sells_what_it_has" in site.cluster.must("builds", "log", build["id"][:8])
    assert site.deployments(red) == []
    assert site.state() == before

    mended = site.commit("test_shop.py", green)
    site.announce(mended)
    site.until_all_answer(mended[:12])
    site.until("people know", lambda: len(site.news_of_builds()) > 1)
    broken, repaired = site.news_of_builds()
    assert (broken["kind"], repaired["kind"]) == ("build_broken", "build_repaired")
    assert (repaired["resolves"], repaired["incident"]) == (True, broken["incident"])
    assert broken["next_command"] == f"clarion builds log {build['id'][:8]}"


def test_what_is_in_the_way_of_a_deployment_is_waited_for(site: Site) -> None:
    """A source of servers is silent when the build is green: that is said, and once it answers the deployment comes."""
    with site.listed_by(SILENT):
        commit = site.commit("NEWS", "the source is silent\n")
        site.announce(commit)
        site.until("it waits", lambda: site.builds()[0]["waits_for"] == ENVIRONMENT)
        build = site.build_once_over(commit)
        assert (build["status"], build["deployed_to"]) == ("succeeded", "")
        said = " ".join(site.cluster.must("builds", "--limit", "1").split())
        assert f"waits to be deployed to {ENVIRONMENT}: inventory gone.ini" in said
        assert site.statuses(commit)[:1] == ["pending"]
        assert site.deployments(commit) == []
    with site.listed_by(ANSWERS):
        site.until_all_answer(commit[:12])
        site.cluster.assert_all_run(commit[:12])
        site.until("it is settled", lambda: site.builds()[0]["deployed_to"] == ENVIRONMENT)
    assert site.builds()[0]["waits_for"] == ""
    site.until("GitHub knows", lambda: site.deployments(commit) == [(ENVIRONMENT, ["in_progress", "success"])])


def test_a_replay_and_a_forgery_build_nothing(site: Site) -> None:
    """What was announced is not announced again, under no number; with a byte changed, it is nobody's."""
    commit = site.commit("NEWS", "sent twice, and forged\n")
    sent = Announcement.of(commit)
    assert site.send(sent)[0] == 202
    site.build_once_over(commit)
    known = site.builds()
    assert site.send(sent) == (200, "already known")
    assert site.send(sent.under(str(uuid.uuid4()))) == (200, "already known")
    digit = "0" if commit[-1] != "0" else "1"
    forged = replace(sent, body=sent.body.replace(commit.encode(), (commit[:-1] + digit).encode(), 1))
    assert site.send(forged) == (401, "no such repository, or not signed with its secret")
    assert site.builds() == known
