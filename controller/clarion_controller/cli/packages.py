"""`clarion build`, `publish`, `packages`: from source to something that may be deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.build import build as build_package
from clarion_controller.cli.show import say
from clarion_protocol.amounts import Size


def build(
    source: Annotated[Path, typer.Argument(metavar="[DIR]", help="The app's source, with its clarion.toml.")] = Path(),
    *,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The version.", show_default="the git tag, or the commit")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the package goes.")] = Path("dist"),
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Build what is not committed, too.")] = False,
) -> None:
    """Build and test an app's source into a package."""
    built = build_package(source, out, version, allow_dirty=allow_dirty)
    say(f"Built {built.app} {built.version}: {built.entries} entries, {Size(built.unpacked)} unpacked.")
    say(f"  {built.package}  {Size(built.length)}  sha256 {built.sha256}")
    say(f"Publish it: clarion publish {built.package}")
