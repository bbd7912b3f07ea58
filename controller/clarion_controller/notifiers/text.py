"""Text from hosts, builds and people on its way to people: one line each, nothing that steers a terminal, bounded."""

from __future__ import annotations

import time

from clarion_controller.notice import Notice, Severity

CUT = "…"
_SIGNS = {
    Severity.INFO: "\N{LARGE BLUE CIRCLE}",
    Severity.WARNING: "\N{LARGE ORANGE CIRCLE}",
    Severity.ERROR: "\N{LARGE RED CIRCLE}",
    Severity.CRITICAL: "\N{POLICE CARS REVOLVING LIGHT}",
}


def line(text: str, most: int) -> str:
    """Return `text` as one line of at most `most` characters, without control characters."""
    shown = "".join(each if each.isprintable() else " " for each in text[: 4 * most])
    return cut(" ".join(shown.split()), most)


def cut(text: str, most: int) -> str:
    """Return at most `most` characters of `text`; an ellipsis stands for what is left out."""
    return text if len(text) <= most else text[: most - 1] + CUT


def names(affected: tuple[str, ...], most: int) -> str:
    """Return the first `most` names, and how many more there are."""
    shown = ", ".join(line(name, 100) for name in affected[:most])
    return shown if len(affected) <= most else f"{shown} and {len(affected) - most:,} more"


def place(notice: Notice) -> str:
    """Return where it is: the app and the environment, as far as there are any."""
    app, environment = line(notice.app, 100), line(notice.environment, 100)
    return f"{app} in {environment}" if app and environment else app or environment


def moment(at: float) -> str:
    """Return a time as people everywhere read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def sign(notice: Notice) -> str:
    """Return one character that says how bad it is, or that it is well again."""
    return "\N{WHITE HEAVY CHECK MARK}" if notice.resolves else _SIGNS[notice.severity]


def paragraphs(notice: Notice) -> str:
    """Return all of a notice but its title, as plain text for mail and whatever else has room."""
    facts = {
        "Where": place(notice),
        "Since": moment(notice.since),
        "At": moment(notice.at) if notice.at != notice.since else "",
        "Affected": names(notice.affected, 50),
        "Severity": notice.severity.value,
        "Next": line(notice.next_command, 500),
        "Cluster": line(notice.cluster, 100),
    }
    rows = [f"{name + ':':10}{value}" for name, value in facts.items() if value]
    reason = line(notice.reason, 2000)
    return "\n".join([*([reason, ""] if reason else []), *rows])
