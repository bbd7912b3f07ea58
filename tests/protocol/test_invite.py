"""Join tokens and the proof that a host holds one."""

from __future__ import annotations

import base64
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.errors import JoinRefused
from clarion_protocol.invite import (
    MAX_TOKEN_BYTES,
    PREFIX,
    Challenge,
    JoinRequest,
    Token,
    hash_secret,
    is_proved,
    mac_of,
    new_secret,
    read_token,
    what_is_proved,
)
from clarion_protocol.strict_json import dumps

TOKEN = Token(
    cluster="c" * 32,
    id="1" * 32,
    secret="5" * 64,
    address="deploy.example.net",
    join_port=7413,
    transport_key="a" * 64,
    root_sha256="b" * 64,
)
REQUEST = JoinRequest(invite=TOKEN.id, name="web-1", sign_key="d" * 64, transport_key="e" * 64)
CHALLENGE = Challenge("9" * 64)


def encoded(fields: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(dumps(fields)).decode().rstrip("=")


GOOD = msgspec.to_builtins(TOKEN)
DAMAGED = {
    "nothing": "",
    "only the prefix": PREFIX,
    "another prefix": "clarion2." + TOKEN.text()[len(PREFIX) :],
    "a word": "password",
    "too long": PREFIX + "A" * MAX_TOKEN_BYTES,
    "cut in the middle": TOKEN.text()[:-20],
    "two of them": TOKEN.text() + TOKEN.text(),
    "a line break inside": TOKEN.text()[:50] + "\n" + TOKEN.text()[50:],
    "no base64": PREFIX + "!!!!",
    "an address that is a URL": encoded({**GOOD, "address": "http://evil/"}),
    "an address with a space": encoded({**GOOD, "address": "a b"}),
    "an address with a newline": encoded({**GOOD, "address": "host\n"}),
    "port 0": encoded({**GOOD, "join_port": 0}),
    "port 65536": encoded({**GOOD, "join_port": 65_536}),
    "a secret that is too short": encoded({**GOOD, "secret": "5" * 63}),
    "a fingerprint that is missing": encoded({name: value for name, value in GOOD.items() if name != "root_sha256"}),
    "an unknown field": encoded({**GOOD, "trust_me": True}),
}


def test_a_token_comes_back_as_it_went() -> None:
    """One line, also with the white space that a terminal adds."""
    text = TOKEN.text()
    assert read_token(f"\t{text} \n") == TOKEN
    assert "\n" not in text
    assert text.startswith(PREFIX)


@pytest.mark.parametrize("damage", DAMAGED)
def test_refused(damage: str) -> None:
    """A damaged token says so and names the command that makes a new one."""
    with pytest.raises(JoinRefused, match="not a whole join token") as caught:
        read_token(DAMAGED[damage])
    assert "clarion hosts invite" in str(caught.value.hint)


@given(st.integers(0, len(TOKEN.text()) - 1), st.characters())
def test_no_mistyped_character_is_overlooked(position: int, character: str) -> None:
    """A token with another character is another token or none, never the same one."""
    text = TOKEN.text()
    mistyped = text[:position] + character + text[position + 1 :]
    with suppress(JoinRefused):
        assert (read_token(mistyped) == TOKEN) == (mistyped.strip() == text)


def test_secrets_are_fresh_and_kept_as_hashes_only() -> None:
    """The hash does not lead back, and is not itself a secret that opens the hash."""
    one, two = new_secret(), new_secret()
    assert one != two
    assert len(one) == 64
    assert hash_secret(one) not in {one, hash_secret(hash_secret(one))}


def test_the_proof_covers_challenge_and_request() -> None:
    """Another nonce, name, key or invitation needs another proof."""
    secret_hash = hash_secret(TOKEN.secret)
    proof = mac_of(secret_hash, what_is_proved(CHALLENGE, REQUEST))
    assert is_proved(proof, secret_hash, what_is_proved(CHALLENGE, REQUEST))
    others = [
        what_is_proved(Challenge("8" * 64), REQUEST),
        *(
            what_is_proved(CHALLENGE, msgspec.structs.replace(REQUEST, **{field: value}))
            for field, value in {
                "invite": "2" * 32,
                "name": "web-2",
                "hostname": "web-2",
                "instance": "gcp:2",
                "sign_key": "f" * 64,
                "transport_key": "f" * 64,
            }.items()
        ),
    ]
    assert not any(is_proved(proof, secret_hash, other) for other in others)
    assert not is_proved(proof, hash_secret(new_secret()), what_is_proved(CHALLENGE, REQUEST))


@given(st.text(max_size=80))
def test_a_guess_is_no_proof_and_no_error(guess: str) -> None:
    """Whatever is sent as a MAC is compared, not parsed."""
    with suppress(TypeError):  # compare_digest takes no text beyond ASCII; the schema lets none through
        assert not is_proved(guess, "0" * 64, b"message")
