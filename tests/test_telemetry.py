"""OpenTelemetry spans: names, parents, attributes, and no content unless it is asked for."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from hetagent import Answer, Orchestrator, Scripted, Usage, skill
from hetagent.errors import BudgetError, ModelError

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Table(BaseModel):
    day: str
    time: str


@skill(max_tokens=9)
def intent(message: str) -> Literal["book", "cancel"]:
    """Decide what the guest wants."""


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return memory


@pytest.fixture
def spans(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InMemorySpanExporter]:
    monkeypatch.delenv(CONTENT, raising=False)
    exporter.clear()
    yield exporter
    exporter.clear()


def run(*, llm: Any = None, **answer: Any) -> Any:
    slm = Scripted(Answer("book", **answer), name="small")
    return Orchestrator(slm=slm, llm=llm).run(intent, "secret words")


def test_spans_of_an_accepted_answer(spans: InMemorySpanExporter):
    outcome = run(confidence=0.95, usage=Usage(7, 0, 2))
    call, whole = spans.get_finished_spans()
    assert (call.name, whole.name) == ("chat small", "invoke_agent intent")
    assert call.parent is not None
    assert call.parent.span_id == whole.context.span_id
    assert whole.parent is None
    assert f"{whole.context.trace_id:032x}" == outcome.trace_id
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "hetagent",
        "gen_ai.request.model": "small",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "small",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "hetagent.role": "slm",
    }
    assert dict(whole.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "intent",
        "hetagent.served_by": "slm",
        "hetagent.confidence": 0.95,
        "hetagent.cost_usd": 0.0,
    }


def test_spans_of_an_escalation(spans: InMemorySpanExporter):
    run(confidence=0.1, llm=Scripted(Answer("cancel"), name="large"))
    small, large, whole = spans.get_finished_spans()
    assert [s.attributes["hetagent.role"] for s in (small, large)] == ["slm", "llm"]
    assert {s.parent.span_id for s in (small, large)} == {whole.context.span_id}
    assert whole.attributes["hetagent.reason"] == "low_confidence"
    assert whole.attributes["hetagent.served_by"] == "llm"
    assert "hetagent.rung" not in small.attributes
    assert (large.attributes["hetagent.rung"], whole.attributes["hetagent.rung"]) == (0, 0)


def test_spans_of_a_ladder(spans: InMemorySpanExporter):
    down = Scripted(Answer(error=ModelError("broken")), name="down")
    run(confidence=0.1, llm=[down, Scripted(Answer("cancel"), name="up")])
    _, first, second, whole = spans.get_finished_spans()
    assert [s.attributes["hetagent.rung"] for s in (first, second, whole)] == [0, 1, 1]


def test_spans_where_the_budget_raises(spans: InMemorySpanExporter):
    slm = Scripted(Answer("book", confidence=0.1), name="small")
    agent = Orchestrator(slm=slm, llm=Scripted(Answer("cancel")))
    with agent.spending(llm_calls=0, at_cap="raise"), pytest.raises(BudgetError):
        agent.run(intent, "secret words")
    _, whole = spans.get_finished_spans()
    assert whole.attributes["hetagent.reason"] == "budget"
    assert whole.attributes["error.type"] == "BudgetError"


def stream(escalate: Literal["whole", "fields"]) -> Any:
    @skill
    def table(message: str) -> Table:
        """Read it."""

    slm = Scripted(
        Answer({"day": "x", "time": "y"}, fields={"day": 0.9, "time": 0.1}), name="small"
    )
    llm = Scripted(Answer(raw='{"day": "x", "time": "z"}', confidence=0.9), name="large")
    answer = Orchestrator(slm, llm=llm, policy=0.8, escalate=escalate).stream(table, "x")
    list(answer)
    return answer.outcome


@pytest.mark.parametrize("escalate", ["whole", "fields"])
def test_spans_of_a_stream(spans: InMemorySpanExporter, escalate: Literal["whole", "fields"]):
    outcome = stream(escalate)
    *calls, whole = spans.get_finished_spans()
    assert whole.name == "invoke_agent table"
    assert f"{whole.context.trace_id:032x}" == outcome.trace_id
    assert sorted(call.name for call in calls) == ["chat large", "chat small"]
    # The LLM is asked while the SLM's call is under way, and yet not as a part of it.
    assert {call.parent.span_id for call in calls if call.parent} == {whole.context.span_id}
    small = next(call for call in calls if call.name == "chat small").attributes or {}
    finish = "stopped" if escalate == "whole" else "stop"
    assert small["gen_ai.response.finish_reasons"] == (finish,)
    assert (whole.attributes or {})["hetagent.served_by"] == outcome.served_by != "none"


def test_spans_of_a_failure(spans: InMemorySpanExporter):
    run(error=ModelError("broken: secret words"))
    call, whole = spans.get_finished_spans()
    assert call.attributes["error.type"] == "ModelError"
    assert whole.attributes["error.type"] == "ModelError"
    assert not call.status.is_ok
    assert not whole.status.is_ok
    assert whole.attributes["hetagent.served_by"] == "none"
    assert "gen_ai.response.model" not in call.attributes


def test_spans_join_the_callers_trace(spans: InMemorySpanExporter):
    with trace.get_tracer("app").start_as_current_span("app") as outer:
        outcome = run()
    assert outcome.trace_id == f"{outer.get_span_context().trace_id:032x}"


def test_content_is_off_by_default(spans: InMemorySpanExporter):
    run(confidence=0.1, llm=Scripted(Answer("cancel")))
    run(error=ModelError("x"))
    for span in spans.get_finished_spans():
        assert "secret" not in span.to_json()
        assert "Decide what" not in span.to_json()


@pytest.mark.parametrize("word", ["true", "True"])
def test_content_on_request(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, word: str
):
    monkeypatch.setenv(CONTENT, word)
    run()
    call = spans.get_finished_spans()[0]
    turns = json.loads(call.attributes["gen_ai.input.messages"])
    assert [turn["role"] for turn in turns] == ["system", "user"]
    assert turns[1]["parts"] == [{"type": "text", "content": "secret words"}]
    answer = json.loads(call.attributes["gen_ai.output.messages"])
    assert answer[0]["parts"][0]["content"] == "book"
    assert answer[0]["finish_reason"] == "stop"


def test_content_stays_off_for_other_words(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(CONTENT, "false")
    run()
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_nothing_is_imported_on_the_applications_behalf():
    code = (
        "import sys\n"
        "from hetagent import Answer, Orchestrator, Scripted, skill\n"
        "@skill\n"
        "def f(text: str) -> bool: 'x'\n"
        "print(len(Orchestrator(slm=Scripted(Answer(True))).run(f, 'x').trace_id))\n"
        "print('opentelemetry' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["32", "False"], result.stderr
