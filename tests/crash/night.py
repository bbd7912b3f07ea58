"""A night with one server, as a process that a test kills; it says where it is, one word a line.

`night.py PLACE ROOTFS` lays the server on ROOTFS, or builds a root file system if that is "-".
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from pathlib import Path

from clarion_controller.fleet_toml.roles import Role
from clarion_controller.nightly.ending import NightOver, interruptible
from clarion_controller.provisioners.containers.recipe import recipe_of, this_machines_apt
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder

SETUP = """\
#!/bin/sh
ln -s true /usr/bin/clarion-agent
install -m 0700 -d /srv/closed/deep
(setsid sleep 1001 &)
sleep 2
"""


def main(place: Path, rootfs: str) -> None:
    """Make a server, start a program beside it, and wait to be killed."""
    nspawn = NspawnProvisioner("acme", "night", place)
    try:
        with interruptible(300), nspawn:
            if rootfs != "-":
                built: Future[Path] = Future()
                built.set_result(Path(rootfs))
                nspawn._begin()[0].rootfs._built[recipe_of(None, this_machines_apt())] = built
            nspawn.run_inside(["sleep", "1002"])
            print("begun", flush=True)
            nspawn.create(ServerOrder("web", Role(), FirstBoot("clarion1.nonsense", setup=SETUP), run="night"))
            print("running", flush=True)
            time.sleep(300)
    except NightOver as over:
        print(over.reason, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
