"""The APIs that the gateway speaks: how each says that something went wrong."""

from __future__ import annotations

import json
from typing import Any, Literal

from hetagent.errors import (
    ConnectError,
    ConstraintError,
    HetagentError,
    InputError,
    InputTooLongError,
    ModelTimeoutError,
    OutputError,
    ProviderError,
    RateLimitError,
    UnknownModelError,
    UnsupportedTypeError,
)

__all__ = ["Api", "Refusal", "error_body", "refusal_of"]

Api = Literal["openai", "azure", "anthropic"]
"""Azure's differs from OpenAI's in paths and in the header that has the key."""

_OPENAI_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(Exception):  # noqa: N818 - it is an answer, and never leaves the gateway
    """A call that the gateway itself answers, with an error.

    Attributes:
        status: HTTP status.
        message: What is wrong, and what to do.
        code: One word for programs.
        headers: Further ones of the answer.
        unread: Whether the client may still be sending its request.
    """

    unread = False

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers


def error_body(api: Api, refusal: Refusal) -> bytes:
    """The body of an error as the API's clients read it."""
    body: dict[str, Any]
    if api == "anthropic":
        kind = _ANTHROPIC_KINDS.get(refusal.status) or _class_of(refusal.status)
        body = {"type": "error", "error": {"type": kind, "message": refusal.message}}
    else:
        kind = _OPENAI_KINDS.get(refusal.status) or _class_of(refusal.status)
        error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
        body = {"error": error}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", errors="replace")


def refusal_of(error: Exception) -> Refusal:
    """How an upstream's failure is told to the client."""
    if isinstance(error, Refusal):
        return error
    if not isinstance(error, HetagentError):
        return Refusal(502, f"The upstream failed: {type(error).__name__}.", code="upstream_failed")
    status, code = _status_of(error)
    return Refusal(status, str(error), code=code)


def _status_of(error: HetagentError) -> tuple[int, str]:
    if isinstance(error, InputTooLongError):
        return 400, "context_length_exceeded"
    if isinstance(error, InputError | UnsupportedTypeError | ConstraintError):
        return 400, "invalid_request"
    if isinstance(error, UnknownModelError):
        return 404, "model_not_found"
    if isinstance(error, ModelTimeoutError):
        return 504, "upstream_timeout"
    if isinstance(error, ConnectError):
        return 502, "upstream_unreachable"
    if isinstance(error, RateLimitError):
        return 429, "rate_limited"
    if isinstance(error, ProviderError) and error.status and 400 <= error.status < 600:
        return error.status, "upstream_refused"
    if isinstance(error, OutputError):
        return 502, "invalid_answer"
    return 502, "upstream_failed"


def _class_of(status: int) -> str:
    return "invalid_request_error" if status < 500 else "api_error"
