"""A disk that was copied: the identity on it is another server's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
from tests.metadata_service import MetadataService, metadata_service

from clarion_agent.config import Config
from clarion_agent.net import instance, metadata_http
from clarion_agent.net.same_server import ASK_AGAIN_S, SameServer
from clarion_protocol.errors import CopiedServer

NUMBER = "4520031799277581759"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataService]:
    """Run Google Cloud's metadata service."""
    monkeypatch.setattr(instance, "PAUSES", ())
    with metadata_service("gcp", NUMBER) as service:
        monkeypatch.setattr(metadata_http, "SERVICE", service.server_address)
        yield service


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return the configuration of a server of Google Cloud."""
    return Config(state_dir=str(tmp_path), cloud="gcp")


def test_the_server_that_joined_goes_on(service: MetadataService, config: Config) -> None:
    """And is not asked again: a server keeps its number as long as it lives."""
    times = iter(range(0, 10_000, 1_000))
    same = SameServer(f"gcp:{NUMBER}", config, clock=lambda: next(times))
    for _ in range(3):
        same.check()
    assert len(service.asked) == 1


@pytest.mark.parametrize("joined_as", ["gcp:1", "aws:i-0123456789abcdef0"], ids=["a clone", "moved to another cloud"])
@pytest.mark.usefixtures("service")
def test_another_server_with_the_same_disk_is_stopped(joined_as: str, config: Config) -> None:
    """The sentence names both, and how to go on."""
    with pytest.raises(CopiedServer) as caught:
        SameServer(joined_as, config).check()
    assert f"copied from {joined_as}; this is gcp:{NUMBER}" in caught.value.message
    assert f"{config.state_dir}/identity" in str(caught.value.hint)
    assert "clarion-agent join TOKEN" in str(caught.value.hint)


def test_a_server_of_no_cloud_is_never_asked(service: MetadataService, config: Config) -> None:
    """Neither is one that joined before agents knew such numbers."""
    SameServer("", config).check()
    assert service.asked == []


def test_a_silent_service_stops_nobody_and_is_asked_again(
    service: MetadataService, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At boot the agent may be there before the network; once a minute is often enough."""
    times = [100.0]
    same = SameServer("gcp:1", config, clock=lambda: times[0])
    monkeypatch.setattr(metadata_http, "SERVICE", ("127.0.0.1", 1))
    same.check()
    monkeypatch.setattr(metadata_http, "SERVICE", service.server_address)
    times[0] += ASK_AGAIN_S - 1
    same.check()
    assert service.asked == []
    times[0] += 1
    with pytest.raises(CopiedServer):
        same.check()


@pytest.mark.usefixtures("service")
def test_a_server_that_left_the_clouds_goes_on(config: Config) -> None:
    """Where agent.toml or the firmware says that this is no cloud, there is nobody to ask."""
    at_home = Config(state_dir=config.state_dir, cloud="none")
    SameServer(f"gcp:{NUMBER}", at_home).check()


def test_a_server_whose_cloud_cannot_be_found_goes_on_and_says_so(
    service: MetadataService, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with both facts: its disk may be a copy, or the firmware's tables cannot be read."""
    monkeypatch.setattr(instance, "DMI", tmp_path / "no firmware")
    same = SameServer(f"gcp:{NUMBER}", Config(state_dir=config.state_dir), clock=iter(range(0, 10_000, 1_000)).__next__)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            same.check()
    [line] = logs
    assert line["log_level"] == "warning"
    assert line["joined_as"] == f"gcp:{NUMBER}"
    assert 'cloud = "auto" finds no cloud' in line["reason"]
    assert service.asked == []


@pytest.mark.parametrize(("joined_as", "cloud"), [("", "auto"), (f"gcp:{NUMBER}", "none")])
def test_a_server_that_is_in_no_cloud_on_purpose_says_nothing(
    joined_as: str, cloud: Literal["auto", "none"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never was in one, or agent.toml says that it is in none."""
    monkeypatch.setattr(instance, "DMI", tmp_path / "no firmware")
    with structlog.testing.capture_logs() as logs:
        SameServer(joined_as, Config(state_dir=str(tmp_path), cloud=cloud)).check()
    assert logs == []
