"""`make bench`: measure, print a table, write bench.json.

    run.py [--out bench.json] [--hosts 100 1000]

The file is a list of {name, n, value, unit, floor, ratio}; floor is null where there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import announcements, builds, discovery, fanout, fresh_servers, recording, update, whole
from tests.bench.row import Row


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="Measure Clarion, beside the floors of the same machine.")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 1000], metavar="N", help="sizes of the fleets")
    options = parser.parse_args()
    rows = [row for count in options.hosts for row in fanout.measure(count)]
    rows += [fanout.signatures(), *recording.measure(), *whole.measure(), *update.measure(), *builds.measure()]
    rows += [*announcements.measure(), *fresh_servers.measure(), *discovery.measure()]
    options.out.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    show(rows)


def show(rows: list[Row]) -> None:
    """Print the table."""
    for row in (row.as_json() for row in rows):
        floor = f"floor {row['floor']:>9.4g}   {row['ratio']:>5.2f} x" if row["floor"] else ""
        print(f"{row['name']:<40} {row['n']:>5}  {row['value']:>9.4g} {row['unit']:<4} {floor}")


if __name__ == "__main__":
    main()
