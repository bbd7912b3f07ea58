"""The agents: whether they speak, what time it is for them, which version they are, what does not fit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

from clarion_controller.api.answers import Finding, Health, HostAnswer
from clarion_controller.explain import listed
from clarion_controller.texts import count

_Wrong = Callable[[HostAnswer], bool]


def examine_fleet(environment: str, hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    """Yield what is not well with the hosts of an environment; one sentence if all are."""
    found = [*_clocks(environment, hosts), *_connections(environment, hosts), *_oddities(environment, hosts)]
    yield from found
    if not found:
        well = f"{count(len(hosts), 'host')}, all connected, none of them odd"
        sentence = well if hosts else "no host has joined yet"
        hint = "" if hosts else f"Run 'clarion hosts invite NAME -e {environment}'."
        yield _finding(environment, Health.OK, sentence, hint)


def _clocks(environment: str, hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    wrong = [host.name for host in hosts if host.is_connected and host.clock]
    connected = sum(host.is_connected for host in hosts)
    if wrong and len(wrong) * 2 > connected > 1:
        sentence = (
            f"the clocks of {len(wrong)} of {connected} hosts differ from this machine's: this one is the odd one"
        )
        yield _finding(environment, Health.FAILED, sentence, "Run 'timedatectl' here.")
    elif wrong:
        sentence = f"{listed(wrong)}: {next(host.clock for host in hosts if host.name == wrong[0])}"
        yield _finding(
            environment, Health.FAILED, sentence, "Run 'timedatectl' there; its orders are refused until then."
        )


def _connections(environment: str, hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    silent = _names(hosts, lambda host: host.is_enrolled and host.is_discovered and not host.is_connected)
    if silent:
        hint = "Run 'systemctl status clarion-agent' there."
        yield _finding(environment, Health.WARNING, f"{listed(silent)} not connected", hint)
    bare = _names(hosts, lambda host: host.is_discovered and not host.is_enrolled)
    if bare:
        hint = f"Run 'clarion hosts invite -e {environment}' and 'clarion-agent join TOKEN' there."
        yield _finding(environment, Health.WARNING, f"{listed(bare)} without agent", hint)
    gone = _names(hosts, lambda host: host.is_enrolled and not host.is_discovered)
    if gone:
        hint = f"If they are gone for good: 'clarion hosts revoke --gone -e {environment}'."
        yield _finding(environment, Health.WARNING, f"{listed(gone)}: an agent whose server no source lists", hint)


def _oddities(environment: str, hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    own = version("clarion")
    others = sorted({host.facts.agent_version for host in hosts if host.facts} - {own})
    if others:
        names = _names(hosts, lambda host: host.facts is not None and host.facts.agent_version != own)
        sentence = f"{listed(names)} run agents of version {', '.join(others)}, the controller is {own}"
        hint = "Upgrade the older side; docs/how-to/upgrade-the-agent.md says in which order."
        yield _finding(environment, Health.WARNING, sentence, hint)
    for host in hosts:
        if host.facts and host.facts.trouble:
            hint = f"Run 'clarion-agent status' on {host.name}."
            yield _finding(environment, Health.FAILED, f"{host.name} refuses every order: {host.facts.trouble}", hint)
        for sentence in host.findings if host.is_discovered else ():
            yield _finding(environment, Health.WARNING, f"{host.name}: {sentence}")


def _names(hosts: Sequence[HostAnswer], is_wrong: _Wrong) -> list[str]:
    return [host.name for host in hosts if is_wrong(host)]


def _finding(environment: str, health: Health, sentence: str, hint: str = "") -> Finding:
    return Finding(subject=f"{environment} fleet", health=health, sentence=sentence, hint=hint)
