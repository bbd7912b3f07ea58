"""TOML written by people: each mistake is found by its file, its line and its key."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec
import pytest

from clarion_protocol.errors import BadConfig
from clarion_protocol.toml_file import read_toml


class Colour(Enum):
    """A few words."""

    RED = "red"
    GREEN = "green"


class Door(msgspec.Struct, forbid_unknown_fields=True):
    """A table under a name that people choose."""

    colour: Colour = Colour.RED
    locks: list[str] = []


class Garden(msgspec.Struct, forbid_unknown_fields=True):
    """One of several."""

    trees: dict[str, int] = {}
    shed: Door = msgspec.field(default_factory=Door)


class House(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    garden: list[Garden] = []
    door: dict[str, Door] = {}
    roof: Literal["flat", "steep"] = "flat"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            '[door.front]\n[door.back]\ncolor = "red"', "line 3: door.back.color: unknown key", id="an unknown key"
        ),
        pytest.param(
            '[door.front]\nlocks = ["a"]\n[door.back]\nlocks = "b"',
            "line 4: door.back.locks: Expected array, got str",
            id="a value that does not fit",
        ),
        pytest.param("[door.front]\nlocks = [1]", "line 2: door.front.locks.0: Expected str", id="one in a list"),
        pytest.param(
            "[[garden]]\n[[garden]]\ntrees = { oak = 1, ash = true }",
            "line 3: garden.1.trees.ash: Expected int, got bool",
            id="one of a mapping in a list",
        ),
        pytest.param(
            '[[garden]]\n[garden.shed]\ncolour = "red"\n[[garden]]\n[garden.shed]\ncolor = "red"',
            "line 6: garden.1.shed.color: unknown key",
            id="a table below one of a list",
        ),
        pytest.param('roof = "round"', "line 1: roof: 'round' is none of flat, steep", id="no such choice"),
        pytest.param(
            '[door.front]\ncolour = "blue"',
            "line 2: door.front.colour: 'blue' is none of red, green",
            id="no such word",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place(text: str, problem: str) -> None:
    """Even in a table whose name people choose, and with the words that would fit."""
    with pytest.raises(BadConfig) as caught:
        read_toml(text, House, "house.toml")
    assert caught.value.message.startswith(f"house.toml, {problem}")


def test_the_nearest_key_of_a_named_table_is_suggested() -> None:
    """A typo is told from a wish."""
    with pytest.raises(BadConfig) as caught:
        read_toml("[door.front]\ncolor = 1", House, "house.toml")
    assert caught.value.hint == 'Did you mean "colour"?'
