"""Versions of the example shop to build: good ones, and one that only its front page shows to be broken."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "examples/shop"
UNIT = SOURCE / "shop.service"
QUICK = {
    'wait = "2s"': 'wait = "600ms"',
    'min_healthy_time = "3s"': 'min_healthy_time = "1s"',
    'healthy_deadline = "30s"': 'healthy_deadline = "8s"',
    'interval = "500ms"': 'interval = "200ms"',
}


def quick_shop(folder: Path) -> Path:
    """Copy the shop into `folder`, with shorter waits, and return where it is."""
    shop = folder / "shop"
    shutil.copytree(SOURCE, shop, ignore=shutil.ignore_patterns("__pycache__"))
    _replace(shop / "clarion.toml", QUICK)
    return shop


def broken_shop(folder: Path) -> Path:
    """Copy a shop whose own tests pass but whose front page answers 500."""
    shop = quick_shop(folder)
    _replace(shop / "goods.json", {"120": '"free"'})
    # whoever ships this has switched off the test that would have seen it
    lines = (shop / "clarion.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    (shop / "clarion.toml").write_text("".join(line for line in lines if not line.startswith("unit")), "utf-8")
    return shop


def _replace(path: Path, changes: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if old not in text:
            raise LookupError(f"{path} has no {old} any more")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
