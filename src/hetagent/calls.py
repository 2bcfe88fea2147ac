"""Calling a model: whatever happens becomes an answer or a reason, and is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeAlias

from hetagent import telemetry
from hetagent.admission import Permit
from hetagent.assembly import Assembly
from hetagent.attempt import Attempt, checked, explain, read
from hetagent.errors import ModelError
from hetagent.models.base import Completion, Model, Request, StreamingModel, Token
from hetagent.models.tries import counted
from hetagent.outcome import Call, Usage

__all__ = ["Listen", "ask"]

Listen: TypeAlias = Callable[[Token], bool]
"""Told each token as it is written; returns whether the rest of the answer is still wanted."""


class _Stopped(Exception):  # noqa: N818 - a signal within this module
    """No more of the answer is wanted."""


async def ask(
    model: Model,
    run: Assembly[Any],
    request: Request,
    *,
    permit: Permit,
    listen: Listen | None = None,
) -> Attempt:
    """Call a model.

    Args:
        model: The model.
        run: The outcome it is asked for, which counts the call.
        request: What it is asked.
        permit: As what it is asked, and how long it may take.
        listen: Told each token, where the model tells them. An answer it stops has the reason
            ``low_confidence`` and no score.
    """
    began = time.perf_counter()
    written: list[Token] = []

    def note(name: str, usage: Usage, **facts: Any) -> Call:
        seconds = {**facts.pop("seconds", {}), "total": time.perf_counter() - began}
        role: Literal["slm", "llm"] = "slm" if permit.rung is None else "llm"
        call = Call(role, name, usage, seconds, rung=permit.rung, **facts)
        run.note(call, began=began)
        return call

    limit = asyncio.timeout(permit.timeout)
    with telemetry.call_span(model.name, request, rung=permit.rung) as span:
        try:
            async with limit:
                with counted(permit.tries):
                    completion = await _complete(model, request, listen, written)
            checked(completion, request)
        except _Stopped:
            span.stopped(len(written))
            call = note(model.name, Usage(completion_tokens=len(written)))
            text = b"".join(token.text for token in written).decode("utf-8", errors="replace")
            return Attempt(call, text=text, reason="low_confidence")
        except asyncio.CancelledError:
            given_up = ModelError("The call was given up before its answer came.")
            span.failed(given_up)
            note(model.name, permit.lost(len(written)), attempts=permit.attempts, error=given_up)
            raise
        except Exception as error:
            problem, reason = explain(error, model, limit=permit.timeout)
            if limit.expired() and permit.late is not None:
                problem, reason = permit.late, "budget"
            span.failed(problem)
            cut = limit.expired()
            usage = permit.lost(len(written)) if cut else problem.usage or Usage()
            attempts = permit.attempts if cut else problem.attempts
            call = note(model.name, usage, attempts=attempts, error=problem)
            return Attempt(call, reason=reason, error=problem)
        span.answered(completion)
    call = note(
        completion.model,
        completion.usage,
        seconds=completion.seconds,
        attempts=completion.attempts,
    )
    return read(completion, request, call)


async def _complete(
    model: Model, request: Request, listen: Listen | None, written: list[Token]
) -> Completion:
    """The completion; what is written is noted on the way."""
    if listen is None or not isinstance(model, StreamingModel):
        return await model.complete(request)
    stream = model.stream(request)
    try:
        async for piece in stream:
            if not isinstance(piece, Token):
                return piece  # checked like that of any other model
            written.append(piece)
            if not listen(piece):
                raise _Stopped
    finally:
        await _close(stream)
    raise ModelError(
        "The model is at fault: stream() ended without a Completion.",
        hint="See hetagent.models.base.",
    )


async def _close(stream: AsyncIterator[Any]) -> None:
    close = getattr(stream, "aclose", None)  # generators have it, iterators need not
    if close is not None:
        await close()
