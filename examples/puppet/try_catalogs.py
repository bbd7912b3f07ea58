"""Compile the catalog of every server in facts/, and walk through it without changing anything.

Runs wherever Puppet is installed: when the package is built, and on every server before it switches. There it is shut
in, without root and without network, so what it walks through is the server's own packages and files, read only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OPEN_FILES = {"small": 495, "large": 64312}


def main() -> None:
    """Try every recorded server; the first that fails ends it."""
    recorded = sorted(path.stem for path in (HERE / "facts").glob("*.yaml"))
    if set(recorded) != set(OPEN_FILES):
        sys.exit(f"recorded are {recorded}, expected {sorted(OPEN_FILES)}")
    for name in recorded:
        with tempfile.TemporaryDirectory() as scratch:
            catalog = compile_catalog(name, Path(scratch))
            check(name, catalog)
            walk(catalog, Path(scratch))
        print(f"{name}: {len(catalog['resources'])} resources, nothing wrong with them")


def compile_catalog(name: str, scratch: Path) -> dict[str, Any]:
    """Return the catalog that a server with the facts in facts/NAME.yaml would get."""
    known = scratch / "var" / "yaml" / "facts"
    known.mkdir(parents=True)
    shutil.copy(HERE / "facts" / f"{name}.yaml", known)
    code = ["--manifest", str(HERE / "manifests"), "--modulepath", str(HERE / "modules")]
    sources = ["--facts_terminus", "yaml", "--node_terminus", "plain"]
    said = puppet(scratch, "catalog", "compile", name, *sources, *code, "--color", "false", "--strict", "error")
    catalog: dict[str, Any] = json.loads(said[said.index("{") :])
    return catalog


def check(name: str, catalog: dict[str, Any]) -> None:
    """Look at what depends on the facts."""
    files = {each["title"]: each["parameters"] for each in catalog["resources"] if each["type"] == "File"}
    content = files["/etc/nginx/conf.d/example.conf"]["content"]
    if f"open_file_cache max={OPEN_FILES[name]};" not in content:
        sys.exit(f"{name}: a server of this size should keep {OPEN_FILES[name]} files in mind:\n{content}")


def walk(catalog: dict[str, Any], scratch: Path) -> None:
    """Let Puppet say what it would do here, and do nothing."""
    compiled = scratch / "catalog.json"
    compiled.write_text(json.dumps(catalog), "utf-8")
    puppet(scratch, "apply", "--noop", "--no-report", "--catalog", str(compiled), "--color", "false")


def puppet(scratch: Path, *arguments: str) -> str:
    """Run puppet with a place of its own, and return what it printed; end everything if it complains."""
    places = ["--confdir", str(scratch / "conf"), "--vardir", str(scratch / "var"), "--publicdir", str(scratch)]
    command = ["puppet", *arguments, *places, "--environmentpath", str(scratch / "environments")]
    environment = {**os.environ, "HOME": str(scratch)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    # What Facter cannot find out here does not count: the facts that do are recorded.
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:") and "Facter: " not in line]
    if done.returncode != 0 or errors:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
