"""Whose the files of a server in a container are, without booting it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.provisioners.containers import give
from clarion_controller.provisioners.containers.users import Users, users_of

FIRST = Users().first
ANYBODY = 0xFFFF_FFFF  # what stands for the id of an entry that names nobody
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


@given(st.text(min_size=1, max_size=63))
def test_a_server_that_stays_has_users_of_its_own(name: str) -> None:
    """They are never a night's, nor such as systemd or Linux gives to anybody, and the same every time."""
    users = users_of(name)
    assert users == users_of(name)
    assert users.first % 65_536 == 0
    assert FIRST + 65_536 <= users.first <= 0x7FFE_0000 - 65_536
    assert users.range == f"{users.first}:65536"


def test_nights_have_none_that_systemd_gives_to_its_containers() -> None:
    """Its range for them ends at 0x6fffffff (UIDS-GIDS.md)."""
    assert FIRST == 0x7000_0000


def test_capabilities_of_a_file_are_those_of_its_servers_root() -> None:
    """Revision 2 holds for this machine's root only; 3 names whose it is, and keeps what it allows, and the flag."""
    bind_service = (1 << 10, 0, 0, 0)
    of_this_machine = struct.pack("<5I", 0x0200_0001, *bind_service)
    assert give.given_capabilities(of_this_machine, FIRST) == struct.pack("<6I", 0x0300_0001, *bind_service, FIRST)


def test_only_entries_of_a_list_that_name_somebody_change() -> None:
    """The owner, the others and the mask have no id."""
    mine = entries((USER_OBJ, ANYBODY), (USER, 7), (GROUP_OBJ, ANYBODY), (GROUP, 4), (MASK, ANYBODY), (OTHER, ANYBODY))
    theirs = [(USER, FIRST + 7), (GROUP_OBJ, ANYBODY), (GROUP, FIRST + 4), (MASK, ANYBODY), (OTHER, ANYBODY)]
    assert give.given_list(mine, FIRST) == entries((USER_OBJ, ANYBODY), *theirs)


def entries(*named: tuple[int, int]) -> bytes:
    """Return an access control list of these tags and ids."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 5, who) for tag, who in named)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_tree_is_given_with_all_that_names_an_owner(tmp_path: Path) -> None:
    """Each file once, whatever names it has; what a link leads to is not in the tree."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "etc").mkdir(parents=True)
    outside.write_text("this machine's")
    program, other_name, link = tree / "su", tree / "etc" / "su", tree / "link"
    program.write_text("runs as its owner")
    os.chown(program, 3, 4)
    os.link(program, other_name)
    program.chmod(0o6755)
    link.symlink_to(outside)
    able = tree / "ping"
    able.write_text("may open raw sockets")
    os.setxattr(able, "security.capability", struct.pack("<5I", 0x0200_0001, 1 << 13, 0, 0, 0))

    for _ in range(2):
        done = subprocess.run([sys.executable, "-m", give.__name__, str(FIRST), tree], check=False, timeout=20)
        assert done.returncode == 0
    assert [owner(path) for path in (tree, tree / "etc", link, able)] == [(FIRST, FIRST)] * 4
    assert owner(program) == (FIRST + 3, FIRST + 4)
    assert program.stat().st_mode & 0o7777 == 0o6755
    assert owner(outside) == (0, 0)
    if shutil.which("getcap"):
        said = subprocess.run(["getcap", "-n", able], capture_output=True, text=True, check=True).stdout
        assert f"cap_net_raw=ep [rootid={FIRST}]" in said


def owner(path: Path) -> tuple[int, int]:
    """Return whose a path is, itself."""
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A tree that is half given would boot half."""
    with pytest.raises(FileNotFoundError):
        list(give._paths(str(tmp_path / "absent")))
