"""Following a rollout to its end, whatever happens to the controller meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from clarion_controller.api.answers import DeploymentAnswer
from clarion_controller.client import follow as module
from clarion_controller.client.follow import follow, pace
from clarion_protocol.errors import ControllerUnreachable, WaitTimedOut
from clarion_protocol.words import DeploymentStatus, HostStatus

from .conftest import progress

BEGUN = progress(DeploymentStatus.RUNNING, HostStatus.PENDING)
LATER = progress(DeploymentStatus.RUNNING, HostStatus.STAGED, revision=2)
DONE = progress(DeploymentStatus.SUCCEEDED, HostStatus.COMMITTED, revision=3)


class Prepared:
    """Answers with what it was given, one after the other; an error is raised."""

    def __init__(self, answers: Iterable[DeploymentAnswer | Exception]) -> None:
        self._answers = iter(answers)
        self.asked: list[int | None] = []

    def deployment(self, id_: str, *, revision: int | None = None, wait: float = 0.0) -> DeploymentAnswer:
        """Return the next answer."""
        assert (id_, wait <= module.LONGEST_CALL) == (BEGUN.id, True)
        self.asked.append(revision)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_every_change_is_seen_once_and_the_last_is_final() -> None:
    """An answer that came only because the wait ended is no change."""
    source = Prepared([BEGUN, LATER, LATER, DONE])
    assert list(follow(source, BEGUN, timeout=60)) == [BEGUN, LATER, DONE]
    assert source.asked == [1, 1, 2, 2]


def test_the_larger_the_fleet_the_longer_the_rest_between_two_looks() -> None:
    """Watching 5,000 hosts costs the controller one answer a second, watching three is immediate."""
    assert [pace(hosts) for hosts in (3, 1000, 5000, 50_000)] == [0.02, 0.2, 1.0, 1.0]


def test_a_deployment_that_is_over_is_not_asked_about() -> None:
    """There is nothing to wait for."""
    assert list(follow(Prepared([]), DONE, timeout=60)) == [DONE]


def test_a_controller_that_restarts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollout survives its controller, and so does watching it."""
    monkeypatch.setattr(module, "RETRY", 0.01)
    source = Prepared([ControllerUnreachable("gone"), ControllerUnreachable("gone"), DONE])
    assert list(follow(source, BEGUN, timeout=60))[-1] == DONE


def test_a_controller_that_stays_away_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits has a deadline."""
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with pytest.raises(ControllerUnreachable):
        list(follow(Prepared(ControllerUnreachable("gone") for _ in range(1000)), BEGUN, timeout=60))


def test_the_wait_has_an_end_that_says_how_to_go_on() -> None:
    """The rollout itself is not touched by it."""
    with pytest.raises(WaitTimedOut) as caught:
        list(follow(Prepared([]), BEGUN, timeout=0))
    assert "still going on" in caught.value.message
    assert "clarion abort dddddddd" in str(caught.value.hint)
