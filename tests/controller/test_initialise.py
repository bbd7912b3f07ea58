"""Making a cluster, all of it or nothing."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_controller.fleet_toml.fleet import load_fleet
from clarion_controller.initialise import Initialised, add_environment, cluster_id, initialise, initialise_app
from clarion_controller.key_files import SIGNERS, KeyFolder
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import BadConfig, NoCluster, UnknownName
from clarion_protocol.policy import policy_path, read_policy
from clarion_protocol.published import policy_file


def made_in(home: Path) -> Initialised:
    """Make a cluster with two environments."""
    return initialise(home, "acme", "deploy.example.net", ["production", "test"])


def test_names_with_dots_stay_one_name(tmp_path: Path) -> None:
    """In TOML a bare dot would make two tables."""
    made = initialise(tmp_path / "home", "acme.eu", "localhost", ["prod.eu-1"])
    assert list(load_fleet(made.home / "fleet.toml").environment) == ["prod.eu-1"]
    assert TufRepository.at(made.home).environments() == ["prod.eu-1"]


def test_a_cluster_has_a_file_for_every_key(tmp_path: Path) -> None:
    """Root, targets, snapshot, timestamp, deployer, signal, beacon and transport, all different."""
    made_in(tmp_path / "home")
    keys = KeyFolder(tmp_path / "home/keys")
    assert {path.stem for path in keys.path.iterdir()} == {*SIGNERS, "transport"}
    assert len({keys.read(name).public_hex for name in SIGNERS}) == len(SIGNERS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.path.iterdir()} == {0o600}


def test_it_says_which_keys_belong_offline(tmp_path: Path) -> None:
    """Those that only people need: root and targets."""
    made = made_in(tmp_path / "home")
    assert [key.name for key in made.offline] == ["root", "targets"]
    assert all(key.path.exists() and key.purpose for key in made.offline)


def test_the_clusters_id_is_bound_to_its_first_root(tmp_path: Path) -> None:
    """Who has the root can check the id; the id of another cluster is another."""
    made, other = made_in(tmp_path / "home"), made_in(tmp_path / "other")
    root = (tmp_path / "home/store/metadata/1.root.json").read_bytes()
    assert made.root_sha256 == hashlib.sha256(root).hexdigest()
    assert made.cluster == made.root_sha256[:32] == cluster_id(tmp_path / "home") != other.cluster


def test_every_environment_gets_its_policy(tmp_path: Path) -> None:
    """Signed by targets, naming the cluster and the three keys."""
    made = made_in(tmp_path / "home")
    repository = TufRepository.at(made.home)
    assert repository.environments() == ["production", "test"]
    target = repository.files.current().targets.signed.targets[policy_path("test")]
    raw = (repository.packages / policy_file("test", target.hashes["sha256"])).read_bytes()
    policy = read_policy(raw)
    assert (policy.cluster, policy.environment, policy.epoch) == (made.cluster, "test", 1)
    assert policy.deployers == [repository.keys.read("deployer").public_hex]
    assert policy.signals == [repository.keys.read("signal").public_hex]
    assert policy.beacons == [repository.keys.read("beacon").public_hex]


def test_the_fleet_file_is_one_that_the_controller_reads(tmp_path: Path) -> None:
    """Commented for people, valid for the machine."""
    made = made_in(tmp_path / "home")
    fleet = load_fleet(made.home / "fleet.toml")
    assert (fleet.cluster.name, fleet.controller.address) == ("acme", "deploy.example.net")
    assert list(fleet.environment) == ["production", "test"]


def test_what_is_commented_out_in_the_fleet_file_is_valid_too(tmp_path: Path) -> None:
    """Whoever removes a '# ' gets what it promises."""
    made = made_in(tmp_path / "home")
    path = made.home / "fleet.toml"
    lines = [line.removeprefix("# ") if "=" in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    fleet = load_fleet(path)
    assert fleet.controller.package_port == 7414
    assert fleet.environment["test"].hosts[0].static == ("web-1", "web-2")


def test_it_refuses_to_run_twice(tmp_path: Path) -> None:
    """The second run changes nothing."""
    made_in(tmp_path / "home")
    before = snapshot(tmp_path)
    with pytest.raises(BadConfig, match=r"cluster in .* already"):
        made_in(tmp_path / "home")
    assert snapshot(tmp_path) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BAD_WORDS = {
    "a cluster's name with a space": ("a b", "localhost", ["production"]),
    "a name that breaks out of its quotes": ('a"\n[x]', "localhost", ["production"]),
    "an address with a port's colon and a slash": ("acme", "http://localhost", ["production"]),
    "an address that breaks out of its quotes": ("acme", 'a" #', ["production"]),
    "no address": ("acme", "", ["production"]),
    "no environment": ("acme", "localhost", []),
    "an environment twice": ("acme", "localhost", ["production", "production"]),
    "an environment that climbs": ("acme", "localhost", ["../x"]),
    "an environment with a newline": ("acme", "localhost", ["production\n"]),
}


@pytest.mark.parametrize(("name", "address", "environments"), BAD_WORDS.values(), ids=BAD_WORDS.keys())
def test_bad_words_are_refused_before_anything_is_made(
    tmp_path: Path, name: str, address: str, environments: list[str]
) -> None:
    """An error with a hint, and no folder."""
    with pytest.raises(BadConfig) as caught:
        initialise(tmp_path / "home", name, address, environments)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Neither a stranger's files nor a file in the way are touched."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("home", "file", "link"):
        with pytest.raises(BadConfig):
            made_in(tmp_path / name)
    assert snapshot(tmp_path / "home") == {str(tmp_path / "home/notes"): b"mine"}
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_empty_folder_that_was_prepared_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    """A package made it for the controller's user; root runs init; the user owns everything."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    os.chown(home, 12345, 54321)
    made_in(home)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (home, *home.rglob("*"))}
    assert owners == {(12345, 54321)}
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


@pytest.fixture
def prepared() -> Iterator[Path]:
    """Yield an empty folder that is ours, in one that is not; nobody's parent folders may be pytest's."""
    with tempfile.TemporaryDirectory() as parent:
        home = Path(parent) / "home"
        home.mkdir()
        Path(parent).chmod(0o755)
        # What is imported only when it is needed may lie where that user cannot read.
        with tempfile.TemporaryDirectory() as elsewhere:
            made_in(Path(elsewhere) / "home")
        os.chown(home, 12345, -1)
        os.seteuid(12345)
        try:
            yield home
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_prepared_folder_is_enough_for_its_owner(prepared: Path) -> None:
    """The controller's user may not write beside its home, and the home may be where a disk is mounted."""
    (prepared / "lost+found").mkdir()
    before = prepared.stat().st_ino
    made_in(prepared)
    assert {path.name for path in prepared.iterdir()} == {"store", "keys", "secrets", "fleet.toml", "lost+found"}
    assert prepared.stat().st_ino == before


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    """A disk that takes no more files: no home, no leftovers, a clear error."""
    (tmp_path / "place").mkdir()
    (tmp_path / "place/home").symlink_to("/proc/clarion")
    with pytest.raises(BadConfig):
        made_in(Path("/proc/clarion-home"))


def test_an_app_gets_its_key_and_role_once(tmp_path: Path) -> None:
    """Doing it again does nothing."""
    made_in(tmp_path / "home")
    for _ in range(2):
        initialise_app(tmp_path / "home", "shop")
    repository = TufRepository.at(tmp_path / "home")
    assert repository.apps() == ["shop"]
    assert repository.keys.has("app-shop")


@pytest.mark.parametrize("app", ["", "policy", "Shop", "a/b", "..", "a" * 64, "shop\n"])
def test_not_every_word_names_an_app(tmp_path: Path, app: str) -> None:
    """'policy' would let an app's key sign policies."""
    made_in(tmp_path / "home")
    with pytest.raises(UnknownName):
        initialise_app(tmp_path / "home", app)
    assert {path.stem for path in (tmp_path / "home/keys").iterdir()} == {*SIGNERS, "transport"}


def test_a_later_environment_needs_the_targets_key(tmp_path: Path) -> None:
    """Offline, the error says which file to bring; with it, the policy is put in force, once."""
    made = made_in(tmp_path / "home")
    made.offline[1].path.rename(tmp_path / "drawer")
    with pytest.raises(BadConfig, match=r"needs the targets key") as caught:
        add_environment(made.home, "staging")
    assert str(made.offline[1].path) in str(caught.value.hint)
    (tmp_path / "drawer").rename(made.offline[1].path)
    add_environment(made.home, "staging")
    version = TufRepository.at(made.home).files.newest("targets")
    add_environment(made.home, "staging")
    assert TufRepository.at(made.home).environments() == ["production", "staging", "test"]
    assert TufRepository.at(made.home).files.newest("targets") == version


def test_without_a_cluster_every_verb_says_so(tmp_path: Path) -> None:
    """The hint is the command that makes one."""
    with pytest.raises(NoCluster, match="clarion init"):
        cluster_id(tmp_path)
    with pytest.raises(NoCluster):
        add_environment(tmp_path, "production")
    with pytest.raises(NoCluster):
        initialise_app(tmp_path, "shop")
