"""Durations, sizes and shares: what people write, what is refused, how it reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.amounts import Duration, Share, Size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("0s", 0), ("30s", 30), ("1.5s", 1.5), ("10m", 600), ("2h", 7200), ("7d", 604_800)],
)
def test_duration_is_a_number_with_a_unit(written: str, seconds: float) -> None:
    """A duration is a number of seconds, whatever unit it was written in."""
    assert Duration.parse(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "30", "s", "-1s", "1 s", "1e9s", "30s ", "30s\n", "٣s", "30 minutes", 30, None, True]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    """A bare number, a sign, a space or another script's digits are refused with an example."""
    with pytest.raises(ValueError, match=r'is not a duration such as "500ms"|unknown unit'):
        Duration.parse(written)


def test_unknown_unit_is_named_with_the_known_ones() -> None:
    """A wrong unit is answered with the right ones."""
    with pytest.raises(ValueError, match='unknown unit "sec" in "30sec": write one of ms, s, m, h, d'):
        Duration.parse("30sec")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.25, "250ms"), (1, "1s"), (1.5, "1.5s"), (90, "90s"), (120, "2m"), (86_400, "1d"), (90_000, "25h")],
)
def test_duration_reads_like_it_is_written(seconds: float, shown: str) -> None:
    """A duration is shown in its largest whole unit."""
    assert str(Duration(seconds)) == shown


@given(st.integers(min_value=1, max_value=10**9))
def test_shown_duration_means_the_same(milliseconds: int) -> None:
    """What is shown can be written, and is the same duration."""
    duration = Duration(milliseconds / 1000)
    assert Duration.parse(str(duration)) == pytest.approx(duration)


@pytest.mark.parametrize(
    ("written", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("2GB", 2 * 10**9), ("1.5MiB", 1_572_864)]
)
def test_size_is_a_number_of_bytes(written: str, size: int) -> None:
    """KiB is 1,024 bytes and KB is 1,000, as their names say."""
    assert Size.parse(written) == size


@pytest.mark.parametrize("written", ["64", "64K", "64kb", "-1B", "1 GB", 64, None])
def test_what_is_no_size_is_refused(written: object) -> None:
    """A size without one of the known units is refused."""
    with pytest.raises(ValueError, match=r"is not a size|unknown unit"):
        Size.parse(written)


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (121_400_000, "121.4 MB")])
def test_size_is_shown_with_one_digit(size: int, shown: str) -> None:
    """A size is shown as people say it."""
    assert str(Size(size)) == shown


@pytest.mark.parametrize(
    ("written", "total", "count"),
    [
        ("25%", 8, 2),
        ("25%", 7, 1),
        ("5%", 3, 1),
        ("0%", 100, 0),
        ("100%", 7, 7),
        ("29%", 100, 29),
        ("12.5%", 16, 2),
        ("5%", 0, 0),
        (3, 10, 3),
        ("3", 10, 3),
        (3, 2, 2),
        (0, 10, 0),
    ],
)
def test_share_of_a_total(written: object, total: int, count: int) -> None:
    """A percentage is rounded down, but any of something is at least one."""
    assert Share.parse(written).of(total) == count


@pytest.mark.parametrize("written", [-1, 1.5, True, None, "", "-1", "101%", "%", "5 %", "five", "5%\n", "1e3%", "٣"])
def test_what_is_no_share_is_refused(written: object) -> None:
    """Neither a negative count nor more than all of it is a share."""
    with pytest.raises(ValueError, match="is not a share"):
        Share.parse(written)


@given(st.integers(0, 100), st.integers(0, 10**6))
def test_share_never_exceeds_its_percentage_beyond_the_first(percent: int, total: int) -> None:
    """No percentage gives more than its part, except for the one that it always gives."""
    count = Share.parse(f"{percent}%").of(total)
    assert 0 <= count <= total
    assert count <= max(1, percent * total / 100)
    assert (count > 0) == (percent > 0 and total > 0)


def test_share_is_kept_as_it_was_written() -> None:
    """A share shows what the operator wrote."""
    assert str(Share.parse("25%")) == "25%"
    assert str(Share.parse(3)) == "3"
