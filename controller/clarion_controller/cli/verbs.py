"""Every verb of `clarion`, in the order in which people meet them, and the file that does it."""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

import typer

from clarion_protocol.errors import UnknownName


class Verb(NamedTuple):
    """One verb: its name, the function (or the group of subcommands) behind it, and what it does in one line."""

    name: str
    target: str
    does: str


GROUPS: dict[str, tuple[Verb, ...]] = {
    "Set up": (
        Verb("init", "create:init", "Create a cluster: its keys, its packages, its fleet.toml."),
        Verb("validate", "validate:validate", "Check fleet.toml, clarion.toml, agent.toml; changes nothing."),
        Verb("serve", "serve:serve", "Run the controller."),
        Verb("doctor", "doctor:doctor", "Check keys, ports, store, clouds and agents; changes nothing."),
        Verb("hosts", "hosts:app", "List hosts, invite new ones, revoke lost ones."),
        Verb("provision", "provision:provision", "Make a server like another: it joins and takes what is in force."),
        Verb("notify", "notify:app", "List who is told of what, and what waits; test that they hear it."),
    ),
    "Package": (
        Verb("build", "packages:build", "Build and test an app's source into a package."),
        Verb("publish", "packages:publish", "Sign a package and add it to the store."),
        Verb("packages", "packages:packages", "List what is published."),
        Verb("builder", "builder:builder", "Carry out builds of pushes, apart from the controller."),
        Verb("builds", "builds:app", "List builds; show what one wrote, start one, cancel one."),
    ),
    "Deploy": (
        Verb("deploy", "deploy:deploy", "Bring hosts to a version: plan, sign, roll out, follow."),
        Verb("rollback", "deploy:rollback", "Go back to a version that ran before; downloads nothing."),
        Verb("pause", "deploy:pause", "Give no host its turn until 'resume'; hosts in the middle finish."),
        Verb("resume", "deploy:resume", "Let a paused deployment go on."),
        Verb("abort", "deploy:abort", "Stop a deployment: no further host is changed."),
    ),
    "Look": (
        Verb("status", "status:status", "Show what is wanted and what really runs, per host."),
        Verb("history", "status:history", "List deployments, newest first."),
        Verb("logs", "logs:logs", "Show what hosts reported of each step of a deployment."),
        Verb("nightly", "nightly:app", "Rebuild and rehearse all that is in force; reports of nights."),
        Verb("integration", "integration:integration", "Check what must answer between hosts."),
    ),
}

FOOTER = """\
Everywhere:
  --home PATH   the controller's folder (CLARION_HOME, default /var/lib/clarion)
  --api PATH    its socket (CLARION_API, default HOME/run/controller.sock)

'clarion VERB --help' tells more. Exit codes: 0 committed, 1 failed, 2 usage,
3 degraded, 4 rolled back, 5 blocked, 124 wait timed out."""


def all_verbs() -> dict[str, Verb]:
    """Return every verb by its name."""
    return {verb.name: verb for group in GROUPS.values() for verb in group}


def overview() -> str:
    """Return the help that `clarion` shows."""
    lines = ["Usage: clarion VERB [OPTIONS] [ARGUMENTS]", "", "One signed signal, and every server pulls.", ""]
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {verb.name:11}  {verb.does}" for verb in group), ""]
    return "\n".join([*lines, FOOTER])


def load(name: str) -> typer.Typer:
    """Return the program of the verb `name`, importing only its file.

    Raises:
        UnknownName: there is no such verb.
    """
    verb = all_verbs().get(name)
    if verb is None:
        near = difflib.get_close_matches(name, all_verbs(), n=1)
        hint = f"Did you mean 'clarion {near[0]}'?" if near else "Run 'clarion --help' for the list."
        raise UnknownName(f'"{name}" is no verb of clarion', hint=hint)
    module, _, function = verb.target.partition(":")
    target = getattr(import_module(f"clarion_controller.cli.{module}"), function)
    if isinstance(target, typer.Typer):
        return target
    program = new_program()
    program.command()(target)
    return program


def new_program() -> typer.Typer:
    """Return an empty program of our kind: plain help, no completion scripts, no decorated tracebacks."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def show_version() -> None:
    """Print which Clarion this is."""
    typer.echo(f"clarion {version('clarion')}")
