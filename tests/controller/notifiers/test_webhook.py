"""The signed webhook, received as docs/reference/notices.md says that one receives it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.controller.notifiers.listening import Request, a_notice, answer, listening

from clarion_controller.notice import Notice, Undelivered
from clarion_controller.notifiers.webhook import WebhookNotifier

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "notices.md"
SECRET = "correct horse battery staple"


def receiver() -> Callable[[dict[str, str], bytes, str], bool]:
    """Return the function that the page shows to who receives webhooks."""
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Callable[[dict[str, str], bytes, str], bool]] = {}
    exec(block, names)
    return names["is_ours"]


def received(notice: Notice) -> Request:
    """Return what arrives."""
    with listening(answer(200)) as listener:
        WebhookNotifier(f"{listener.url}/hook", SECRET).send(notice)
    return listener.requests[0]


def titled(request: Request) -> dict[str, str]:
    """Return the headers as most libraries spell them."""
    return {name.title(): value for name, value in request.headers.items()}


def test_the_notice_arrives_whole_and_signed() -> None:
    """As JSON, and who follows the page accepts it."""
    request = received(a_notice())
    assert msgspec.json.decode(request.body, type=Notice) == a_notice()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-clarion-delivery"] == "n-17"
    assert receiver()(titled(request), request.body, SECRET)


def test_what_was_changed_is_not_ours() -> None:
    """Body, time, signature or secret."""
    request = received(a_notice())
    is_ours, headers = receiver(), titled(request)
    later = str(int(headers["X-Clarion-Timestamp"]) + 1)
    assert not is_ours(headers, request.body + b" ", SECRET)
    assert not is_ours(headers, request.body, "another")
    assert not is_ours({**headers, "X-Clarion-Timestamp": later}, request.body, SECRET)
    assert not is_ours({**headers, "X-Clarion-Signature-256": "sha256=" + "0" * 64}, request.body, SECRET)


def test_what_was_recorded_cannot_be_played_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour later it is too old, although every byte is genuine."""
    request, now = received(a_notice()), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert not receiver()(titled(request), request.body, SECRET)


def test_trying_again_is_the_same_delivery() -> None:
    """So who remembers its id acts once."""
    with listening(answer(500), answer(200)) as listener:
        notifier = WebhookNotifier(listener.url, SECRET)
        with pytest.raises(Undelivered):
            notifier.send(a_notice())
        notifier.send(a_notice())
    first, second = listener.requests
    assert first.headers["x-clarion-delivery"] == second.headers["x-clarion-delivery"]
    assert first.body == second.body


def test_no_header_is_smuggled_in_by_an_id() -> None:
    """Nor does one that is no ASCII break the request."""
    request = received(a_notice(id="a\r\nX-Evil: 1\u00fc\u2028"))
    assert "x-evil" not in request.headers
    assert request.headers["x-clarion-delivery"].isascii()


def test_the_secret_is_never_shown() -> None:
    """Not even to who prints the notifier."""
    assert SECRET not in repr(WebhookNotifier("https://x", SECRET))
