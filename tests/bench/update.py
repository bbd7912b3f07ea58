"""An update of a large app of which little has changed: what is built, moved and applied. The app is synthetic.

    update.py [--quick]

Its shape is that of a real one which was measured once (27,854 files, 451 MB, 121 MB as `tar | zstd -3`; an update
changed 47 files of 18 MB), but its text is drawn by lot: alike in how far it shrinks (3.9:1, where the real one had
3.7:1), and in nothing else. Real parts build it and carry it out; the store and the service manager are the tests'
stand-ins, in the same process. The floor of what is moved is only what changed, as one zstd stream.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.agent.rig import APP, CLARION_TOML, Package, World
from tests.bench.row import Row

from clarion_controller.build import BuiltPackage, build
from clarion_protocol.frames import compress
from clarion_protocol.manifest_file import reference_to
from clarion_protocol.manifest_index import BEGINNING, in_common, missing, read_index
from clarion_protocol.published import Release
from clarion_protocol.words import HostStatus, Verb

AIM = 6  # MB moved at full size; for the quick one there is none
CHANGED_SHARE = 0.04
LINES, WORDS = 200_000, 20_000
SEPARATORS = (b" ", b" ", b".", b"(", b", ", b" = ", b"_", b"):\n        ")
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Size:
    """How large the app is: its files, their bytes, and how many of them an update changes."""

    files: int
    megabytes: int
    changed: int

    @property
    def changed_length(self) -> int:
        """The bytes of each file that changes."""
        return int(self.megabytes * 1e6 * CHANGED_SHARE / self.changed)

    @property
    def typical_length(self) -> int:
        """The mean of the other files' bytes."""
        return int(self.megabytes * 1e6 * (1 - CHANGED_SHARE) / (self.files - self.changed))

    def does_change(self, number: int) -> bool:
        """Return whether the update changes the file with this number: they are spread over all folders."""
        return number % (self.files // self.changed) == 0


FULL, QUICK = Size(28_000, 450, 50), Size(1_400, 22, 5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure an update of a large synthetic app.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.files} files, {QUICK.megabytes} MB")
    size = QUICK if parser.parse_args().quick else FULL
    for row in (row.as_json() for row in measure(size)):
        floor = f"floor {row['floor']:>7.4g}   {row['ratio']:>5.2f} x" if row["floor"] else ""
        print(f"{row['name']:<68} {row['value']:>8.4g} {row['unit']:<3} {floor}")


def measure(size: Size = FULL) -> list[Row]:
    """Return the rows for one app: built, installed, changed, built again, updated."""
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as name:
        folder = Path(name)
        lines, source = vocabulary(), folder / "source"
        made = make_source(source, size, lines)
        first, _ = timed(lambda: build(source, folder / "dist", "1.0.0"))
        changed = change(source, size, lines)
        second, build_cpu = timed(lambda: build(source, folder / "dist", "2.0.0"))
        world = World(folder)
        install_cpu, _ = deployed(world, published(world, first, 1))
        update_cpu, moved = deployed(world, published(world, second, 2))
        world.core.close()
        listed, in_requests = moved_of_manifest(first, second)
    app = f"synthetic app of {made / 1e6:.0f} MB"
    update = f"update of {100 * len(changed) / made:.1f} % of a {app}"
    alone = sum(len(piece) for piece in compress([changed], len(changed)))
    return [
        Row(f"{update}, moved{f' (aim: {AIM} MB)' if size is FULL else ''}", 1, moved / 1e6, "MB", alone / 1e6),
        Row(f"{update}, of that the manifest", 1, listed / 1e6, "MB"),
        Row(f"{update}, requests for the manifest", 1, in_requests, ""),
        Row(f"{app}, whole manifest", 1, second.manifest_length / 1e6, "MB"),
        Row(f"{app}, whole package", 1, second.length / 1e6, "MB"),
        Row(f"{app}, build, CPU", 1, build_cpu, "s"),
        Row(f"{app}, first install, CPU", 1, install_cpu, "s"),
        Row(f"{update}, CPU of the host", 1, update_cpu, "s"),
    ]


def moved_of_manifest(first: BuiltPackage, second: BuiltPackage) -> tuple[int, int]:
    """Return how many bytes of the second manifest a host with the first fetches, and in how many requests."""
    older, newer = first.manifest.read_bytes(), second.manifest.read_bytes()
    pages = read_index(newer, len(newer))
    spans = missing(pages, in_common(pages, older))
    return BEGINNING + sum(span.length for span in spans), 1 + len(spans)


def vocabulary() -> list[bytes]:
    """Return lines of words of which few are frequent, as in code; the same in each run."""
    chance = random.Random(1)
    letters = b"abcdefghijklmnopqrstuvwxyz"
    words = [bytes(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    drawn = iter(chance.choices(words, weights, k=LINES * 5))
    marks = iter(chance.choices(SEPARATORS, k=LINES * 5))
    return [b"    " + b"".join(next(drawn) + next(marks) for _ in range(5)) + b"\n" for _ in range(LINES)]


def text(chance: random.Random, lines: list[bytes], length: int) -> bytes:
    """Return so many bytes; lines come again in a file, which is most of what makes code small."""
    count = length // 30 + 1
    own = chance.choices(lines, k=count)
    return b"".join(chance.choices(own, k=count * 2))[:length]


def make_source(source: Path, size: Size, lines: list[bytes]) -> int:
    """Write the app, the same in each run; return how many bytes it has."""
    chance, made = random.Random(2), 0
    source.mkdir()
    (source / "clarion.toml").write_text(CLARION_TOML.format(keep=2).replace('package = ["self-test"]', "package = []"))
    for number in range(size.files):
        # Most files are small and few are large: half of the bytes are in a sixth of the files.
        length = int(size.typical_length * chance.lognormvariate(-0.5, 1))
        path = path_of(source, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        made += path.write_bytes(text(chance, lines, size.changed_length if size.does_change(number) else length))
    return made


def change(source: Path, size: Size, lines: list[bytes]) -> bytes:
    """Write the files that change anew; return all their bytes."""
    chance, written = random.Random(3), []
    for number in filter(size.does_change, range(size.files)):
        written.append(text(chance, lines, size.changed_length))
        path_of(source, number).write_bytes(written[-1])
    return b"".join(written)


def path_of(source: Path, number: int) -> Path:
    """Return where a file lies: about 90 in a folder."""
    return source / f"lib/part_{number // 900:02}/unit_{number // 90:03}/module_{number:05}.py"


def timed(work: Callable[[], BuiltPackage]) -> tuple[BuiltPackage, float]:
    """Return what `work` returns, and its CPU seconds."""
    began = time.process_time()
    return work(), time.process_time() - began


def published(world: World, built: BuiltPackage, number: int) -> Package:
    """Put a package into the store and the metadata of `world`."""
    packed = built.manifest.read_bytes()
    release = Release(
        app=APP,
        version=built.version,
        release=number,
        length=built.length,
        sha256=built.sha256,
        manifest=reference_to(packed),
        published_at=0,
    )
    world.store.files |= {release.path: built.package.read_bytes(), release.manifest_path: packed}
    world.book.releases[built.version] = release
    return Package(release, b"", packed)


def deployed(world: World, package: Package) -> tuple[float, int]:
    """Deploy `package`; return the host's CPU seconds, and how many bytes it has fetched."""
    began, before = time.process_time(), world.store.fetched
    order = world.order(package)
    world.send(order)
    for verb in (Verb.STAGE, Verb.LEASE):
        world.send(world.signal(order, verb))
        world.settle(PATIENCE_S)
    if world.last().status is not HostStatus.COMMITTED:
        raise SystemExit(f"the host says {world.last().status.value}: {world.last().reason}")
    return time.process_time() - began, world.store.fetched - before


if __name__ == "__main__":
    main()
