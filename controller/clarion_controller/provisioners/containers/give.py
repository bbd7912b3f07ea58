"""Gives a tree to the users of a server: `give FIRST TREE`. Id 0 becomes FIRST, and so on.

Also in what else names an id: set-user-id bits, which a new owner takes off, access control lists (acl(5)), and the
capabilities of files, which hold only where their root does (capabilities(7)).
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterator
from typing import NoReturn

_CAPABILITIES = "security.capability"
_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
_REVISION_3, _FLAGS, _SETS = 0x0300_0000, 0x00FF_FFFF, slice(4, 20)
_NAMED = (0x02, 0x08)  # the entries of a list that name a user or a group


def main(first: int, tree: str) -> None:
    """Give `tree` and all in it."""
    for path in _paths(tree):
        _give(path, first)


def _paths(tree: str) -> Iterator[str]:
    yield tree
    for folder, folders, files in os.walk(tree, onerror=_raise):
        yield from (os.path.join(folder, name) for name in (*folders, *files))  # noqa: PTH118 (thousands of them)


def _raise(error: OSError) -> NoReturn:
    raise error


def _give(path: str, first: int) -> None:
    status = os.lstat(path)
    if status.st_uid >= first:
        return  # it has another name, and was given under that one
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in _attributes(path)}
    os.lchown(path, first + status.st_uid, first + status.st_gid)
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(path, stat.S_IMODE(status.st_mode))  # noqa: PTH101 (no link has these bits)
    for name, value in attributes.items():
        given = given_capabilities(value, first) if name == _CAPABILITIES else given_list(value, first)
        os.setxattr(path, name, given, follow_symlinks=False)


def _attributes(path: str) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if name in {_CAPABILITIES, *_LISTS}]


def given_capabilities(value: bytes, first: int) -> bytes:
    """Return a file's capabilities as those of a server whose root is `first` (struct vfs_ns_cap_data)."""
    (magic,) = struct.unpack_from("<I", value)
    return struct.pack("<I", _REVISION_3 | magic & _FLAGS) + value[_SETS] + struct.pack("<I", first)


def given_list(value: bytes, first: int) -> bytes:
    """Return an access control list whose users and groups are the server's (struct posix_acl_xattr_entry)."""
    entries = struct.iter_unpack("<HHI", value[4:])
    given = (struct.pack("<HHI", tag, may, first + who if tag in _NAMED else who) for tag, may, who in entries)
    return value[:4] + b"".join(given)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
