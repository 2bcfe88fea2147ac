"""Calling a model: whatever happens becomes an answer or a reason, and is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeAlias

from hetagent import telemetry
from hetagent.assembly import Assembly
from hetagent.attempt import Attempt, checked, explain, read
from hetagent.errors import ModelError
from hetagent.models.base import Completion, Model, Request, StreamingModel, Token
from hetagent.outcome import Call, Usage

__all__ = ["Listen", "Role", "ask"]

Role = Literal["slm", "llm"]
Listen: TypeAlias = Callable[[Token], bool]
"""Told each token as it is written; returns whether the rest of the answer is still wanted."""


class _Stopped(Exception):  # noqa: N818 - a signal within this module
    """No more of the answer is wanted."""


async def ask(
    role: Role,
    model: Model,
    run: Assembly[Any],
    request: Request,
    *,
    timeout: float | None,
    listen: Listen | None = None,
) -> Attempt:
    """Call a model.

    Args:
        role: What it is asked as.
        model: The model.
        run: The outcome it is asked for, which counts the call.
        request: What it is asked.
        timeout: Seconds it may take; ``None`` for no limit.
        listen: Told each token, where the model tells them. An answer it stops has the reason
            ``low_confidence`` and no score.
    """
    began = time.perf_counter()
    written: list[Token] = []
    with telemetry.call_span(role, model.name, request) as span:
        try:
            async with asyncio.timeout(timeout):
                completion = await _complete(model, request, listen, written)
            checked(completion, request)
        except _Stopped:
            span.stopped(len(written))
            call = Call(role, model.name, Usage(completion_tokens=len(written)), _timed(began))
            run.note(call, began=began)
            text = b"".join(token.text for token in written).decode("utf-8", errors="replace")
            return Attempt(call, text=text, reason="low_confidence")
        except asyncio.CancelledError:
            given_up = ModelError("The call was given up before its answer came.")
            span.failed(given_up)
            unknown = Usage(completion_tokens=len(written), cost_usd=None)
            run.note(Call(role, model.name, unknown, _timed(began), error=given_up), began=began)
            raise
        except Exception as error:
            problem, reason = explain(error, model, limit=timeout)
            span.failed(problem)
            usage = problem.usage or Usage()
            call = Call(role, model.name, usage, _timed(began), problem.attempts, problem)
            run.note(call, began=began)
            return Attempt(call, reason=reason, error=problem)
        span.answered(completion)
    seconds = {**completion.seconds, **_timed(began)}
    call = Call(role, completion.model, completion.usage, seconds, completion.attempts)
    run.note(call, began=began)
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


def _timed(began: float) -> dict[str, float]:
    return {"total": time.perf_counter() - began}
