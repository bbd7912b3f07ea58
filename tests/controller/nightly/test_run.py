"""Nights with a real controller, a real git remote and real wheels: what works, what broke, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.controller.nightly.nights import Town, check_in, town, write_wheel

from clarion_controller.nightly.report import Result

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """Give a town whose nights leave their folders, if they do, below `tmp_path`."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with town(tmp_path) as shop:
        yield shop
    assert list(place.iterdir()) == []


def test_nights_name_the_dependency_that_broke_the_build_and_since_when(shop: Town) -> None:
    """The first night is bit-identical; an upstream that breaks is named, with the night it began, until repaired."""
    first = shop.night("2026-11-20")
    assert first.is_good
    check = check_in(first.report, "rebuild shop")
    assert (check.result, check.reason) == (Result.WORKS, "bit-identical")
    assert check.dependencies == {"1.0.0": {"greeting": "1.0"}}

    write_wheel(shop.wheels, "1.1", says="goodbye")
    second = shop.night("2026-11-21")
    check = check_in(second.report, "rebuild shop")
    assert not second.is_good
    assert (check.result, check.since) == (Result.BROKEN, "2026-11-21")
    assert check.reason.startswith("greeting 1.0 -> 1.1: ")
    assert check.findings == ("since the night of 2026-11-20: greeting 1.0 -> 1.1",)
    assert "greeting says goodbye" in check.log

    check = check_in(shop.night("2026-11-22").report, "rebuild shop")
    assert (check.result, check.since) == (Result.BROKEN, "2026-11-21")
    assert check.reason.startswith("greeting 1.0 -> 1.1: ")

    write_wheel(shop.wheels, "1.2")
    fourth = shop.night("2026-11-23")
    check = check_in(fourth.report, "rebuild shop")
    assert fourth.is_good
    assert (check.result, check.reason, check.since) == (Result.WORKS, "differs: greeting 1.0 -> 1.2", "")
    assert "changed: lib/greeting.py" not in check.findings
    assert "added: lib/greeting-1.2.dist-info/METADATA" in check.findings
