"""What is begun comes to its end or is taken back, whatever ends it: an error, Ctrl-C, or a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clarion_protocol.errors import ClarionError, ProvisionFailed


def _never(_: BaseException) -> bool:
    return False


@contextmanager
def taken_back(undo: Callable[[], object], *, unless: Callable[[BaseException], bool] = _never) -> Iterator[None]:
    """Undo what the block has begun if it raises; `unless` tells errors after which there is surely nothing.

    Raises:
        ProvisionFailed: neither the block nor its undoing worked; the message says both.
    """
    try:
        yield
    except BaseException as error:  # Ctrl-C must leave no server behind that costs money
        if not unless(error):
            _undo(undo, error)
        raise


def _undo(undo: Callable[[], object], error: BaseException) -> None:
    try:
        undo()
    except ClarionError as another:
        first = error.message if isinstance(error, ClarionError) else "it was interrupted"
        raise ProvisionFailed(
            f"{first}; and what was made could not be taken away again: {another.message}", hint=another.hint
        ) from error
