"""The form of every answer: `{"success": true, "data": …}` or `{"success": false, "error": {"code", "message", "details"}}`.

What to add here: codes of errors and how an exception becomes one. What to keep out: any one endpoint.
"""

import logging
from typing import Any, Generic, Literal, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

Data = TypeVar("Data")

ERRORS = {
    400: ("bad_request", "The request cannot be read."),
    401: ("unauthorized", "The API key or the signature is missing or wrong."),
    403: ("forbidden", "The caller is not who it must be."),
    404: ("not_found", "There is no such thing, or not for this key."),
    405: ("method_not_allowed", "The path exists, the method does not."),
    413: ("payload_too_large", "The body is too large."),
    422: ("validation_failed", "A value is not allowed; `details` names it."),
    500: ("internal_error", "Something failed on our side; the log has it under the request id."),
    503: ("unavailable", "A server we need does not answer; try again later."),
}
_RETRY_AFTER_S = 5

# The database is away, overloaded or cannot be written: the same request will succeed later.
OUTAGES = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)


class Success(BaseModel, Generic[Data]):
    """An answer."""

    success: Literal[True] = True
    data: Data


class ErrorBody(BaseModel):
    """What went wrong: `code` for programs, `message` for people, `details` by the name of the value."""

    code: str
    message: str
    details: dict[str, str] = {}


class Failure(BaseModel):
    """An error."""

    success: Literal[False] = False
    error: ErrorBody


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of the errors that an endpoint may answer."""
    return {status: {"model": Failure, "description": ERRORS[status][1]} for status in statuses}


def documented_beside_text(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`documented` for an endpoint that answers text and fails in the envelope."""
    schema = {"$ref": f"#/components/schemas/{Failure.__name__}"}
    return {
        status: {"description": ERRORS[status][1], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }


def failure(
    status: int,
    message: str | None = None,
    details: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error in the envelope; without `message`, the usual words for its status."""
    code, words = ERRORS.get(status, ("error", "The request failed."))
    body = Failure(error=ErrorBody(code=code, message=message or words, details=details or {}))
    return JSONResponse(body.model_dump(), status, headers)


def install_handlers(app: FastAPI) -> None:
    """Let every expected exception end in the envelope."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _outage)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    standard = error.detail == HTTPException(error.status_code).detail
    headers = dict(error.headers) if error.headers else None
    return failure(error.status_code, None if standard else error.detail, headers=headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Names the values and what they must be; never repeats them, they may be personal."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    details = {".".join(str(part) for part in item["loc"]): item["msg"] for item in error.errors()}
    return failure(422, details=details)


async def _outage(_: Request, error: Exception) -> JSONResponse:
    log.warning("the database cannot be used: %s", type(getattr(error, "orig", None) or error).__name__)
    return failure(503, "The database does not answer; try again later.", headers={"Retry-After": str(_RETRY_AFTER_S)})
