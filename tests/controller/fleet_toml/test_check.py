"""What the tables for builds, notices and fresh servers cannot say, each with its line."""

from __future__ import annotations

import pytest

from clarion_controller.fleet_toml.fleet import parse_fleet
from clarion_protocol.errors import BadConfig

GOOD = """
[environment.staging]
roles = ["web", "db"]
[repository.shop]
url = "https://git.example.net/acme/shop.git"
[[notify]]
name = "mail"
email = { to = ["ops@example.net"], sender = "clarion@example.net" }
[role.web]
groups = ["web"]
[role.db]
[[integration]]
name = "web reaches the database"
from = "web"
to = "db"
tcp = 5432
"""


def test_all_of_it_together_is_read() -> None:
    """With names that are words of Python, and everything else at its default."""
    fleet = parse_fleet(GOOD)
    assert fleet.integration[0].from_ == "web"
    assert fleet.role["web"].provisioner == "nspawn"
    assert fleet.notify[0].ways == ["email"]
    assert fleet.repository["shop"].network == "none"


def test_what_is_built_is_told_by_globs() -> None:
    """Of branches and of tags, and of nothing else."""
    repository = parse_fleet(GOOD.replace('.git"', '.git"\nbranches = ["main", "release/*"]')).repository["shop"]
    built = ["refs/heads/main", "refs/heads/release/7", "refs/tags/v1.0"]
    others = ["refs/heads/mainline", "refs/heads/other", "refs/tags/nightly", "refs/notes/main", "main"]
    assert [ref for ref in (*built, *others) if repository.wants(ref)] == built


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("[repository.shop]", "[repository.Shop]", "line 4: repository.Shop: a name is a-z", id="a name"),
        pytest.param("https://git.", "ext::sh -c id %S/", "line 5: repository.shop.url: name a remote", id="ext::"),
        pytest.param("https://git.", "--upload-pack=id ", "url: name a remote", id="an option"),
        pytest.param("https://git.", "https://me:hush@git.", "a password in an address", id="a password in a url"),
        pytest.param('.git"', '.git"\npath = "../other"', "path: name a folder inside", id="out of the repository"),
        pytest.param('.git"', '.git"\nprocesses = 2', "processes: 16 to 65536", id="too few processes"),
        pytest.param('.git"', '.git"\nauto_deploy = "live"', "no environment 'live'", id="unknown environment"),
        pytest.param('.git"', '.git"\nforge = "generic"\ntoken = "env:T"', "nobody is told", id="token without forge"),
        pytest.param('.git"', '.git"\napp = "-"', "cannot be an app's name", id="no app's name"),
        pytest.param('.git"', '.git"\napi = "git.example.net"', "does not begin with https://", id="no api"),
        pytest.param('"ops@example.net"', '"ops@example.net\\nBcc: x@y"', "is no address", id="a header smuggled in"),
        pytest.param('["ops@example.net"]', "[]", "name at least one address", id="mail to nobody"),
        pytest.param("email =", "webhook = { url = 'x', secret = 'env:S' }\nemail =", "exactly one of", id="two ways"),
        pytest.param("sender =", "port = 0, sender =", "0 is no port", id="no port"),
        pytest.param("sender =", 'user = "me", sender =', "belong together", id="user without password"),
        pytest.param('name = "mail"', 'name = "mail"\nenvironments = ["live"]', "no environment 'live'", id="where"),
        pytest.param('name = "mail"', 'name = "mail"\nkinds = ["boom"]', "is none of deployment_failed", id="a kind"),
        pytest.param('"db"]', '"cache"]', "line 3: environment.staging.roles: there is no role 'cache'", id="a role"),
        pytest.param('groups = ["web"]', 'groups = ["We b"]', "cannot be a name", id="a group"),
        pytest.param(
            "[role.db]",
            "[role.db]\nnspawn.packages = ['./mine.deb']",
            "role.db.nspawn.packages: './mine.deb' is none that a mirror of Debian has",
            id="a file for a package",
        ),
        pytest.param(
            "[role.db]",
            "[role.db]\nnspawn.suite = '../mine'",
            "role.db.nspawn.suite: '../mine' is none that a mirror of Debian has",
            id="a path for a suite",
        ),
        pytest.param(
            "[role.db]",
            "[role.db]\nnspawn = {}\n[role.db.aws]\nregion='r'\nimage='i'\ninstance_type='t'",
            "made by one of",
            id="two provisioners",
        ),
        pytest.param('to = "db"', 'to = "cache"', "line 15: integration.0.to: there is no role", id="to nobody"),
        pytest.param("tcp = 5432", "tcp = 0", "0 is no port", id="a port"),
        pytest.param("tcp = 5432", 'http = "/health"', "a port and a path", id="a path without port"),
        pytest.param("tcp = 5432", "tcp = 1\nexec = 'x'", "exactly one of tcp, http and exec", id="two checks"),
        pytest.param("tcp = 5432", "tcp = 1\nstatus = 404", "belong to http", id="a status without http"),
        pytest.param("[role.web]", "[nightly]\nport = 65534\n[role.web]", "four ports", id="ports beyond the last"),
        pytest.param(
            "[role.web]", "[controller]\nhook_port = 7411\n[role.web]", "already the signal_port", id="a port twice"
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(old: str, new: str, said: str) -> None:
    """Each mistake is one sentence."""
    assert old in GOOD
    with pytest.raises(BadConfig) as caught:
        parse_fleet(GOOD.replace(old, new, 1))
    assert said in caught.value.message
