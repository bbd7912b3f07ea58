"""The outbox: all of a portion or nothing, in order, each thing once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from structlog.testing import capture_logs

from clarion_controller.notifying.notices_file import DAMAGED, NAME, is_damage
from clarion_controller.notifying.outbox import DAY, Changes, Outbox, Outgoing, Standing
from clarion_protocol.errors import BadConfig

CHAT, MAIL = "notify:chat", "notify:mail"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Return an empty outbox."""
    (tmp_path / "state").mkdir()
    with closing(Outbox(tmp_path)) as made:
        yield made


def put(outbox: Outbox, *outgoing: Outgoing, cursor: int = 1, closed: tuple[str, ...] = ()) -> None:
    """Keep what follows from a portion of the log."""
    outbox.advance(Changes(Standing(cursor, b"{}", b"{}"), outgoing, closed))


def outgoing(subject: str, destination: str = CHAT, opens: str = "") -> Outgoing:
    """Return something that goes out."""
    return Outgoing(destination, subject, subject.encode(), 100.0, opens)


def first(outbox: Outbox, destination: str = CHAT) -> str:
    """Return the subject of what waits first; "" if nothing does."""
    pending = outbox.first(destination)
    return pending.subject if pending else ""


def send(outbox: Outbox, destination: str = CHAT, said: str = "", now: float = 100.0) -> None:
    """Record that what waits first has arrived."""
    pending = outbox.first(destination)
    assert pending
    outbox.sent(pending, said, now)


def test_each_destination_gets_its_own_in_order(outbox: Outbox) -> None:
    """What fails stays first, and others do not wait for it."""
    put(outbox, outgoing("one"), outgoing("one", MAIL), outgoing("two"))
    waiting = outbox.first(CHAT)
    assert waiting
    outbox.failed(waiting, "500", 160.0)
    again = outbox.first(CHAT)
    assert again
    assert (again.subject, again.attempts, again.next_at) == ("one", 1, 160.0)
    send(outbox, MAIL)
    assert (first(outbox, MAIL), first(outbox)) == ("", "one")
    send(outbox)
    assert first(outbox) == "two"


def test_a_portion_is_kept_whole_or_not_at_all(outbox: Outbox) -> None:
    """Half of it would be told twice, or never."""
    put(outbox, outgoing("one"), cursor=7)
    broken = Outgoing(CHAT, "three", None, 1.0)  # type: ignore[arg-type]
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        put(outbox, outgoing("two"), broken, cursor=9)
    standing = outbox.standing()
    assert standing
    assert standing.cursor == 7
    send(outbox)
    assert first(outbox) == ""


def test_it_is_all_still_there_after_a_crash(outbox: Outbox, tmp_path: Path) -> None:
    """Another process goes on where this one was."""
    put(outbox, outgoing("one"), cursor=7)
    with closing(Outbox(tmp_path)) as other:
        assert other.standing() == Standing(7, b"{}", b"{}")
        assert first(other) == "one"


def test_who_knows_of_an_incident_is_remembered_until_its_end(outbox: Outbox) -> None:
    """Also if it is told twice, and by destination."""
    put(outbox, outgoing("one", CHAT, "i-1"), outgoing("two", CHAT, "i-1"), outgoing("one", MAIL, "i-1"))
    assert outbox.told("i-1") == {CHAT, MAIL}
    put(outbox, outgoing("three"), closed=("i-1",))
    assert outbox.told("i-1") == set()


def test_what_a_forge_said_is_remembered_by_subject(outbox: Outbox) -> None:
    """Its number of a deployment comes back with the next report about that one, and with no other."""
    put(outbox, outgoing("d-1"), outgoing("d-2"), outgoing("d-1"))
    send(outbox, said="4711")
    assert outbox.first(CHAT).remembered == ""  # type: ignore[union-attr]
    send(outbox)
    assert outbox.first(CHAT).remembered == "4711"  # type: ignore[union-attr]


def test_what_is_for_nobody_any_more_is_given_up(outbox: Outbox) -> None:
    """And stays so when an attempt that was on its way just then fails."""
    put(outbox, outgoing("one"), outgoing("one", MAIL))
    on_its_way = outbox.first(CHAT)
    assert on_its_way
    assert outbox.abandon([MAIL], 200.0) == 1
    outbox.failed(on_its_way, "500", 300.0)
    assert (first(outbox), first(outbox, MAIL)) == ("", "one")


def test_what_ended_a_month_ago_is_forgotten_and_nothing_else(outbox: Outbox) -> None:
    """The file does not grow for ever; what waits, waits."""
    put(outbox, outgoing("old"), outgoing("new"), outgoing("waiting"))
    send(outbox, now=0.0)
    send(outbox, now=2 * DAY)
    outbox.prune(31 * DAY)
    with outbox._engine.connect() as connection:
        left = connection.exec_driver_sql("SELECT subject FROM outbox ORDER BY id").scalars().all()
    assert left == ["new", "waiting"]


def test_it_is_for_its_owner_alone(outbox: Outbox, tmp_path: Path) -> None:
    """Notices say what is wrong and where."""
    assert outbox.standing() is None
    assert (tmp_path / "state" / "notices.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"no database " * 1000, b"SQLite format 3\0" + b"\xff" * 8000], ids=["text", "a head"]
)
def test_a_damaged_one_is_set_aside_and_begun_anew(tmp_path: Path, content: bytes) -> None:
    """People are told again, rather than never; what is left of the old one is kept for who wants to look."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / NAME).write_bytes(content)
    with capture_logs() as logs, closing(Outbox(tmp_path)) as outbox:
        assert outbox.is_begun_anew
        assert outbox.standing() is None
    assert [line["event"] for line in logs] == ["notifying.outbox_damaged"]
    assert (tmp_path / "state" / DAMAGED).read_bytes() == content
    with closing(Outbox(tmp_path)) as outbox:
        assert not outbox.is_begun_anew


def test_one_that_cannot_be_opened_now_is_left_alone(tmp_path: Path) -> None:
    """A full disk, or a file that is not ours, passes; what waits in it is still there then."""
    (tmp_path / "state" / NAME).mkdir(parents=True)
    with pytest.raises(BadConfig) as caught:
        Outbox(tmp_path)
    assert "df -h" in str(caught.value.hint)
    assert not (tmp_path / "state" / DAMAGED).exists()


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (sqlite3.DatabaseError("database disk image is malformed"), True),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.IntegrityError("NOT NULL constraint failed"), False),
        (ValueError("a mistake of ours"), False),
        (None, False),
    ],
    ids=["malformed", "a full disk", "a mistake in a row", "another mistake", "nothing"],
)
def test_only_damage_is_damage(error: Exception | None, *, is_one: bool) -> None:
    """To begin anew loses what waits; a full disk passes by itself. As the driver raises it, and as it is wrapped."""
    assert is_damage(error) is is_one
    if isinstance(error, sqlite3.Error):
        assert is_damage(sqlalchemy.exc.DBAPIError("SELECT 1", None, error)) is is_one


def test_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    """It is no damage that this version cannot read it."""
    (tmp_path / "state").mkdir()
    with closing(sqlite3.connect(tmp_path / "state" / NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BadConfig, match="version 99"):
        Outbox(tmp_path)
    assert not (tmp_path / "state" / DAMAGED).exists()


def test_a_destination_with_another_name_keeps_what_waits_and_what_it_knows(outbox: Outbox) -> None:
    """A pager that is called otherwise from now on still closes what it opened."""
    put(outbox, outgoing("one", CHAT, "incident-1"))
    outbox.rename(CHAT, MAIL)
    assert (first(outbox), first(outbox, MAIL), outbox.told("incident-1")) == ("", "one", {MAIL})


def test_a_destination_that_is_gone_waits_for_nothing(outbox: Outbox) -> None:
    """One that comes back under the same name begins anew."""
    put(outbox, outgoing("one", CHAT, "incident-1"), outgoing("one", MAIL, "incident-1"))
    outbox.abandon([MAIL], 200.0)
    assert outbox.told("incident-1") == {MAIL}
    assert set(outbox.waited_for()) == {"incident-1"}
