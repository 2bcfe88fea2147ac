"""One call on its way through the gateway: as it came, and as it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Literal

from hetagent.gateway.apis import Api
from hetagent.gateway.headers import Headers
from hetagent.learn.marks import Marks
from hetagent.learn.record import Form, Usage, new_id

__all__ = ["Answer", "Call", "Served"]


async def _nothing() -> None:
    """Close what needs no closing."""


def _unknown() -> Usage:
    return Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, read.

    Attributes:
        api: Whose paths, headers and errors it uses.
        method: Of HTTP.
        path: Within the API, such as ``"chat/completions"``; with its escapes, as it came.
        query: The query string.
        headers: For the upstream; the caller's own keys are among them, the gateway's are not.
        body: As it came.
        data: The body's JSON object; empty where the path takes none.
        model: Which one is asked for; empty where none is.
        form: Of the record; ``None`` for what is passed on without being recorded.
        streamed: Whether the answer is asked for as a stream.
        marks: What the caller said of it.
        secrets: Keys that came with it, which are never recorded.
        id: Of its record.
        time: When it came, in UTC.
        began: The same on `time.perf_counter`'s clock.
    """

    api: Api
    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    data: Mapping[str, Any]
    model: str
    form: Form | None
    streamed: bool
    marks: Marks
    secrets: tuple[str, ...] = ()
    id: str = field(default_factory=new_id)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=perf_counter)


@dataclass(frozen=True, slots=True)
class Served:
    """Who answered a call of a workload that was converted.

    Attributes:
        by: The skill's small model, or the LLM.
        workload: The workload's name.
        reason: Why the LLM, in one word, such as ``"low_confidence"``.
        binding: Id of the binding whose small model was asked; ``None`` where none was.
        model: Name of the small model that answered.
        confidence: In the small model's answer, calibrated; ``None`` where there is none.
    """

    by: Literal["slm", "llm"]
    workload: str
    reason: str = ""
    binding: str | None = None
    model: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream answers.

    Attributes:
        status: HTTP status.
        headers: For the client.
        pieces: The body, as it comes; bytes as they are sent.
        close: Lets go of the upstream, in mid-stream too.
        usage: The tokens, asked for once it has ended; for answers that do not name them, as a
            stream does not unless the caller wanted it.
        served: Who answered, where the call is of a workload that was converted.
    """

    status: int
    headers: Headers
    pieces: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]] = _nothing
    usage: Callable[[], Usage] = _unknown
    served: Served | None = None
