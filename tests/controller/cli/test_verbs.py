"""The list of verbs is whole and true, and asking for help costs little."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clarion_controller.cli.verbs import all_verbs, load, overview
from clarion_protocol.errors import UnknownName


@pytest.mark.parametrize("name", sorted(all_verbs()))
def test_each_verb_can_be_loaded_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own help begins with a line about what it does."""
    assert not load(name)(args=["--help"], prog_name=name, standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {name} ")
    assert shown.splitlines()[2].strip().endswith(".")


def test_the_overview_names_every_verb() -> None:
    """Nothing that can be typed is hidden."""
    assert all(f"  {name} " in overview() for name in all_verbs())


def test_the_overview_fits_a_terminal_of_80_columns() -> None:
    """No line wraps."""
    assert max(map(len, overview().splitlines())) <= 80


def test_a_mistyped_verb_gets_the_nearest_one() -> None:
    """The next command is in the hint."""
    with pytest.raises(UnknownName) as caught:
        load("deplyo")
    assert caught.value.hint == "Did you mean 'clarion deploy'?"


def test_help_imports_neither_http_nor_cryptography_nor_tables() -> None:
    """`clarion --help` loads no more than it shows; measured at about 0.1 s."""
    program = "import sys; from clarion_controller.cli import run; run(['--help']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(shown.stdout.splitlines()[-1].split())
    assert not loaded & {"httpx", "cryptography", "rich.table", "msgspec", "tuf", "sqlalchemy", "litestar"}
