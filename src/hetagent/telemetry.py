"""OpenTelemetry spans with the ``gen_ai.*`` attributes, where the application configured tracing.

Nothing is imported on the application's behalf: without ``opentelemetry`` in the process a span is
a no-op that costs nothing. Prompts and answers are left out unless
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``. Attribute names follow the
semantic conventions for generative AI, https://opentelemetry.io/docs/specs/semconv/gen-ai/.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hetagent.models.base import Completion, Request
from hetagent.outcome import Outcome

__all__ = ["CallSpan", "SkillSpan", "call_span", "skill_span"]

_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class SkillSpan:
    """The span of one outcome.

    Attributes:
        trace_id: 32 hexadecimal digits.
    """

    def __init__(self, span: Any) -> None:
        self._span = span
        context = span.get_span_context() if span is not None else None
        valid = context is not None and context.is_valid
        self.trace_id = f"{context.trace_id:032x}" if valid and context else uuid.uuid4().hex

    def end(self, outcome: Outcome[Any]) -> None:
        """Note how it went."""
        if self._span is None:
            return
        facts = {
            "hetagent.served_by": outcome.served_by,
            "hetagent.rung": outcome.rung,
            "hetagent.confidence": outcome.confidence,
            "hetagent.reason": outcome.reason,
            "hetagent.cost_usd": outcome.cost_usd,
            "error.type": type(outcome.error).__name__ if outcome.served_by == "none" else None,
        }
        _set(self._span, facts)


class CallSpan:
    """The span of one model call."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def answered(self, completion: Completion) -> None:
        """Note the answer."""
        if self._span is None:
            return
        facts: dict[str, Any] = {
            "gen_ai.response.model": completion.model,
            "gen_ai.response.finish_reasons": [completion.finish],
            "gen_ai.usage.input_tokens": completion.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": completion.usage.completion_tokens,
        }
        if _captures_content():
            message = {
                "role": "assistant",
                "parts": [{"type": "text", "content": completion.text}],
                "finish_reason": completion.finish,
            }
            facts["gen_ai.output.messages"] = json.dumps([message], ensure_ascii=False)
        _set(self._span, facts)

    def stopped(self, tokens: int) -> None:
        """Note that no more of the answer was wanted after so many tokens."""
        if self._span is not None:
            facts = {
                "gen_ai.response.finish_reasons": ["stopped"],
                "gen_ai.usage.output_tokens": tokens,
            }
            _set(self._span, facts)

    def failed(self, error: BaseException) -> None:
        """Note why there is none."""
        if self._span is not None:
            _set(self._span, {"error.type": type(error).__name__})


@contextmanager
def skill_span(skill: str) -> Iterator[SkillSpan]:
    """A span around everything done for one outcome."""
    with _span(f"invoke_agent {skill}", {"gen_ai.operation.name": "invoke_agent"}) as span:
        if span is not None:
            span.set_attribute("gen_ai.agent.name", skill)
        yield SkillSpan(span)


@contextmanager
def call_span(model: str, request: Request, *, rung: int | None) -> Iterator[CallSpan]:
    """A span around one model call: of the SLM, or of the LLM of a rung."""
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "hetagent",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.output.type": "json" if request.output.form == "json" else "text",
        "hetagent.role": "slm" if rung is None else "llm",
    }
    if rung is not None:
        facts["hetagent.rung"] = rung
    if _captures_content():
        turns = [
            {"role": m.role, "parts": [{"type": "text", "content": m.content}]}
            for m in request.messages
        ]
        facts["gen_ai.input.messages"] = json.dumps(turns, ensure_ascii=False)
    with _span(f"chat {model}", facts) as span:
        yield CallSpan(span)


@contextmanager
def _span(name: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
    # An application that configured an exporter has imported this already.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield None
        return
    tracer = trace.get_tracer("hetagent")
    kind = trace.SpanKind.INTERNAL
    with tracer.start_as_current_span(name, kind=kind, attributes=dict(attributes)) as span:
        yield span


def _set(span: Any, facts: Mapping[str, Any]) -> None:
    for key, value in facts.items():
        if value is not None:
            span.set_attribute(key, value)
    if facts.get("error.type") is not None:
        span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR)


def _captures_content() -> bool:
    return os.environ.get(_CONTENT, "").lower() == "true"
