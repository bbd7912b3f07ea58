"""What programs print, made harmless."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_agent.printable import printable, printable_tail
from clarion_protocol.documents import MAX_LOG_TAIL


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b"plain\n\ttext", "plain\n\ttext", id="text stays"),
        pytest.param(b"\x1b[1;31mred\x1b[0m", "red", id="colours go"),
        pytest.param(b"\x1b]0;title\x07text", "text", id="titles go"),
        pytest.param(b"a\rb\x08\x00\x7f", "ab", id="control characters go"),
        pytest.param(b"a\r\nb", "a\nb", id="line ends become one"),
        pytest.param("a\u202eb\u2066".encode(), "ab", id="nothing turns the direction of writing"),
        pytest.param(b"\xff\xfea", "\ufffd\ufffda", id="what is no UTF-8 is marked"),
    ],
)
def test_what_is_left_of_it(raw: bytes, text: str) -> None:
    """Each row is one kind of harm."""
    assert printable(raw) == text


@given(st.binary(max_size=200))
def test_no_control_character_survives(raw: bytes) -> None:
    """Whatever the bytes are."""
    assert all(character.isprintable() or character in "\n\t" or ord(character) > 159 for character in printable(raw))


def test_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    """Not more than a report may carry."""
    path = tmp_path / "output"
    path.write_bytes(b"x" * 10**6 + b"the end")

    tail = printable_tail(path)

    assert len(tail) == MAX_LOG_TAIL
    assert tail.endswith("the end")
    assert printable_tail(tmp_path / "nothing") == ""
