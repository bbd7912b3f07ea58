"""What a stolen or confused controller may try to slip under a deployer's signature."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clarion_controller.api.answers import PlanRequest
from clarion_controller.client.check_plan import Question, check_plan
from clarion_controller.host_filter import HostFilter
from clarion_protocol.documents import Plan, Targets
from clarion_protocol.errors import SignalError
from clarion_protocol.words import Intent

from .conftest import IDS, NOW, a_host, a_plan

ASKED = PlanRequest(app="shop", environment="production", version="1.1.0", hosts=["web-1", "web-2"], actor="ann")
HOSTS = [a_host(name) for name in IDS]


def question(request: PlanRequest = ASKED) -> Question:
    """Return what was asked, by somebody who knows every host."""
    return Question(request, HOSTS, NOW)


@pytest.mark.parametrize(
    "request_",
    [
        ASKED,
        msgspec.structs.replace(ASKED, hosts=None),
        msgspec.structs.replace(ASKED, intent=Intent.ROLLBACK),
        msgspec.structs.replace(ASKED, intent=Intent.ROLLBACK, version=None),
        msgspec.structs.replace(ASKED, plan=Plan(max_parallel="2")),
    ],
    ids=["some hosts", "all hosts", "a rollback", "a rollback to whatever was before", "a strategy of one's own"],
)
def test_an_honest_plan_passes(request_: PlanRequest) -> None:
    """What was asked for may be signed."""
    check_plan(question(request_), a_plan(request_))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": "1.0.0"}, "version 1.0.0 where 1.1.0 was asked"),
        ({"app": "bank"}, "app bank"),
        ({"environment": "staging"}, "environment staging"),
        ({"stream": "staging/shop"}, "stream staging/shop"),
        ({"intent": Intent.ROLLBACK}, "intent rollback"),
        ({"path": "bank/bank-1.tar.zst"}, "a package of another app"),
        ({"reason": "all approved"}, "reason all approved"),
        ({"actor": "bob"}, "actor bob"),
        ({"targets": Targets(all=True)}, "every host of the environment"),
        ({"targets": Targets(hosts=[IDS["web-1"], IDS["web-2"], IDS["web-3"]])}, "1 ids of other hosts"),
        ({"targets": Targets(hosts=[IDS["web-1"]])}, "1 ids missing"),
        ({"targets": Targets(hosts=[IDS["web-1"], IDS["web-9"]])}, "1 ids of other hosts"),
        ({"issued_at": NOW - 86400}, "from now by this machine's clock"),
        ({"issued_at": NOW + 86400}, "from now by this machine's clock"),
        ({"expires": NOW - 1}, "expired already"),
    ],
    ids=[
        "another version",
        "another app",
        "another environment",
        "another stream",
        "a rollback instead",
        "another app's package",
        "words put into the deployer's mouth",
        "another person's name",
        "the whole fleet",
        "one host more",
        "one host less",
        "one host exchanged",
        "drawn up yesterday",
        "drawn up tomorrow",
        "expired",
    ],
)
def test_a_plan_that_differs_is_never_signed(change: dict[str, Any], named: str) -> None:
    """The error names the difference."""
    with pytest.raises(SignalError, match="Nothing was signed") as caught:
        check_plan(question(), a_plan(ASKED, **change))
    assert named in caught.value.message


def test_a_hurried_strategy_is_noticed() -> None:
    """Who asks for one host at a time does not sign for all at once."""
    asked = msgspec.structs.replace(ASKED, plan=Plan(max_parallel="1"))
    with pytest.raises(SignalError, match="strategy"):
        check_plan(question(asked), a_plan(asked, plan=Plan(max_parallel="100%")))


def test_hosts_that_nobody_asked_for_are_noticed_in_the_list_of_names_too() -> None:
    """The names shown to the person are those that were asked for."""
    answer = msgspec.structs.replace(a_plan(ASKED), targets=["web-1", "web-3"])
    with pytest.raises(SignalError, match="hosts web-1, web-3 where web-1, web-2 were asked"):
        check_plan(question(), answer)


def test_a_filter_is_applied_by_the_asker_too() -> None:
    """Who asks for one zone signs for the hosts that were shown in that zone, whatever the controller lists."""
    asked = msgspec.structs.replace(ASKED, hosts=None, where=HostFilter(zones=["a"]))
    known = [a_host("web-1", zone="a"), a_host("web-2", zone="a"), a_host("web-3", zone="b")]
    gone = a_host("web-4", zone="a", is_discovered=False)
    honest = a_plan(msgspec.structs.replace(asked, hosts=["web-1", "web-2"]))
    check_plan(Question(asked, [*known, gone], NOW), honest)
    wider = a_plan(msgspec.structs.replace(asked, hosts=["web-1", "web-2", "web-3"]))
    with pytest.raises(SignalError, match="hosts web-1, web-2, web-3 where web-1, web-2 were asked"):
        check_plan(Question(asked, known, NOW), wider)
    everybody = msgspec.structs.replace(honest.deployment, targets=Targets(all=True))
    with pytest.raises(SignalError, match="every host of the environment"):
        check_plan(Question(asked, known, NOW), msgspec.structs.replace(honest, deployment=everybody))
