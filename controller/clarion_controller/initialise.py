"""`clarion init`: make a cluster: its keys, its trust and its fleet.toml, all of it or nothing.

The cluster's id is the beginning of the first root's SHA-256: whoever has the root can tell
whether an id is its cluster's, and there is no second place that could say otherwise.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from clarion_controller.durable_files import make_folder, sync_folder, write_file
from clarion_controller.key_files import SIGNERS, KeyFolder
from clarion_controller.publishing.tuf_repository import TufRepository
from clarion_protocol.errors import BadConfig
from clarion_protocol.policy import Policy
from clarion_protocol.words import is_name

OFFLINE = {
    "root": "changes any other key; needed once a year, and after a theft",
    "targets": "admits apps, and says who may deploy where; needed for a new app, environment or deployer",
}

_ADDRESS = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


@dataclass(frozen=True)
class OfflineKey:
    """A key that belongs on a medium in a drawer, and what it is needed for."""

    name: str
    path: Path
    purpose: str


@dataclass(frozen=True)
class Initialised:
    """A new cluster."""

    home: Path
    cluster: str
    root_sha256: str
    offline: list[OfflineKey]


def initialise(home: Path, name: str, address: str, environments: Sequence[str]) -> Initialised:
    """Make a cluster in the folder `home`, which must be missing or empty.

    Raises:
        BadConfig: a name is not one, or something is in `home` already; nothing was changed.
    """
    _check_names(name, address, environments)
    home = home.absolute()
    check_free(home)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home if home.is_dir() else home.parent) as work:
            new = Path(work) / "home"
            new.mkdir(mode=0o750)
            _fill(new, name, address, environments)
            _move(new, home)
    except OSError as error:
        raise BadConfig(
            f"{home} cannot be made: {error.strerror or error}", hint="Choose another folder, or run it with sudo."
        ) from error
    root = TufRepository.at(home).root_bytes()
    offline = [OfflineKey(key, KeyFolder(home / "keys").file(key), purpose) for key, purpose in OFFLINE.items()]
    return Initialised(home, _id_of(root), hashlib.sha256(root).hexdigest(), offline)


def initialise_app(home: Path, app: str) -> None:
    """Make the key and the TUF role of an app before its first publish; does nothing if it has them.

    Raises:
        NoCluster: there is no cluster in `home`.
        UnknownName: not a name that an app can have.
        BadConfig: the targets key is offline.
    """
    TufRepository.at(home).add_app(app, _now())


def add_environment(home: Path, environment: str) -> None:
    """Put a policy in force for an environment that is new in fleet.toml; does nothing if it has one.

    Raises:
        NoCluster: there is no cluster in `home`.
        BadConfig: not a name, or the targets key is offline.
    """
    repository = TufRepository.at(home)
    _check_environment(environment)
    if environment not in repository.environments():
        repository.put_policy(_policy(repository, environment), _now())


def cluster_id(home: Path) -> str:
    """Return the id of the cluster in `home`.

    Raises:
        NoCluster: there is none.
    """
    return _id_of(TufRepository.at(home).root_bytes(1))


def _id_of(first_root: bytes) -> str:
    return hashlib.sha256(first_root).hexdigest()[:32]


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _fill(home: Path, name: str, address: str, environments: Sequence[str]) -> None:
    keys = KeyFolder(home / "keys")
    for signer in SIGNERS:
        keys.make(signer)
    keys.make_transport()
    make_folder(home / "secrets", mode=0o700)
    repository = TufRepository(home / "store", keys)
    repository.create(_now())
    for environment in environments:
        repository.put_policy(_policy(repository, environment), _now())
    write_file(home / "fleet.toml", [fleet_toml(name, address, environments).encode()])


def _policy(repository: TufRepository, environment: str) -> Policy:
    keys = repository.keys
    return Policy(
        cluster=_id_of(repository.root_bytes(1)),
        environment=environment,
        deployers=[keys.read("deployer").public_hex],
        signals=[keys.read("signal").public_hex],
        beacons=[keys.read("beacon").public_hex],
    )


def fleet_toml(name: str, address: str, environments: Sequence[str]) -> str:
    """Return the fleet.toml of a new cluster; everything left out has a default."""
    parts = [_HEAD.format(name=name, address=address)]
    # A bare key with a dot in it would be two keys.
    parts += [_ENVIRONMENT.format(environment=f'"{each}"' if "." in each else each) for each in environments]
    return "\n".join(parts)


_HEAD = """\
# The fleet of this cluster. Changes count from the next command on; only those below [controller] need a restart.

[cluster]
name = "{name}"

[controller]
address = "{address}"    # what agents connect to
# signal_port = 7411     # signals go out here
# report_port = 7412     # reports come in here
# join_port = 7413       # new hosts join here
# package_port = 7414    # packages are fetched from here (HTTP)
# hook_port = 7415       # pushes are announced here (HTTP)
# bind = "0.0.0.0"
"""

_ENVIRONMENT = """\
[environment.{environment}]
# hosts = [{{ static = ["web-1", "web-2"] }}]    # left out: every host that joined this environment

[environment.{environment}.strategy]
type = "rolling"         # or "all_at_once"
max_parallel = "25%"     # how many hosts change at the same time
"""


def _check_names(name: str, address: str, environments: Sequence[str]) -> None:
    if not is_name(name):
        raise BadConfig(f"{name[:80]!r} cannot be the name of a cluster", hint=_NAME_HINT)
    if not _ADDRESS.fullmatch(address):
        raise BadConfig(f"{address[:80]!r} is no address", hint="Write a DNS name or an IP address, without a port.")
    if not environments or len(set(environments)) != len(environments):
        raise BadConfig("a cluster has one environment or more, each once", hint="Add '--environment production'.")
    for environment in environments:
        _check_environment(environment)


_NAME_HINT = "Use a-z, 0-9, and . _ - inside; at most 63 characters."


def _check_environment(environment: str) -> None:
    if not is_name(environment):
        raise BadConfig(f"{environment[:80]!r} cannot be the name of an environment", hint=_NAME_HINT)


def check_free(home: Path) -> None:
    """Return if a cluster can be made in the folder `home`.

    Raises:
        BadConfig: something is there already.
    """
    if (home / "fleet.toml").exists() or (home / "keys").exists():
        raise BadConfig(
            f"there is a cluster in {home} already",
            hint="Its keys cannot be made again: choose another folder. 'clarion init -e ENV' adds an environment.",
        )
    if home.is_symlink() or (home.exists() and not home.is_dir()) or (home.is_dir() and any(_contents(home))):
        raise BadConfig(f"{home} is not an empty folder", hint="Choose a folder that is empty or does not exist.")


def _contents(home: Path) -> Iterator[Path]:
    return (path for path in home.iterdir() if path.name != "lost+found")  # a disk that was made for us has one


def _move(new: Path, home: Path) -> None:
    """Put the whole cluster in its place; a folder that was prepared stays, as its parent may be somebody else's."""
    if not home.exists():
        new.replace(home)
        sync_folder(home.parent)
        return
    _hand_over(new, home.stat())
    for name in ("store", "keys", "secrets", "fleet.toml"):
        (new / name).replace(home / name)
    sync_folder(home)


def _hand_over(new: Path, status: os.stat_result) -> None:
    """Give everything in the new folder to the owner of the one that was prepared."""
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        for path in new.rglob("*"):
            shutil.chown(path, status.st_uid, status.st_gid)
