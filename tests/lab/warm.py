"""Makes what the lab's servers boot from, before any test waits for it: the rootfs, our packages, installed ones.

`python -m tests.lab.warm`; where it is all in the cache, it takes a moment.
"""

from __future__ import annotations

from . import debs
from .cache import Cache, default_home
from .debian import BUILDING, PUPPET, with_packages
from .requirements import missing


def main() -> None:
    """Fill the cache, if this machine can run the lab at all."""
    if reason := missing():
        print(f"no lab here: {reason}")
        return
    with Cache(default_home()) as cache:
        puppet, building = with_packages(cache, *PUPPET), with_packages(cache, *BUILDING)
        for package in ("clarion", "clarion-agent"):
            debs.installed(cache, package)
            debs.installed(cache, package, over=puppet)
        debs.installed(cache, "clarion", over=building)
        debs.installed(cache, *debs.WITH_CLOUDS)


if __name__ == "__main__":
    main()
