"""What a host says of itself."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.host_facts import boot_id, host_facts


def test_the_facts_are_those_of_this_machine(tmp_path: Path) -> None:
    """Also where the folder of the apps is not there yet."""
    facts = host_facts(tmp_path / "not/yet", agent_version="1.0", sandbox="reduced")

    assert facts.cpus >= 1
    assert 0 < facts.memory_available <= facts.memory_total
    assert 0 < facts.disk_free <= facts.disk_total
    assert (facts.agent_version, facts.sandbox) == ("1.0", "reduced")


def test_a_boot_has_one_id() -> None:
    """It changes when the machine starts anew."""
    assert boot_id() == boot_id()
    assert len(boot_id()) <= 64
