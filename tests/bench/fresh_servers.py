"""How long two servers take from nothing to committed in a night, and which part takes how long.

The floor of each whole is mmdebstrap alone, of the same run: what nobody can do without who begins with nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.row import Row
from tests.lab.cache import Cache, default_home
from tests.lab.requirements import missing
from tests.lab.test_rehearsal import production_in

PATIENCE_S = 900


def measure() -> list[Row]:
    """Return the rows of one night; none where servers cannot be made, and a line that says why."""
    if reason := missing():
        print(f"no fresh servers: {reason}", file=sys.stderr)
        return []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarion-bench-")))
        production = stack.enter_context(production_in(folder, stack.enter_context(Cache(default_home()))))
        out, said = production.begin_night("-e", "production").communicate(timeout=PATIENCE_S)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    server = checks["server production/web"]
    if server["result"] != "works":
        raise RuntimeError(f"the night did not go well: {server['reason']}\n{said}")
    parts = server["parts"]
    whole = Row("a fresh server from nothing to committed", 2, sum(parts.values()), "s", parts["rootfs"])
    return [whole, *(Row(f"a fresh server: {name}", 2, seconds, "s") for name, seconds in parts.items())]


if __name__ == "__main__":
    for row in measure():
        print(row.as_json())
