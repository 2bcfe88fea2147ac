"""Call records for tests, made as an agent's would be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hetagent.learn.record import CallRecord

__all__ = ["BEGIN", "SEARCH", "call", "prose", "write_records"]

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search the shop.",
        "parameters": {
            "type": "object",
            "properties": {"words": {"type": "string"}, "most": {"type": "integer"}},
            "required": ["words"],
        },
    },
}


def call(
    number: int,
    text: str,
    answer: Any = "yes",
    *,
    system: str = "",
    history: Sequence[dict[str, Any]] = (),
    calls: Sequence[tuple[str, str]] = (),
    stop: str = "stop",
    minutes: float | None = None,
    request: dict[str, Any] | None = None,
    message: dict[str, Any] | None = None,
    **changes: Any,
) -> CallRecord:
    """The record of one call, that many minutes after `BEGIN`; it is trainable and redacted."""
    first = [{"role": "system", "content": system}] if system else []
    said: dict[str, Any] = {
        "role": "assistant",
        "content": answer if isinstance(answer, str) or answer is None else json.dumps(answer),
    }
    if calls:
        said["tool_calls"] = [
            {
                "id": f"call_{number}_{at}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for at, (name, arguments) in enumerate(calls)
        ]
    return CallRecord(
        **{
            "id": f"r{number:06}",
            "time": BEGIN + timedelta(minutes=number if minutes is None else minutes),
            "form": "openai.chat",
            "source": "import",
            "model": "teacher",
            "trainable": "trainable",
            "redacted": {},
            "request": {
                "messages": [*first, *history, {"role": "user", "content": text}],
                **(request or {}),
            },
            "response": {
                "choices": [{"finish_reason": stop, "message": {**said, **(message or {})}}]
            },
            **changes,
        }
    )


def prose(seed: int, words: int = 40) -> str:
    """Words that no other seed's text has in the same order."""
    return " ".join(f"w{(seed * 7919 + at * at * 31) % 9973}" for at in range(words))


def write_records(path: Path, records: Iterable[CallRecord]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(one.to_json() + "\n" for one in records), encoding="utf-8")
    return path
