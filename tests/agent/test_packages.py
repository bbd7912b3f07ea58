"""What the core half believes of published packages, offline."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.effort import examples
from tests.stores import HASTE, Cluster, cluster_in, serving

from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.packages import BundleFile, PackageBook, parse_bundle
from clarion_agent.tuf_chain import Bundle, anchor_of, check_not_older, verify
from clarion_protocol import strict_json
from clarion_protocol.errors import (
    NotAuthorised,
    OutOfTime,
    StoreMisbehaved,
    StoreUnavailable,
    TrustStateLost,
    UnknownPackage,
)

NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Make a cluster with two apps."""
    made = cluster_in(tmp_path_factory.mktemp("cluster"))
    made.publish("1.0.0")
    made.publish("2.0.0")
    made.publish("5.0.0", app="blog")
    return made


@pytest.fixture(scope="module")
def fetched(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the trust folder of a host that has refreshed."""
    trust = tmp_path_factory.mktemp("host") / "trust"
    with serving(cluster.home / "store") as url:
        refresh(trust, cluster.root, Fetcher(url, HASTE), Wanted("production", ["shop", "blog"]))
    return trust


@pytest.fixture
def trust(fetched: Path, tmp_path: Path) -> Path:
    """Return a trust folder of one's own with nothing but the bundle."""
    (tmp_path / "bundle.json").write_bytes((fetched / "bundle.json").read_bytes())
    return tmp_path


def bundle_in(trust: Path, cluster: Cluster) -> Bundle:
    """Return the bundle in a trust folder."""
    bundle = BundleFile.below(trust).read(cluster.root)
    assert bundle is not None
    return bundle


def test_the_bundle_and_the_root_are_all_that_is_needed(trust: Path, cluster: Cluster) -> None:
    """No cache, no network: the book knows the release and the policy."""
    book = PackageBook(trust, cluster.root)
    release = book.find("shop", "2.0.0")
    assert release == cluster.repository.releases("shop")[1]
    assert (release.manifest_path, release.release) == ("shop/shop-2.0.0.manifest.json.zst", 2)
    assert book.policy("production").deploy_threshold == 1


@pytest.mark.parametrize(
    ("app", "version"), [("shop", "9.9.9"), ("unheard-of", "1.0.0"), ("policy", "production"), ("shop", "../1")]
)
def test_what_is_not_published_is_unknown(trust: Path, cluster: Cluster, app: str, version: str) -> None:
    """The error names the commands that list and that publish."""
    with pytest.raises(UnknownPackage, match="clarion packages"):
        PackageBook(trust, cluster.root).find(app, version)


def test_an_environment_without_a_policy_is_nobodys(trust: Path, cluster: Cluster) -> None:
    """Nobody may deploy there."""
    with pytest.raises(NotAuthorised):
        PackageBook(trust, cluster.root).policy("staging")


def test_before_the_first_refresh_the_book_says_so(tmp_path: Path, cluster: Cluster) -> None:
    """It is the network's fault, and may pass."""
    with pytest.raises(StoreUnavailable, match="not fetched"):
        PackageBook(tmp_path, cluster.root).find("shop", "1.0.0")


EXPIRIES = {
    "the timestamp after a day": (timedelta(days=1), "timestamp", "clarion serve"),
    "all the more after a year": (timedelta(days=400), "root", "root key"),
}


@pytest.mark.parametrize(("later", "role", "hint"), EXPIRIES.values(), ids=EXPIRIES.keys())
def test_expired_means_nothing_new_and_no_more(
    trust: Path, cluster: Cluster, later: timedelta, role: str, hint: str
) -> None:
    """Nothing is found for a new change, but who may order an abort or a way back is still known."""
    book = PackageBook(trust, cluster.root, lambda: (NOW + later).timestamp() + 3600)
    with pytest.raises(OutOfTime, match=f"the {role} metadata expired on") as caught:
        book.find("shop", "1.0.0")
    assert hint in str(caught.value.hint)
    assert book.policy("production").environment == "production"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root", "app-shop"])
def test_each_role_expires_by_itself(tmp_path: Path, role: str) -> None:
    """Whichever role has expired, shop cannot be installed, and the error names it."""
    cluster = cluster_in(tmp_path)
    cluster.publish("1.0.0")
    days = {"timestamp": 2, "snapshot": 8, "app-shop": 91}.get(role, 366)
    repository = cluster.repository
    with repository.change(NOW - timedelta(days=days)) as change:
        change.edit(role)
    others = {"timestamp", "snapshot"} - {role}
    with repository.change(NOW) as change:
        for other in sorted(others) if role != "timestamp" else []:
            change.edit(other)
    book = PackageBook(assembled(cluster, tmp_path), cluster.root)
    with pytest.raises(OutOfTime, match=f"the {role} metadata expired"):
        book.find("shop", "1.0.0")


def assembled(cluster: Cluster, trust: Path) -> Path:
    """Write the bundle of what a repository holds, expired or not, without asking python-tuf's client."""
    repository = cluster.repository
    current, files = repository.files.current(), repository.files
    policy = next((repository.packages / "policy").iterdir())
    bundle = Bundle(
        anchor=anchor_of(cluster.root),
        roots=[files.read("root", version) for version in range(2, files.newest("root") + 1)],
        timestamp=files.read("timestamp"),
        snapshot=files.read("snapshot", current.snapshot.signed.version),
        targets=files.read("targets", current.targets.signed.version),
        roles={role: files.read(role, current.role(role).signed.version) for role in current.roles()},
        policy=policy.read_bytes(),
    )
    BundleFile.below(trust).write(bundle)
    return trust


# --- a net half that has been taken over


def swapped(**fields: Callable[[Bundle], Any]) -> Callable[[Bundle], Bundle]:
    """Return what replaces fields of a bundle."""
    return lambda bundle: msgspec.structs.replace(bundle, **{name: make(bundle) for name, make in fields.items()})


LIES = {
    "no timestamp": swapped(timestamp=lambda _: b""),
    "snapshot in the timestamp's place": swapped(timestamp=lambda bundle: bundle.snapshot),
    "timestamp in the snapshot's place": swapped(snapshot=lambda bundle: bundle.timestamp),
    "an app's role as targets": swapped(targets=lambda bundle: bundle.roles["app-shop"]),
    "targets as an app's role": swapped(roles=lambda bundle: {"app-shop": bundle.targets}),
    "one app's role as another's": swapped(roles=lambda bundle: {"app-shop": bundle.roles["app-blog"]}),
    "a role that targets does not know": swapped(roles=lambda bundle: {"app-evil": bundle.roles["app-shop"]}),
    "targets again below itself": swapped(roles=lambda bundle: {"targets": bundle.roles["app-shop"]}),
    "a root that is no root": swapped(roots=lambda bundle: [bundle.targets]),
    "a signature too few": swapped(snapshot=lambda bundle: bundle.snapshot.replace(b'"sig":"', b'"sig":"00', 1)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_bundle_that_lies_is_not_believed(trust: Path, cluster: Cluster, lie: Callable[[Bundle], Bundle]) -> None:
    """The core believes the pinned root, not the half that faces the network."""
    BundleFile.below(trust).write(lie(bundle_in(trust, cluster)))
    with pytest.raises(StoreMisbehaved):
        PackageBook(trust, cluster.root).find("shop", "1.0.0")


def test_the_first_root_again_is_no_second_root(trust: Path, cluster: Cluster) -> None:
    """Versions of roots rise by one."""
    BundleFile.below(trust).write(msgspec.structs.replace(bundle_in(trust, cluster), roots=[cluster.root]))
    with pytest.raises(StoreMisbehaved, match="cannot follow"):
        PackageBook(trust, cluster.root).find("shop", "1.0.0")


def test_without_an_apps_role_only_that_app_is_unknown(trust: Path, cluster: Cluster) -> None:
    """Leaving out is all that a lying net half can do."""
    bundle = bundle_in(trust, cluster)
    BundleFile.below(trust).write(msgspec.structs.replace(bundle, roles={"app-blog": bundle.roles["app-blog"]}))
    book = PackageBook(trust, cluster.root)
    assert book.find("blog", "5.0.0").release == 1
    with pytest.raises(UnknownPackage):
        book.find("shop", "1.0.0")


def test_another_policy_is_not_believed(trust: Path, cluster: Cluster) -> None:
    """A deployer cannot be added without the targets key."""
    bundle = bundle_in(trust, cluster)
    changed = bundle.policy.replace(b'"deploy_threshold":1', b'"deploy_threshold":2')
    BundleFile.below(trust).write(msgspec.structs.replace(bundle, policy=changed))
    with pytest.raises(StoreMisbehaved, match="policy"):
        PackageBook(trust, cluster.root).policy("production")


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_no_changed_bit_changes_what_is_believed(fetched: Path, cluster: Cluster, seed: int) -> None:
    """Flip any bit of any part: refused, or exactly the same release as before."""
    bundle = bundle_in(fetched, cluster)
    expected = verify(bundle, cluster.root).release("shop", "1.0.0")
    dice = random.Random(seed)
    name = dice.choice(["timestamp", "snapshot", "targets", "app-shop"])
    raw = bytearray(bundle.roles[name] if name in bundle.roles else getattr(bundle, name))
    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    if name in bundle.roles:
        changed = msgspec.structs.replace(bundle, roles={**bundle.roles, name: bytes(raw)})
    else:
        changed = msgspec.structs.replace(bundle, **{name: bytes(raw)})
    with suppress(StoreMisbehaved):
        assert verify(changed, cluster.root).release("shop", "1.0.0") == expected


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"[]", b"\xff", b'{"anchor":"x"}'])
def test_a_file_that_is_no_bundle_means_lost_trust(raw: bytes, cluster: Cluster) -> None:
    """It was written as a whole, so it is damage, never 'not yet'."""
    with pytest.raises(TrustStateLost):
        parse_bundle(raw, cluster.root)


def test_a_bundle_in_another_spelling_is_damage(trust: Path, cluster: Cluster) -> None:
    """Unknown fields and white space are refused like in every document."""
    raw = (trust / "bundle.json").read_bytes()
    for other in (b" " + raw, raw[:-1] + b',"zzz":1}', raw + raw):
        with pytest.raises(TrustStateLost):
            parse_bundle(other, cluster.root)
    assert parse_bundle(raw, cluster.root) is not None


def test_the_same_chain_is_not_older_than_itself(trust: Path, cluster: Cluster) -> None:
    """A repeat is harmless."""
    chain = verify(bundle_in(trust, cluster), cluster.root)
    check_not_older(chain, chain)


def test_a_new_bundle_is_seen_at_once(trust: Path, cluster: Cluster) -> None:
    """The book asks the file each time, whatever it remembers."""
    book = PackageBook(trust, cluster.root)
    assert book.find("shop", "1.0.0")
    bundle = bundle_in(trust, cluster)
    (trust / "bundle.json").write_bytes(strict_json.dumps(msgspec.structs.replace(bundle, roles={})))
    with pytest.raises(UnknownPackage):
        book.find("shop", "1.0.0")
