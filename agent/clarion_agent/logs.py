"""Where log lines go: JSON to the journal on a server, readable on a terminal; always standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def begin_logging() -> None:
    """Set up logging for this process."""
    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if is_terminal else _for_the_journal()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _for_people() -> list[structlog.typing.Processor]:
    return [structlog.dev.ConsoleRenderer()]


def _for_the_journal() -> list[structlog.typing.Processor]:
    return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
