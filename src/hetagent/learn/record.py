"""One captured model call.

Every way in (the orchestrator, LiteLLM's callbacks, the gateway, importers) makes a `CallRecord`,
and all that follows (redaction, the store, curating, clustering) takes nothing else. Request and
response stay in the form of the API they were made for; `hetagent.learn.chat` reads all alike.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self

from hetagent.errors import InputError

__all__ = ["CallError", "CallRecord", "Form", "Source", "Trainable", "Usage", "new_id"]

Form = Literal["openai.chat", "openai.embeddings", "anthropic.messages", "hetagent.skill"]
"""Of request and response: the API they were made for, or a skill's inputs and value."""

Source = Literal["orchestrator", "litellm", "gateway", "import"]
"""How the call was captured."""

Trainable = Literal["trainable", "no-train", "unknown"]
"""Whether what the model answered may train another one, by its licence or the user's word."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call; ``None`` where the server did not say.

    Attributes:
        prompt: Of the prompt, cached ones included.
        completion: Of the completion, thoughts included.
        cached: Of the prompt that came from the server's cache.
        thinking: Of the completion that were thoughts.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    thinking: int | None = None


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call brought no response.

    Attributes:
        kind: What went wrong: the exception's name, or the type that the server named.
        status: HTTP status, where there was one.
        message: What the server said.
    """

    kind: str
    status: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One model call, with all that is known of it.

    Attributes:
        id: Unique, and rising with time; see `new_id`.
        time: When the call began, in UTC.
        form: Of request and response.
        source: How it was captured.
        model: As the caller named it.
        request: The body as the caller sent it: messages, tools, parameters. Never a key or header.
        response: The body as the caller got it, a stream put together again; ``None`` where the
            call failed. Arguments of tool calls are the string that the model wrote.
        error: Why it failed; ``None`` where it did not. A stream that broke off has both.
        served_model: As the server named it.
        served_by: Who answered: ``"llm"``, ``"slm"`` or ``"none"``.
        reason: Why that one, in one word, such as ``"low_confidence"``.
        usage: Tokens.
        cost_usd: US dollars; ``None`` where the price is not known.
        seconds: From the request to the whole response.
        first_token_seconds: From the request to the first token of a stream.
        attempts: Requests made for it, retries included.
        streamed: Whether the response came as a stream.
        complete: False where the caller went away, or the stream broke off.
        trace_id: What the calls of one run of the agent share.
        conversation_id: What the calls of one conversation share.
        client_id: Whose call it is, which `hetagent records forget` erases by. The store keeps a
            keyed hash of it.
        workload: The group it was said to belong to; ``None`` leaves it to clustering.
        trainable: Whether the answer may train another model.
        interactive: Whether a person talks with the model in it. Such calls are left out of
            conversion unless asked for.
        tags: Whatever else the caller said of it.
        redacted: How many values of each kind redaction replaced; ``None`` before redaction.
    """

    id: str
    time: datetime
    form: Form
    source: Source
    model: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None
    error: CallError | None = None
    served_model: str | None = None
    served_by: str = "llm"
    reason: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None
    seconds: float | None = None
    first_token_seconds: float | None = None
    attempts: int = 1
    streamed: bool = False
    complete: bool = True
    trace_id: str | None = None
    conversation_id: str | None = None
    client_id: str | None = None
    workload: str | None = None
    trainable: Trainable = "unknown"
    interactive: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    redacted: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            "format": FORMAT,
            **known,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            "usage": asdict(self.usage),
            "error": None if self.error is None else asdict(self.error),
            "tags": dict(self.tags),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The record that `to_dict` wrote.

        Raises:
            InputError: It is none, or one of a later version's format.
        """
        if data.get("format") != FORMAT:
            raise InputError(
                f"This is no call record of format {FORMAT}: its format is {data.get('format')!r}.",
                hint="Import other logs with `hetagent records import`; newer records need a newer "
                "hetagent.",
            )
        known = {name: value for name, value in data.items() if name != "format"}
        try:
            error = known.get("error")
            return cls(
                **{
                    **known,
                    "time": datetime.fromisoformat(known["time"]),
                    "usage": Usage(**known.get("usage", {})),
                    "error": None if error is None else CallError(**error),
                }
            )
        except (TypeError, ValueError, KeyError) as reason:
            raise InputError(
                f"This call record is broken: {reason}.", hint="Export or import it again."
            ) from reason

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    def with_(self, **changes: Any) -> Self:
        """The same record with some attributes changed."""
        return replace(self, **changes)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random bits; 32 hex digits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds << 80) | random
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"{value:032x}"
