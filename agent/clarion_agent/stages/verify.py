"""Verify: the order, the package repository and the manifest must say the same, now."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from clarion_agent.attempt import Staging
from clarion_agent.stages.restart import allowed_units
from clarion_protocol.errors import BadContent, NetworkError, OutOfTime, WrongAddress
from clarion_protocol.policy import Policy
from clarion_protocol.published import Release


class PackageBook(Protocol):
    """The verified package metadata on this host."""

    def find(self, app: str, version: str) -> Release:
        """Return what was signed about a package.

        Raises:
            UnknownPackage: nothing was.
            OutOfTime: the metadata has expired, so nothing new may be installed.
        """

    def policy(self, environment: str) -> Policy:
        """Return who may order what in an environment.

        Raises:
            ClarionError: there is no such policy, or it is not believed.
        """


def do(staging: Staging) -> None:
    """Compare once more: since the order was accepted, keys may be gone and releases withdrawn.

    Raises:
        SignalError: the order is not believed any more.
        PackageError: repository, manifest and order do not agree.
        UnitNotAllowed: the release wants to restart what this host does not allow.
    """
    staging.believe()
    target = target_of(staging)
    manifest = staging.manifest
    if manifest is None:
        # Unpacked here already, from a manifest that was compared then; what it may restart can be less now.
        allowed_units(staging.host.config, staging.folder.config_of(staging.release))
        return
    named = (manifest.app, manifest.version, manifest.archive.length, manifest.archive.sha256)
    if named != (staging.deployment.app, staging.deployment.version, target.length, target.sha256):
        raise BadContent("the manifest belongs to another package")


def refresh_and_do(staging: Staging) -> None:
    """Compare where no pull came before: with what the store says now, or with what this host knows if it is away.

    Raises:
        SignalError, PackageError: as `do` does; OutOfTime if what this host knows has expired.
    """
    with suppress(NetworkError):
        staging.host.net.refresh()
    do(staging)


def before_switch(staging: Staging) -> None:
    """Compare a last time, for a host may wait long for its lease; the store is asked only if something has expired.

    Raises:
        SignalError, PackageError: as `refresh_and_do` does.
    """
    try:
        do(staging)
    except OutOfTime:
        refresh_and_do(staging)


def undo(staging: Staging) -> None:
    """Nothing to undo: looking changes nothing."""


def target_of(staging: Staging) -> Release:
    """Return what the package repository says about the package that is ordered.

    Raises:
        UnknownPackage: it does not know the package.
        WrongAddress: it says something else than the order; nobody may mix the two.
        OutOfTime: it has expired.
    """
    wanted = staging.deployment
    target = staging.host.book.find(wanted.app, wanted.version)
    signed = (target.path, target.length, target.sha256, target.release)
    if signed != (wanted.path, wanted.length, wanted.sha256, wanted.release):
        raise WrongAddress(
            f"{wanted.app} {wanted.version} in the package repository is not the one that was ordered",
            hint=f"Run 'clarion packages {wanted.app}' and deploy again.",
        )
    return target
