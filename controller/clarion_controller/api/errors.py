"""Every failure of a call as an `ErrorAnswer`: nobody who runs the command line ever sees a stack trace."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import OperationalError

from clarion_controller.api.answers import ErrorAnswer
from clarion_protocol.errors import Blocked, ClarionError, NoSpace, OperatorError, UnknownName

_log = structlog.get_logger(__name__)

_Request = Request[Any, Any, Any]


def answer_clarion(_: _Request, error: ClarionError) -> Response[ErrorAnswer]:
    """Answer an error of ours with its code, its sentence and the next command."""
    status = 404 if isinstance(error, UnknownName) else 409 if isinstance(error, Blocked) else 400
    return Response(ErrorAnswer(error.code, error.message, error.hint), status_code=status)


def answer_http(_: _Request, error: HTTPException) -> Response[ErrorAnswer]:
    """Answer what the framework refuses: an unknown path, a body that does not fit."""
    extra = error.extra if isinstance(error.extra, list) else []
    details = "; ".join(f"{each.get('key')}: {each.get('message')}" for each in extra if isinstance(each, dict))
    message = f"{error.detail} ({details})" if details else error.detail
    hint = "Run 'clarion --version' here and on the controller: they may differ."
    return Response(ErrorAnswer(OperatorError.code, message, hint), status_code=error.status_code)


def answer_database(request: _Request, error: OperationalError) -> Response[ErrorAnswer]:
    """Answer that the log of events cannot be written, which is first of all a disk that is full."""
    reason = str(error.orig)
    if "full" not in reason:
        return answer_fault(request, error)
    _log.error("api.disk_full", reason=reason)
    message = f"the controller cannot write its state ({reason}); nothing was changed"
    hint = "On the controller, 'df -h' shows what is full; make room and try again."
    return Response(ErrorAnswer(NoSpace.code, message, hint), status_code=507)


def answer_fault(_: _Request, error: Exception) -> Response[ErrorAnswer]:
    """Answer a fault of our own, and leave the stack trace in the log."""
    _log.error("api.fault", exc_info=error)
    message = f"the controller failed at this ({type(error).__name__}); nothing is known to have changed"
    hint = "Its log has the details: 'journalctl -u clarion-controller'."
    return Response(ErrorAnswer(ClarionError.code, message, hint), status_code=500)


ANSWERED: ExceptionHandlersMap = {
    ClarionError: answer_clarion,
    HTTPException: answer_http,
    OperationalError: answer_database,
    Exception: answer_fault,
}
"""What each kind of failure is answered with, as Litestar takes it."""
