"""`clarion serve`: the controller itself."""

from __future__ import annotations

import typer

from clarion_controller.cli.place import place_of
from clarion_controller.serve import serve as serve_controller


def serve(context: typer.Context) -> None:
    """Run the controller."""
    place = place_of(context)
    serve_controller(place.home, place.api)
