"""The child that asks one source once: a question in JSON on stdin, the answer in JSON on stdout.

What it logs, and what SDKs print, goes to stderr. It ends by itself, should its parent die first.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from clarion_controller.discover.aws import AwsDiscoverer
from clarion_controller.discover.azure import AzureDiscoverer
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.gcp import GcpDiscoverer
from clarion_controller.discover.inventory import InventoryDiscoverer
from clarion_controller.discover.static import StaticDiscoverer
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_controller.provisioners.marks import RUN
from clarion_protocol.errors import ClarionError

ORPHANED_AFTER_S = 90


class Discoverer(Protocol):
    """Something that knows which servers there should be."""

    def hosts(self) -> list[Discovered]:
        """Return the servers in a stable order.

        Raises:
            ClarionError: they cannot be known now.
        """


class Question(msgspec.Struct, frozen=True):
    """What the child is asked; `home` is where a relative inventory lies."""

    source: HostSource
    home: str


class Failure(msgspec.Struct, frozen=True):
    """An error on its way from one process to the other."""

    code: str
    message: str
    hint: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the child answers: hosts, or why not."""

    hosts: list[Discovered] = []
    failure: Failure | None = None


def main() -> None:
    """Read the question, ask, write the answer."""
    signal.alarm(ORPHANED_AFTER_S)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # an SDK that prints does not print into the answer
        question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
        answer.write(encoded(reply_to(question)))


def encoded(reply: Reply) -> bytes:
    """Return the reply in JSON; of text that is no Unicode, as a tag may be, a question mark is left."""
    try:
        return msgspec.json.encode(reply)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(reply), ensure_ascii=False).encode("utf-8", "replace")


def reply_to(question: Question) -> Reply:
    """Return what the source says, but for servers of a night: those are no part of any fleet."""
    try:
        hosts = discoverer_of(question.source, Path(question.home)).hosts()
        # A server of a night has the tags of its role, and would be missed in every deployment of these minutes.
        return Reply(hosts=[host for host in hosts if RUN not in host.tags])
    except ClarionError as error:
        return Reply(failure=Failure(error.code, error.message, error.hint))


def discoverer_of(source: HostSource, home: Path) -> Discoverer:
    """Return who can list the hosts of `source`."""
    if source.aws:
        return AwsDiscoverer(source.aws)
    if source.gcp:
        return GcpDiscoverer(source.gcp)
    if source.azure:
        return AzureDiscoverer(source.azure)
    if source.inventory is not None:
        return InventoryDiscoverer(home / source.inventory)
    return StaticDiscoverer(source.static or ())


if __name__ == "__main__":
    main()
