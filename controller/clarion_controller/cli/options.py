"""Options that several verbs share, and reading what people write into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.host_filter import HostFilter
from clarion_protocol.amounts import Duration, Share
from clarion_protocol.errors import BadConfig

App = Annotated[str, typer.Argument(metavar="APP", help="The app.", show_default=False)]
SomeApp = Annotated[str | None, typer.Argument(metavar="APP", help="Only this app.", show_default=False)]
Environment = Annotated[
    str, typer.Option("--environment", "-e", metavar="ENV", help="The environment.", show_default=False)
]
SomeEnvironment = Annotated[
    str | None, typer.Option("--environment", "-e", metavar="ENV", help="Only this environment.", show_default=False)
]
NewEnvironments = Annotated[
    list[str] | None,
    typer.Option(
        "--environment", "-e", metavar="ENV", help="An environment; may be repeated.", show_default="production"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the rollout to its end.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to follow, for example 10m.")]
Hosts = Annotated[
    str | None,
    typer.Option("--hosts", metavar="A,B", help="Only these hosts, with commas between.", show_default=False),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="KEY=VALUE", help="Only hosts with this tag; repeat it for more.", show_default=False
    ),
]
Zones = Annotated[
    list[str] | None,
    typer.Option("--zone", metavar="ZONE", help="Only hosts in this zone; repeated: in any.", show_default=False),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="Only hosts of this group; repeated: of any.", show_default=False),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", metavar="N|N%", help="Only so many of them, drawn by --seed.", show_default=False),
]
Seed = Annotated[
    str, typer.Option("--seed", metavar="TEXT", help="What --limit draws by; the same text draws the same hosts.")
]
AcceptShrink = Annotated[
    bool,
    typer.Option(
        "--accept-shrink", help="Believe a source that lists far fewer hosts; of a silent one, its last answer."
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history.", show_default=False)
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The deployer's .key file.", show_default="HOME/keys/deployer.key"),
]


def duration(written: str, option: str) -> Duration:
    """Return the duration written for `option`.

    Raises:
        BadConfig: it is none.
    """
    try:
        return Duration.parse(written)
    except ValueError as error:
        raise BadConfig(f"{option}: {error}") from error


def share(written: str, option: str) -> Share:
    """Return the share ("3" or "25%") written for `option`.

    Raises:
        BadConfig: it is none.
    """
    try:
        return Share.parse(written)
    except ValueError as error:
        raise BadConfig(f"{option}: {error}") from error


def host_filter(
    tags: list[str] | None, zones: list[str] | None, groups: list[str] | None, limit: str | None, seed: str
) -> HostFilter:
    """Return the filter that the options of that name make.

    Raises:
        BadConfig: a tag without "=" or with two values, an empty word (an empty filter must never mean everything),
            no share, or a seed that nothing is drawn by.
    """
    for option, words in (("--tag", tags), ("--zone", zones), ("--group", groups)):
        if any(not word.strip() for word in words or ()):
            raise BadConfig(f"{option} is empty", hint=f"Leave {option} out to mean every host.")
    if seed and limit is None:
        raise BadConfig("--seed draws nothing without --limit", hint="Add --limit, or leave --seed out.")
    drawn = "" if limit is None else str(share(limit, "--limit"))
    return HostFilter(tags=_tags(tags or ()), zones=zones or (), groups=groups or (), limit=drawn, seed=seed)


def _tags(written: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in map(_tag, written):
        if found.setdefault(key, value) != value:
            raise BadConfig(f"--tag {key}: no host has both {found[key]} and {value}", hint="Name one of them.")
    return found


def _tag(written: str) -> tuple[str, str]:
    key, equals, value = written.partition("=")
    if not (key and equals):
        raise BadConfig(f"--tag {written}: a tag is written KEY=VALUE")
    return key, value


def names(written: str | None, option: str) -> list[str] | None:
    """Return the names in "a,b,c"; none at all if the option is not given.

    Raises:
        BadConfig: given, and empty: an empty filter must never mean everything.
    """
    if written is None:
        return None
    found = [name.strip() for name in written.split(",") if name.strip()]
    if not found:
        raise BadConfig(f"{option} names no host", hint=f"Leave {option} out to mean every host.")
    return found
