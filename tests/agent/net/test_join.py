"""A host joins wholly or not at all, and believes only what its token vouches for."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tests.metadata_service import metadata_service
from tests.stores import Cluster, cluster_in, serving

from clarion_agent.cli import run
from clarion_agent.config import Config
from clarion_agent.daemon import first_refresh
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import load_identity
from clarion_agent.net import instance, metadata_http
from clarion_agent.net import join_talk as module
from clarion_agent.net.applicant import Applicant, Wish
from clarion_agent.net.join import join
from clarion_agent.net.token_file import token_file as opened_token_file
from clarion_agent.packages import PackageBook
from clarion_controller.gateway.enrol import Invitation, JoinPort, JoinPortSettings
from clarion_controller.initialise import cluster_id
from clarion_protocol.errors import ClarionError, ControllerUnreachable, JoinRefused
from clarion_protocol.invite import Admission, JoinRequest, Token, hash_secret, new_secret, read_token
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.words import new_id


@dataclass
class World:
    """A cluster with a package store and a join port; what it admits to can be falsified."""

    cluster: Cluster
    package_url: str
    transport: TransportKey = field(default_factory=TransportKey.generate)
    secret: str = field(default_factory=new_secret)
    invite: str = field(default_factory=new_id)
    uses: int = 1
    lies: dict[str, object] = field(default_factory=dict)
    admitted: dict[str, Admission] = field(default_factory=dict)
    instances: list[str] = field(default_factory=list)
    delay: float = 0.0
    port: int = 0

    def token(self, **changes: object) -> Token:
        """Return what the operator hands over."""
        honest = Token(
            cluster=cluster_id(self.cluster.home),
            id=self.invite,
            secret=self.secret,
            address="127.0.0.1",
            join_port=self.port,
            transport_key=self.transport.public,
            root_sha256=hashlib.sha256(self.cluster.root).hexdigest(),
        )
        return msgspec.structs.replace(honest, **changes)

    def use_up(self) -> dict[str, object]:
        """Leave nothing of the token; the token itself stays as it is."""
        self.uses = 0
        return {}

    def invitation(self, invite: str) -> Invitation | None:
        """Return the one invitation."""
        known = Invitation(hash_secret(self.secret), "production", ("web",), "web-1", self.uses, time.time() + 60)
        return known if invite == self.invite else None

    def admit(self, request: JoinRequest, invitation: Invitation) -> Admission:
        """Admit once for each use; the same keys again get the same answer."""
        time.sleep(self.delay)
        self.delay = 0.0
        if request.transport_key not in self.admitted:
            if not self.uses:
                raise JoinRefused("this token is used up", hint="Run 'clarion hosts invite' for a new one.")
            self.uses -= 1
            self.instances.append(request.instance)
            self.admitted[request.transport_key] = self._admission(request, invitation)
        return self.admitted[request.transport_key]

    def _admission(self, request: JoinRequest, invitation: Invitation) -> Admission:
        honest = Admission(
            host=new_id(),
            name=request.name,
            cluster=cluster_id(self.cluster.home),
            environment=invitation.environment,
            groups=list(invitation.groups),
            signal_port=7411,
            report_port=7412,
            package_url=self.package_url,
            root=self.cluster.root.decode(),
        )
        return msgspec.structs.replace(honest, **self.lies)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Make a cluster."""
    return cluster_in(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def world(cluster: Cluster) -> Iterator[World]:
    """Run a controller's join port and package store."""
    with serving(cluster.home / "store") as url:
        world = World(cluster, url)
        port = JoinPort(JoinPortSettings("127.0.0.1", 0, bytes.fromhex(world.transport.secret)), world)
        port.start()
        world.port = port.port
        yield world
        port.stop()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a host's configuration."""
    return Config(state_dir=str(tmp_path / "state"), apps_root=str(tmp_path / "srv"), cloud="none")


@pytest.fixture
def config_file(tmp_path: Path, config: Config) -> Path:
    """Return the same as a file."""
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{config.state_dir}"\napps_root = "{config.apps_root}"\ncloud = "none"\n')
    return path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between attempts."""
    monkeypatch.setattr(module, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(instance, "PAUSES", (0.0,))


def attempt(world: World, config: Config, **changes: object) -> None:
    join(world.token(**changes), Wish(), config.state, first_refresh(config))


def test_a_host_that_joined_knows_all_it_needs(world: World, config: Config) -> None:
    """Identity, floors and a verified policy are there, and secrets are for root only."""
    attempt(world, config)
    identity = load_identity(config.state)
    assert (identity.record.name, identity.record.environment) == ("web-1", "production")
    assert identity.record.transport_public in world.admitted
    assert FloorFiles(config.trust).read().streams == {}
    policy = PackageBook(config.trust, identity.root).policy("production")
    assert policy.cluster == identity.record.cluster
    assert (config.state / "identity" / "sign.key").stat().st_mode & 0o777 == 0o600
    assert (config.state / "identity").stat().st_mode & 0o777 == 0o700


def test_joining_twice_is_refused_and_uses_nothing(world: World, config: Config) -> None:
    """A host that has joined says so before it talks to anybody, and names the next command."""
    attempt(world, config)
    before = load_identity(config.state).record
    with pytest.raises(JoinRefused, match="joined a cluster already") as caught:
        attempt(world, config)
    assert "clarion-agent status" in str(caught.value.hint)
    assert load_identity(config.state).record == before


def test_a_lost_answer_is_asked_for_again(world: World, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the admission gets lost on the way, the same command gets it once more, for the same use."""
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    world.delay = 0.8
    attempt(world, config)
    assert len(world.admitted) == 1


def test_the_same_command_finishes_a_join_that_broke_off(world: World, config: Config) -> None:
    """A store that was away costs no second token: the keys are kept, and the same use of the token goes on."""
    url, world.package_url = world.package_url, "http://127.0.0.1:1"
    with pytest.raises(ClarionError):
        attempt(world, config)
    [key] = world.admitted
    world.admitted[key] = msgspec.structs.replace(world.admitted[key], package_url=url)
    attempt(world, config)
    assert load_identity(config.state).record.transport_public == key
    assert sorted(path.name for path in config.state.iterdir()) == ["identity", "trust"]


FAILURES: dict[str, tuple[Callable[[World], dict[str, object]], str, str]] = {
    "a controller of another cluster": (lambda world: {"cluster": new_id()}, "another cluster", "clarion hosts invite"),
    "another package root": (lambda world: {"root_sha256": "0" * 64}, "another package root", "clarion hosts invite"),
    "a controller with another key": (
        lambda world: {"transport_key": TransportKey.generate().public},
        "another key",
        "clarion serve",
    ),
    "a wrong secret": (lambda world: {"secret": new_secret()}, "not known here", "clarion hosts invite"),
    "nobody at that port": (lambda world: {"join_port": 1}, "nobody answers there", "clarion serve"),
    "a used token": (lambda world: world.use_up(), "used up", "clarion hosts invite"),
    "a controller that lies about its cluster": (
        lambda world: world.lies.update(cluster=new_id()) or {},
        "another cluster",
        "clarion hosts invite",
    ),
    "a controller that sends another root": (
        lambda world: world.lies.update(root="{}") or {},
        "another package root",
        "clarion hosts invite",
    ),
    "a store that is not there": (
        lambda world: world.lies.update(package_url="http://127.0.0.1:1") or {},
        "does not answer",
        "curl",
    ),
    "a store without this environment": (lambda world: world.lies.update(environment="mars") or {}, "mars", ""),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_no_identity_and_names_the_next_command(
    failure: str, world: World, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, the host has not joined, and the same command works once the cause is gone."""
    monkeypatch.setattr(module, "PATIENCE", 2.0)
    prepare, message, hint = FAILURES[failure]
    with pytest.raises(ClarionError) as caught:
        attempt(world, config, **prepare(world))
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    assert not (config.state / "identity").exists()
    world.lies.clear()
    world.admitted.clear()
    world.uses = 1
    attempt(world, config)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + b"<html>" * 50, b"\xff" * 64],
    ids=["silence", "an error page", "garbage"],
)
def test_what_is_no_controller_is_reported_as_unreachable(
    answer: bytes, world: World, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that speaks something else ends in an error within its time, not in waiting for ever."""
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_all, args=(server, answer), daemon=True).start()
        with pytest.raises(ControllerUnreachable, match="cannot join at 127"):
            attempt(world, config, join_port=server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def _answer_all(server: socket.socket, answer: bytes) -> None:
    kept = []
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            break
        connection.sendall(answer)
        kept.append(connection)
    for connection in kept:
        connection.close()


def test_a_former_life_leaves_nothing_behind(world: World, config: Config) -> None:
    """A host that joins anew starts with fresh floors and an empty outbox: the old ones were of another identity."""
    attempt(world, config)
    (config.state / "identity").rename(config.state / "identity.old")
    (config.trust / "floors-a.json").write_bytes(b"damaged")
    (config.trust / "floors-b.json").write_bytes(b"damaged")
    (config.state / "outbox").mkdir()
    (config.state / "outbox" / "0000000000000000001.step").write_bytes(b"signed by a key that is gone")
    world.uses = 1
    attempt(world, config)
    assert FloorFiles(config.trust).read().streams == {}
    assert not (config.state / "outbox").exists()


def test_the_command_says_who_this_server_is_now(
    world: World, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`clarion-agent join` ends with the name, the environment and the next command."""
    assert run(["--config", str(config_file), "join", world.token().text()]) == 0
    out = capsys.readouterr().out
    assert "'web-1' in production" in out
    assert "systemctl enable --now clarion-agent" in out
    assert run(["join", world.token().text(), "--config", str(config_file)]) == 2
    assert capsys.readouterr().err.startswith("error: this host has joined a cluster already")


def test_another_name_than_the_tokens_is_refused(
    world: World, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--name` cannot take the place that an invitation was made for."""
    assert run(["join", world.token().text(), "--name", "db-1", "--config", str(config_file)]) == 2
    assert "for the host 'web-1'" in capsys.readouterr().err
    assert run(["join", world.token().text(), "--name", "../x", "--config", str(config_file)]) == 2
    assert "cannot be a host's name" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["", "clarion1.", "clarion1.AAAA", "eyJhIjoxfQ", "x" * 5000])
def test_what_is_no_token_is_told_at_once(damage: str, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that was cut, mistyped or is something else needs no network to be refused."""
    assert run(["join", damage, "--config", str(config_file)]) == 2
    assert "not a whole join token" in capsys.readouterr().err


def test_every_cut_of_a_token_is_refused(world: World) -> None:
    """A token that lost its end in a terminal is never half believed."""
    text = world.token().text()
    assert read_token(f"  {text}\n") == world.token()
    for end in range(len(text)):
        with pytest.raises(JoinRefused):
            read_token(text[:end])


def test_an_invitation_is_not_changed_by_reading_it(world: World) -> None:
    """The stored secret hash does not open the token: only the secret does."""
    invitation = world.invitation(world.invite)
    assert invitation is not None
    stolen = invitation.secret_hash
    assert stolen != world.secret
    assert hash_secret(stolen) != stolen


AWS = "aws:i-0123456789abcdef0"


@pytest.fixture
def in_aws(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the host one of AWS."""
    config_file.write_text(config_file.read_text().replace('"none"', '"aws"'))
    with metadata_service("aws", AWS.partition(":")[2]) as service:
        monkeypatch.setattr(metadata_http, "SERVICE", service.server_address)
        yield


@pytest.mark.usefixtures("in_aws")
def test_a_server_of_a_cloud_says_which_one_it_is(world: World, config: Config, config_file: Path) -> None:
    """The controller is told, under the proof, and the host remembers it for good."""
    assert run(["join", world.token().text(), "--config", str(config_file)]) == 0
    assert world.instances == [AWS]
    assert load_identity(config.state).record.instance == AWS


def test_a_server_that_does_not_learn_who_it_is_does_not_join(
    world: World, config_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses nothing of the token, says why and what to do, and the code lets the unit try again."""
    config_file.write_text(config_file.read_text().replace('"none"', '"aws"'))
    monkeypatch.setattr(metadata_http, "SERVICE", ("127.0.0.1", 1))
    assert run(["join", world.token().text(), "--config", str(config_file)]) == 1
    said = capsys.readouterr().err
    assert "metadata service of AWS" in said
    assert 'cloud = "none"' in said
    assert world.uses == 1


def test_an_image_of_a_join_that_broke_off_makes_new_keys_on_each_server(world: World, config: Config) -> None:
    """Its keys would be in every server made of it; on the same server they are used again."""
    keys = [
        Applicant.of(config.state, world.invite, Wish(instance=each)).transport.public
        for each in (AWS, AWS, "aws:i-0fedcba9876543210")
    ]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


@pytest.fixture
def token_file(world: World, tmp_path: Path) -> Path:
    """Return a file with a token, as an image or cloud-init leaves it."""
    path = tmp_path / "join.token"
    path.write_text(world.token().text() + "\n")
    path.chmod(0o600)
    return path


def test_a_token_in_a_file_is_deleted_once_it_is_used(
    token_file: Path, config: Config, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a secret; on a second boot the same command finds a host that has joined, and that is fine."""
    arguments = ["join", "--token-file", str(token_file), "--config", str(config_file)]
    assert run(arguments) == 0
    assert not token_file.exists()
    assert load_identity(config.state).record.name == "web-1"
    # The unit that reads such files starts the agent itself.
    assert "systemctl" not in capsys.readouterr().out
    token_file.write_text("put here again")
    for _ in range(2):
        assert run(arguments) == 0
        assert "has joined a cluster already" in capsys.readouterr().out
        assert not token_file.exists()


def test_a_token_in_a_file_stays_until_it_is_used(world: World, token_file: Path, config_file: Path) -> None:
    """While the controller is away nothing is lost; the code says that another attempt may help, or that none will."""
    arguments = ["join", "--token-file", str(token_file), "--config", str(config_file)]
    url, world.package_url = world.package_url, "http://127.0.0.1:1"
    assert run(arguments) == 1
    assert token_file.exists()
    [key] = world.admitted
    world.admitted[key] = msgspec.structs.replace(world.admitted[key], package_url=url)
    assert run(arguments) == 0
    assert not token_file.exists()


def test_a_refused_token_in_a_file_is_not_tried_again(world: World, token_file: Path, config_file: Path) -> None:
    """Code 2 tells the unit so; the file stays for whoever looks into it."""
    world.uses = 0
    assert run(["join", "--token-file", str(token_file), "--config", str(config_file)]) == 2
    assert token_file.exists()


def test_a_token_that_others_may_read_is_pointed_out(
    token_file: Path, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is used all the same: a server that stays out helps nobody."""
    token_file.chmod(0o644)
    assert run(["join", "--token-file", str(token_file), "--config", str(config_file)]) == 0
    assert f"warning: others than root may read {token_file}" in capsys.readouterr().err


def test_only_a_regular_file_holds_a_token(
    token_file: Path, tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link, a pipe, a folder and a device are refused at once, with a sentence, and left where they are."""
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(token_file)
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (link, pipe, folder, Path("/dev/zero")):
        assert run(["join", "--token-file", str(path), "--config", str(config_file)]) == 2
        said = capsys.readouterr().err
        assert f"{path}: it is " in said
        assert "no regular file" in said
        assert os.path.lexists(path)
    assert token_file.exists()


def test_a_server_that_has_joined_leaves_what_is_no_token_file(
    token_file: Path, tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is pointed out at each boot, and stops nothing."""
    arguments = ["--config", str(config_file), "join", "--token-file"]
    assert run([*arguments, str(token_file)]) == 0
    link = tmp_path / "link"
    link.symlink_to("/nowhere")
    assert run([*arguments, str(link)]) == 0
    assert f"warning: {link}: it is a symbolic link" in capsys.readouterr().err
    assert link.is_symlink()


def test_another_file_in_a_token_files_place_is_not_deleted(token_file: Path) -> None:
    """Only what was read goes; also if the new file would take over the old one's number."""
    with opened_token_file(token_file) as file:
        assert file.read()
        file.path.unlink()
        token_file.write_text("another server's")
        with pytest.raises(OSError, match="another file"):
            file.delete()
        token_file.unlink()
        file.delete()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("", "not a whole join token"), ("x" * 10_000, "not a whole")]
)
def test_a_file_without_a_token_is_told(
    content: str | None, said: str, tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that makes one."""
    path = tmp_path / "join.token"
    if content is not None:
        path.write_text(content)
    assert run(["join", "--token-file", str(path), "--config", str(config_file)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "clarion hosts invite" in message


def test_a_token_comes_from_one_place(config_file: Path, world: World) -> None:
    """Both at once is a mistake, and so is neither."""
    for words in ([], [world.token().text(), "--token-file", "/nowhere"]):
        assert run(["join", *words, "--config", str(config_file)]) == 2
