"""Whether this is still the server that joined, and not one made from a copy of its disk."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from clarion_agent.config import Config
from clarion_agent.identity import FOLDER
from clarion_agent.net.instance import read_instance, which_cloud
from clarion_protocol.errors import CloudRefused, CloudUnavailable, CopiedServer

ASK_AGAIN_S = 60.0

_log = structlog.get_logger(__name__)


class SameServer:
    """Compares once with what the metadata service says; while that is silent, again after each minute.

    At boot the agent is often there before the network is. `joined_as` is empty for a server of no cloud.
    """

    def __init__(self, joined_as: str, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._joined_as = joined_as
        self._config = config
        self._clock = clock
        self._is_open = bool(joined_as)
        self._not_before = clock()

    def check(self) -> None:
        """Return if this is the same server, or if nobody says.

        Raises:
            CopiedServer: it is another one.
        """
        if not self._is_open or self._clock() < self._not_before:
            return
        self._not_before = self._clock() + ASK_AGAIN_S
        cloud = which_cloud(self._config.cloud)
        if cloud == "none":
            self._give_up()
            return
        try:
            found = read_instance(cloud)
        except (CloudUnavailable, CloudRefused) as error:
            _log.warning("instance.unknown", joined_as=self._joined_as, reason=error.message)
            return
        self._is_open = False
        if found != self._joined_as:
            raise CopiedServer(
                f"the disk of this server was copied from {self._joined_as}; this is {found}",
                hint=f"Move {self._config.state / FOLDER} away, then run 'clarion-agent join TOKEN' here with a token "
                "from 'clarion hosts invite'.",
            )

    def _give_up(self) -> None:
        """Ask nobody any more. Not refused: "auto" also finds no cloud where the firmware's tables cannot be read."""
        self._is_open = False
        if self._config.cloud == "auto":
            reason = 'cloud = "auto" finds no cloud here, so nobody says whether this is still that server'
            cloud = self._joined_as.partition(":")[0]
            hint = f'If it is, set cloud = "{cloud}" in agent.toml; if it left the clouds, "none"; else join it anew.'
            _log.warning("instance.no_cloud", joined_as=self._joined_as, reason=reason, hint=hint)
