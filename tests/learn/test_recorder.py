"""A recorder keeps what skills were asked and answered, and never harms the program."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel

from hetagent import Answer, Orchestrator, Recorder, Scripted, Usage, skill
from hetagent.errors import InputError, ModelError, SkillError
from hetagent.learn.chat import chat
from hetagent.learn.provenance import Provenance, strictest
from hetagent.learn.record import CallRecord
from tests.support.memory import MemoryStore, unredacted


class Note(BaseModel):
    who: str
    urgent: bool


@skill
def note(message: str) -> Note:
    """Copy out the note."""


@skill
def mood(message: str) -> Literal["good", "bad"]:
    """Tell the mood."""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def recorder(store: MemoryStore, **options: Any) -> Recorder:
    return Recorder(store, **{"redact": unredacted, **options})


def test_an_outcome_is_recorded_with_what_was_asked(store):
    slm = Scripted(Answer({"who": "Ann", "urgent": True}, fields={"who": 0.4}), name="tiny")
    llm = Scripted(Answer({"who": "Bob"}, usage=Usage(9, 0, 2, 0.001)), name="big")
    with recorder(store) as kept:
        agent = Orchestrator(slm, llm=llm, escalate="fields", record=kept)
        outcome = agent.run(note, "Bob: call back!")
    (record,) = store.kept
    assert (record.form, record.source) == ("hetagent.skill", "orchestrator")
    assert record.request["text"] == "Bob: call back!"
    assert record.request["schema"] == note.schema
    assert record.response["value"] == {"who": "Bob", "urgent": True}
    assert record.response["served_by"] == {"who": "llm", "urgent": "slm"}
    assert json.loads(record.response["draft"])["who"] == "Ann"
    assert (record.served_by, record.reason) == ("both", "low_confidence")
    assert (record.model, record.served_model) == ("tiny", "big")
    assert record.trace_id == outcome.trace_id
    assert record.workload == "note"
    assert record.usage.completion == outcome.usage.completion_tokens
    assert record.cost_usd == pytest.approx(0.001)
    assert record.attempts == 2
    assert json.loads(chat(record).answer.text) == {"who": "Bob", "urgent": True}
    assert CallRecord.from_dict(json.loads(record.to_json())) == record


def test_a_skill_that_nobody_answered_is_an_error(store):
    with recorder(store) as kept:
        agent = Orchestrator(
            Scripted(Answer(error=ModelError("It broke."))), record=kept, progress=False
        )
        agent.map(mood, ["fine", ""])  # of the second no model is asked
    (record,) = store.kept
    assert record.response is None
    assert (record.served_by, record.error.kind) == ("none", "ModelError")
    assert record.error.message == "It broke."


def test_orchestrators_made_of_another_record_in_the_same_place(store):
    with recorder(store) as kept:
        agent = Orchestrator(Scripted(Answer("good", confidence=0.9)), record=kept)
        agent.with_options(policy=0.5).run(mood, "fine")
        with agent:
            mood("fine")
    assert len(store.kept) == 2


def test_what_cannot_capture_is_refused():
    with pytest.raises(SkillError, match="record is 'calls"):
        Orchestrator(Scripted(Answer("good")), record="calls.db")  # type: ignore[arg-type]


def test_marks_of_a_block_are_those_of_its_calls(store):
    with recorder(store, client="house", interactive=False) as kept:
        agent = Orchestrator(Scripted(Answer("good", confidence=0.9)), record=kept)
        with kept.marked(conversation="c", client="ann", tags={"a": "1"}):
            with kept.marked(interactive=True, workload="moods", trace="t", tags={"b": "2"}):
                agent.run(mood, "fine")
            agent.run(mood, "fine")
        agent.run(mood, "fine")
    first, second, third = store.kept
    assert (first.conversation_id, first.client_id, first.trace_id) == ("c", "ann", "t")
    assert (first.interactive, first.workload) == (True, "moods")
    assert first.tags == {"a": "1", "b": "2"}
    assert (second.interactive, second.workload, second.client_id) == (False, "mood", "ann")
    assert (third.conversation_id, third.client_id) == (None, "house")


def test_nothing_is_written_before_redaction(store):
    def hide(record: CallRecord) -> CallRecord:
        return record.with_(request={"text": "[gone]"}, redacted={"name": 1})

    with recorder(store, redact=hide) as kept:
        Orchestrator(Scripted(Answer("good", confidence=0.9)), record=kept).run(mood, "I am Ann")
    assert "Ann" not in store.kept[0].to_json()


def test_recording_without_redaction_has_to_be_said_and_warns(store):
    with pytest.warns(UserWarning, match="redact is None"):
        Recorder(store, redact=None).close()


def test_what_is_no_store_is_refused():
    with pytest.raises(InputError, match="The store is 7"):
        Recorder(7, redact=unredacted)  # type: ignore[arg-type]


def test_what_redacts_nothing_is_refused(store):
    with pytest.raises(InputError, match="redact is 'yes'"):
        Recorder(store, redact="yes")  # type: ignore[arg-type]


def test_a_store_that_fails_fails_no_call(caplog):
    class Full:
        def append(self, records):
            raise OSError("no space left")

    with Recorder(Full(), redact=unredacted) as kept:
        agent = Orchestrator(Scripted(Answer("good", confidence=0.9)), record=kept)
        assert agent.run(mood, "fine").value == "good"
        found = kept.flush(timeout=10)
    assert (found.written, found.lost) == (0, 1)
    assert "no space left" in (found.last_error or "")
    assert "was not recorded" in caplog.text


def test_answers_of_both_models_are_as_free_as_the_less_free_one(store):
    slm = Scripted(Answer({"who": "Ann", "urgent": True}, fields={"who": 0.4}), name="tiny")
    llm = Scripted(Answer({"who": "Bob"}), name="big")
    rules = {"tiny": "trainable", "big*": "no-train"}
    with recorder(store, trainable=rules) as kept:
        Orchestrator(slm, llm=llm, escalate="fields", record=kept).run(note, "x")
        Orchestrator(Scripted(Answer("good", confidence=1.0), name="tiny"), record=kept).run(
            mood, "x"
        )
    assert [one.trainable for one in store.kept] == ["no-train", "trainable"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2-135m-instruct", "trainable"),
        ("SmolLM2-135M-Instruct", "trainable"),
        ("hosted_vllm/Qwen/Qwen2.5-1.5B-Instruct", "trainable"),
        ("/models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "trainable"),
        ("ollama/qwen3-0.6b:latest", "trainable"),
        ("Qwen/Qwen2.5-3B-Instruct", "unknown"),
        ("openai/gpt-5", "unknown"),
        ("", "unknown"),
    ],
)
def test_licences_of_the_catalogue_are_found_by_any_name(name, expected):
    assert Provenance().of(name) == expected


def test_the_first_rule_that_fits_holds_before_the_catalogue():
    rules = {"OpenAI/*": "no-train", "*mini*": "trainable", "qwen3-0.6b": "no-train"}
    known = Provenance(rules)
    assert known.of("openai/gpt-5-mini") == "no-train"
    assert known.of("azure/x", "gpt-5-mini") == "trainable"
    assert known.of("qwen3-0.6b") == "no-train"
    assert strictest("trainable", "unknown") == "unknown"


def test_a_rule_of_another_word_is_refused():
    with pytest.raises(InputError, match="'maybe'"):
        Provenance({"*": "maybe"})  # type: ignore[dict-item]


def call(**kwargs: Any) -> dict[str, Any]:
    """What LiteLLM says of a call, as far as it is read."""
    return {
        "litellm_call_id": "c1",
        "call_type": "completion",
        "model": "gpt-5-mini",
        "custom_llm_provider": "openai",
        "messages": [{"role": "user", "content": "hi"}],
        "optional_params": {},
        "litellm_params": {},
        **kwargs,
    }


ANSWER = {
    "model": "gpt-5-mini-2025",
    "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
}
NOW = datetime(2026, 1, 2, 3, 4, 5)
LATER = NOW + timedelta(seconds=2)


def test_opentelemetrys_trace_is_the_calls_trace(store):
    tracer = TracerProvider().get_tracer("test")
    with recorder(store) as kept, tracer.start_as_current_span("agent") as span:
        kept.log_pre_api_call("m", [], call())
        expected = f"{span.get_span_context().trace_id:032x}"
        kept.log_success_event(call(), ANSWER, NOW, LATER)
    assert store.kept[0].trace_id == expected


def test_a_later_change_of_the_conversation_is_not_in_the_record(store):
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    with recorder(store) as kept:
        kept.log_success_event(call(messages=messages), ANSWER, NOW, LATER)
        messages[0]["content"][0]["text"] = "changed"
        messages.append({"role": "assistant", "content": "yes"})
    assert chat(store.kept[0]).messages[0].text == "hi"
    assert len(store.kept[0].request["messages"]) == 1


def test_keys_and_headers_are_in_no_record(store):
    secret = "sk-proj-0123456789abcdef"
    tool = {"type": "mcp", "server_label": "wiki", "headers": {"Authorization": secret}}
    function = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"headers": {"type": "string"}}}},
    }
    kwargs = call(
        api_key=secret,
        headers={"authorization": secret},
        additional_args={"headers": {"x-api-key": secret}},
        optional_params={
            "temperature": 0.5,
            "api_key": secret,
            "extra_headers": {"X-Key": secret},
            "aws_secret_access_key": secret,
            "extra_body": {"guided_choice": ["a"], "token": secret},
            "tools": [tool, function],
        },
        litellm_params={"api_key": secret, "metadata": {"headers": {"x": secret}, "tags": ["t"]}},
        exception=ModelError(f"Incorrect API key provided: {secret}. Bearer abcdefghijkl"),
    )
    with recorder(store) as kept:
        kept.log_success_event(kwargs, ANSWER, NOW, LATER)
        kept.log_failure_event(kwargs, None, NOW, LATER)
    text = "".join(one.to_json() for one in store.kept)
    assert len(store.kept) == 2
    assert secret not in text
    assert "abcdefghijkl" not in text
    request = store.kept[0].request
    assert (request["temperature"], request["guided_choice"]) == (0.5, ["a"])
    assert request["tools"] == [{"type": "mcp", "server_label": "wiki"}, function]
    assert store.kept[0].tags == {"t": ""}
    assert "Incorrect API key provided: [key]" in store.kept[1].error.message


def test_metadata_goes_before_marks_and_marks_before_options(store):
    metadata = {
        "hetagent_workload": "w",
        "session_id": "s",
        "user_id": "u",
        "trace_id": "t",
        "interactive": "true",
    }
    with recorder(store, workload="default", client="house") as kept:
        with kept.marked(client="ann", workload="block"):
            for given in (metadata, {}):
                kept.log_pre_api_call("m", [], call())
                kept.log_success_event(call(litellm_params={"metadata": given}), ANSWER, NOW, LATER)
        kept.log_success_event(call(), ANSWER, NOW, LATER)
    first, second, third = store.kept
    assert (first.workload, first.conversation_id, first.client_id) == ("w", "s", "u")
    assert (first.trace_id, first.interactive) == ("t", True)
    assert (second.workload, second.client_id, second.interactive) == ("block", "ann", False)
    assert (third.workload, third.client_id) == ("default", "house")


def test_vectors_are_left_out_of_embeddings(store):
    kwargs = call(call_type="embedding", input=["Ann lives here"], model="e")
    answer = {"model": "e", "data": [{"index": 0, "embedding": [0.125, 0.25]}]}
    with recorder(store) as kept:
        kept.log_success_event(kwargs, answer, NOW, LATER)
    (record,) = store.kept
    assert record.form == "openai.embeddings"
    assert record.request["input"] == ["Ann lives here"]
    assert record.response["data"] == [{"index": 0, "dimensions": 2}]


def test_an_answer_to_anthropics_api_stays_in_its_form(store):
    raw = {"type": "message", "content": [{"type": "text", "text": "yes"}], "model": "claude"}
    kwargs = call(
        call_type="anthropic_messages",
        custom_llm_provider="anthropic",
        optional_params={"system": "Be brief.", "max_tokens": 9, "metadata": {"user_id": "u9"}},
        original_response=json.dumps({**raw, "usage": {"input_tokens": 7, "output_tokens": 2}}),
    )
    tool = {"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
    translated = {
        "choices": [
            {
                "message": {"role": "assistant", "content": "yes", "tool_calls": [tool]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2,
                  "prompt_tokens_details": {"cached_tokens": 4}},
    }  # fmt: skip
    with recorder(store) as kept:
        kept.log_success_event(kwargs, translated, NOW, LATER)
        kept.log_success_event({**kwargs, "original_response": ""}, translated, NOW, LATER)
    first, second = store.kept
    assert first.form == "anthropic.messages"
    assert first.response["content"] == raw["content"]
    assert (first.usage.prompt, first.usage.completion, first.client_id) == (7, 2, "u9")
    assert [one.text for one in chat(first).messages] == ["Be brief.", "hi"]
    assert chat(second).answer.calls[0].arguments == '{"a": 1}'
    assert (second.usage.prompt, second.usage.cached) == (9, 4)


def test_openais_responses_and_completions_become_chats(store):
    kwargs = call(
        call_type="responses",
        messages=[
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sun"},
        ],
        optional_params={
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
        },
    )
    answer = {
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "Sunny."}]},
            {"type": "function_call", "call_id": "d", "name": "f", "arguments": '{"x": 1}'},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    completion = {"choices": [{"text": "yes", "finish_reason": "length"}]}
    with recorder(store) as kept:
        kept.log_success_event(kwargs, answer, NOW, LATER)
        kept.log_success_event(
            call(call_type="text_completion", messages="hi"), completion, NOW, LATER
        )
    first, second = map(chat, store.kept)
    roles = ["system", "user", "assistant", "tool"]
    assert [one.role for one in first.messages] == roles
    assert first.messages[3].text == "sun"
    assert (first.tools[0].name, first.schema) == ("f", {"type": "object"})
    assert (first.answer.text, first.answer.calls[0].arguments) == ("Sunny.", '{"x": 1}')
    assert store.kept[0].usage.prompt == 3
    assert (second.messages[0].text, second.answer.text, second.stop) == ("hi", "yes", "length")


def test_calls_of_no_language_model_are_passed_over(store):
    with recorder(store) as kept:
        kept.log_success_event(call(call_type="image_generation"), {}, NOW, LATER)
        assert kept.kept == kept.flush()
    assert (store.kept, kept.kept.lost) == ([], 0)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
names = ["litellm_call_id", "model", "messages", "optional_params", "litellm_params", "stream"]
names += ["completion_start_time", "response_cost", "exception", "input", "original_response"]
kinds = ["completion", "embedding", "anthropic_messages", "responses", "text_completion", "odd"]


@given(
    st.fixed_dictionaries({"call_type": st.sampled_from(kinds)},
                          optional=dict.fromkeys(names, anything)),
    anything,
    anything,
)  # fmt: skip
def test_whatever_litellm_says_nothing_is_raised(kwargs, response, time):
    with Recorder(MemoryStore(), redact=unredacted) as kept:
        kept.log_pre_api_call(kwargs.get("model"), kwargs.get("messages"), kwargs)
        kept.log_success_event(kwargs, response, time, NOW)
        kept.log_failure_event(kwargs, response, NOW, time)
        found = kept.flush(timeout=10)
    assert found.written + found.lost == (0 if kwargs["call_type"] == "odd" else 2)


def test_a_recorder_is_itself_before_litellm_is_there(store):
    kept = recorder(store)
    if "litellm" not in sys.modules:
        assert type(kept) is Recorder
    assert isinstance(kept, Recorder)
    assert repr(kept).startswith("Recorder(")
    kept.close()
