"""A host's identity: whole or not there, and readable by nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.agent.rig import an_identity

from clarion_agent import durable
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import FOLDER, load_identity
from clarion_protocol.errors import BadConfig, JoinRefused


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """The record, the root and both keys come back."""
    identity = an_identity()
    identity.save(tmp_path / "state")

    loaded = load_identity(tmp_path / "state")

    assert (loaded.record, loaded.root, loaded.transport_secret) == (
        identity.record,
        identity.root,
        identity.transport_secret,
    )
    assert loaded.sign_key.public_hex == identity.sign_key.public_hex


def test_a_record_from_before_instances_is_loaded(tmp_path: Path) -> None:
    """An agent that is brought up to date does not have to join again."""
    an_identity().save(tmp_path)
    path = tmp_path / FOLDER / "record.json"
    old = path.read_bytes().replace(b'"instance":"",', b"")
    path.write_bytes(old)

    assert load_identity(tmp_path).record.instance == ""


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The folder is 0700, its files are 0600."""
    an_identity().save(tmp_path)
    folder = tmp_path / FOLDER

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_host_does_not_join_twice(tmp_path: Path) -> None:
    """The identity that is there stays, and the error says how to join anew."""
    first = an_identity()
    first.save(tmp_path)

    with pytest.raises(JoinRefused) as caught:
        an_identity().save(tmp_path)

    assert "move" in (caught.value.hint or "")
    assert load_identity(tmp_path).sign_key.public_hex == first.sign_key.public_hex


def test_killed_at_any_operation_it_is_whole_or_not_there(tmp_path: Path) -> None:
    """After a kill, joining again works."""
    count = 0

    def stop(operation: str, path: Path) -> None:
        nonlocal count
        count -= 1
        if count == 0:
            raise KeyboardInterrupt

    for number in range(1, 60):
        state, count = tmp_path / str(number), number
        durable.watchers.append(stop)
        try:
            an_identity().save(state)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            durable.watchers.remove(stop)
        if not (state / FOLDER).exists():
            an_identity().save(state)
        assert load_identity(state).root == b"{}"
        assert FloorFiles(state / "trust").read().streams == {}
    assert number > 10


def test_a_host_that_has_not_joined_is_told_how(tmp_path: Path) -> None:
    """The error names both commands."""
    with pytest.raises(BadConfig) as caught:
        load_identity(tmp_path)

    assert "clarion hosts invite" in str(caught.value)
    assert "clarion-agent join" in str(caught.value)


@pytest.mark.parametrize("name", ["record.json", "sign.key"])
def test_a_damaged_identity_is_refused(tmp_path: Path, name: str) -> None:
    """Half a key is no key."""
    an_identity().save(tmp_path)
    path = tmp_path / FOLDER / name
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BadConfig, match="damaged"):
        load_identity(tmp_path)
