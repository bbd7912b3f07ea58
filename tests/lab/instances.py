"""EC2 with real servers: moto answers the requests, and each instance that it makes is a server of the lab.

Such a server boots a plain Debian that has never heard of Clarion. It runs its user data once, as cloud-init would,
and asks the metadata service who it is. When moto terminates the instance, its power is cut.
"""

from __future__ import annotations

import base64
import gzip
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.core.types import Base64EncodedString
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import InstanceBackend
from moto.server import ThreadedMotoServer

from .clouds import metadata_around
from .inside import inside
from .lab import Lab
from .network import HERE
from .server import Server

HOST = "packages.example"
USER_DATA = "/var/lib/cloud/user-data"
# What cloud-init does with a script, as far as a script can tell.
FIRST_BOOT = f"""\
[Unit]
After=network-online.target dbus.service
ConditionPathExists={USER_DATA}
[Service]
Type=oneshot
ExecStart={USER_DATA}
[Install]
WantedBy=multi-user.target
"""


class Ec2:
    """What is switched on; `address` is where moto listens, and `image` the files that a new server's disk has."""

    def __init__(self, lab: Lab, image: dict[str, str]) -> None:
        self.address = ""
        self.servers: dict[str, Server] = {}
        self._lab = lab
        self._image = image
        self._power = ExitStack()
        self._one_by_one = threading.Lock()

    def named(self, name: str) -> Server:
        """Return the server of the newest instance with this `Name`."""
        instances = [each for backend in ec2_backends.values() for each in backend["eu-west-1"].all_instances()]
        named = [
            each.id for each in instances for tag in each.get_tags() if (tag["key"], tag["value"]) == ("Name", name)
        ]
        return self.servers[named[-1]]

    def switch_on(self, instance: Any) -> None:
        """Have a new instance boot."""
        with self._one_by_one:
            server = self._lab.prepare(instance.id)
            self.servers[instance.id] = server
            self._power.enter_context(metadata_around(self._lab, server, "aws", instance.id))
        instance.nics[0].private_ip_address = server.address
        for path, text in self._image.items():
            server.bake(path, text)
        server.bake("/etc/systemd/system/first-boot.service", FIRST_BOOT)
        wanted = server.on_disk("/etc/systemd/system/multi-user.target.wants/first-boot.service")
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.symlink_to("../first-boot.service")
        server.bake(USER_DATA, unpacked(instance.user_data), mode=0o700)
        server.start()

    def switch_off(self, number: str) -> None:
        """Cut the power of a terminated instance."""
        self.servers[number].kill()

    def close(self) -> None:
        """End all metadata services."""
        self._power.close()


@contextmanager
def ec2_around(lab: Lab, control: Server, image: dict[str, str]) -> Iterator[Ec2]:
    """Run an EC2 without instances, which only the server `control` reaches."""
    # Moto is asked to do nothing else than it does; the power of the servers follows its books.
    ec2_backends.reset()
    ec2 = Ec2(lab, image)
    runs, ends = InstanceBackend.run_instances, InstanceBackend.terminate_instances

    def run_instances(backend: InstanceBackend, *arguments: Any, **options: Any) -> Any:
        reservation = runs(backend, *arguments, **options)
        for instance in reservation.instances:
            ec2.switch_on(instance)
        return reservation

    def terminate_instances(backend: InstanceBackend, numbers: Sequence[str]) -> Any:
        ended = ends(backend, list(numbers))
        for instance, _ in ended:
            ec2.switch_off(instance.id)
        return ended

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with (
        patch.object(InstanceBackend, "run_instances", run_instances),
        patch.object(InstanceBackend, "terminate_instances", terminate_instances),
    ):
        inside(lab.network.namespace(control.name), moto.start)
        host, port = moto.get_host_and_port()
        ec2.address = f"http://{host}:{port}"
        try:
            yield ec2
        finally:
            moto.stop()
            ec2.close()


def unpacked(user_data: Base64EncodedString) -> str:
    """Return the script that was handed over, as cloud-init takes it: base64, with gzip or without."""
    plain = base64.b64decode(user_data.as_bytes())
    return (gzip.decompress(plain) if plain.startswith(b"\x1f\x8b") else plain).decode()


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def repository_of(lab: Lab, folder: Path, certificate: Path) -> Iterator[str]:
    """Serve a folder to the servers over HTTPS; `certificate` is for the address that this returns."""

    def listen() -> ThreadingHTTPServer:
        return ThreadingHTTPServer((HERE, 443), partial(_Files, directory=str(folder)))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with inside(lab.island.path("/proc/1/ns/net"), listen) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"https://{HOST}"
        finally:
            server.shutdown()
            thread.join(10)
