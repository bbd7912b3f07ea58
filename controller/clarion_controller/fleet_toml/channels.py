"""[[notify]] of fleet.toml: who is told of what, and how; and what of it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from clarion_controller.fleet_toml.table import Secret, Table
from clarion_controller.notice import Kind, Severity
from clarion_protocol.words import is_name

Problems = Iterator[tuple[str, tuple[str, ...]]]


class Slack(Table, frozen=True):
    """An incoming webhook; its address is the secret."""

    url: Secret


class Email(Table, frozen=True, kw_only=True):
    """Mail through an SMTP server."""

    to: tuple[str, ...]
    sender: str
    host: str = "localhost"
    port: int = 25
    security: Literal["none", "starttls", "tls"] = "none"
    user: str = ""
    password: Secret | None = None


class PagerDuty(Table, frozen=True, kw_only=True):
    """PagerDuty's Events API v2; `url` is for its European region."""

    routing_key: Secret
    url: str = "https://events.pagerduty.com/v2/enqueue"


class Webhook(Table, frozen=True, kw_only=True):
    """A POST of JSON, signed with `secret` as header `X-Clarion-Signature-256`."""

    url: str
    secret: Secret


class Apprise(Table, frozen=True):
    """Anything that the library apprise can reach; its URL is the secret."""

    url: Secret


class Channel(Table, frozen=True, kw_only=True):
    """One way to tell people; exactly one of the five. Empty `environments` and `kinds` are all of them.

    What concerns no environment, a build, is told everywhere.
    """

    name: str
    slack: Slack | None = None
    email: Email | None = None
    pagerduty: PagerDuty | None = None
    webhook: Webhook | None = None
    apprise: Apprise | None = None
    environments: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    min_severity: Severity = Severity.INFO

    @property
    def ways(self) -> list[str]:
        """Which of the five are given."""
        return [way for way in ("slack", "email", "pagerduty", "webhook", "apprise") if getattr(self, way) is not None]

    @property
    def way(self) -> Table:
        """The one that is given."""
        way: Table = getattr(self, self.ways[0])
        return way


def channel_problems(channels: Sequence[Channel], environments: Sequence[str]) -> Problems:
    """Yield a sentence for each mistake, and the key that it is about."""
    for place, channel in enumerate(channels):
        where = ("notify", str(place))
        if not is_name(channel.name):
            yield "a name is a-z, 0-9, and . _ - inside, at most 63 characters", (*where, "name")
        if channel.name in [each.name for each in channels[:place]]:
            yield f"there is already a {channel.name!r}", (*where, "name")
        if len(channel.ways) != 1:
            yield "each has exactly one of slack, email, pagerduty, webhook and apprise", where
        for environment in channel.environments:
            if environment not in environments:
                yield f"there is no environment {environment!r}", (*where, "environments")
        yield from _way_problems(channel, where)


def _way_problems(channel: Channel, where: tuple[str, ...]) -> Problems:
    for way in (channel.webhook, channel.pagerduty):
        if way and not way.url.startswith(("https://", "http://")):
            yield f"{way.url!r} does not begin with https:// or http://", (*where, channel.ways[0], "url")
    if email := channel.email:
        for address in (*email.to, email.sender):
            if "@" not in address or any(letter in address for letter in " \r\n,<>"):
                yield f"{address!r} is no address such as ops@example.net", (*where, "email")
        if not email.to:
            yield "name at least one address", (*where, "email", "to")
        if not 1 <= email.port <= 65_535:
            yield f"{email.port} is no port (1 to 65535)", (*where, "email", "port")
        if bool(email.user) != bool(email.password):
            yield "user and password belong together", (*where, "email")
