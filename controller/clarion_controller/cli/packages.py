"""`clarion build`, `publish`, `packages`: from source to something that may be deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clarion_controller.cli import options
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import note, say, show_json, show_table
from clarion_controller.texts import date
from clarion_protocol.amounts import Size
from clarion_protocol.errors import BadConfig
from clarion_protocol.published import MANIFEST_SUFFIX, PACKAGE_SUFFIX

# Building needs no TUF and publishing no compiler; each verb imports what it needs when it runs.


def build(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The app's source, with its clarion.toml.")] = Path(),
    *,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The version.", show_default="the git tag, or the commit")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the package goes.")] = Path("dist"),
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Build what is not committed, too.")] = False,
) -> None:
    """Build and test an app's source into a package."""
    from clarion_controller.build import build as build_package  # noqa: PLC0415 (see above)

    built = build_package(source, out, version, allow_dirty=allow_dirty)
    say(f"Built {built.app} {built.version}: {built.entries} entries, {Size(built.unpacked)} unpacked.")
    say(f"  {built.package}  {Size(built.length)}  sha256 {built.sha256}")
    say(f"Publish it: clarion publish {built.package}")


def publish(
    context: typer.Context,
    package: Annotated[
        Path, typer.Argument(metavar="FILE", help="The .tar.zst that 'build' made.", show_default=False)
    ],
) -> None:
    """Sign a package and add it to the store."""
    from clarion_controller.publish import publish as publish_package  # noqa: PLC0415 (see above)

    if not package.name.endswith(PACKAGE_SUFFIX):
        raise BadConfig(f"{package} is no package", hint=f"Name the {PACKAGE_SUFFIX} file that 'clarion build' wrote.")
    manifest = package.with_name(package.name.removesuffix(PACKAGE_SUFFIX) + MANIFEST_SUFFIX)
    published = publish_package(place_of(context).home, package, manifest)
    release = published.release
    verb = "was published already" if published.is_repeat else "is published"
    say(f"{release.app} {release.version} {verb} as release {release.release}.")
    say(f"Deploy it: clarion deploy {release.app} {release.version} -e ENVIRONMENT")


def packages(context: typer.Context, app: options.SomeApp = None, *, json: options.Json = False) -> None:
    """List what is published."""
    from clarion_controller.publish import packages as published_packages  # noqa: PLC0415 (see above)

    releases = published_packages(place_of(context).home, app)
    if json:
        show_json(releases)
        return
    if not releases:
        note("Nothing is published yet: 'clarion build', then 'clarion publish'.")
        return
    rows = [
        [each.app, each.version, str(each.release), str(Size(each.length)), date(each.published_at), each.sha256[:16]]
        for each in releases
    ]
    show_table(["app", "version", "release", "size", "published", "sha256"], rows)
