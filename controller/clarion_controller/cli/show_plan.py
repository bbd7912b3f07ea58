"""A plan as text: what would go where, in which batches, and who cannot be reached."""

from __future__ import annotations

from collections.abc import Sequence

from clarion_controller.api.answers import PlanAnswer
from clarion_controller.texts import count, one_line, short
from clarion_protocol.amounts import Duration, Share, Size
from clarion_protocol.documents import Deployment, Plan
from clarion_protocol.words import Intent, Strategy

MOST_NAMES = 8
MOST_BATCHES = 8
MOST_FINDINGS = 5


def describe(answer: PlanAnswer) -> str:
    """Return the lines that a person reads before saying yes."""
    deployment = answer.deployment
    where = f"{deployment.environment}: {count(len(answer.targets), 'host')}"
    rows = [
        ("strategy", strategy(deployment.plan)),
        ("limits", limits(deployment.plan)),
        *_batches(answer),
        ("if it fails", _failure(answer)),
        ("runs now", _running(answer)),
        ("supersedes", _supersedes(answer)),
        ("not connected", _names(answer.not_connected)),
        ("without agent", _names(answer.without_agent)),
        *(("note", one_line(finding)) for finding in answer.findings[:MOST_FINDINGS]),
        ("...", _more(len(answer.findings) - MOST_FINDINGS)),
    ]
    shown = [f"  {label:14} {text}" for label, text in rows if text]
    return "\n".join([f"{_what(deployment)} to {where}", *shown])


def strategy(plan: Plan) -> str:
    """Return how hosts take turns."""
    walk = "all at once" if plan.type is Strategy.ALL_AT_ONCE else f"rolling, {plan.max_parallel} at a time"
    return f"{walk}, each bakes {Duration(plan.bake_time)}" if plan.bake_time else walk


def limits(plan: Plan) -> str:
    """Return what halts a rollout when it is exceeded."""
    return f"{plan.max_failures} may fail, {plan.max_unreachable} may be unreachable"


def batches(targets: Sequence[str], plan: Plan) -> list[list[str]]:
    """Return the hosts in the order of their turns, as many together as may be in change at once."""
    width = max(Share.parse(plan.max_parallel).of(len(targets)), 1)
    if plan.type is Strategy.ALL_AT_ONCE:
        width = max(len(targets), 1)
    return [list(targets[start : start + width]) for start in range(0, len(targets), width)]


def _more(findings: int) -> str:
    return f"{findings:,} more notes: 'clarion hosts' shows them" if findings > 0 else ""


def _what(deployment: Deployment) -> str:
    verb = "Roll back" if deployment.intent is Intent.ROLLBACK else "Deploy"
    size = f", {Size(deployment.length)}" if deployment.intent is Intent.INSTALL else ""
    return f"{verb} {deployment.app} {deployment.version} (release {deployment.release}{size})"


def _batches(answer: PlanAnswer) -> list[tuple[str, str]]:
    turns = batches(answer.targets, answer.deployment.plan)
    shown = [(f"batch {number}", _names(turn)) for number, turn in enumerate(turns[:MOST_BATCHES], start=1)]
    return [*shown, ("...", f"{len(turns)} batches in all")] if len(turns) > MOST_BATCHES else shown


def _failure(answer: PlanAnswer) -> str:
    deployment = answer.deployment
    if not deployment.plan.auto_rollback:
        return "the rollout halts; hosts that have switched stay"
    back = deployment.go_back_to
    if back is None:
        return "hosts go back to what they ran before, if anything"
    # The host that fails goes back by itself, to what it ran; only those that succeeded are told where to.
    others = set(answer.running) - {back.version, deployment.version}
    return (
        f"hosts go back to {back.version}, or to what they ran" if others else f"every host goes back to {back.version}"
    )


def _supersedes(answer: PlanAnswer) -> str:
    return f"deployment {short(answer.supersedes)}, which is under way" if answer.supersedes else ""


def _running(answer: PlanAnswer) -> str:
    return ", ".join(f"{version} on {number}" for version, number in sorted(answer.running.items())) or "nothing"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
