"""Joining, over real sockets: who gets in, and the attacks that do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import msgspec
import pytest
import zmq

from clarion_controller.gateway import enrol
from clarion_controller.gateway.enrol import Invitation, JoinPort, JoinPortSettings, check_proof, check_request, named
from clarion_protocol import strict_json
from clarion_protocol.errors import JoinRefused
from clarion_protocol.invite import (
    Admission,
    Challenge,
    JoinRequest,
    Proof,
    hash_secret,
    mac_of,
    new_secret,
    what_is_proved,
)
from clarion_protocol.keys import SigningKey
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.wire import Join
from clarion_protocol.words import new_id

from .peers import Peers, wait_for

NOW = 1_800_000_000.0
SECRET = new_secret()
INVITE = new_id()
INVITATION = Invitation(hash_secret(SECRET), "production", ("web",), None, 1, NOW + 900)
LOW_ORDER_SIGN = "01" + "00" * 31
LOW_ORDER_TRANSPORT = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"


@dataclass
class Book:
    """Invitations and hosts in memory; admits atomically, as a database would."""

    invitations: dict[str, Invitation] = field(default_factory=lambda: {INVITE: INVITATION})
    hosts: dict[str, JoinRequest] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def invitation(self, invite: str) -> Invitation | None:
        """Return an invitation."""
        return self.invitations.get(invite)

    def admit(self, request: JoinRequest, invitation: Invitation) -> Admission:
        """Enrol a host."""
        with self.lock:
            if request.transport_key not in self.hosts:
                if self.invitations[request.invite].uses_left < 1:
                    raise JoinRefused("this token is used up", hint="Run 'clarion hosts invite' for a new one.")
                self.invitations[request.invite] = replace(invitation, uses_left=invitation.uses_left - 1)
                self.hosts[request.transport_key] = request
            return Admission(
                host=request.transport_key[:32],
                name=request.name,
                cluster="c" * 32,
                environment=invitation.environment,
                groups=list(invitation.groups),
                signal_port=1,
                report_port=2,
                package_url="http://localhost:3",
                root="{}",
            )


@dataclass
class Newcomer:
    """A host that joins, rightly or wrongly."""

    port: JoinPort
    peers: Peers
    server_key: str
    invite: str = INVITE
    secret: str = SECRET
    name: str = "web-1"
    sign: SigningKey = field(default_factory=SigningKey.generate)
    transport: TransportKey = field(default_factory=TransportKey.generate)
    changes: dict[str, str] = field(default_factory=dict)
    source: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.socket = self.peers.connect(zmq.DEALER, self.port.port, self.server_key, self.transport, self.source)

    @property
    def request(self) -> JoinRequest:
        """The first words."""
        honest = JoinRequest(
            invite=self.invite, name=self.name, sign_key=self.sign.public_hex, transport_key=self.transport.public
        )
        return msgspec.structs.replace(honest, **self.changes)

    def say(self, word: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Send a message and return the answer."""
        self.socket.send_multipart([word, body])
        kind, answer = self.socket.recv_multipart()
        return kind, answer

    def begin(self) -> Challenge:
        """Send the request and return the challenge."""
        kind, body = self.say(Join.JOIN.value, strict_json.dumps(self.request))
        assert kind == Join.CHALLENGE.value, body
        return msgspec.json.decode(body, type=Challenge)

    def proof(self, challenge: Challenge) -> Proof:
        """Return the proof for a challenge."""
        return prove(challenge, self.request, self.secret, self.sign)

    def join(self) -> tuple[bytes, bytes]:
        """Hold the whole conversation and return its last answer."""
        kind, body = self.say(Join.JOIN.value, strict_json.dumps(self.request))
        if kind != Join.CHALLENGE.value:
            return kind, body
        proof = self.proof(msgspec.json.decode(body, type=Challenge))
        return self.say(Join.PROOF.value, strict_json.dumps(proof))


NewcomerOf = Callable[..., Newcomer]


def prove(challenge: Challenge, request: JoinRequest, secret: str, sign: SigningKey) -> Proof:
    message = what_is_proved(challenge, request)
    return Proof(mac=mac_of(hash_secret(secret), message), signature=sign.sign(message).hex())


@pytest.fixture
def book() -> Book:
    """Return one open invitation."""
    return Book()


@pytest.fixture
def port(book: Book, server_key: TransportKey) -> Iterator[JoinPort]:
    """Run a join port at a fixed time."""
    port = JoinPort(JoinPortSettings("127.0.0.1", 0, bytes.fromhex(server_key.secret)), book, clock=lambda: NOW)
    port.start()
    yield port
    port.stop()


@pytest.fixture
def newcomer_of(port: JoinPort, peers: Peers, server_key: TransportKey) -> NewcomerOf:
    """Make newcomers."""
    return lambda **changes: Newcomer(port, peers, server_key.public, **changes)


def test_whoever_proves_the_secret_is_admitted(newcomer_of: NewcomerOf, book: Book) -> None:
    """The admission says who the host is, and the invitation is used once."""
    newcomer = newcomer_of()
    kind, body = newcomer.join()
    assert kind == Join.ADMITTED.value
    admission = msgspec.json.decode(body, type=Admission)
    assert (admission.name, admission.environment, admission.groups) == ("web-1", "production", ["web"])
    assert book.invitations[INVITE].uses_left == 0
    assert book.hosts == {newcomer.transport.public: newcomer.request}


def test_a_lost_answer_is_given_again_to_the_same_keys(newcomer_of: NewcomerOf) -> None:
    """A host that did not hear its admission asks once more and gets the same one."""
    newcomer = newcomer_of()
    assert newcomer.join() == newcomer.join()


Attack = Callable[["NewcomerOf"], tuple[bytes, bytes]]
ATTACKS: dict[str, Attack] = {
    "a token that is used up": lambda make: (make().join(), make())[1].join(),
    "an invitation that nobody made": lambda make: make(invite=new_id()).join(),
    "a guessed secret": lambda make: make(secret=new_secret()).join(),
    "another host's transport key": lambda make: make(changes={"transport_key": TransportKey.generate().public}).join(),
    "a signing key that the host does not own": lambda make: make(
        changes={"sign_key": SigningKey.generate().public_hex}
    ).join(),
    "a signing key of low order": lambda make: make(changes={"sign_key": LOW_ORDER_SIGN}).join(),
    "a transport key of low order": lambda make: make(changes={"transport_key": LOW_ORDER_TRANSPORT}).join(),
    "a path as a name": lambda make: make(name="../../etc/passwd").join(),
    "an instance of no cloud": lambda make: make(changes={"instance": "moon:1"}).join(),
    "an instance with a line break": lambda make: make(changes={"instance": "gcp:1\n"}).join(),
    "an empty name": lambda make: make(name="").join(),
    "a name that would break a log line": lambda make: make(name="web\n1").join(),
    "a proof without a challenge": lambda make: make().say(
        b"proof", b'{"mac":"%s","signature":"%s"}' % (b"0" * 64, b"0" * 128)
    ),
    "a word that nobody knows": lambda make: make().say(b"admit", b"{}"),
    "words that are no JSON": lambda make: make().say(b"join", b"\xff\xfe"),
    "an unknown field": lambda make: make().say(b"join", strict_json.dumps({"invite": INVITE, "is_admin": True})),
    "a field twice": lambda make: make().say(b"join", b'{"invite":"a","invite":"b"}'),
    "a proof that is replayed": lambda make: replay(make()),
    "a proof for another challenge": lambda make: answer_old_challenge(make()),
    "a challenge of another host": lambda make: steal_challenge(make(), make()),
}


def replay(newcomer: Newcomer) -> tuple[bytes, bytes]:
    """Use the same proof twice, the second time after its challenge was answered wrongly."""
    proof = newcomer.proof(newcomer.begin())
    wrong = msgspec.structs.replace(proof, mac="0" * 64)
    newcomer.say(Join.PROOF.value, strict_json.dumps(wrong))
    return newcomer.say(Join.PROOF.value, strict_json.dumps(proof))


def answer_old_challenge(newcomer: Newcomer) -> tuple[bytes, bytes]:
    """Answer the first of two challenges."""
    proof = newcomer.proof(newcomer.begin())
    newcomer.begin()
    return newcomer.say(Join.PROOF.value, strict_json.dumps(proof))


def steal_challenge(victim: Newcomer, thief: Newcomer) -> tuple[bytes, bytes]:
    """Send the victim's whole proof over the thief's connection."""
    proof = victim.proof(victim.begin())
    thief.begin()
    return thief.say(Join.PROOF.value, strict_json.dumps(proof))


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack: str, newcomer_of: NewcomerOf, book: Book) -> None:
    """The answer is a refusal in words, nothing is enrolled, and the next honest host is admitted."""
    kind, body = ATTACKS[attack](newcomer_of)
    assert kind == Join.REFUSED.value
    assert msgspec.json.decode(body)["message"]
    enrolled = 1 if attack == "a token that is used up" else 0
    assert len(book.hosts) == enrolled
    book.invitations[INVITE] = INVITATION
    assert newcomer_of(name="web-2").join()[0] == Join.ADMITTED.value


def test_a_hundred_hosts_with_one_single_use_token(newcomer_of: NewcomerOf, book: Book) -> None:
    """However many hold their proofs ready at once, exactly one is admitted."""
    newcomers = [newcomer_of(name=f"web-{number}") for number in range(100)]
    proofs = [strict_json.dumps(newcomer.proof(newcomer.begin())) for newcomer in newcomers]
    for newcomer, proof in zip(newcomers, proofs, strict=True):
        newcomer.socket.send_multipart([Join.PROOF.value, proof])
    answers = [newcomer.socket.recv_multipart()[0] for newcomer in newcomers]
    assert answers.count(Join.ADMITTED.value) == 1
    assert len(book.hosts) == 1


def test_an_unknown_token_and_a_wrong_secret_get_the_same_answer(newcomer_of: NewcomerOf) -> None:
    """Nobody learns from a refusal which invitations exist."""
    assert newcomer_of(invite=new_id()).join() == newcomer_of(secret=new_secret()).join()


def test_an_expired_token_says_so_only_to_its_holder(newcomer_of: NewcomerOf, book: Book) -> None:
    """The reason is told to whoever proved the secret, and to nobody else."""
    book.invitations[INVITE] = replace(INVITATION, expires=NOW - 60)
    assert b"expired 60 s ago" in newcomer_of().join()[1]
    assert b"expired" not in newcomer_of(secret=new_secret()).join()[1]


def test_a_withdrawn_token_says_so_only_to_its_holder(newcomer_of: NewcomerOf, book: Book) -> None:
    """Also one that has not expired and has uses left."""
    book.invitations[INVITE] = replace(INVITATION, withdrawn_at=NOW - 60)
    assert b"withdrawn 60 s ago" in newcomer_of().join()[1]
    assert b"withdrawn" not in newcomer_of(secret=new_secret()).join()[1]
    assert not book.hosts


def test_a_flood_of_requests_is_cut_off_and_the_port_recovers(
    newcomer_of: NewcomerOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit for a second the port answers nobody; a second later it does."""
    monkeypatch.setattr(enrol, "MAX_MESSAGES_PER_SECOND", 20)
    guesser = newcomer_of(secret=new_secret())
    body = strict_json.dumps(guesser.request)
    for _ in range(500):
        guesser.socket.send_multipart([Join.JOIN.value, body])
    answers = 0
    while guesser.socket.poll(300):
        guesser.socket.recv_multipart()
        answers += 1
    assert answers <= 60
    time.sleep(1.1)
    assert newcomer_of().join()[0] == Join.ADMITTED.value


def test_a_flood_from_one_address_shuts_nobody_else_out_and_fills_no_log(
    newcomer_of: NewcomerOf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it goes on, a server that comes from elsewhere joins."""
    monkeypatch.setattr(enrol, "MAX_MESSAGES_PER_SECOND", 40)
    flooder = newcomer_of()
    flooder.socket.sndhwm = 100_000
    for _ in range(5000):
        flooder.socket.send_multipart([Join.JOIN.value, b"{}"])
    wait_for(lambda: flooder.socket.poll(0))
    assert newcomer_of(source="127.0.0.2").join()[0] == Join.ADMITTED.value
    assert capsys.readouterr().out.count("join.refused") <= 5


def test_open_challenges_are_bounded_and_age(
    port: JoinPort, newcomer_of: NewcomerOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts that ask and never answer cost a bounded amount of memory; the oldest are forgotten first."""
    monkeypatch.setattr(enrol, "MAX_ATTEMPTS", 3)
    newcomers = [newcomer_of() for _ in range(4)]
    proofs = [strict_json.dumps(newcomer.proof(newcomer.begin())) for newcomer in newcomers]
    assert newcomers[0].say(Join.PROOF.value, proofs[0])[0] == Join.REFUSED.value
    assert newcomers[3].say(Join.PROOF.value, proofs[3])[0] == Join.ADMITTED.value


def test_a_challenge_that_is_too_old_is_not_accepted(book: Book, server_key: TransportKey, peers: Peers) -> None:
    """A proof has half a minute."""
    times = [NOW]
    port = JoinPort(JoinPortSettings("127.0.0.1", 0, bytes.fromhex(server_key.secret)), book, clock=lambda: times[0])
    port.start()
    try:
        newcomer = Newcomer(port, peers, server_key.public)
        proof = newcomer.proof(newcomer.begin())
        times[0] += enrol.ATTEMPT_TTL + 1
        assert newcomer.say(Join.PROOF.value, strict_json.dumps(proof))[0] == Join.REFUSED.value
    finally:
        port.stop()


def test_a_controller_that_fails_to_enrol_leaves_the_port_in_service(newcomer_of: NewcomerOf, book: Book) -> None:
    """A fault behind the port costs one answer."""
    good = book.__dict__.pop("invitations")
    newcomer = newcomer_of()
    proof = strict_json.dumps(newcomer.proof(newcomer.begin()))
    newcomer.socket.send_multipart([Join.PROOF.value, proof])
    assert not newcomer.socket.poll(300)
    book.invitations = good
    assert newcomer_of().join()[0] == Join.ADMITTED.value


REQUEST = JoinRequest(invite=INVITE, name="", hostname="ip-10-0-0-1", sign_key="a" * 64, transport_key="b" * 64)


@pytest.mark.parametrize(
    ("asked", "invited", "got"),
    [("", None, "ip-10-0-0-1"), ("", "web-1", "web-1"), ("web-1", "web-1", "web-1"), ("db-1", None, "db-1")],
)
def test_the_name_a_host_gets(asked: str, invited: str | None, got: str) -> None:
    """The invitation's name comes first, then what was asked for, then what the machine is called."""
    request = msgspec.structs.replace(REQUEST, name=asked)
    assert named(request, replace(INVITATION, name=invited)).name == got


def test_a_token_for_one_host_is_not_for_another() -> None:
    """Whoever asks for another name than the token's is refused, and told which name it is for."""
    with pytest.raises(JoinRefused, match="'web-1'"):
        named(msgspec.structs.replace(REQUEST, name="db-1"), replace(INVITATION, name="web-1"))


def test_the_proof_of_one_cluster_proves_nothing_elsewhere() -> None:
    """The same invitation id with another secret does not open."""
    sign = SigningKey.generate()
    request = msgspec.structs.replace(REQUEST, sign_key=sign.public_hex)
    attempt = enrol.Attempt(request, Challenge("0" * 64), NOW)
    proof = prove(attempt.challenge, request, SECRET, sign)
    assert check_proof(attempt, proof, INVITATION, NOW) is INVITATION
    for wrong in (None, replace(INVITATION, secret_hash=hash_secret(new_secret()))):
        with pytest.raises(JoinRefused, match="not known here"):
            check_proof(attempt, proof, wrong, NOW)


def test_the_request_must_come_over_the_key_that_it_names() -> None:
    """A connection speaks only for its own transport key."""
    own = TransportKey.generate().public
    request = msgspec.structs.replace(REQUEST, sign_key=SigningKey.generate().public_hex, transport_key=own)
    check_request(request, own)
    with pytest.raises(JoinRefused, match="not the one of this connection"):
        check_request(request, TransportKey.generate().public)


def test_a_connection_under_a_key_of_low_order_is_refused() -> None:
    """Even if a client could connect with such a key, it would not be enrolled."""
    request = msgspec.structs.replace(
        REQUEST, sign_key=SigningKey.generate().public_hex, transport_key=LOW_ORDER_TRANSPORT
    )
    with pytest.raises(JoinRefused, match="low order"):
        check_request(request, LOW_ORDER_TRANSPORT)
