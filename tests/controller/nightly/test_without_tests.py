"""An app's tests are cut out of its clarion.toml, or it is said that they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from clarion_controller.nightly.without_tests import copy_without_tests, without_tests
from clarion_protocol.errors import BadConfig

APP = '[app]\nname = "shop"\n'
CUT = {
    "no tests": APP,
    "at the end": APP + '[test]\npackage = ["./check"]\n',
    "in the middle": APP + '[test]\nunit = ["./check"]\ntimeout = "5m"\n\n[health]\nwait = "2s"\n',
    "with a comment": APP + '  [test] # what must hold\nunit = ["./check"]\n',
    "before a list of tables": APP + "[test]\nunit = []\n[[health.check]]\ntcp = 80\n",
    "a list over several lines": APP + '[test]\nunit = [\n"./a",\n"./b",\n]\n[build]\nrun = ["make"]\n',
}
UNCUT = {
    "a key of the first table": 'test.unit = ["./check"]\n' + APP,
    "a text that looks like a table": APP + "[test]\nunit = ['''x\n[app]\n''']\n",
    "no TOML": "[app\n",
}


@pytest.mark.parametrize("text", CUT.values(), ids=CUT)
def test_everything_but_the_tests_stays(text: str) -> None:
    """As the one who reads it understands it."""
    wanted = tomli.loads(text)
    wanted.pop("test", None)
    assert tomli.loads(without_tests(text)) == wanted


@pytest.mark.parametrize("text", UNCUT.values(), ids=UNCUT)
def test_what_cannot_be_cut_out_is_refused(text: str) -> None:
    """Rather than that something else is cut."""
    with pytest.raises(BadConfig):
        without_tests(text)


def test_the_copy_leaves_the_source_alone(tmp_path: Path) -> None:
    """All files come along, links as links."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "clarion.toml").write_text(CUT["at the end"])
    (source / "link").symlink_to("/etc/passwd")
    copy_without_tests(source, tmp_path / "copy")
    assert (source / "clarion.toml").read_text() == CUT["at the end"]
    assert (tmp_path / "copy/clarion.toml").read_text() == APP
    assert (tmp_path / "copy/link").is_symlink()


def test_a_source_without_clarion_toml_is_refused(tmp_path: Path) -> None:
    """With a sentence, not with a traceback."""
    (tmp_path / "source").mkdir()
    with pytest.raises(BadConfig):
        copy_without_tests(tmp_path / "source", tmp_path / "copy")
