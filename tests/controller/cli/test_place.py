"""Which controller a command line is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.cli.place import split
from clarion_protocol.errors import BadConfig


@pytest.mark.parametrize(
    ("arguments", "environ", "home", "api"),
    [
        ([], {}, "/var/lib/clarion", "/var/lib/clarion/run/controller.sock"),
        ([], {"CLARION_HOME": "/h"}, "/h", "/h/run/controller.sock"),
        (["--home", "/a"], {"CLARION_HOME": "/h"}, "/a", "/a/run/controller.sock"),
        (["--home=/a", "--api=/s"], {}, "/a", "/s"),
        ([], {"CLARION_API": "/s"}, "/var/lib/clarion", "/s"),
    ],
    ids=["the default", "the environment", "an option beats it", "with an equals sign", "another socket"],
)
def test_options_come_before_the_environment_before_the_default(
    arguments: list[str], environ: dict[str, str], home: str, api: str
) -> None:
    """A place can be named in three ways, the nearest wins."""
    place, _ = split(["status", *arguments], environ)
    assert (place.home, place.api) == (Path(home), Path(api))


def test_the_options_may_stand_anywhere_and_the_rest_keeps_its_order() -> None:
    """Nobody has to remember whether --home comes before or after the verb."""
    assert split(["deploy", "shop", "--home", "/a", "1.0", "-e", "x"], {})[1] == ["deploy", "shop", "1.0", "-e", "x"]


def test_nothing_after_two_dashes_is_ours() -> None:
    """What follows -- is never an option."""
    assert split(["x", "--", "--home", "/a"], {})[1] == ["x", "--", "--home", "/a"]


def test_an_option_without_its_value_is_an_error() -> None:
    """It names how to write it."""
    with pytest.raises(BadConfig, match="--api needs a path"):
        split(["status", "--api"], {})
