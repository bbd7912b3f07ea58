"""Which notifier a channel of fleet.toml means; a way is imported only if it is used."""

from __future__ import annotations

from pathlib import Path

from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.notice import Notifier
from clarion_protocol.errors import BadConfig


def notifier_of(channel: Channel, home: Path, cluster_name: str) -> Notifier:
    """Return who tells people through `channel`, with its secrets read now.

    Raises:
        BadConfig: a secret is not there, or others can read it.
    """
    if channel.slack:
        from clarion_controller.notifiers.slack import SlackNotifier  # noqa: PLC0415 (only what is used)

        return SlackNotifier(channel.slack.url.reveal(home))
    if channel.email:
        from clarion_controller.notifiers.mail import EmailNotifier  # noqa: PLC0415 (only what is used)

        password = channel.email.password.reveal(home) if channel.email.password else ""
        return EmailNotifier(channel.email, password, cluster_name)
    if channel.pagerduty:
        from clarion_controller.notifiers.pagerduty import PagerDutyNotifier  # noqa: PLC0415 (only what is used)

        return PagerDutyNotifier(channel.pagerduty.routing_key.reveal(home), channel.pagerduty.url, cluster_name)
    if channel.webhook:
        from clarion_controller.notifiers.webhook import WebhookNotifier  # noqa: PLC0415 (only what is used)

        return WebhookNotifier(channel.webhook.url, channel.webhook.secret.reveal(home))
    if channel.apprise:
        from clarion_controller.notifiers.apprise import AppriseNotifier  # noqa: PLC0415 (only what is used)

        return AppriseNotifier(channel.apprise.url.reveal(home))
    raise BadConfig(f"[[notify]] {channel.name} says no way to tell people", hint="Run 'clarion validate'.")
