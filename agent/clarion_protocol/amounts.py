"""Durations, sizes and shares as people write them: "30s", "64KiB", "25%".

Each type is the number it stands for, so that nothing downstream converts again.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_AMOUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([A-Za-z]{1,3})\Z", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%\Z", re.ASCII)


class Duration(float):
    """A length of time in seconds, written like "500ms", "30s", "10m" or "2h"."""

    @classmethod
    def parse(cls, written: object) -> Duration:
        """Return the duration that a person wrote.

        Raises:
            ValueError: it is no number with one of the units ms, s, m, h, d.
        """
        number, unit = _split(written, _SECONDS, 'a duration such as "500ms", "30s", "10m" or "2h"')
        return cls(number * _SECONDS[unit])

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            whole, rest = divmod(self, _SECONDS[unit])
            if whole and not rest:
                return f"{whole:.0f}{unit}"
        return f"{self:.3f}".rstrip("0").rstrip(".") + "s" if self >= 1 or not self else f"{self * 1000:.0f}ms"


class Size(int):
    """A number of bytes, written like "512B", "64KiB" or "2GB"."""

    @classmethod
    def parse(cls, written: object) -> Size:
        """Return the size that a person wrote.

        Raises:
            ValueError: it is no number with a unit from B to TiB.
        """
        number, unit = _split(written, _BYTES, 'a size such as "512B", "64KiB" or "2GB"')
        return cls(number * _BYTES[unit])

    def __str__(self) -> str:
        for unit in ("TB", "GB", "MB", "KB"):
            if self >= _BYTES[unit]:
                return f"{self / _BYTES[unit]:.1f} {unit}"
        return f"{int(self)} B"


class Share(str):
    """Some of a whole, kept as it is written: a count, or a percentage of whatever the whole turns out to be."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Share:
        """Return the share that a person wrote: 3, "3" or "25%".

        Raises:
            ValueError: neither a whole number from 0 nor a percentage from 0 to 100.
        """
        text = str(written) if isinstance(written, (int, str)) and not isinstance(written, bool) else ""
        percent = _PERCENT.match(text)
        if _COUNT.match(text) or (percent and float(percent[1]) <= 100):
            return cls(text)
        raise ValueError(f'{_quote(written)} is not a share: write a whole number such as 3, or "25%" (0% to 100%)')

    def of(self, total: int) -> int:
        """Return how many of `total` this is.

        A percentage is rounded down, so that a limit is never exceeded, except that any
        percentage above 0 of anything is at least 1: "5%" of 3 hosts must not mean that
        no host may ever change. A count is never more than `total`.
        """
        if not self.endswith("%"):
            return min(int(self), total)
        # Thousandths of a percent, so that 29 % of 100 is 29 and not the 28 of floats.
        thousandths = round(float(self[:-1]) * 1000)
        return max(thousandths * total // 100_000, 1) if thousandths and total else 0


def _split(written: object, units: dict[str, float] | dict[str, int], wanted: str) -> tuple[float, str]:
    match = _AMOUNT.match(written) if isinstance(written, str) else None
    if match is None:
        raise ValueError(f"{_quote(written)} is not {wanted}")
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f'unknown unit "{unit}" in {_quote(written)}: write one of {", ".join(units)}')
    return float(number) if "." in number else int(number), unit


def _quote(written: object) -> str:
    return f'"{written[:40]}"' if isinstance(written, str) else repr(written)[:40]
