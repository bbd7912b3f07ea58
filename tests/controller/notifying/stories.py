"""Stories for the fold: events one after the other, and what people were told of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clarion_controller.notice import Notice
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.derive import Known, fold, settle
from clarion_controller.state.events import AnyEvent, DeploymentAccepted, StatusChanged
from clarion_protocol.documents import Deployment, Plan, Targets
from clarion_protocol.words import DeploymentStatus, Intent

NAMES = {f"{number:032x}": f"web-{number}" for number in range(1, 9)}
WEB_1, WEB_2, WEB_3, *_ = NAMES


def deployment(id_: str = "d" * 32, version: str = "1.1.0", **other: object) -> Deployment:
    """Return a deployment of shop to production."""
    fields = {
        "id": id_,
        "cluster": "c" * 32,
        "environment": "production",
        "stream": "production/shop",
        "epoch": 1,
        "seq": 1,
        "app": "shop",
        "version": version,
        "release": 1,
        "path": "shop.tar.zst",
        "length": 1,
        "sha256": "0" * 64,
        "targets": Targets(all=True),
        "plan": Plan(),
        "issued_at": 1,
        "not_before": 1,
        "expires": 2,
        "actor": "alice",
        **other,
    }
    return Deployment(**fields)  # type: ignore[arg-type]


class Story:
    """What happens, and what is told: in `notices` all of it, in the order in which it was told."""

    def __init__(self) -> None:
        self.known, self.seq, self.notices = Known(), 0, list[Notice]()

    def happens(self, *events: AnyEvent, of: Deployment | None = None) -> list[Notice]:
        """Let things happen, to the deployment `of`, and return what is told at once."""
        told: list[Notice] = []
        context = Context(id=of.id, deployment=of, names=NAMES) if of else Context()
        for event in events:
            self.seq += 1
            self.known, notices = fold(self.known, self.seq, event, context)
            told += notices
        self.notices += told
        return told

    def waits(self, until: float) -> list[Notice]:
        """Let time pass, and return what is told meanwhile."""
        self.known, told = settle(self.known, until)
        self.notices += told
        return told

    def accepts(self, document: Deployment, at: float = 0.0, absent: Sequence[str] = ()) -> None:
        """Let a deployment begin."""
        accepted = DeploymentAccepted(at=at, stream=document.stream, digest="", hosts=NAMES, absent=list(absent))
        self.happens(accepted, of=document)

    def ends(self, document: Deployment, status: DeploymentStatus, at: float) -> list[Notice]:
        """Let a deployment end."""
        return self.happens(StatusChanged(at=at, status=status, reason=f"it is {status.value}"), of=document)


def rollback(id_: str = "e" * 32, version: str = "1.0.0") -> Deployment:
    """Return a rollback that somebody ordered."""
    return deployment(id_, version, intent=Intent.ROLLBACK)


def kinds(notices: Iterable[Notice]) -> list[str]:
    """Return what the notices are about."""
    return [notice.kind.value for notice in notices]


def only(notices: Sequence[Notice]) -> Notice:
    """Return the only notice there is."""
    assert len(notices) == 1, kinds(notices)
    return notices[0]
