"""What forges send: genuine or not, and what it says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.builds.pushing import MAIN, SECRET, A, B, github_headers, github_push, github_signature

from clarion_controller.builds.announcements import generic, github, gitlab
from clarion_controller.builds.announcements.letter import (
    Announced,
    Letter,
    NothingToBuild,
    Unreadable,
    is_ref,
    sealed,
)
from clarion_protocol.errors import BadSignature

NOW = 1_800_000_000.0
ZEROS = "0" * 40
KEY = bytes(range(32))
SIGNING_TOKEN = f"whsec_{base64.b64encode(KEY).decode()}"


def test_githubs_own_example_verifies() -> None:
    """The secret, payload and signature that GitHub's documentation gives to try an implementation with."""
    documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    letter = Letter({"x-hub-signature-256": documented}, b"Hello, World!")
    github.verify(letter, SECRET, NOW)
    assert github_signature(b"Hello, World!") == documented


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b"Hello, World!", id="no signature"),
        pytest.param({"x-hub-signature-256": ""}, b"Hello, World!", id="an empty signature"),
        pytest.param({"x-hub-signature-256": "sha256="}, b"Hello, World!", id="a signature of no digits"),
        pytest.param({"x-hub-signature-256": github_signature(b"Hello, World!")}, b"Hello, World?", id="another body"),
        pytest.param({"x-hub-signature-256": github_signature(b"x", "other")}, b"x", id="another secret"),
        pytest.param({"x-hub-signature": github_signature(b"x", algorithm="sha1")}, b"x", id="only the old SHA-1"),
        pytest.param(
            {"x-hub-signature-256": github_signature(b"x", algorithm="sha1")}, b"x", id="SHA-1 in SHA-256's place"
        ),
        pytest.param(
            {"x-hub-signature-256": github_signature(b"x").removeprefix("sha256=")}, b"x", id="without its algorithm"
        ),
        pytest.param({"x-hub-signature-256": github_signature(b"x").upper()}, b"x", id="in capitals"),
        pytest.param({"x-hub-signature-256": github_signature(b"x")[:-1]}, b"x", id="a digit too few"),
        pytest.param({"x-hub-signature-256": "sha256=\xe9\xe9"}, b"x", id="letters that are no ASCII"),
    ],
)
def test_github_letters_that_are_not_genuine(headers: dict[str, str], body: bytes) -> None:
    """None is believed."""
    with pytest.raises(BadSignature):
        github.verify(Letter(headers, body), SECRET, NOW)


@given(st.binary(max_size=200), st.data())
def test_no_changed_byte_goes_unnoticed(body: bytes, data: st.DataObject) -> None:
    """Whatever byte is changed, added or taken away."""
    changed = data.draw(st.binary(max_size=201).filter(lambda other: other != body))
    with pytest.raises(BadSignature):
        github.verify(Letter({"x-hub-signature-256": github_signature(body)}, changed), SECRET, NOW)


def read_github(body: bytes, **headers: str) -> Announced:
    """Return what GitHub announces."""
    return github.read(Letter(github_headers(body, **headers), body))


def test_a_push_to_github_is_read() -> None:
    """Who pushed which commit where, under which number."""
    body = github_push(A)
    assert read_github(body) == Announced(
        ref=MAIN,
        commit=A,
        delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958",
        by="ada",
        digest=hashlib.sha256(body).hexdigest(),
        before="9" * 40,
    )


def test_an_annotated_tag_means_the_commit_that_it_is_on() -> None:
    """`after` is the tag's own object there, which cannot be built."""
    assert read_github(github_push(B, "refs/tags/v1.0", head_commit={"id": A})).commit == A
    tag = {"ref": "refs/tags/v1.0", "after": B, "checkout_sha": A}
    assert read_gitlab(tag, x_gitlab_event="Tag Push Hook").commit == A


@pytest.mark.parametrize("event", ["ping", "create", "delete", "pull_request", "", "x" * 1000])
def test_other_events_are_nothing_to_build(event: str) -> None:
    """Whoever set the webhook up sees that it works."""
    with pytest.raises(NothingToBuild, match="only pushes are built"):
        read_github(b'{"zen": "Design for failure."}', x_github_event=event)


@pytest.mark.parametrize("gone", [{"deleted": True}, {"after": ZEROS, "head_commit": None}], ids=["said", "zeros"])
def test_a_deleted_branch_is_nothing_to_build(gone: dict[str, Any]) -> None:
    """As GitHub says it in two ways."""
    with pytest.raises(NothingToBuild, match="deleted"):
        read_github(github_push(A, **gone))


UNREADABLE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\xff\xfe{}", id="no UTF-8"),
    pytest.param(b'{"ref": "refs/heads/\xff", "after": "%s"}' % A.encode(), id="no UTF-8 in a name"),
    pytest.param(b"[" * 100_000, id="deep arrays"),
    pytest.param(b'{"a":' * 100_000, id="deep objects"),
    pytest.param(b'{"commits": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep where nobody looks"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"after": "%s"}' % A.encode(), id="no ref"),
    pytest.param(github_push(A, "refs/heads/\x1b[2J"), id="a ref that clears the screen"),
    pytest.param(github_push(A, "refs/heads/a\nb"), id="a ref of two lines"),
    pytest.param(github_push(A, "refs/heads/--upload-pack=x"), id="a ref that is an option"),
    pytest.param(github_push(A, "refs/heads/*"), id="a ref that is a pattern"),
    pytest.param(github_push(A, "refs/heads/"), id="a ref without a name"),
    pytest.param(github_push(A, "refs/heads/../../etc"), id="a ref that climbs"),
    pytest.param(github_push(A, "refs/heads/\u202eniam"), id="a ref written backwards"),
    pytest.param(github_push(A, "refs/heads/" + "a" * 300), id="an endless ref"),
    pytest.param(github_push(A, "refs/pull/1/head"), id="a ref that is no branch"),
    pytest.param(github_push(A, "main"), id="a ref without its kind"),
    pytest.param(github_push("main"), id="a commit that is a name"),
    pytest.param(github_push(A[:39]), id="a commit a digit short"),
    pytest.param(github_push(A.upper()), id="a commit in capitals"),
    pytest.param(github_push(A + "\n"), id="a commit and a line end"),
    pytest.param(github_push("--" + A[2:]), id="a commit that is an option"),
    pytest.param(github_push(A, head_commit={"id": 7}), id="a commit that is a number"),
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_genuine_nonsense_is_refused(body: bytes) -> None:
    """A forge that is broken, or broken into, gets a sentence and builds nothing."""
    with pytest.raises(Unreadable):
        read_github(body)


@pytest.mark.parametrize("delivery", ["", "a b", "é", "x" * 129, "a\x00b"])
def test_a_delivery_needs_a_number(delivery: str) -> None:
    """Without, it could be replayed."""
    with pytest.raises(Unreadable, match="known again"):
        read_github(github_push(), delivery=delivery)


def test_a_form_is_told_what_to_change() -> None:
    """GitHub's own default is a form, whose body is no JSON."""
    with pytest.raises(Unreadable, match="application/json"):
        read_github(b"payload=%7B%7D", content_type="application/x-www-form-urlencoded")


def gitlab_headers(**more: str) -> dict[str, str]:
    """Return the headers that GitLab sends."""
    return {
        "content-type": "application/json",
        "x-gitlab-event": "Push Hook",
        "x-gitlab-event-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e",
        "idempotency-key": "f5e57ff5-b9d3-4c1b-a7d9-0b4a1c4bfc5d",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def read_gitlab(said: dict[str, Any], **headers: str) -> Announced:
    """Return what GitLab announces."""
    push = {"object_kind": "push", "ref": MAIN, "before": B, "after": A, "checkout_sha": A, "user_username": "ada"}
    return gitlab.read(Letter(gitlab_headers(**headers), json.dumps({**push, **said}).encode()))


def test_gitlabs_token_is_compared() -> None:
    """The old way: the secret itself in a header."""
    gitlab.verify(Letter(gitlab_headers(x_gitlab_token=SECRET), b"{}"), SECRET, NOW)
    for token in ("", SECRET[:-1], f"{SECRET} ", SECRET.lower()):
        with pytest.raises(BadSignature):
            gitlab.verify(Letter(gitlab_headers(x_gitlab_token=token), b"{}"), SECRET, NOW)


def signed_by_gitlab(body: bytes, at: float = NOW, key: bytes = KEY) -> dict[str, str]:
    """Return the headers of a letter that GitLab signs, as Standard Webhooks has it."""
    moment = str(int(at))
    digest = hmac.new(key, b"msg-1." + moment.encode() + b"." + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return gitlab_headers(webhook_id="msg-1", webhook_timestamp=moment, webhook_signature=signature)


def test_gitlabs_signature_is_checked() -> None:
    """The new way: over number, time and body; one of several, while a token is changed."""
    headers = signed_by_gitlab(b"{}")
    gitlab.verify(Letter(headers, b"{}"), SIGNING_TOKEN, NOW)
    several = {**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}
    gitlab.verify(Letter(several, b"{}"), SIGNING_TOKEN, NOW)


@pytest.mark.parametrize(
    ("changed", "body", "now"),
    [
        pytest.param({}, b"{} ", NOW, id="another body"),
        pytest.param({"webhook-id": "msg-2"}, b"{}", NOW, id="another number"),
        pytest.param({"webhook-timestamp": "1800000001"}, b"{}", NOW, id="another time"),
        pytest.param({}, b"{}", NOW + 301, id="too old"),
        pytest.param({}, b"{}", NOW - 301, id="from the future"),
        pytest.param({"webhook-signature": ""}, b"{}", NOW, id="no signature"),
        pytest.param({"webhook-signature": "v1,"}, b"{}", NOW, id="an empty signature"),
        pytest.param({"webhook-signature": "", "x-gitlab-token": SIGNING_TOKEN}, b"{}", NOW, id="the token in clear"),
    ],
)
def test_gitlab_letters_that_are_not_genuine(changed: dict[str, str], body: bytes, now: float) -> None:
    """With a signing token, nothing but a fresh signature counts."""
    with pytest.raises(BadSignature):
        gitlab.verify(Letter({**signed_by_gitlab(b"{}"), **changed}, body), SIGNING_TOKEN, now)


def test_a_push_to_gitlab_is_read() -> None:
    """Its number is the one that stays the same when GitLab tries again; the signed one, if there is one."""
    delivery = "f5e57ff5-b9d3-4c1b-a7d9-0b4a1c4bfc5d"
    assert read_gitlab({}) == Announced(ref=MAIN, commit=A, delivery=delivery, by="ada", before=B)
    assert read_gitlab({}, webhook_id="msg-1").delivery == "msg-1"
    assert read_gitlab({}, idempotency_key="").delivery == "13792a34-cac6-4fda-95a8-c58e00a3954e"


def test_gitlabs_other_events_are_nothing_to_build() -> None:
    """A deleted branch, too."""
    with pytest.raises(NothingToBuild):
        read_gitlab({}, x_gitlab_event="Pipeline Hook")
    with pytest.raises(NothingToBuild, match="deleted"):
        read_gitlab({"after": ZEROS, "checkout_sha": None})


def generic_letter(said: dict[str, Any], at: float = NOW) -> Letter:
    """Return a letter as the documentation says to write one."""
    body, moment = json.dumps(said).encode(), str(int(at))
    signature = f"sha256={sealed(SECRET.encode(), moment.encode(), b'.', body).hex()}"
    return Letter({"x-clarion-timestamp": moment, "x-clarion-signature-256": signature}, body)


PUSHED = {"ref": MAIN, "commit": A, "delivery": "1", "by": "ada"}


def test_a_generic_push_is_read() -> None:
    """What a script announces."""
    letter = generic_letter(PUSHED)
    generic.verify(letter, SECRET, NOW + 299)
    assert generic.read(letter) == Announced(ref=MAIN, commit=A, delivery="1", by="ada")


@pytest.mark.parametrize(
    "letter",
    [
        pytest.param(generic_letter(PUSHED, NOW - 301), id="too old"),
        pytest.param(generic_letter(PUSHED, NOW + 301), id="from the future"),
        pytest.param(Letter({}, generic_letter(PUSHED).body), id="not signed"),
        pytest.param(
            Letter({**generic_letter(PUSHED, NOW - 301).headers, "x-clarion-timestamp": "1800000000"}, b"{}"),
            id="made younger",
        ),
        pytest.param(
            Letter(github_headers(generic_letter(PUSHED).body), generic_letter(PUSHED).body), id="signed as GitHub does"
        ),
    ],
)
def test_generic_letters_that_are_not_genuine(letter: Letter) -> None:
    """Who signs the body alone, or too early, is not believed."""
    with pytest.raises(BadSignature):
        generic.verify(letter, SECRET, NOW)


def test_a_generic_push_says_nothing_else() -> None:
    """There is no forge that adds fields: what is not known is a mistake."""
    with pytest.raises(Unreadable):
        generic.read(generic_letter({**PUSHED, "branch": "main"}))
    with pytest.raises(NothingToBuild):
        generic.read(generic_letter({**PUSHED, "commit": ZEROS}))


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/heads/feature/a-b_c", "refs/tags/v1.2.0+4", "refs/heads/größe", "refs/heads/@"]
)
def test_what_git_takes_is_a_ref(ref: str) -> None:
    """Nothing that people use is refused."""
    assert is_ref(ref)


@given(st.text(max_size=40))
def test_no_ref_holds_anything_that_steers(name: str) -> None:
    """Whatever comes, a ref is printable, without spaces, and never an option."""
    ref = f"refs/heads/{name}"
    if is_ref(ref):
        assert ref.isprintable()
        assert not set(ref) & set(" ~^:?*[\\")
        assert not name.startswith("-")
        assert ".." not in ref
