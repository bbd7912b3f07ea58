"""apprise, in its child, to a loopback server; and what becomes of it without, or with a server that stalls."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from tests.controller.notifiers.listening import a_notice, answer, dripping_head, listening

from clarion_controller.notice import Severity, Undelivered
from clarion_controller.notifiers import apprise
from clarion_controller.notifiers.apprise import AppriseNotifier

pytest.importorskip("apprise")


def json_url(url: str) -> str:
    """Return apprise's spelling of an address that takes JSON."""
    return url.replace("http://", "json://user:s3cret-w0rd@") + "/hooks/Xk29ZnQ8v7"


def test_a_notice_arrives() -> None:
    """With all that mail says, and apprise's word for how bad it is."""
    with listening(answer(200)) as listener:
        AppriseNotifier(json_url(listener.url)).send(a_notice(reason="<b>not markup</b> *nor this*"))
        AppriseNotifier(json_url(listener.url)).send(a_notice(resolves=True, severity=Severity.CRITICAL))
    failed, repaired = (request.json for request in listener.requests)
    assert failed["title"].endswith("shop 1.4.2 failed in production")
    assert "<b>not markup</b> *nor this*" in failed["message"]
    assert "clarion logs 3f9c2a11" in failed["message"]
    assert (failed["type"], repaired["type"]) == ("failure", "success")


def test_what_is_refused_says_so() -> None:
    """As far as apprise does, and without the secret."""
    with listening(answer(403, "no, Xk29ZnQ8v7")) as listener, pytest.raises(Undelivered, match="apprise: ") as caught:
        AppriseNotifier(json_url(listener.url)).send(a_notice())
    assert "403" in caught.value.reason
    assert not caught.value.is_final
    assert not [each for each in ("s3cret-w0rd", "Xk29ZnQ8v7") if each in caught.value.reason]


TALKATIVE = "import json, sys; print(json.dumps({'trouble': 'cannot reach ' + json.load(sys.stdin)['url']}))"
CHILDREN = {"repeats the secret": TALKATIVE, "dies": "raise SystemExit(3)", "says nonsense": "print('Traceback')"}


@pytest.mark.parametrize("program", CHILDREN.values(), ids=CHILDREN.keys())
def test_whatever_becomes_of_the_child_the_secret_stays_secret(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """A service's plugin may put its URL into what it says, or break."""
    monkeypatch.setattr(apprise, "_CHILD", [sys.executable, "-c", program])
    with pytest.raises(Undelivered, match="apprise") as caught:
        AppriseNotifier(json_url("http://127.0.0.1")).send(a_notice())
    assert not [each for each in ("s3cret-w0rd", "Xk29ZnQ8v7") if each in caught.value.reason]
    assert not caught.value.is_final


def test_a_server_that_drips_is_given_up() -> None:
    """Left alone, apprise would wait for ever."""
    begun = time.monotonic()
    with listening(dripping_head) as listener, pytest.raises(Undelivered, match="within 2 s") as caught:
        AppriseNotifier(json_url(listener.url), patience=2.0).send(a_notice())
    assert time.monotonic() - begun < 10
    assert caught.value.__cause__ is None
    assert not caught.value.is_final


@pytest.mark.parametrize("url", ["", "nonsense", "no-such-service://x/Xk29ZnQ8v7"])
def test_a_url_that_apprise_does_not_know_will_never_do(url: str) -> None:
    """And is not repeated."""
    with pytest.raises(Undelivered, match="does not understand the URL") as caught:
        AppriseNotifier(url).send(a_notice())
    assert caught.value.is_final
    assert "Xk29ZnQ8v7" not in caught.value.reason


def test_the_secret_is_in_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on the machine can read those."""
    seen: list[object] = []
    run = subprocess.run

    def watched(*arguments: object, **settings: object) -> object:
        seen.append(arguments)
        return run(*arguments, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", watched)
    with listening(answer(200)) as listener:
        notifier = AppriseNotifier(json_url(listener.url))
        notifier.send(a_notice())
    assert seen
    assert "Xk29ZnQ8v7" not in f"{seen}{notifier!r}"


def test_without_apprise_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setattr(apprise, "find_spec", lambda _: None)
    with pytest.raises(Undelivered, match=r"pip install 'clarion\[notify\]'") as caught:
        AppriseNotifier("json://127.0.0.1").send(a_notice())
    assert caught.value.is_final


def test_apprise_is_loaded_by_nobody_else() -> None:
    """It costs 60 MB and most of a second."""
    program = "import sys, clarion_controller.notifiers.apprise; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
