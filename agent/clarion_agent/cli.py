"""`clarion-agent`: join a cluster, run, say how things are.

Each verb loads only what it needs, because a server starts it often and has other work.
Exit codes: 0 done, 1 failed, 2 wrong usage, 5 another agent is in the way, 78 the identity is another server's:
systemd calls 78 CONFIG, and the unit does not start such an agent again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clarion_protocol.errors import BadConfig, Blocked, ClarionError, CopiedServer, HostError, OperatorError
from clarion_protocol.words import ExitCode

if TYPE_CHECKING:
    from clarion_agent.config import Config
    from clarion_agent.net.token_file import TokenFile

_DEFAULT_CONFIG = "/etc/clarion-agent/agent.toml"
_EX_CONFIG = 78  # sysexits.h


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of the command line `arguments`."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        return int(options.verb(options) or ExitCode.COMMITTED)
    except ClarionError as error:
        return _complain(error)
    except OSError as error:
        return _complain(HostError(str(error), hint="Run it as root, and check 'df -h' and the folder's owner."))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clarion-agent",
        description="The agent: receives signed deployments and carries them out on this server.",
        epilog="A new server: 'clarion hosts invite NAME -e ENVIRONMENT' on the controller, 'clarion-agent join TOKEN' "
        "here, then 'systemctl enable --now clarion-agent'.",
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("--config", type=Path, metavar="FILE", default=Path(_DEFAULT_CONFIG), help=_CONFIG_HELP)
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs")
    _join_options(verbs.add_parser("join", help="make this server part of a cluster", description=_JOIN))
    _run_options(verbs.add_parser("run", help="run until stopped (what the systemd unit does)", description=_RUN))
    _status_options(verbs.add_parser("status", help="say how this server stands", description=_STATUS))
    return parser


def _join_options(verb: argparse.ArgumentParser) -> None:
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "token", metavar="TOKEN", nargs="?", help="what 'clarion hosts invite' printed; - reads it from standard input"
    )
    source.add_argument(
        "--token-file", type=Path, metavar="FILE", help="read the token from here, and delete it once it is used"
    )
    verb.add_argument(
        "--name", default="", help="what to call this server (default: the token's name, or the machine's)"
    )
    _config_option(verb)
    verb.set_defaults(verb=_join)


def _run_options(verb: argparse.ArgumentParser) -> None:
    _config_option(verb)
    verb.set_defaults(verb=_run)


def _status_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="for programs: one JSON object")
    _config_option(verb)
    verb.set_defaults(verb=_status)


def _config_option(verb: argparse.ArgumentParser) -> None:
    # Suppressed, so that the one before the verb counts where this one is not given.
    verb.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=_CONFIG_HELP)


def _join(options: argparse.Namespace) -> None:
    from clarion_agent.config import load_config  # noqa: PLC0415

    config = load_config(options.config)
    if options.token_file:
        _join_from_file(options.token_file, options.name, config)
        return
    _join_with(sys.stdin.readline() if options.token == "-" else options.token, options.name, config)  # noqa: S105
    # Not after a token file: the unit that reads it starts the agent as well.
    _say("Start the agent: systemctl enable --now clarion-agent")


def _join_from_file(path: Path, name: str, config: Config) -> None:
    """Join unless that is done: a unit may ask for it at each boot."""
    from clarion_agent.identity import has_joined  # noqa: PLC0415
    from clarion_agent.net.token_file import token_file  # noqa: PLC0415

    if has_joined(config.state):
        _say("This server has joined a cluster already. Run 'clarion-agent status'.")
        _discard(path)
        return
    with token_file(path) as file:
        if file.is_shared():
            _warn(f"others than root may read {path}: whoever does can enrol a server. Run 'chmod 600 {path}'.")
        _join_with(file.read(), name, config)
        _delete(file)


def _discard(path: Path) -> None:
    """Delete a token that nobody needs; what is no token file is left where it lies."""
    from clarion_agent.net.token_file import token_file  # noqa: PLC0415

    if not path.is_symlink() and not path.exists():
        return
    try:
        with token_file(path) as file:
            _delete(file)
    except BadConfig as error:
        _warn(f"{error.message}: it is of no use here any more. Delete it.")


def _delete(file: TokenFile) -> None:
    try:
        file.delete()
    except OSError as error:
        _warn(f"{file.path} is of no use any more, but cannot be deleted ({error.strerror}). Delete it.")


def _join_with(text: str, name: str, config: Config) -> None:
    from clarion_agent.daemon import first_refresh  # noqa: PLC0415
    from clarion_agent.net.applicant import Wish  # noqa: PLC0415
    from clarion_agent.net.instance import read_instance, which_cloud  # noqa: PLC0415
    from clarion_agent.net.join import join, refuse_second_join  # noqa: PLC0415
    from clarion_protocol.invite import read_token  # noqa: PLC0415

    token, wish = read_token(text), Wish(name)
    refuse_second_join(config.state)
    # Last, because it may take seconds.
    wish = wish.on(read_instance(which_cloud(config.cloud)))
    record = join(token, wish, config.state, first_refresh(config))
    _say(f"This server is now {record.name!r} in {record.environment}, host {record.host}.")


def _run(options: argparse.Namespace) -> None:
    from clarion_agent.config import load_config  # noqa: PLC0415
    from clarion_agent.daemon import run_agent  # noqa: PLC0415

    run_agent(load_config(options.config))


def _status(options: argparse.Namespace) -> int:
    from clarion_agent.config import load_config  # noqa: PLC0415
    from clarion_agent.status import as_json, as_text, read_status  # noqa: PLC0415

    status = read_status(load_config(options.config))
    _say(as_json(status) if options.json else as_text(status))
    return ExitCode.COMMITTED if status.is_joined and status.is_running else ExitCode.FAILED


def _complain(error: ClarionError) -> int:
    sys.stderr.write(f"error: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
    if isinstance(error, Blocked):
        return ExitCode.BLOCKED
    if isinstance(error, CopiedServer):
        return _EX_CONFIG
    return ExitCode.USAGE if isinstance(error, OperatorError) else ExitCode.FAILED


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return f"clarion-agent {version('clarion')}"


_CONFIG_HELP = f"what this server lets Clarion do (default: {_DEFAULT_CONFIG})"
_JOIN = "Makes this server's keys, shows them to the controller that the token names, and keeps what it answers."
_RUN = "Listens for signed deployments and carries them out until it is stopped (SIGTERM or SIGINT)."
_STATUS = "Reads this server's own files; asks nobody. Exit code 1 if it has not joined or no agent runs."
