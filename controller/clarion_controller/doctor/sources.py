"""Who lists the hosts: by what the sources answered when they were asked just now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clarion_controller.api.answers import Finding, Health, SourceAnswer


def examine_sources(environment: str, sources: Sequence[SourceAnswer]) -> Iterator[Finding]:
    """Yield how each source of an environment is; one in trouble blocks deployments, so it has failed."""
    for source in sources:
        subject = f"{environment} hosts"
        if source.trouble:
            sentence = f"{source.source}: {source.trouble}"
            yield Finding(subject=subject, health=Health.FAILED, sentence=sentence, hint=source.hint)
        elif source.offered is not None:
            sentence = f"{source.source} lists {_hosts(source.offered)} where it listed {source.hosts:,} before"
            hint = "If that is true: 'clarion deploy ... --accept-shrink'. If not, look at its tags and at the cloud."
            yield Finding(subject=subject, health=Health.FAILED, sentence=sentence, hint=hint)
        elif not source.hosts:
            hint = "Compare its tags, zones and groups in fleet.toml with what is there."
            yield Finding(subject=subject, health=Health.WARNING, sentence=f"{source.source} lists no host", hint=hint)
        else:
            sentence = f"{source.source} lists {_hosts(source.hosts)}"
            yield Finding(subject=subject, health=Health.OK, sentence=sentence)


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number:,} hosts"
